//! Answers when Move misbehaves, and the calls that it gets.

use std::time::Duration;

use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE};
use serde_json::json;

use crate::support::World;

fn respond(status: u16, content_type: &'static str, body: &str) -> Fault {
    Fault::Respond { status, content_type, retry_after: None, body: body.to_owned() }
}

/// A fault, the code for a query, and the code for a mutation.
fn faults() -> Vec<(Fault, &'static str, &'static str)> {
    const JSON: &str = "application/json";
    vec![
        (Fault::Reset, "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (Fault::ResetMidBody, "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (Fault::LoseAnswer, "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (Fault::Truncate, "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (Fault::Stall, "UPSTREAM_TIMEOUT", "OUTCOME_UNKNOWN"),
        (Fault::Huge(9 << 20), "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (Fault::html(500), "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (Fault::html(502), "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (Fault::html(200), "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (Fault::html(403), "UPSTREAM_ERROR", "UPSTREAM_ERROR"),
        (respond(429, JSON, "{}"), "UPSTREAM_UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
        (respond(200, JSON, "[1, 2]"), "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (respond(200, JSON, r#"{"data": {"getJob": 7}}"#), "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
        (respond(200, JSON, r#"{"data": {}}"#), "UPSTREAM_ERROR", "OUTCOME_UNKNOWN"),
    ]
}

#[tokio::test]
async fn every_fault_has_its_code_and_leaks_nothing_of_the_body() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    for (fault, query_code, mutation_code) in faults() {
        let is_stall = fault == Fault::Stall;
        world.sandbox.clear_calls();
        for (field, code) in [("getJob", query_code), ("createSingleCamJob", mutation_code)] {
            world.sandbox.fail_next(Some(field), fault.clone());
            let asking = async {
                match field {
                    "getJob" => world.get("acme", &id, "id").await,
                    _ => world.ask("acme", &create, json!({})).await,
                }
            };
            let reply =
                if is_stall { after_the_timeout(&world, asking).await } else { asking.await };
            assert_eq!(reply.code(), code, "{fault:?} {field} {reply:?}");
            assert_eq!(reply.status, 200);
            assert!(!reply.text.contains("<html>"), "{reply:?}");
            assert!(reply.headers.contains_key("x-request-id"));
        }
        assert_eq!(world.sandbox.count("createSingleCamJob"), 1, "sent once: {fault:?}");
    }
}

/// Lets the clock jump once the call is on its way.
async fn after_the_timeout<T>(world: &World, asking: impl Future<Output = T>) -> T {
    let before = world.sandbox.calls().len();
    let jump = async {
        while world.sandbox.calls().len() == before {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
    };
    tokio::join!(asking, jump).0
}

#[tokio::test]
async fn an_upstream_that_refuses_connections_is_unavailable_and_a_mutation_did_not_happen() {
    let world = World::start().await;
    world.sandbox.stop().await;
    let reply = world.ask("acme", "{ listJobs { first } }", json!({})).await;
    assert_eq!(reply.code(), "UPSTREAM_UNAVAILABLE");
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    assert_eq!(world.ask("acme", &create, json!({})).await.code(), "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn a_mutation_goes_on_when_its_caller_hangs_up() {
    let world = World::start().await;
    world.sandbox.fail_next(Some("createSingleCamJob"), Fault::Delay(Duration::from_millis(100)));
    {
        let creating = world.create("acme", "{}");
        let sent = async {
            while world.sandbox.count("createSingleCamJob") == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = creating => panic!("answered too early"),
            () = sent => {}
        }
    }
    while world.sandbox.job_count() == 0 {
        tokio::task::yield_now().await;
    }
}
