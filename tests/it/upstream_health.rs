//! Retries, deadlines and the circuit breaker, as callers and operators see them.

use std::time::Duration;

use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE};
use serde_json::json;

use crate::support::{ALL, Setup, World, key, send, until_called};

/// A gateway whose `upstream` says more than usual.
async fn world(upstream: &str) -> World {
    let config = format!(
        "upstream: {{ url: '${{MOVE_API_URL}}', api_key: '${{MOVE_API_KEY}}', {upstream} }}\n"
    );
    Setup::new().config(config).start().await
}

fn create() -> String {
    format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}")
}

#[tokio::test]
async fn a_query_that_meets_one_fault_is_answered_all_the_same() {
    let world = world("timeout: 5s").await;
    let id = world.create("acme", "{}").await;
    for fault in [Fault::Reset, Fault::ResetMidBody, Fault::html(502), Fault::empty(503)] {
        world.sandbox.clear_calls();
        world.sandbox.fail_next(Some("getJob"), fault.clone());
        assert_eq!(world.get("acme", &id, "id").await.data("/getJob/id"), id, "{fault:?}");
        assert_eq!(world.sandbox.count("getJob"), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    let world = world("retries: { budget: 20% }, circuit_breaker: { failures: 1000000 }").await;
    world.sandbox.fail_always(Some("getJob"), Some(Fault::empty(503)));
    for n in 0..200 {
        world.get("acme", &format!("job-{n}"), "id").await;
    }
    // Ten attempts are saved up; then one for every five calls.
    let calls = world.sandbox.count("getJob");
    assert!((240..=260).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_retry_waits_as_long_as_move_asks_and_not_beyond_the_deadline() {
    let world = world("timeout: 5s").await;
    let id = world.create("acme", "{}").await;
    world.sandbox.fail_next(Some("getJob"), Fault::too_many_requests(1));
    let began = tokio::time::Instant::now();
    assert_eq!(world.get("acme", &id, "id").await.data("/getJob/id"), id);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    world.sandbox.clear_calls();
    world.sandbox.fail_next(Some("getJob"), Fault::too_many_requests(3600));
    assert_eq!(world.get("acme", &id, "id").await.code(), "UPSTREAM_UNAVAILABLE");
    assert_eq!(world.sandbox.count("getJob"), 1);
}

#[tokio::test]
async fn a_caller_may_wish_for_less_time() {
    let world = world("timeout: 5s").await;
    let id = world.create("acme", "{}").await;
    let ask = |wish: &str| {
        let body = json!({"query": format!("{{ getJob(jobId: \"{id}\") {{ id }} }}")});
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        send(request.header("x-request-timeout", wish).json(&body))
    };
    world.sandbox.fail_next(Some("getJob"), Fault::Stall);
    assert_eq!(ask("50ms").await.code(), "UPSTREAM_TIMEOUT");
    for wish in ["2", "1.5s", "900ms", "3600s"] {
        assert_eq!(ask(wish).await.data("/getJob/id"), id, "{wish}");
    }
    for wish in ["0", "-1s", "soon", "NaN", "1h", ""] {
        let reply = ask(wish).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "BAD_USER_INPUT"), "{wish}");
    }
}

#[tokio::test]
async fn the_breaker_opens_in_an_outage_answers_at_once_and_closes_by_itself() {
    let cached =
        "operations: [\"*\"]\ncache: { get_job: { unfinished: 1s, stale_if_error: 1h } }\n";
    let upstream =
        "retries: { max: 0 }, circuit_breaker: { failures: 5, window: 10s, open_for: 5s }";
    let config = format!(
        "upstream: {{ url: '${{MOVE_API_URL}}', api_key: '${{MOVE_API_KEY}}', {upstream} }}\n"
    );
    let world = Setup::new().tenant("acme", cached).config(config).start().await;
    let known = world.create("acme", "{}").await;
    world.get("acme", &known, "id").await;
    world.pass(Duration::from_secs(20)).await;

    world.sandbox.fail_always(None, Some(Fault::empty(500)));
    for n in 0..5 {
        assert_eq!(world.get("acme", &format!("job-{n}"), "id").await.code(), "UPSTREAM_ERROR");
    }
    world.sandbox.clear_calls();
    let refused = world.get("acme", "job-6", "id").await;
    assert_eq!(refused.code(), "UPSTREAM_UNAVAILABLE");
    assert_eq!(world.ask("acme", &create(), json!({})).await.code(), "UPSTREAM_UNAVAILABLE");
    let stale = world.get("acme", &known, "id").await;
    assert_eq!(stale.data("/getJob/id"), known);
    assert_eq!(stale.headers["x-cache"], "STALE");
    assert!(world.sandbox.calls().is_empty(), "no call is made");
    let ready = send(world.http.get(format!("http://{}/readyz", world.admin))).await;
    assert_eq!(
        (ready.status, ready.text.as_str()),
        (
            200,
            "ready\ncircuit breaker shared: closed\n\
                              circuit breaker shared, tenant acme: open\n"
        )
    );

    world.sandbox.clear_faults();
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(world.get("acme", &known, "id state").await.data("/getJob/id"), known);
    let ready = send(world.http.get(format!("http://{}/readyz", world.admin))).await;
    assert_eq!(ready.text, "ready\ncircuit breaker shared: closed\n");
}

#[tokio::test]
async fn only_headers_on_the_list_go_on_to_move() {
    let world = world("forward_headers: [X-Correlation-Id]").await;
    let id = world.create("acme", "{}").await;
    world.sandbox.clear_calls();
    let body = json!({"query": format!("{{ getJob(jobId: \"{id}\") {{ id }} }}")});
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let request = request.header("x-correlation-id", "c-1").header("x-other", "o-1");
    send(request.header("cookie", "c=1").json(&body)).await.data("/getJob/id");
    let call = &world.sandbox.calls()[0];
    assert_eq!(call.header("x-correlation-id"), Some("c-1"));
    assert_eq!(call.header("authorization"), Some("sandbox-move-key"));
    assert_eq!((call.header("x-other"), call.header("cookie")), (None, None));
    assert_eq!(call.header("accept-encoding"), None);
}

#[tokio::test]
async fn a_caller_who_hangs_up_ends_its_query_and_leaves_a_record() {
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n".to_owned();
    let world = Setup::new().config(config).start().await;
    let id = world.create("acme", "{}").await;
    let before = crate::support::audit::records(&world, 2).await.len();
    world.sandbox.fail_next(Some("listJobs"), Fault::Stall);
    let list = "{ listJobs { first } }";
    tokio::select! {
        reply = world.ask("acme", list, json!({})) => panic!("{reply:?}"),
        () = until_called(&world.sandbox, "listJobs", 1) => {}
    }
    let told = crate::support::audit::records(&world, before + 1).await;
    let newest = told.last().unwrap();
    assert_eq!(newest["api"]["operation"], "listJobs");
    assert_eq!(newest["api"]["response"]["code"], 499);
    assert_eq!(world.get("acme", &id, "id").await.data("/getJob/id"), id);
}

#[tokio::test]
async fn a_mutation_whose_caller_hung_up_is_recorded_with_its_outcome() {
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n".to_owned();
    let world = Setup::new().config(config).start().await;
    world.sandbox.fail_next(Some("createSingleCamJob"), Fault::Delay(Duration::from_secs(3)));
    let create = create();
    tokio::select! {
        reply = world.ask("acme", &create, json!({})) => panic!("{reply:?}"),
        () = until_called(&world.sandbox, "createSingleCamJob", 1) => {}
    }
    let told = crate::support::audit::records(&world, 2).await;
    let newest = told.last().unwrap();
    assert_eq!(newest["status"], "Success");
    assert_eq!(newest["api"]["response"]["code"], 499);
    let made = world.sandbox.jobs()[0].id.clone();
    assert_eq!(newest["resources"][0]["uid"], made.as_str());
}

#[tokio::test]
async fn two_accounts_have_a_breaker_each() {
    let dead = "http://127.0.0.1:9/graphql";
    let own = format!(
        "operations: [\"*\"]\nupstream: {{ url: '{dead}', api_key: '${{OTHER_MOVE_API_KEY}}' }}\n"
    );
    let config = "upstream: { url: '${MOVE_API_URL}', api_key: '${MOVE_API_KEY}', \
                  retries: { max: 0 }, circuit_breaker: { failures: 3 } }\n";
    let setup = Setup::new().two_accounts().tenant("acme", ALL).tenant("globex", own);
    let world = setup.config(config).start().await;
    let id = world.create("acme", "{}").await;
    for _ in 0..4 {
        assert_eq!(world.get("globex", "job-1", "id").await.code(), "UPSTREAM_UNAVAILABLE");
    }
    let ready = send(world.http.get(format!("http://{}/readyz", world.admin))).await;
    let expected = "ready\ncircuit breaker shared: closed\ncircuit breaker tenant:globex: open\n";
    assert_eq!(ready.text, expected);
    assert_eq!(world.get("acme", &id, "id").await.data("/getJob/id"), id);
}
