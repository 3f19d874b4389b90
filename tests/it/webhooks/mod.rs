//! Events of Move's: taken in for certain, looked into by asking Move, and never believed.

mod killed;
mod set_up;

use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{Job, State};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::redis::Redis;
use crate::support::{Reply, Setup, WEBHOOK_SECRET, World, until_called};

pub const CONFIG: &str = "webhooks: { listen: 127.0.0.1:0, accounts: { shared: { secrets: ['${MOVE_WEBHOOK_SECRET}'] } } }\n";

/// A policy by which all that is cached stays fresh for as long as a test takes.
const CACHING: &str = "operations: [\"*\"]\ncache: { get_job: { unfinished: 1h, finished: 1h } }\n";

async fn start() -> World {
    let setup = Setup::new().tenant("acme", CACHING).tenant("globex", CACHING);
    setup.config(CONFIG).start().await
}

/// An event on its way: what a test does not change is as Svix has it.
pub struct Sent<'a> {
    pub id: &'a str,
    pub secret: &'a str,
    /// Seconds from now.
    pub at: i64,
    pub account: &'a str,
}

impl Sent<'_> {
    pub const GOOD: Self = Self { id: "msg_1", secret: WEBHOOK_SECRET, at: 0, account: "shared" };

    fn request(&self, world: &World, body: &[u8]) -> reqwest::RequestBuilder {
        let at = world.sandbox.now().as_second() + self.at;
        let signature = Webhook::new(self.secret).unwrap().sign(self.id, at, body);
        let url = format!("http://{}/webhooks/move/{}", world.webhooks.unwrap(), self.account);
        world
            .http
            .post(url)
            .header("svix-id", self.id)
            .header("svix-timestamp", at.to_string())
            .header("svix-signature", signature.unwrap_or_default())
            .body(body.to_vec())
    }

    pub async fn status(&self, world: &World, body: &[u8]) -> u16 {
        self.request(world, body).send().await.unwrap().status().as_u16()
    }
}

/// Sends an event that says that a job began.
pub async fn send(world: &World, event: &str, job: &str) {
    let sent = Sent { id: event, ..Sent::GOOD };
    assert_eq!(sent.status(world, &older("started", job)).await, 204);
}

/// An event of the newer shape, whose metadata names an owner, or nobody.
fn event(state: &str, job: &str, owner: Option<&str>) -> Vec<u8> {
    let bare = job.trim_start_matches("job-");
    let metadata = owner.map_or(json!({}), |owner| json!({"_gateway": {"v": 1, "owner": owner}}));
    let job = json!({"id": bare, "created": "2026-01-01T00:00:00Z", "metadata": metadata});
    let attributes = json!({"job": job, "take": {"id": "t"}});
    let event = json!({"type": format!("ugc.job.state.{state}"), "detail": {"event_attributes": attributes}});
    event.to_string().into_bytes()
}

/// An event of the older shape.
pub fn older(state: &str, id: &str) -> Vec<u8> {
    let detail = json!({"api_name": "move-ugc-api", "client_id": "c", "job_id": id});
    json!({"type": format!("job.state.{state}"), "detail": detail}).to_string().into_bytes()
}

fn counted(news: &str, outcome: &str) -> String {
    format!("jobs_gateway_webhook_events_total{{outcome=\"{outcome}\",type=\"{news}\"}}")
}

async fn until(world: &World, metric: &str, value: f64) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while world.metric(metric).await != Some(value) {
        assert!(Instant::now() < give_up, "{metric}: {:?}", world.metric(metric).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn state(reply: &Reply) -> (Value, String) {
    (reply.data("/getJob/state"), reply.headers["x-cache"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_event_puts_what_move_answers_now_into_the_cache_of_the_tenant_whose_the_job_is() {
    let world = start().await;
    let id = world.create("acme", "{\"shot\": 1}").await;
    let selection = "id state metadata";
    assert_eq!(state(&world.get("acme", &id, selection).await).0, "NOT_STARTED");
    world.sandbox.clear_calls();
    for (n, (body, calls)) in [
        // The guess is right: one question.
        (event("completed", &id, Some("acme")), 1),
        // It is wrong, and found out.
        (event("completed", &id, Some("globex")), 3),
        // There is none: Move is asked whose it is.
        (event("completed", &id, None), 2),
        (older("completed", &id), 2),
    ]
    .into_iter()
    .enumerate()
    {
        world.sandbox.set_state(&id, State::Running);
        if n == 0 {
            assert_eq!(
                state(&world.get("acme", &id, selection).await),
                (json!("NOT_STARTED"), "HIT".into())
            );
        }
        world.sandbox.set_state(&id, State::Finished);
        let sent = Sent { id: &format!("msg_{n}"), ..Sent::GOOD };
        assert_eq!(sent.status(&world, &body).await, 204);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        until(&world, &counted("completed", "renewed"), (n + 1) as f64).await;
        assert_eq!(world.sandbox.count("getJob"), calls, "event {n}");
        let read = world.get("acme", &id, selection).await;
        assert_eq!(state(&read), (json!("FINISHED"), "HIT".into()));
        assert_eq!(read.data("/getJob/metadata"), "{\"shot\": 1}");
        assert_eq!(world.get("globex", &id, "id").await.code(), "NOT_FOUND");
        world.sandbox.clear_calls();
    }
}

#[tokio::test]
async fn an_event_that_comes_again_is_taken_again_and_nothing_happens() {
    let world = start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Failed);
    world.sandbox.clear_calls();
    let body = event("failed", &id, Some("acme"));
    for _ in 0..3 {
        assert_eq!(Sent::GOOD.status(&world, &body).await, 204);
    }
    until(&world, &counted("failed", "renewed"), 1.0).await;
    until(&world, &counted("failed", "seen"), 2.0).await;
    assert_eq!(world.sandbox.count("getJob"), 1);
    assert_eq!(world.metric("jobs_gateway_webhook_waiting").await, Some(0.0));
}

#[tokio::test]
async fn the_two_events_of_a_change_do_not_void_what_each_other_brings() {
    let world = start().await;
    for n in 0..5 {
        let id = world.create("acme", "{}").await;
        world.sandbox.set_state(&id, State::Finished);
        world.sandbox.set_latency(Duration::from_millis(20));
        world.sandbox.clear_calls();
        let (one, two) = (format!("a_{n}"), format!("b_{n}"));
        let one = Sent { id: &one, ..Sent::GOOD };
        let two = Sent { id: &two, ..Sent::GOOD };
        let (newer, older) = (event("completed", &id, Some("acme")), older("completed", &id));
        let sent =
            futures_util::future::join(one.status(&world, &newer), two.status(&world, &older));
        assert_eq!(sent.await, (204, 204));
        until(&world, &counted("completed", "renewed"), f64::from(2 * (n + 1))).await;
        assert!(world.sandbox.count("getJob") <= 3, "{}", world.sandbox.count("getJob"));
        assert_eq!(
            state(&world.get("acme", &id, "state").await),
            (json!("FINISHED"), "HIT".into())
        );
    }
}

#[tokio::test]
async fn what_is_not_an_event_is_refused_counted_and_forgotten() {
    let world = start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.clear_calls();
    let body = event("completed", &id, Some("acme"));
    let other = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4";
    let refused =
        |reason: &str| format!("jobs_gateway_webhook_refused_total{{reason=\"{reason}\"}}");
    for (sent, status) in [
        (Sent { secret: other, ..Sent::GOOD }, 401),
        (Sent { at: -301, ..Sent::GOOD }, 401),
        (Sent { at: 330, ..Sent::GOOD }, 401),
        (Sent { id: "a.b", ..Sent::GOOD }, 401),
        (Sent { account: "tenant:acme", ..Sent::GOOD }, 404),
        (Sent { account: "else", ..Sent::GOOD }, 404),
        (Sent { account: "shared/more", ..Sent::GOOD }, 404),
    ] {
        assert_eq!(sent.status(&world, &body).await, status, "{} {}", sent.id, sent.account);
    }
    for name in ["svix-id", "svix-timestamp", "svix-signature", "webhook-id"] {
        let twice = Sent::GOOD.request(&world, &body).header(name, "msg_1");
        assert_eq!(twice.send().await.unwrap().status(), 401, "{name}");
    }
    let tampered = Sent::GOOD.request(&world, &body).body("{}");
    assert_eq!(tampered.send().await.unwrap().status(), 401);
    let long = vec![b' '; (256 << 10) + 1];
    assert_eq!(Sent::GOOD.status(&world, &long).await, 413);
    let mut chunk = format!("{:x}\r\n", long.len()).into_bytes();
    chunk.extend(long);
    let mut stream = begin(&world, "transfer-encoding: chunked", &chunk).await;
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 413");
    let url = format!("http://{}/webhooks/move/shared", world.webhooks.unwrap());
    assert_eq!(world.http.get(&url).send().await.unwrap().status(), 405);
    for path in ["/graphql", "/metrics", "/readyz", "/"] {
        let url = format!("http://{}{path}", world.webhooks.unwrap());
        assert_eq!(world.http.post(&url).send().await.unwrap().status(), 404, "{path}");
    }
    for (reason, count) in
        [("signature", 2.0), ("time", 2.0), ("headers", 5.0), ("account", 2.0), ("too_large", 2.0)]
    {
        assert_eq!(world.metric(&refused(reason)).await, Some(count), "{reason}");
    }
    // Signed, and about nothing.
    for (n, body) in
        ["not JSON", "[]", "{\"type\": \"take.created\", \"detail\": {\"take_id\": \"1\"}}"]
            .into_iter()
            .enumerate()
    {
        let sent = Sent { id: &format!("odd_{n}"), ..Sent::GOOD };
        assert_eq!(sent.status(&world, body.as_bytes()).await, 204, "{body}");
    }
    assert_eq!(world.metric(&counted("other", "not_json")).await, Some(2.0));
    assert_eq!(world.metric(&counted("other", "no_job")).await, Some(1.0));
    // None of these ids is known, and nothing was asked for.
    assert_eq!(world.sandbox.calls().len(), 0);
    assert_eq!(Sent::GOOD.status(&world, &body).await, 204);
    until_called(&world.sandbox, "getJob", 1).await;
}

/// Sends the head of an event, and the beginning of its body.
async fn begin(world: &World, length: &str, body: &[u8]) -> TcpStream {
    let request = Sent::GOOD.request(world, b"{}").build().unwrap();
    let mut head = format!("POST /webhooks/move/shared HTTP/1.1\r\nhost: a\r\n{length}\r\n");
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let mut stream = TcpStream::connect(world.webhooks.unwrap()).await.unwrap();
    stream.write_all((head + "\r\n").as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

async fn status_line(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_slow_body_is_cut_off() {
    let world = start().await;
    let mut stream = begin(&world, "content-length: 900", b"{").await;
    let refused = "jobs_gateway_webhook_refused_total{reason=\"slow\"}";
    let give_up = Instant::now() + Duration::from_secs(20);
    while world.metric(refused).await != Some(1.0) {
        assert!(Instant::now() < give_up);
        world.pass(Duration::from_secs(6)).await;
    }
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 408");
}

#[tokio::test]
async fn strangers_whose_bodies_come_slowly_keep_no_event_out() {
    let world = start().await;
    let body = older("started", "job-1");
    let mut slow = Vec::new();
    for _ in 0..64 {
        slow.push(begin(&world, "content-length: 900", b"{").await);
    }
    let busy = "jobs_gateway_webhook_refused_total{reason=\"busy\"}";
    let give_up = Instant::now() + Duration::from_secs(20);
    // Each of them has its place, and has just come.
    while world.metric(busy).await != Some(1.0) {
        assert!(Instant::now() < give_up);
        let _ = Sent::GOOD.status(&world, &body).await;
    }
    world.pass(Duration::from_secs(1)).await;
    let sent = Sent { id: "msg_2", ..Sent::GOOD };
    assert_eq!(sent.status(&world, &body).await, 204);
    assert_eq!(status_line(&mut slow[0]).await, "HTTP/1.1 503");
}

#[tokio::test]
async fn move_is_asked_again_until_it_knows_what_its_event_says() {
    let world = start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Running);
    world.sandbox.clear_calls();
    assert_eq!(Sent::GOOD.status(&world, &event("completed", &id, Some("acme"))).await, 204);
    until_called(&world.sandbox, "getJob", 1).await;
    world.pass(Duration::from_secs(1)).await;
    until_called(&world.sandbox, "getJob", 2).await;
    world.sandbox.set_state(&id, State::Finished);
    world.pass(Duration::from_secs(2)).await;
    until(&world, &counted("completed", "renewed"), 1.0).await;
    assert_eq!(world.sandbox.count("getJob"), 3);

    // What it never knows is let go of after half a minute.
    world.sandbox.clear_calls();
    let lost = "job-00000000-0000-4000-8000-000000000001";
    let sent = Sent { id: "msg_2", ..Sent::GOOD };
    assert_eq!(sent.status(&world, &older("completed", lost)).await, 204);
    for (asked, pause) in (1..).zip([1, 2, 4, 8, 16]) {
        until_called(&world.sandbox, "getJob", asked).await;
        assert_eq!(world.metric("jobs_gateway_webhook_waiting").await, Some(1.0));
        world.pass(Duration::from_secs(pause)).await;
    }
    until(&world, &counted("completed", "missing"), 1.0).await;
    assert_eq!((world.sandbox.count("getJob"), world.sandbox.count("getVolume")), (6, 4));
}

#[tokio::test]
async fn jobs_of_nobody_and_volumes_have_events_too() {
    let world = start().await;
    let nobodys = Job::new(world.sandbox.now());
    world.sandbox.add_job(nobodys.clone());
    assert_eq!(Sent::GOOD.status(&world, &older("completed", &nobodys.id)).await, 204);
    until(&world, &counted("completed", "unclaimed"), 1.0).await;
    let foreign = Job {
        metadata: Some("{\"_gateway\":{\"v\":1,\"owner\":\"elsewhere\"}}".to_owned()),
        ..Job::new(world.sandbox.now())
    };
    world.sandbox.add_job(foreign.clone());
    let sent = Sent { id: "msg_2", ..Sent::GOOD };
    assert_eq!(sent.status(&world, &older("completed", &foreign.id)).await, 204);
    until(&world, &counted("completed", "unclaimed"), 2.0).await;

    let volume = "volume-00000000-0000-4000-8000-000000000002";
    world
        .sandbox
        .add_volume(volume, Some("{\"acme\":{},\"_gateway\":{\"v\":1,\"owner\":\"acme\"}}"));
    let sent = Sent { id: "msg_3", ..Sent::GOOD };
    let bare = volume.trim_start_matches("volume-");
    assert_eq!(sent.status(&world, &older("completed", bare)).await, 204);
    until(&world, &counted("completed", "renewed"), 1.0).await;
    let query =
        "query($id: ID!) { getVolume(id: $id) { ... on HumanVolume { progress { state } } } }";
    let read = world.ask("acme", query, json!({"id": volume})).await;
    assert_eq!(read.data("/getVolume/progress/state"), "FINISHED");
    assert_eq!(read.headers["x-cache"], "HIT");
}

#[tokio::test]
async fn events_wait_while_move_does_not_answer() {
    use jobs_gateway::sandbox::Fault;
    let world = start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Finished);
    world.sandbox.clear_calls();
    world.sandbox.fail_always(None, Some(Fault::html(503)));
    assert_eq!(Sent::GOOD.status(&world, &event("completed", &id, Some("acme"))).await, 204);
    until_called(&world.sandbox, "getJob", 1).await;
    for _ in 0..10 {
        world.pass(Duration::from_mins(1)).await;
    }
    assert_eq!(world.metric("jobs_gateway_webhook_waiting").await, Some(1.0));
    world.sandbox.clear_faults();
    let give_up = Instant::now() + Duration::from_secs(20);
    while world.metric(&counted("completed", "renewed")).await != Some(1.0) {
        assert!(Instant::now() < give_up);
        world.pass(Duration::from_secs(30)).await;
    }
}

#[tokio::test]
async fn replicas_share_the_events_and_one_that_cannot_be_stored_comes_again() {
    let mut redis = Redis::start();
    let setup = Setup::new().tenant("acme", CACHING).config(CONFIG.to_owned() + &redis.config());
    let (one, two) = setup.start_two().await;
    let id = one.create("acme", "{}").await;
    for world in [&one, &two] {
        until(world, "jobs_gateway_shared_state_ok", 1.0).await;
        assert_eq!(state(&world.get("acme", &id, "state").await).0, "NOT_STARTED");
    }
    one.sandbox.set_state(&id, State::Finished);
    one.sandbox.clear_calls();
    let body = event("completed", &id, Some("acme"));
    // Both are told of it, and it is looked into once.
    for world in [&one, &two] {
        assert_eq!(Sent::GOOD.status(world, &body).await, 204);
    }
    // The metrics are those of the process.
    until(&one, &counted("completed", "renewed"), 1.0).await;
    until(&one, &counted("completed", "seen"), 1.0).await;
    let give_up = Instant::now() + Duration::from_secs(20);
    for world in [&one, &two] {
        // A replica that has just come listens to the others a moment later.
        while state(&world.get("acme", &id, "state").await).0 != "FINISHED" {
            assert!(Instant::now() < give_up);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(one.sandbox.count("getJob") <= 2, "{}", one.sandbox.count("getJob"));
    let left: u64 = redis.command(&["XLEN", "jobs-gateway:v1:{webhooks}:events"]).await;
    assert_eq!(left, 0);

    redis.kill();
    let sent = Sent { id: "msg_2", ..Sent::GOOD };
    assert_eq!(sent.status(&one, &body).await, 503);
    redis.restart();
    let give_up = Instant::now() + Duration::from_secs(20);
    while sent.status(&one, &body).await != 204 {
        assert!(Instant::now() < give_up);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until(&one, &counted("completed", "renewed"), 2.0).await;
}

#[tokio::test]
async fn svix_own_library_signs_what_is_taken() {
    let Some(python) = crate::clients::tool("python/bin/python") else { return };
    let world = start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Finished);
    let url = format!("http://{}/webhooks/move/shared", world.webhooks.unwrap());
    let body = String::from_utf8(event("completed", &id, Some("acme"))).unwrap();
    let mut python = std::process::Command::new(python);
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/svix_events.py"));
    python.args([&url, WEBHOOK_SECRET, &body]);
    tokio::task::spawn_blocking(move || crate::clients::passes(&mut python)).await.unwrap();
    until(&world, &counted("completed", "renewed"), 1.0).await;
    until(&world, &counted("completed", "seen"), 1.0).await;
}

#[tokio::test]
async fn each_event_has_a_record_with_its_id_and_nothing_of_its_content() {
    let audit = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
    let setup = Setup::new().tenant("acme", CACHING).config(CONFIG.to_owned() + audit);
    let world = setup.start().await;
    let id = world.create("acme", "{\"secret\": \"plan\"}").await;
    world.sandbox.set_state(&id, State::Finished);
    let body = event("completed", &id, Some("acme"));
    assert_eq!(Sent::GOOD.status(&world, &body).await, 204);
    until(&world, &counted("completed", "renewed"), 1.0).await;
    let give_up = Instant::now() + Duration::from_secs(20);
    let record = loop {
        let text = std::fs::read_to_string(world.folder().join("audit/audit.jsonl")).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains("\"phase\":\"event\"")) {
            break serde_json::from_str::<Value>(line).unwrap();
        }
        assert!(Instant::now() < give_up, "{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(record["metadata"]["correlation_uid"], "msg_1");
    assert_eq!(record["resources"][0]["uid"], id);
    assert_eq!(record["actor"]["user"]["org"]["uid"], "acme");
    assert_eq!(record["status_detail"], "renewed");
    assert!(!record.to_string().contains("plan") && !record.to_string().contains("2026-01-01"));
}

#[tokio::test]
async fn a_secret_takes_anothers_place_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, WEBHOOK_SECRET).unwrap();
    let config = CONFIG.replace("${MOVE_WEBHOOK_SECRET}", &format!("${{file:{}}}", file.display()));
    let world = Setup::new().tenant("acme", CACHING).config(config).start().await;
    let next = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4";
    let body = older("started", "job-1");
    let sent = Sent { secret: next, ..Sent::GOOD };
    assert_eq!(sent.status(&world, &body).await, 401);
    std::fs::write(&file, next).unwrap();
    let give_up = Instant::now() + Duration::from_secs(20);
    while sent.status(&world, &body).await != 204 {
        assert!(Instant::now() < give_up);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Sent { id: "msg_2", ..Sent::GOOD }.status(&world, &body).await, 401);
}
