//! The whole pipeline: a gateway with everything on, from a request to its answer.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use bytes::Bytes;
use jobs_gateway::app::App;
use jobs_gateway::model::Clock;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::stages::{METADATA, QUERY, answer, job, variables};
use super::support::{folder, key, load};

/// A gateway before an upstream that answers at once. The folder has to stay.
fn gateway(runtime: &Runtime) -> (axum::Router, tempfile::TempDir) {
    let limits = "rate_limit:\n  queries: { rate: 1000000/s, burst: 1000000 }\n  \
                  mutations: { rate: 1000000/s, burst: 1000000 }\n\
                  cache: { get_job: { finished: 1h } }\n";
    let folder = folder(10, None, limits);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/graphql", listener.local_addr().unwrap());
    let page = Bytes::from(page());
    let upstream = async move |asked: String| {
        let answer = match asked.split_once("\"jobId\":\"") {
            Some((_, rest)) => answer(rest.split('"').next().unwrap()).into(),
            None if asked.contains("getTake") => take().into(),
            None if asked.contains("createSingleCamJob") => created().into(),
            None => page,
        };
        ([(CONTENT_TYPE, "application/json")], answer)
    };
    let upstream = axum::Router::new().route("/graphql", post(upstream));
    runtime.spawn(axum::serve(listener, upstream).into_future());
    let path = folder.path().join("gateway.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    let audit = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
    std::fs::write(&path, config.replace("http://127.0.0.1:1/", &url) + audit).unwrap();
    let loaded = load(folder.path());
    let clock = Clock::system();
    let app = runtime.block_on(async { App::build(&loaded.config, loaded.policies, clock, None) });
    (app.unwrap().router(), folder)
}

/// Move's answer to a `listJobs`: its last page, of 100 jobs, each fifth of them the caller's.
fn page() -> String {
    let others = METADATA.replace("tenant-0", "tenant-1");
    let jobs = (0..100).map(|number| {
        job(&format!("job-{number}"), if number % 5 == 0 { METADATA } else { &others })
    });
    let jobs: Vec<Value> = jobs.collect();
    json!({"data": {"listJobs": {"after": null, "items": jobs}}}).to_string()
}

/// Move's answer to the check of the take: it is the caller's, and asked for once.
fn take() -> String {
    json!({"data": {"e0": {"id": "take-1", "metadata": METADATA}}}).to_string()
}

/// Move's answer to a `createSingleCamJob`.
fn created() -> String {
    json!({"data": {"createSingleCamJob": job("job-1", METADATA)}}).to_string()
}

fn request(id: &str, extra: Option<u64>) -> Request<Body> {
    post_of(QUERY, &variables(id, extra).into())
}

fn post_of(query: &str, variables: &Value) -> Request<Body> {
    let body = json!({"query": query, "variables": variables}).to_string();
    Request::post("/graphql")
        .header("authorization", key(0, 0))
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap()
}

/// Sends one request after the other; the number is the request's.
fn asking(
    runtime: &Arc<Runtime>,
    mut request: impl FnMut(u64) -> Request<Body> + 'static,
) -> Box<dyn FnMut()> {
    let (router, folder) = gateway(runtime);
    let (runtime, mut number) = (Arc::clone(runtime), 0);
    let response = runtime.block_on(router.clone().oneshot(request(number))).unwrap();
    let body = runtime.block_on(to_bytes(response.into_body(), usize::MAX)).unwrap();
    assert!(body.starts_with(b"{\"data\":{"), "{body:?}");
    Box::new(move || {
        let _kept = &folder;
        number += 1;
        let answer = runtime.block_on(router.clone().oneshot(request(number))).unwrap();
        assert_eq!(answer.status(), 200);
    })
}

pub fn whole_answer_hit(runtime: &Arc<Runtime>) -> Box<dyn FnMut()> {
    asking(runtime, |_| request("job-1", None))
}

pub fn covered_hit(runtime: &Arc<Runtime>) -> Box<dyn FnMut()> {
    asking(runtime, |number| request("job-1", Some(number)))
}

/// With the upstream, which is in this process too.
pub fn forward(runtime: &Arc<Runtime>) -> Box<dyn FnMut()> {
    asking(runtime, |number| request(&format!("job-{number}"), None))
}

/// 20 jobs of the caller's, out of a page of Move's with everybody's.
pub fn list_page(runtime: &Arc<Runtime>) -> Box<dyn FnMut()> {
    let (_, of_job) = QUERY.split_once("getJob(jobId: $id)").unwrap();
    let of_job = of_job.strip_suffix('}').unwrap();
    let query =
        format!("query($first: Int) {{ listJobs(first: $first) {{ items {of_job} after }} }}");
    asking(runtime, move |number| post_of(&query, &json!({"first": 20, "n": number})))
}

/// A mutation, with its intent in the audit file before it is sent.
pub fn creation(runtime: &Arc<Runtime>) -> Box<dyn FnMut()> {
    let (_, of_job) = QUERY.split_once("getJob(jobId: $id)").unwrap();
    let query = format!(
        "mutation($take: String!, $metadata: AWSJSON) {{ \
         createSingleCamJob(takeId: $take, metadata: $metadata) {of_job}"
    );
    asking(runtime, move |number| {
        post_of(&query, &json!({"take": "take-1", "metadata": format!("{{\"shot\":{number}}}")}))
    })
}
