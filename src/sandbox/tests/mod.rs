//! The sandbox as its clients see it: over HTTP.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;

mod faults;
mod jobs;
mod protocol;

const KEY: &str = "sandbox-move-key";
const CREATE: &str = "mutation($take: String!, $metadata: AWSJSON, $name: String) {
    job: createSingleCamJob(takeId: $take, metadata: $metadata, name: $name) { id name metadata } }";
const GET: &str = "query($id: ID!) { getJob(jobId: $id) {
    state progress { state percentageComplete } outputs { key format file { presignedUrl } } } }";

async fn start(options: SandboxOptions) -> Sandbox {
    Sandbox::start(options).await.expect("a loopback port is free")
}

/// Every call has a connection of its own: idle ones have timers, by which paused time would jump.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let builder = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy();
    builder.build().expect("a client")
});

fn post(sandbox: &Sandbox, key: &str) -> reqwest::RequestBuilder {
    let headers = [("authorization", key), ("content-type", "application/json")];
    let request = CLIENT.post(sandbox.url());
    headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

async fn send(sandbox: &Sandbox, query: &str) -> reqwest::Result<reqwest::Response> {
    post(sandbox, KEY).json(&json!({"query": query})).send().await
}

async fn ask_as(sandbox: &Sandbox, key: &str, query: &str, variables: Value) -> Value {
    let request = post(sandbox, key).json(&json!({"query": query, "variables": variables}));
    let response = request.send().await.expect("an answer");
    response.json().await.expect("JSON")
}

async fn ask(sandbox: &Sandbox, query: &str, variables: Value) -> Value {
    ask_as(sandbox, KEY, query, variables).await
}

async fn create(sandbox: &Sandbox, metadata: Value) -> String {
    let answer = ask(sandbox, CREATE, json!({"take": SINGLECAM_TAKE, "metadata": metadata})).await;
    answer["data"]["job"]["id"].as_str().unwrap_or_else(|| panic!("no job: {answer}")).to_owned()
}
