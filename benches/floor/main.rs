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

const JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

/// A job as Move sends it, about 1.3 KB, with the bench tenant's envelope.
fn job(id: &str) -> Value {
    let output = |n: u32| {
        json!({"key": format!("output-{n}"), "file": {"type": "fbx", "presignedUrl": format!(
            "https://files.example.test/outputs/{id}/{n}.fbx?X-Amz-Algorithm=AWS4-HMAC-SHA256&\
             X-Amz-Date=20990101T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&\
             X-Amz-Signature=0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
        )}})
    };
    json!({
        "id": id,
        "name": "scene 12",
        "state": "FINISHED",
        "created": "2026-01-01T00:00:00.000Z",
        "metadata": r#"{"tenant-0":{"shot":12},"_gateway":{"v":1,"owner":"tenant-0","by":"key-0"}}"#,
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

/// Answers as Move would, at once: the document says which root field, the variables which job.
async fn upstream(body: Bytes) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    let text = std::str::from_utf8(&body).unwrap();
    let answer = if text.contains("__type") {
        json!({"data": {"__type": {"fields": [{"name": "createJob"}]}}})
    } else if text.contains("listJobs") {
        let items: Vec<_> = (0..50).map(|n| job(&format!("job-{n}"))).collect();
        json!({"data": {"listJobs": {"items": items, "after": null}}})
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

#[tokio::main]
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
