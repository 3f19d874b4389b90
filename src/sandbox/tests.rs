use serde_json::{Value, json};

use super::*;

async fn start() -> Sandbox {
    Sandbox::start(SandboxOptions::default()).await.expect("a sandbox")
}

async fn post(sandbox: &Sandbox, key: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
    let client = reqwest::Client::new();
    client.post(sandbox.url()).header("authorization", key).json(body).send().await
}

async fn ask(sandbox: &Sandbox, query: &str, variables: Value) -> Value {
    let body = json!({"query": query, "variables": variables});
    let response = post(sandbox, "sandbox-move-key", &body).await.expect("an answer");
    assert!(response.headers().contains_key("x-amzn-requestid"));
    response.json().await.expect("JSON")
}

async fn create(sandbox: &Sandbox, metadata: &str) -> String {
    let query = "mutation($take: String!, $metadata: AWSJSON) {
        createSingleCamJob(takeId: $take, metadata: $metadata, outputs: [MAIN_FBX]) { id } }";
    let answer = ask(sandbox, query, json!({"take": SINGLECAM_TAKE, "metadata": metadata})).await;
    answer["data"]["createSingleCamJob"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_missing_job_is_answered_as_appsync_does() {
    let sandbox = start().await;
    let answer = ask(&sandbox, "{ getJob(jobId: \"job-1\") { id } }", json!({})).await;
    assert_eq!(
        answer,
        json!({"data": null, "errors": [{
            "path": ["getJob"],
            "data": null,
            "errorType": "MoveNotFoundError",
            "errorInfo": null,
            "locations": [{"line": 1, "column": 3, "sourceName": null}],
            "message": "Resource not found in move-ugc-api.",
        }]})
    );
    assert_eq!(sandbox.count("getJob"), 1);
}

#[tokio::test]
async fn a_wrong_key_is_refused_with_401() {
    let sandbox = start().await;
    let body = json!({"query": "{ listJobs { first } }"});
    let response = post(&sandbox, "wrong", &body).await.expect("an answer");
    assert_eq!(response.status(), 401);
    let answer: Value = response.json().await.expect("JSON");
    assert_eq!(answer["errors"][0]["errorType"], "UnauthorizedException");
}

#[tokio::test]
async fn a_document_that_does_not_fit_is_a_validation_error() {
    let sandbox = start().await;
    for query in ["{", "{ nope }", "mutation { createJob(takeId: \"t\") { id } }"] {
        let answer = ask(&sandbox, query, json!({})).await;
        assert_eq!(answer["errors"][0]["errorType"], "ValidationError", "{query}");
        assert_eq!(answer["data"], Value::Null);
    }
}

#[tokio::test]
async fn metadata_is_kept_to_the_letter_and_must_be_json() {
    let sandbox = start().await;
    let text = r#"{"b": 1.0, "a":12345678901234567890}"#;
    let id = create(&sandbox, text).await;
    let query = "query($id: ID!) { getJob(jobId: $id) { metadata } }";
    let answer = ask(&sandbox, query, json!({"id": id})).await;
    assert_eq!(answer["data"]["getJob"]["metadata"], text);
    let update =
        "mutation($id: String!, $m: AWSJSON) { updateJob(id: $id, metadata: $m) { metadata } }";
    let answer = ask(&sandbox, update, json!({"id": id, "m": "{"})).await;
    assert_eq!(answer["errors"][0]["errorType"], "ValidationError");
    let answer = ask(&sandbox, update, json!({"id": id, "m": null})).await;
    assert_eq!(answer["data"]["updateJob"]["metadata"], text);
}

#[tokio::test]
async fn a_listing_pages_by_the_last_items_key() {
    let sandbox = start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(create(&sandbox, "{}").await);
    }
    let query = "query($after: AWSJSON) { listJobs(first: 2, after: $after, sortDirection: ASC) {
        after items { id } } }";
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = ask(&sandbox, query, json!({"after": after})).await["data"]["listJobs"].clone();
        let items = page["items"].as_array().expect("items").iter();
        seen.extend(items.map(|item| item["id"].as_str().expect("an id").to_owned()));
        after = page["after"].clone();
        let Some(text) = after.as_str() else { break };
        let key: Value = serde_json::from_str(text).expect("an object in a string");
        assert_eq!(key["id"], json!(seen.last()));
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_file_can_be_read_once_its_job_is_finished() {
    let sandbox = start().await;
    let id = create(&sandbox, "{}").await;
    let query =
        "query($id: ID!) { getJob(jobId: $id) { outputs { format file { presignedUrl } } } }";
    sandbox.set_state(&id, State::Running);
    let answer = ask(&sandbox, query, json!({"id": id})).await;
    assert_eq!(answer["errors"][0]["message"], "File object does not exist");
    assert_eq!(
        answer["errors"][0]["path"],
        json!(["getJob", "outputs", 0, "file", "presignedUrl"])
    );
    assert_eq!(answer["data"]["getJob"]["outputs"][0]["format"], "main_fbx");
    sandbox.set_state(&id, State::Finished);
    let answer = ask(&sandbox, query, json!({"id": id})).await;
    let url = answer["data"]["getJob"]["outputs"][0]["file"]["presignedUrl"].clone();
    assert!(url.as_str().is_some_and(|url| url.contains("X-Amz-Expires=3600")), "{url}");
}

#[tokio::test]
async fn each_fault_befalls_one_call() {
    let sandbox = start().await;
    let body = json!({"query": "{ listJobs { first } }"});
    let call = || post(&sandbox, "sandbox-move-key", &body);
    for fault in [Fault::Reset, Fault::LoseAnswer] {
        sandbox.fail_next(Some("listJobs"), fault.clone());
        assert!(call().await.is_err(), "{fault:?}");
    }
    sandbox.fail_next(None, Fault::ResetMidBody);
    assert!(call().await.expect("a head").text().await.is_err());
    sandbox.fail_next(None, Fault::html(502));
    assert_eq!(call().await.expect("an answer").status(), 502);
    sandbox.fail_next(None, Fault::Truncate);
    let text = call().await.expect("an answer").text().await.expect("a body");
    assert!(serde_json::from_str::<Value>(&text).is_err());
    sandbox.fail_next(Some("getJob"), Fault::Reset);
    assert_eq!(call().await.expect("an answer").status(), 200);
}
