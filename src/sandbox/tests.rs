use serde_json::{Value, json};

use super::*;

async fn ask(sandbox: &Sandbox, query: &str, variables: Value) -> Value {
    let response = reqwest::Client::new()
        .post(sandbox.url())
        .header("authorization", "sandbox-move-key")
        .json(&json!({"query": query, "variables": variables}))
        .send()
        .await
        .expect("an answer");
    response.json().await.expect("JSON")
}

#[tokio::test]
async fn a_missing_job_is_answered_as_appsync_does() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("a sandbox");
    let answer = ask(&sandbox, "{ getJob(jobId: \"job-1\") { id } }", json!({})).await;
    println!("{answer}");
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(answer["errors"][0]["errorType"], "MoveNotFoundError");
    assert_eq!(answer["errors"][0]["path"], json!(["getJob"]));
    assert_eq!(sandbox.count("getJob"), 1);
}
