//! Subscriptions: streams that tell of a job until it is over, to whoever may have it for as long as it may.

use std::time::Duration;

use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::State;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{pass_until, passing, with_a_running_job};
use crate::support::audit::records;
use crate::support::{Reply, Setup, World, key, send};

pub const SSE: &str = "text/event-stream";
const APOLLO: &str =
    "multipart/mixed;subscriptionSpec=1.0, application/graphql-response+json, application/json";
pub const FOLLOW: &str =
    "subscription($id: ID!) { jobUpdated(jobId: $id) { id state percentageComplete } }";

fn request(world: &World, tenant: &str, accept: &str) -> reqwest::RequestBuilder {
    let request = world.http.request(Method::POST, world.url());
    request.header("authorization", key(tenant)).header("accept", accept)
}

/// An answer that is read piece by piece.
pub struct Follower {
    response: Response,
    text: String,
}

impl Follower {
    pub async fn open(world: &World, tenant: &str, job: &str, accept: &str) -> Self {
        let body = json!({"query": FOLLOW, "variables": {"id": job}});
        Self::post(world, tenant, &body, accept).await
    }

    pub async fn post(world: &World, tenant: &str, body: &Value, accept: &str) -> Self {
        let response = request(world, tenant, accept).json(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// Reads on up to and with an end; `None` if the stream ends before.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.text, rest));
            }
            let more = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// The next event; the name and data of one, or a comment.
    pub async fn event(&mut self) -> Option<String> {
        self.until("\n\n").await
    }

    /// The answer in the next event.
    async fn answer(&mut self) -> Value {
        let mut event = self.event().await.unwrap();
        while event == ":\n\n" {
            event = self.event().await.unwrap();
        }
        let data = event.strip_prefix("event: next\ndata: ").unwrap_or_else(|| panic!("{event}"));
        serde_json::from_str(data).unwrap()
    }

    pub async fn state(&mut self) -> Value {
        self.answer().await["data"]["jobUpdated"]["state"].clone()
    }
}

#[tokio::test]
async fn a_stream_begins_with_what_is_goes_on_with_what_changes_and_ends_with_the_job() {
    let (world, job) = with_a_running_job("").await;
    let mut stream = Follower::open(&world, "acme", &job, SSE).await;
    let head = stream.response.headers();
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    ] {
        let got = head.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(got, Some(value), "{head:?}");
    }
    assert!(head.get("content-encoding").is_none());
    assert_eq!(stream.state().await, "RUNNING");
    assert_eq!(passing(&world, stream.event()).await.unwrap(), ":\n\n", "a heartbeat");
    // A write is told at once, and by nobody but the gateway.
    let update = "mutation($id: String!) { updateJob(id: $id, metadata: \"{}\") { id } }";
    world.ask("acme", update, json!({"id": job})).await.data("/updateJob/id");
    world.sandbox.set_state(&job, State::Finished);
    assert_eq!(passing(&world, stream.state()).await, "FINISHED");
    assert_eq!(stream.event().await.unwrap(), "event: complete\ndata:\n\n");
    assert_eq!(stream.event().await, None);
    // Whoever subscribes to what is over hears that, by GET too.
    let query = [("query", FOLLOW), ("variables", &json!({"id": job}).to_string())]
        .map(|(n, v)| (n.to_owned(), v.to_owned()));
    let request = world.http.get(world.url()).query(&query).header("authorization", key("acme"));
    let reply = send(request.header("accept", SSE)).await;
    assert!(
        reply.text.contains("FINISHED") && reply.text.ends_with("event: complete\ndata:\n\n"),
        "{reply:?}"
    );
}

#[tokio::test]
async fn apollos_clients_are_answered_to_the_letter_of_their_protocol() {
    let (world, job) = with_a_running_job("").await;
    let mut stream = Follower::open(&world, "acme", &job, APOLLO).await;
    let content_type = &stream.response.headers()["content-type"];
    assert_eq!(content_type, "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0");
    let delimiter = "\r\n--graphql";
    let head = "\r\ncontent-type: application/json\r\n\r\n";
    assert_eq!(stream.until(delimiter).await.unwrap(), delimiter);
    let first = stream.until(delimiter).await.unwrap();
    let payload = first.strip_prefix(head).unwrap().strip_suffix(delimiter).unwrap();
    let payload: Value = serde_json::from_str(payload).unwrap();
    assert_eq!(payload["payload"]["data"]["jobUpdated"]["state"], "RUNNING");
    let heartbeat = passing(&world, stream.until(delimiter)).await.unwrap();
    assert_eq!(heartbeat, format!("{head}{{}}{delimiter}"));
    world.sandbox.set_state(&job, State::Failed);
    let mut last = String::new();
    while !last.contains("FAILED") {
        last = passing(&world, stream.until(delimiter)).await.unwrap();
    }
    assert_eq!(stream.until("--\r\n").await.unwrap(), "--\r\n");
    assert_eq!(stream.until("x").await, None);
}

#[tokio::test]
async fn a_stream_that_begins_with_what_a_cache_knew_hears_of_what_happened_since() {
    let (world, job) = with_a_running_job("").await;
    world.get("acme", &job, "id state percentageComplete").await;
    world.sandbox.set_state(&job, State::Finished);
    let mut stream = Follower::open(&world, "acme", &job, SSE).await;
    assert_eq!(stream.state().await, "RUNNING");
    assert_eq!(passing(&world, stream.state()).await, "FINISHED");
}

#[tokio::test]
async fn a_stream_of_nothing_that_differs_ends_with_its_job_too() {
    let (world, job) = with_a_running_job("").await;
    let query = format!("subscription {{ jobUpdated(jobId: \"{job}\") {{ id }} }}");
    let body = json!({"query": query});
    let reply = world.post("acme", &body);
    let ended = async {
        let reply = passing(&world, reply).await;
        assert!(reply.text.ends_with("event: complete\ndata:\n\n"), "{reply:?}");
    };
    let finish = async {
        pass_until(&world, || world.sandbox.count("getJob") > 0).await;
        world.sandbox.set_state(&job, State::Finished);
    };
    tokio::join!(ended, finish);
}

#[tokio::test]
async fn two_hundred_listeners_of_one_job_cost_one_call_a_change() {
    let (world, job) = with_a_running_job("").await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(Follower::open(&world, "acme", &job, SSE).await);
    }
    for stream in &mut streams {
        assert_eq!(stream.state().await, "RUNNING");
    }
    assert_eq!(world.metric("jobs_gateway_streams ").await, Some(200.0));
    let asked = world.sandbox.count("getJob");
    pass_until(&world, || world.sandbox.count("getJob") > asked).await;
    let asked = world.sandbox.count("getJob");
    world.sandbox.set_state(&job, State::Finished);
    for stream in &mut streams {
        let mut event = passing(&world, stream.event()).await.unwrap();
        while event == ":\n\n" {
            event = passing(&world, stream.event()).await.unwrap();
        }
        assert!(event.contains("FINISHED"), "{event}");
    }
    assert_eq!(world.sandbox.count("getJob"), asked + 1);
}

#[tokio::test]
async fn a_stream_of_a_job_that_is_deleted_ends_as_a_read_of_it_does() {
    let (world, job) = with_a_running_job("").await;
    let mut stream = Follower::open(&world, "acme", &job, SSE).await;
    assert_eq!(stream.state().await, "RUNNING");
    world.sandbox.remove_job(&job);
    let last = passing(&world, stream.answer()).await;
    let read = world.get("acme", &job, "id").await;
    assert_eq!(last["errors"][0]["extensions"]["code"], "NOT_FOUND", "{last}");
    assert_eq!(last["errors"][0]["message"], read.json()["errors"][0]["message"]);
    assert_eq!(stream.event().await.unwrap(), "event: complete\ndata:\n\n");
    assert_eq!(stream.event().await, None);
}

async fn refused(world: &World, tenant: &str, query: &str, job: &str, accept: &str) -> Reply {
    let body = json!({"query": query, "variables": {"id": job}});
    send(request(world, tenant, accept).json(&body)).await
}

#[tokio::test]
async fn a_subscription_without_a_stream_a_right_or_a_job_of_its_own_is_refused() {
    let setup = Setup::new()
        .tenant("acme", "operations: ['*']\nsubscriptions: { max: 1 }\n")
        .tenant("globex", "operations: ['*']\n")
        .tenant("initech", "operations: [listJobs]\n");
    let world = setup.start().await;
    let job = world.create("acme", "{}").await;
    let only_json = refused(&world, "acme", FOLLOW, &job, "application/json").await;
    assert_eq!((only_json.status, only_json.code()), (406, "BAD_USER_INPUT".into()));
    assert!(only_json.text.contains("text/event-stream"), "{only_json:?}");
    // What is asked decides before the header does.
    let both =
        "application/graphql-response+json, application/json, text/event-stream, multipart/mixed";
    let query = "query($id: ID!) { getJob(jobId: $id) { id } }";
    let reply = refused(&world, "acme", query, &job, both).await;
    assert_eq!(reply.data("/getJob/id"), json!(job));
    let streams_alone = refused(&world, "acme", query, &job, SSE).await;
    assert!(streams_alone.status == 406 && streams_alone.text.contains("answered at once"));
    // What is refused by its name is not taken for anything.
    let never = refused(&world, "acme", FOLLOW, &job, "text/event-stream;q=0, */*").await;
    assert_eq!(never.status, 406);
    let two = "subscription($id: ID!) { a: jobUpdated(jobId: $id) { id } b: jobUpdated(jobId: $id) { id } }";
    let typename = "subscription { __typename }";
    for query in [two, typename, "subscription { jobUpdated { id } }", "subscription { nope }"] {
        let reply = refused(&world, "acme", query, &job, SSE).await;
        assert_eq!(reply.code(), "GRAPHQL_VALIDATION_FAILED", "{query}: {reply:?}");
    }
    let all = "subscription { jobsUpdated { job { id } } }";
    for query in [FOLLOW, all] {
        assert_eq!(refused(&world, "initech", query, &job, SSE).await.code(), "FORBIDDEN");
    }
    let told = |reply: Reply, id: &str| {
        assert!(reply.text.contains("NOT_FOUND"), "{reply:?}");
        let request = reply.headers["x-request-id"].to_str().unwrap().to_owned();
        reply.text.replace(&request, "").replace(id, "")
    };
    let foreign = refused(&world, "globex", FOLLOW, &job, SSE).await;
    let missing = refused(&world, "globex", FOLLOW, "job-none", SSE).await;
    assert_eq!(told(foreign, &job), told(missing, "job-none"));
    // As many as may.
    let held = Follower::open(&world, "acme", &job, SSE).await;
    let more = refused(&world, "acme", FOLLOW, &job, SSE).await;
    assert_eq!((more.status, more.code()), (429, "RATE_LIMITED".into()));
    drop(held);
    loop {
        let body = json!({"query": FOLLOW, "variables": {"id": job}});
        if request(&world, "acme", SSE).json(&body).send().await.unwrap().status() == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

/// A policy whose only key has an end.
fn with_key(more: &str, rest: &str) -> String {
    let hash = KeyHash::of(key("acme").as_bytes());
    format!("auth: {{ api_keys: [{{ id: main, sha256: {hash}{more} }}] }}\n{rest}")
}

#[tokio::test]
async fn a_reload_that_takes_something_away_ends_the_stream_and_another_does_not() {
    let all = "operations: ['*']\ncache: {}\n";
    let keyless = "operations: ['*']\ncache: {}\nauth: { api_keys: [] }\n";
    let hidden = "operations: ['*']\ncache: {}\nhidden_fields: [Job.state]\n";
    for (policy, code, reason) in [
        ("operations: [listJobs]\ncache: {}\n", "FORBIDDEN", "refused"),
        (keyless, "UNAUTHENTICATED", "credential_unknown"),
        (hidden, "GRAPHQL_VALIDATION_FAILED", "refused"),
    ] {
        let config = "reload: { allow_removal: 100% }\n\
                      audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
        let setup = Setup::new().config(config).tenant("acme", all).tenant("globex", all);
        let world = setup.start().await;
        let job = world.create("acme", "{}").await;
        world.sandbox.set_state(&job, State::Running);
        let mut stream = Follower::open(&world, "acme", &job, SSE).await;
        assert_eq!(stream.state().await, "RUNNING");
        // Something that the stream does not need.
        world.write_policy("acme", "operations: [getJob, listJobs]\ncache: {}\n");
        while world.ask("acme", "{ listTakes { first } }", json!({})).await.code() != "FORBIDDEN" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.write_policy("acme", policy);
        let mut event = stream.event().await.unwrap();
        while event == ":\n\n" {
            event = stream.event().await.unwrap();
        }
        assert!(event.contains(code), "{event} should say {code}");
        assert_eq!(stream.event().await.unwrap(), "event: complete\ndata:\n\n");
        assert_eq!(stream.event().await, None);
        // Of the creation, of the stream's beginning, of the refused reads, and of its end.
        let is_close = |record: &Value| record["unmapped"]["phase"] == "close";
        let mut count = 4;
        let close = loop {
            let all = records(&world, count).await;
            if let Some(close) = all.into_iter().find(is_close) {
                break close;
            }
            count += 1;
        };
        let told = ["status", "status_code", "status_detail"].map(|member| &close[member]);
        assert_eq!(told, ["Failure", code, reason], "{close}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_credential_and_with_its_time() {
    let expires = jiff::Timestamp::now() + Duration::from_secs(40);
    let policy = with_key(&format!(", expires: {expires}"), "operations: ['*']\n");
    let world = Setup::new().tenant("acme", policy).start().await;
    let job = world.create("acme", "{}").await;
    world.sandbox.set_state(&job, State::Running);
    let mut stream = Follower::open(&world, "acme", &job, SSE).await;
    let mut last = stream.event().await.unwrap();
    while !last.contains("UNAUTHENTICATED") {
        last = passing(&world, stream.event()).await.unwrap();
    }
    assert!(last.contains("has expired"), "{last}");
    assert_eq!(stream.event().await.unwrap(), "event: complete\ndata:\n\n");

    let (world, job) =
        with_a_running_job("subscriptions: { max_age: 60s, heartbeat: 100s }\n").await;
    let mut stream = Follower::open(&world, "acme", &job, SSE).await;
    assert_eq!(stream.state().await, "RUNNING");
    // Without a word that it is complete: its caller comes again.
    while let Some(event) = passing(&world, stream.event()).await {
        assert!(event.starts_with("event: next\ndata: {\"data\""), "{event}");
    }
    assert_eq!(stream.text, "");
}
