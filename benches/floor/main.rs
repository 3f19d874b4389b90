//! The floor that a gateway is measured against: servers that do nothing but what cannot be left out, and an
//! upstream that answers at once. `scripts/bench` runs them.
//!
//! `floor answer ADDRESS` serves fixed bytes; `floor forward ADDRESS URL` passes bodies on with a pooled
//! client; `floor upstream ADDRESS` is the upstream; `floor tokens COUNT` prints a JWK set and tokens.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "a bench explains itself by its first lines")]

#[path = "../support/mod.rs"]
mod support;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use serde_json::{Value, json};

/// As in the gateway: what differs is what is done, not the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of jobs in the account, newest first, and of how many one is the bench tenant's.
const JOBS: usize = 2_000;
const SHARE: usize = 20;

const JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

/// The id of a job of the account's listings.
fn listed(n: usize) -> String {
    format!("listed-{n}")
}

/// A job as Move sends it, 1.3 KiB, with the bench tenant's envelope; of those that are listed most are another's.
fn job(id: &str) -> Value {
    let n: usize = id.strip_prefix("listed-").and_then(|n| n.parse().ok()).unwrap_or(0);
    let owner = if n.is_multiple_of(SHARE) { "tenant-0" } else { "tenant-1" };
    let second = JOBS - n;
    let output = |n: u32| {
        json!({"key": format!("output-{n}"), "file": {"type": "fbx", "presignedUrl": format!(
            "https://files.example.test/outputs/{id}/{n}.fbx?X-Amz-Algorithm=AWS4-HMAC-SHA256&\
             X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20990101%2Feu-central-1%2Fs3%2Faws4_request&\
             X-Amz-Date=20990101T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&\
             response-content-disposition=attachment%3B%20filename%3D%22scene-12-take-1-output-{n}.fbx%22&\
             X-Amz-Signature=0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
        )}})
    };
    json!({
        "id": id,
        "name": "scene 12",
        "state": "FINISHED",
        "created": format!("2026-01-01T00:{:02}:{:02}.000Z", second / 60, second % 60),
        "metadata": format!(
            r#"{{"tenant-0":{{"shot":12}},"_gateway":{{"v":1,"owner":"{owner}","by":"key-0"}}}}"#
        ),
        "progress": {"state": "FINISHED", "percentageComplete": 100},
        "client": {"id": "client-1", "name": "studio"},
        "take": {"id": "take-1"},
        "outputs": [output(1), output(2)],
    })
}

/// The text after `"<name>":"`, up to the next quote.
fn argument<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let rest = &body[body.find(&format!("\"{name}\":\""))? + name.len() + 4..];
    rest.split('"').next()
}

/// A page of the account's jobs.
fn page(variables: &Value) -> Value {
    let first = variables["first"].as_u64().map_or(50, |first| usize::try_from(first).unwrap());
    let from: usize = variables["after"].as_str().map_or(0, |after| after.parse().unwrap());
    let is_ascending = variables["sortDirection"] == "ASC";
    let to = JOBS.min(from + first);
    let at = |n| if is_ascending { JOBS - 1 - n } else { n };
    let items: Vec<_> = (from..to).map(|n| job(&listed(at(n)))).collect();
    json!({"items": items, "after": (to < JOBS).then(|| to.to_string())})
}

/// Answers as Move would, at once: the document says which root field, the variables which job.
async fn upstream(body: Bytes) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    let text = std::str::from_utf8(&body).unwrap();
    let variables = || serde_json::from_str::<Value>(text).unwrap()["variables"].take();
    let answer = if text.contains("__type(") {
        json!({"data": {"__type": {"fields": [{"name": "createJob"}]}}})
    } else if text.contains("query batch") {
        let Value::Object(asked) = variables() else { panic!("variables") };
        let jobs = asked.into_iter().map(|(alias, id)| (alias, job(id.as_str().unwrap())));
        json!({"data": jobs.collect::<serde_json::Map<_, _>>()})
    } else if text.contains("listJobs") {
        json!({"data": {"listJobs": page(&variables())}})
    } else if text.contains("query client") {
        json!({"data": {"client": {"id": "client-1"}}})
    } else if text.contains("createSingleCamJob") {
        json!({"data": {"createSingleCamJob": job("job-new")}})
    } else {
        json!({"data": {"getJob": job(argument(text, "jobId").unwrap_or("job-0"))}})
    };
    (JSON, answer.to_string())
}

async fn serve(address: &str, router: Router) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    axum::serve(listener, router).await.unwrap();
}

/// A JWK set in the first line, then a token in each.
fn tokens(count: usize) {
    let signer = support::Signer::new();
    println!("{}", json!({"keys": [signer.jwk]}));
    for n in 0..count {
        println!("{}", signer.token(0, n));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["answer", address] => {
            let body = Bytes::from(json!({"data": {"getJob": job("job-0")}}).to_string());
            let answer = async move || (JSON, body.clone());
            serve(address, Router::new().route("/graphql", post(answer))).await;
        }
        ["forward", address, url] => {
            let (http, url) = (reqwest::Client::new(), url.to_owned());
            let forward = async move |body: Bytes| {
                let asked = http.post(&url).header(CONTENT_TYPE, "application/json").body(body);
                (JSON, asked.send().await.unwrap().bytes().await.unwrap())
            };
            serve(address, Router::new().route("/graphql", post(forward))).await;
        }
        ["upstream", address] => {
            serve(address, Router::new().route("/graphql", post(upstream))).await;
        }
        ["tokens", count] => tokens(count.parse().unwrap()),
        // `cargo bench` runs every bench: this one has nothing to print by itself.
        _ => println!("scripts/bench runs this"),
    }
}
