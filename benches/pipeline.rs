//! The request path, stage by stage and whole, without sockets: time, and what is allocated.
//!
//! `pipeline --count STAGE TIMES` runs one stage so often and nothing else: `scripts/instructions`
//! counts its instructions.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "a bench explains itself by its first lines")]

mod support;

use std::alloc::System;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use criterion::Criterion;
use jobs_gateway::app::App;
use jobs_gateway::auth::{Issuers, authenticate};
use jobs_gateway::jobs::envelope;
use jobs_gateway::model::{Clock, CredentialId, JobId, Selection, Tenant};
use jobs_gateway::operation::{Documents, Limits};
use jobs_gateway::types::Job;
use jobs_gateway::upstream::{self, Call, JobDocument};
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{folder, key, load};
use tokio::runtime::Runtime;
use tower::ServiceExt;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const QUERY: &str = "query($id: ID!) { getJob(jobId: $id) { id state name created metadata \
    client { id name } take { id } progress { percentageComplete } \
    outputs { key file { type presignedUrl } } } }";

const METADATA: &str =
    r#"{"tenant-0":{"shot":12},"_gateway":{"v":1,"owner":"tenant-0","by":"key-0"}}"#;

/// A job as Move sends it, about a kilobyte.
fn answer(id: &str) -> String {
    let url = "https://files.example.test/outputs/job-1/1.fbx?X-Amz-Algorithm=AWS4-HMAC-SHA256&\
        X-Amz-Date=20990101T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&\
        X-Amz-Signature=0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";
    let output = json!({"key": "output-1", "file": {"type": "fbx", "presignedUrl": url}});
    json!({"data": {"getJob": {
        "id": id, "name": "scene 12", "state": "FINISHED",
        "created": "2026-01-01T00:00:00.000Z", "metadata": METADATA,
        "progress": {"state": "FINISHED", "percentageComplete": 100},
        "client": {"id": "client-1", "name": "studio"}, "take": {"id": "take-1"},
        "outputs": [output, output],
    }}})
    .to_string()
}

fn variables(id: &str, extra: Option<u64>) -> Map<String, Value> {
    let mut variables = Map::new();
    variables.insert("id".into(), id.into());
    if let Some(extra) = extra {
        variables.insert("n".into(), extra.into());
    }
    variables
}

fn request(id: &str, extra: Option<u64>) -> Request<Body> {
    let body = json!({"query": QUERY, "variables": variables(id, extra)}).to_string();
    Request::post("/graphql")
        .header("authorization", key(0, 0))
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap()
}

/// A gateway with everything on, before an upstream that answers at once.
fn gateway(runtime: &Runtime) -> (axum::Router, tempfile::TempDir) {
    let limits = "rate_limit: { queries: { rate: 1000000/s, burst: 1000000 } }\n\
                  cache: { get_job: { finished: 1h } }\n";
    let folder = folder(10, None, limits);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/graphql", listener.local_addr().unwrap());
    let upstream = async |asked: String| {
        let (_, id) = asked.split_once("\"jobId\":\"").unwrap();
        let id = id.split('"').next().unwrap();
        ([(axum::http::header::CONTENT_TYPE, "application/json")], answer(id))
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

type Stage = (&'static str, Box<dyn FnMut()>);

fn stages(runtime: &Arc<Runtime>) -> Vec<Stage> {
    let policies = folder(10, None, "");
    let loaded = load(policies.path());
    let tenant: Arc<Tenant> = Arc::clone(
        loaded.policies.tenants().find(|tenant| tenant.id.as_str() == "tenant-0").unwrap(),
    );
    let documents = Documents::new(Limits::default());
    let firsts = documents.clone();
    let (issuers, now) = (Issuers::none(), jiff::Timestamp::now());
    let own_key = key(0, 0);
    let (own_runtime, id) = (Arc::clone(runtime), JobId::parse("job-1").unwrap());
    let mut selection = Selection::of_leaves(["id", "state", "name", "created", "metadata"]);
    selection.field("client").merge(&Selection::of_leaves(["id", "name"]));
    selection.field("outputs").merge(&Selection::of_leaves(["key"]));
    let (bytes, by) = (answer("job-1"), CredentialId::parse("key-0").unwrap());
    let owner = Arc::clone(&tenant);
    let (router, kept) = gateway(runtime);
    let [whole, covered, forward] = [router.clone(), router.clone(), router];
    let [whole_runtime, covered_runtime, forward_runtime] = [(); 3].map(|()| Arc::clone(runtime));
    let ask = |runtime: &Runtime, router: &axum::Router, request| {
        let answer: axum::response::Response =
            runtime.block_on(router.clone().oneshot(request)).unwrap();
        assert_eq!(answer.status(), 200);
    };
    let (mut first, mut extra, mut other) = (0, 0, 1);
    vec![
        (
            "key",
            Box::new(move || {
                let caller = authenticate(&own_key, &loaded.policies, &issuers, now);
                own_runtime.block_on(caller).unwrap();
            }),
        ),
        (
            "operation, first",
            Box::new(move || {
                first += 1;
                let document = firsts.parse(&format!("{QUERY} # {first}")).unwrap();
                document.operation(None, variables("job-1", None)).unwrap();
            }),
        ),
        (
            "operation, remembered",
            Box::new(move || {
                let document = documents.parse(QUERY).unwrap();
                document.operation(None, variables("job-1", None)).unwrap();
            }),
        ),
        (
            "selection to document",
            Box::new(move || {
                std::hint::black_box(Call::get_job(&id, &JobDocument::of(&selection)));
            }),
        ),
        (
            "upstream answer in",
            Box::new(move || {
                upstream::read::<Job>("getJob", bytes.as_bytes()).unwrap();
            }),
        ),
        (
            "envelope in",
            Box::new(move || match envelope::read(Some(METADATA)) {
                envelope::Reading::Envelope(envelope) => {
                    std::hint::black_box(envelope.value(&tenant));
                }
                other => panic!("{other:?}"),
            }),
        ),
        (
            "envelope out",
            Box::new(move || {
                std::hint::black_box(envelope::wrap(&owner, &by, None, "{\"shot\":12}"));
            }),
        ),
        (
            "whole-answer hit",
            Box::new(move || {
                let _folder = &kept;
                ask(&whole_runtime, &whole, request("job-1", None));
            }),
        ),
        (
            "covered hit",
            Box::new(move || {
                extra += 1;
                ask(&covered_runtime, &covered, request("job-1", Some(extra)));
            }),
        ),
        (
            // With the upstream, which is in this process too.
            "forward",
            Box::new(move || {
                other += 1;
                ask(&forward_runtime, &forward, request(&format!("job-{other}"), None));
            }),
        ),
    ]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtime = Arc::new(runtime);
    let mut stages = stages(&runtime);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, times] = &arguments[..]
        && flag == "--count"
    {
        let (_, run) = stages.iter_mut().find(|(own, _)| own == name).unwrap();
        for _ in 0..times.parse().unwrap() {
            run();
        }
        return;
    }
    println!("{:<24} {:>12} {:>12}", "stage", "allocations", "bytes");
    for (name, run) in &mut stages {
        const TIMES: usize = 1_000;
        // Once, so that what is remembered is.
        run();
        let region = Region::new(COUNTING);
        for _ in 0..TIMES {
            run();
        }
        let change = region.change();
        let (allocations, bytes) = (change.allocations / TIMES, change.bytes_allocated / TIMES);
        println!("{name:<24} {allocations:>12} {bytes:>12}");
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, run) in &mut stages {
        criterion.bench_function(&format!("pipeline/{name}"), |bencher| bencher.iter(&mut *run));
    }
    criterion.final_summary();
}
