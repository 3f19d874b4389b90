use jobs_gateway::sandbox::Fault;
use serde_json::json;

use crate::support::process::free_address;
use crate::support::{World, key, send};

/// The codes that only execution meets, as docs/errors.md has them.
#[tokio::test]
async fn errors_of_execution_come_with_200_in_both_media_types() {
    let page = std::fs::read_to_string("docs/errors.md").unwrap();
    let said = page.split("So `").nth(1).unwrap().split("come with 200").next().unwrap();
    let world = World::start().await;
    for accept in ["application/json", "application/graphql-response+json"] {
        world.sandbox.fail_next(Some("getJob"), Fault::empty(500));
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let query = json!({"query": "{ getJob(jobId: \"job-none\") { id } }"});
        let reply = send(request.header("accept", accept).json(&query)).await;
        assert_eq!(reply.status, 200, "{accept}");
        let code = reply.code();
        assert!(code.starts_with("UPSTREAM_") && said.contains(&code), "{code} is not in: {said}");
    }
}

#[test]
fn a_healthcheck_that_reaches_nobody_says_why() {
    let url = format!("http://{}/readyz", free_address());
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["healthcheck", "--url", &url])
        .output();
    let ran = ran.unwrap();
    assert!(!ran.status.success());
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("refused"), "{said}");
}
