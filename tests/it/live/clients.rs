//! Clients that others wrote follow a job: unmodified, each over the transport that it speaks by itself.

use std::process::Command;
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::State;
use serde_json::json;
use tokio::task::{JoinHandle, spawn_blocking};

use super::WAITING;
use super::streams::FOLLOW;
use crate::clients::{node, passes, tool};
use crate::support::{Setup, World, key};
use crate::webhooks::{CONFIG, send};

/// The `Accept` of subscriptions by Apollo iOS 2, Apollo iOS 1 and Apollo Kotlin 4, to the letter.
const APOLLOS: [&str; 3] = [
    "multipart/mixed;subscriptionSpec=1.0,application/graphql-response+json,application/json",
    "multipart/mixed;subscriptionSpec=1.0,application/json",
    "multipart/mixed;subscriptionSpec=1.0, application/graphql-response+json, application/json",
];

/// That of everything else by them.
const APOLLOS_QUERIES: [&str; 3] = [
    "multipart/mixed;deferSpec=20220824,application/graphql-response+json,application/json",
    "multipart/mixed;deferSpec=20220824,application/json",
    "multipart/mixed;deferSpec=20220824, application/graphql-response+json, application/json",
];

/// A gateway that takes events, and a job that runs.
async fn start() -> (World, String) {
    let setup = Setup::new().tenant("acme", WAITING).config(CONFIG);
    let world = setup.start().await;
    let job = world.create("acme", "{}").await;
    world.sandbox.set_state(&job, State::Running);
    (world, job)
}

/// Waits until so many follow the job, ends it, and has Move say so.
async fn finish(world: &World, job: &str, streams: f64) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while world.metric("jobs_gateway_streams ").await != Some(streams) {
        assert!(Instant::now() < give_up, "{:?}", world.metric("jobs_gateway_streams ").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.sandbox.set_state(job, State::Finished);
    send(world, "msg_end", job).await;
}

/// Follows a job with curl; gives what it prints.
fn curl(world: &World, job: &str, accept: &str) -> JoinHandle<String> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--no-buffer", "--max-time", "60", "--http1.1"]);
    curl.args(["-H", "content-type: application/json"]);
    curl.args(["-H", &format!("authorization: {}", key("acme"))]);
    curl.args(["-H", &format!("accept: {accept}")]);
    curl.args(["-d", &json!({"query": FOLLOW, "variables": {"id": job}}).to_string()]);
    curl.arg(world.url());
    spawn_blocking(move || {
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    })
}

#[tokio::test]
async fn clients_of_subscriptions_follow_a_job_over_each_transport() {
    let Some(python) = tool("python/bin/python") else { return };
    let Some(mut node) = tool("npm/node_modules/@urql").and_then(|_| node("follow.mjs")) else {
        return;
    };
    let (world, job) = start().await;
    let arguments = [world.url(), key("acme"), job.clone()];
    node.args(&arguments);
    let mut gql = Command::new(python);
    gql.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/follow.py")).args(&arguments);
    let libraries = [node, gql].map(|mut run| spawn_blocking(move || passes(&mut run)));
    let by_curl = curl(&world, &job, "text/event-stream");
    let apollos = APOLLOS.map(|accept| curl(&world, &job, accept));
    for accept in APOLLOS_QUERIES {
        let query = format!("{{ getJob(jobId: \"{job}\") {{ state }} }}");
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("accept", accept).json(&json!({"query": query}));
        assert_eq!(crate::support::send(request).await.data("/getJob/state"), "RUNNING");
    }
    finish(&world, &job, 9.0).await;
    for library in libraries {
        library.await.unwrap();
    }
    let data = |state: &str, percent: u32| {
        let job =
            format!("{{\"id\":\"{job}\",\"state\":\"{state}\",\"percentageComplete\":{percent}}}");
        format!("{{\"data\":{{\"jobUpdated\":{job}}}}}")
    };
    let (first, last) = (data("RUNNING", 0), data("FINISHED", 100));
    assert_eq!(
        by_curl.await.unwrap(),
        format!(
            "event: next\ndata: {first}\n\nevent: next\ndata: {last}\n\nevent: complete\ndata:\n\n"
        )
    );
    let head = "\r\ncontent-type: application/json\r\n\r\n";
    for apollo in apollos {
        assert_eq!(
            apollo.await.unwrap(),
            format!(
                "\r\n--graphql{head}{{\"payload\":{first}}}\r\n--graphql{head}{{\"payload\":{last}}}\r\n--graphql--\r\n"
            )
        );
    }
}

#[tokio::test]
#[ignore = "needs Chromium: apt-get install chromium"]
async fn the_event_source_of_chromium_follows_a_job() {
    let Some(mut node) = node("event_source.mjs") else { return };
    let (world, job) = start().await;
    let profile = tempfile::tempdir().unwrap();
    node.args([&world.url(), &key("acme"), &job]).arg(profile.path());
    let browser = spawn_blocking(move || passes(&mut node));
    finish(&world, &job, 1.0).await;
    browser.await.unwrap();
}
