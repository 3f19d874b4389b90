//! The sandbox as its clients see it: over HTTP.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;

mod faults;
mod fields;
mod jobs;
mod protocol;
mod storage;
mod takes;

const KEY: &str = "sandbox-move-key";
const CREATE: &str = "mutation($take: String!, $metadata: AWSJSON, $name: String) {
    job: createSingleCamJob(takeId: $take, metadata: $metadata, name: $name) { id name metadata } }";
const GET: &str = "query($id: ID!) { getJob(jobId: $id) {
    state progress { state percentageComplete } outputs { key format file { presignedUrl } } } }";

const GET_FILE: &str =
    "query($id: ID!) { getFile(fileId: $id) { id type name presignedUrl thumbnailUrl } }";

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

/// Creates a file and gives its id and the URL to upload it to.
async fn create_file(sandbox: &Sandbox, kind: &str) -> (String, String) {
    let create = "mutation($type: String!) { createFile(type: $type) { id presignedUrl } }";
    let file = ask(sandbox, create, json!({"type": kind})).await["data"]["createFile"].take();
    let text = |name: &str| file[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
    (text("id"), text("presignedUrl"))
}

/// Creates a file with these bytes and gives its id.
async fn upload(sandbox: &Sandbox, bytes: &'static [u8]) -> String {
    let (id, url) = create_file(sandbox, "mp4").await;
    let response = CLIENT.put(url).body(bytes).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    id
}
