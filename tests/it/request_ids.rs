//! A request has one id, wherever it is told: in the head, in each error, in the record; its caller's name for it
//! stands beside that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use jobs_gateway::app::App;
use jobs_gateway::model::Clock;
use jobs_gateway::reload::ConfigSource;
use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::audit::{file_of, records, records_in};
use crate::support::process::free_address;
use crate::support::{Reply, Setup, World, key, send};

fn audited() -> Setup {
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n".to_owned();
    Setup { config, ..Setup::default() }
}

fn ids(reply: &Reply) -> Vec<String> {
    let body = reply.json();
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    let id = |error: &Value| error["extensions"]["requestId"].as_str().unwrap().to_owned();
    errors.iter().map(id).collect()
}

fn in_head(headers: &HeaderMap) -> String {
    headers["x-request-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_error_of_an_answer_names_its_request() {
    let world = World::start().await;
    let post = || world.http.post(world.url());
    let mine = || post().header("authorization", key("acme"));
    world.sandbox.fail_always(Some("listJobs"), Some(Fault::empty(500)));
    let query = |query: &str| json!({"query": query});
    let of_move = query("mutation { createSingleCamJob(takeId: \"take-none\") { id } }");
    let two = query("{ a: getJob(jobId: \"job-1\") { id } b: listJobs { first } }");
    for (what, errors, request) in [
        ("a stranger's", 1, post().json(&query("{ __typename }"))),
        ("one that is no JSON", 1, mine().header("content-type", "application/json").body("{")),
        ("one of another type", 1, mine().header("content-type", "text/plain").body("{}")),
        ("one of another method", 1, world.http.delete(world.url())),
        ("one for another path", 1, world.http.get(format!("http://{}/nope", world.address))),
        ("one that is too large", 1, mine().json(&json!({"query": "#".repeat(300 << 10)}))),
        ("one that is invalid twice", 2, mine().json(&query("{ nope nor }"))),
        ("one with its errors within", 2, mine().json(&two)),
        ("one that Move refuses", 1, mine().json(&of_move)),
    ] {
        // That the ids are those of the head, `send` checks.
        let reply = send(request).await;
        assert_eq!(ids(&reply).len(), errors, "{what}: {reply:?}");
    }
}

#[tokio::test]
async fn a_mutation_that_is_sent_again_is_told_by_its_own_id() {
    let world = World::start().await;
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    let mut seen = Vec::new();
    let other = create.replace("{ id }", "{ name }");
    for query in [&create, &create, &other] {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("idempotency-key", "k").json(&json!({"query": query}));
        let reply = send(request).await;
        assert_eq!(ids(&reply).len(), usize::from(query == &other), "{reply:?}");
        seen.push(in_head(&reply.headers));
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[tokio::test]
async fn a_callers_name_for_its_request_is_kept_beside_the_gateways_own() {
    let world = World::set_up(audited()).await;
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    let ask = |names: &[&str]| {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request =
            names.iter().fold(request, |request, name| request.header("x-request-id", *name));
        request.json(&json!({"query": create}))
    };
    let cases: [(&[&str], Option<&str>); 4] = [
        (&["order-7/a"], Some("order-7/a")),
        (&["two", "names"], None),
        (&["it's \"odd\""], None),
        (&[], None),
    ];
    for (number, (names, kept)) in cases.into_iter().enumerate() {
        let reply = send(ask(names)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let records = records(&world, 2 * number + 2).await;
        // The intent, and the outcome.
        for record in &records[2 * number..] {
            assert_eq!(record["api"]["request"]["uid"], in_head(&reply.headers), "{record}");
            assert_eq!(record["metadata"]["correlation_uid"].as_str(), kept, "{record}");
        }
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_recorded_under_one_id() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let hash = jobs_gateway::model::KeyHash::of(key("acme").as_bytes());
    let policy = format!("tenant: acme\nauth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}\n");
    std::fs::write(policies.join("acme.yaml"), policy).unwrap();
    let path = folder.path().join("gateway.yaml");
    let config = format!(
        "upstream: {{ url: 'http://{}/', api_key: '${{MOVE_API_KEY}}' }}\npolicies: ./policies\n\
         audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}] }}\n",
        free_address()
    );
    std::fs::write(&path, config).unwrap();
    let origin = ConfigSource::new(&path, Arc::new(|_| Some("a-key".to_owned())));
    let loaded = origin.load(jiff::Timestamp::now()).unwrap_or_else(|found| panic!("{found}"));
    let app = App::build(&loaded.config, loaded.policies, Clock::system(), None).unwrap();
    let broken =
        |_: &mut std::task::Context<'_>| -> std::task::Poll<Option<std::io::Result<Bytes>>> {
            panic!("a bug")
        };
    let request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, key("acme"))
        .body(Body::from_stream(futures_util::stream::poll_fn(broken)))
        .unwrap();
    let response = tower::ServiceExt::oneshot(app.router(), request).await.unwrap();
    assert_eq!(response.status(), 500);
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["errors"][0]["extensions"], json!({"code": "INTERNAL", "requestId": id}));
    let give_up = Instant::now() + Duration::from_secs(10);
    let record = loop {
        if let Some(record) = records_in(&file_of(folder.path())).pop() {
            break record;
        }
        assert!(Instant::now() < give_up, "no record");
        tokio::task::yield_now().await;
    };
    assert_eq!(record["api"]["request"]["uid"], id.as_str(), "{record}");
    assert_eq!(record["status_code"], "INTERNAL", "{record}");
}
