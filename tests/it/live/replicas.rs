//! Replicas, and a replica that stops.

use std::time::Duration;

use jobs_gateway::sandbox::{Job, Sandbox, SandboxOptions, State};
use serde_json::json;

use super::streams::{FOLLOW, Follower, SSE};
use super::{WAITING, passing};
use crate::support::process::{Process, prepare};
use crate::support::redis::Redis;
use crate::support::{Setup, World, key};
use crate::webhooks::{CONFIG, Sent, older, send};

#[tokio::test]
async fn what_one_replica_reads_whoever_listens_at_another_hears_of() {
    let redis = Redis::start();
    // The poller asks once, and then not within the test.
    let config = format!("{}watch: {{ max_rate: 1/h }}\n", redis.config());
    let (one, two) = Setup::new().tenant("acme", WAITING).config(config).start_two().await;
    let job = one.create("acme", "{}").await;
    one.sandbox.set_state(&job, State::Running);
    let mut stream = Follower::open(&two, "acme", &job, SSE).await;
    assert_eq!(stream.state().await, "RUNNING");
    let asked = one.sandbox.count("getJob");
    super::pass_until(&one, || one.sandbox.count("getJob") > asked).await;
    one.sandbox.set_state(&job, State::Finished);
    one.pass(Duration::from_secs(8)).await;
    let asked = one.sandbox.count("getJob");
    // Within a moment both know of each other.
    let mut read = one.get("acme", &job, "state").await;
    while read.data("/getJob/state") != "FINISHED" {
        tokio::time::sleep(Duration::from_millis(5)).await;
        read = one.get("acme", &job, "state").await;
    }
    let mut event = stream.event().await.unwrap();
    while !event.contains("FINISHED") {
        event = passing(&two, stream.event()).await.unwrap();
    }
    assert!(one.sandbox.count("getJob") <= asked + 2, "one reads, and the other reads after it");
}

#[tokio::test]
async fn a_listener_hears_of_events_at_another_replica_before_and_after_redis_died() {
    let mut redis = Redis::start();
    let config = CONFIG.to_owned() + &redis.config();
    let (one, two) = Setup::new().tenant("acme", WAITING).config(config).start_two().await;
    while one.metric("jobs_gateway_shared_state_ok").await != Some(1.0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let job = one.create("acme", "{}").await;
    let mut stream = Follower::open(&two, "acme", &job, SSE).await;
    assert_eq!(stream.state().await, "NOT_STARTED");
    one.sandbox.set_state(&job, State::Started);
    send(&one, "msg_1", &job).await;
    let next = tokio::time::timeout(Duration::from_secs(20), stream.state());
    assert_eq!(next.await.unwrap(), "STARTED");
    redis.kill();
    one.sandbox.set_state(&job, State::Finished);
    let event = Sent { id: "msg_2", ..Sent::GOOD };
    let body = older("completed", &job);
    assert_eq!(event.status(&one, &body).await, 503);
    redis.restart();
    while event.status(&one, &body).await != 204 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(passing(&two, stream.state()).await, "FINISHED");
    assert_eq!(stream.event().await.unwrap(), "event: complete\ndata:\n\n");
}

/// Waits until replicas hear of each other.
pub async fn connected(replicas: &[&World]) {
    for world in replicas {
        while world.metric("jobs_gateway_shared_state_ok").await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Lets 40 seconds pass, and counts the questions to Move.
async fn asked_meanwhile(world: &World) -> usize {
    world.sandbox.clear_calls();
    for _ in 0..40 {
        world.pass(Duration::from_secs(1)).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    world.sandbox.count("getJob")
}

#[tokio::test]
async fn two_replicas_ask_as_often_as_one_and_go_on_without_redis() {
    let mut redis = Redis::start();
    let (one, two) = Setup::new().tenant("acme", WAITING).config(redis.config()).start_two().await;
    connected(&[&one, &two]).await;
    let job = one.create("acme", "{}").await;
    one.sandbox.set_state(&job, State::NotStarted);
    let mut streams = [
        Follower::open(&one, "acme", &job, SSE).await,
        Follower::open(&two, "acme", &job, SSE).await,
    ];
    for stream in &mut streams {
        assert_eq!(stream.state().await, "NOT_STARTED");
    }
    // One asks after 5, 7.5, 11.3 and 15 seconds, which is four times; two that do not know of each other ask eight times.
    let asked = asked_meanwhile(&one).await;
    assert!((3..=5).contains(&asked), "{asked}");
    redis.kill();
    assert!(asked_meanwhile(&one).await > 0);
    redis.restart();
    connected(&[&one, &two]).await;
    one.sandbox.set_state(&job, State::Finished);
    for stream in &mut streams {
        let mut event = passing(&two, stream.event()).await.unwrap();
        while !event.contains("FINISHED") {
            event = passing(&two, stream.event()).await.unwrap();
        }
    }
}

/// Follows a job over a stream of server-sent events; the states that were told once it is complete.
async fn states_of(process: &Process, job: &str) -> tokio::task::JoinHandle<Vec<String>> {
    let request = reqwest::Client::new().post(process.url()).header("authorization", key("acme"));
    let body = json!({"query": FOLLOW, "variables": {"id": job}});
    let stream = request.header("accept", SSE).json(&body).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    tokio::spawn(async move {
        let text = stream.text().await.unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: {"));
        let events = data.map(|data| format!("{{{data}").parse::<serde_json::Value>().unwrap());
        events.map(|event| event["data"]["jobUpdated"]["state"].to_string()).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stood_still_for_longer_than_its_turn_costs_a_question_and_tells_nothing_old()
 {
    let redis = Redis::start();
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = folders.each_ref().map(|folder| {
        Process::start(folder.path(), prepare(folder.path(), &sandbox, &redis.config()))
    });
    let (one, two) = (one.await, two.await);
    let job = Job::new(sandbox.now());
    let id = job.id.clone();
    let metadata = Some(r#"{"acme": {}, "_gateway": {"v": 1, "owner": "acme"}}"#.to_owned());
    sandbox.add_job(Job { metadata, pinned: Some(State::Running), ..job });
    let told = [states_of(&one, &id).await, states_of(&two, &id).await];
    // The first one asks, and stands still before it has the answer.
    two.signal("STOP");
    sandbox.set_latency(Duration::from_millis(300));
    let asked = sandbox.count("getJob");
    until(|| sandbox.count("getJob") > asked).await;
    one.signal("STOP");
    two.signal("CONT");
    sandbox.set_latency(Duration::ZERO);
    sandbox.set_state(&id, State::Finished);
    // The second one waits until the turn is over, asks, and hears the end.
    let asked = sandbox.count("getJob");
    until(|| sandbox.count("getJob") > asked).await;
    one.signal("CONT");
    for told in told {
        let told = told.await.unwrap();
        let end = told.iter().position(|state| state == "\"FINISHED\"").unwrap();
        assert!(end + 1 == told.len() && end > 0, "{told:?}");
    }
    assert!(sandbox.count("getJob") <= asked + 3, "{}", sandbox.count("getJob") - asked);
}

/// Waits for something that takes real time, such as the end of a turn.
async fn until(is_so: impl Fn() -> bool) {
    let give_up = std::time::Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(std::time::Instant::now() < give_up, "it does not come to that");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_sends_its_streams_away_and_takes_no_more() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let addresses = prepare(folder.path(), &sandbox, "");
    let mut process = Process::start(folder.path(), addresses).await;
    let http = reqwest::Client::new();
    let post = async |body: serde_json::Value| {
        let request = http.post(process.url()).header("authorization", key("acme"));
        request
            .header("accept", "text/event-stream, application/json")
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    let take = jobs_gateway::sandbox::SINGLECAM_TAKE;
    let create = format!("mutation {{ createSingleCamJob(takeId: \"{take}\") {{ id }} }}");
    let made: serde_json::Value = post(json!({"query": create})).await.json().await.unwrap();
    let job = made["data"]["createSingleCamJob"]["id"].as_str().unwrap().to_owned();
    sandbox.set_state(&job, State::Running);
    let follow = || json!({"query": FOLLOW, "variables": {"id": job}});
    let stream = post(follow()).await;
    let mut others = post(follow()).await;
    assert!(others.chunk().await.unwrap().is_some(), "it is open");
    let pid = process.child.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let text = stream.text().await.unwrap();
    assert!(text.contains("RUNNING") && !text.contains("complete"), "{text}");
    let late = post(follow()).await;
    assert_eq!(late.status(), 503);
    assert!(late.text().await.unwrap().contains("OVERLOADED"));
    let socket = http.get(process.url()).header("authorization", key("acme"));
    let socket = socket
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(socket.send().await.unwrap().status(), 503);
    assert!(process.child.wait().unwrap().success());
}
