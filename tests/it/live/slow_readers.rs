//! Readers that take nothing for a while.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use futures_util::{FutureExt, StreamExt};
use jobs_gateway::app::App;
use jobs_gateway::config::StoreFile;
use jobs_gateway::model::Clock;
use jobs_gateway::reload::ConfigSource;
use jobs_gateway::sandbox::State;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::WAITING;
use super::streams::{FOLLOW, SSE};
use crate::support::{Setup, World, key};

/// One call to Move at once: whoever keeps the place keeps all others waiting.
const ONE_PLACE: &str =
    "upstream: { url: '${MOVE_API_URL}', api_key: '${MOVE_API_KEY}', max_in_flight: 1 }\n";

/// A gateway without a listener, in front of a world's sandbox: what it answers is read as this test likes.
fn gateway(world: &World) -> App {
    let url = world.sandbox.url().to_string();
    let variables = move |name: &str| match name {
        "MOVE_API_URL" => Some(url.clone()),
        _ => Some("sandbox-move-key".to_owned()),
    };
    let origin = ConfigSource::new(&world.folder().join("gateway.yaml"), Arc::new(variables));
    let mut loaded = origin.load(jiff::Timestamp::now()).unwrap_or_else(|found| panic!("{found}"));
    // That of the usual place is the world's.
    loaded.config.idempotency.file = StoreFile::Memory;
    App::build(&loaded.config, loaded.policies, Clock::system(), None).unwrap()
}

async fn ask(router: &Router, accept: &str, body: &Value) -> Body {
    let request = Request::post("/graphql")
        .header(header::AUTHORIZATION, key("acme"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, accept)
        .body(Body::from(body.to_string()))
        .unwrap();
    router.clone().oneshot(request).await.unwrap().into_body()
}

#[tokio::test]
async fn who_reads_a_stream_no_further_keeps_no_place_at_move() {
    let world = Setup::new().tenant("acme", WAITING).config(ONE_PLACE).start().await;
    let [followed, other] = [world.create("acme", "{}").await, world.create("acme", "{}").await];
    world.sandbox.set_state(&followed, State::Running);
    let app = gateway(&world);
    let router = app.router();
    let body = json!({"query": FOLLOW, "variables": {"id": followed}});
    let mut stream = ask(&router, SSE, &body).await.into_data_stream();
    while !stream.next().await.unwrap().unwrap().windows(7).any(|word| word == b"RUNNING") {}
    // It changes, the stream begins to read it, and is read no further itself.
    let update = format!("mutation {{ updateJob(id: \"{followed}\", name: \"new\") {{ id }} }}");
    let json = "application/json";
    let told = axum::body::to_bytes(ask(&router, json, &json!({"query": update})).await, 1 << 16);
    assert!(!told.await.unwrap().windows(6).any(|word| word == b"errors"));
    world.sandbox.set_latency(Duration::from_millis(100));
    world.sandbox.clear_calls();
    while let Some(part) = stream.next().now_or_never() {
        part.unwrap().unwrap();
    }
    while world.sandbox.count("getJob") == 0 {
        tokio::task::yield_now().await;
    }
    let query = format!("{{ getJob(jobId: \"{other}\") {{ state }} }}");
    let read = axum::body::to_bytes(ask(&router, json, &json!({"query": query})).await, 1 << 16);
    let read: Value = serde_json::from_slice(&read.await.unwrap()).unwrap();
    assert_eq!(read["errors"], Value::Null, "its turn came: {read}");
}
