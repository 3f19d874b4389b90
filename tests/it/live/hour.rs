//! An hour of 200 unfinished jobs of 10 tenants, by the calls to Move that they cost.

use std::time::Duration;

use jobs_gateway::sandbox::{SINGLECAM_TAKE, State};
use serde_json::json;

use super::WAITING;
use super::streams::{Follower, SSE};
use crate::support::{Setup, World};
use crate::webhooks::CONFIG as WITH_WEBHOOKS;

const TENANTS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// The documents that Move was sent in an hour.
async fn documents(config: &str, selection: &str) -> f64 {
    let config = format!("{config}subscriptions: {{ max_age: 2h }}\n");
    let tenants = TENANTS.map(|name| (name, WAITING.to_owned()));
    let world = Setup::new().config(config).tenants(tenants).start().await;
    for tenant in TENANTS {
        for _ in 0..20 {
            let query = format!(
                "mutation {{ own: createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}"
            );
            let made = world.ask(tenant, &query, json!({})).await;
            world.sandbox.set_state(made.data("/own/id").as_str().unwrap(), State::Running);
        }
    }
    let mut streams = Vec::new();
    for tenant in TENANTS {
        let query = format!("subscription {{ jobsUpdated {{ job {{ id {selection} }} }} }}");
        streams.push(Follower::post(&world, tenant, &json!({"query": query}), SSE).await);
    }
    let before = calls(&world).await;
    for _ in 0..3_600 {
        world.pass(Duration::from_secs(1)).await;
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    calls(&world).await - before
}

async fn calls(world: &World) -> f64 {
    let mut calls = 0.0;
    for field in ["getJob", "listJobs"] {
        let name = format!("jobs_gateway_upstream_calls_total{{field=\"{field}\",outcome=\"ok\"}}");
        calls += world.metric(&name).await.unwrap_or_default();
    }
    calls
}

/// The figures of docs/live-updates.md: `cargo nextest run --test it --run-ignored only an_hour`.
#[tokio::test]
#[ignore = "lets three hours pass, in a minute"]
async fn an_hour_of_two_hundred_jobs_costs_move_a_hundredth_of_what_polling_costs() {
    let alone = documents("", "state percentageComplete").await;
    let told = documents(WITH_WEBHOOKS, "state").await;
    let progress = documents(WITH_WEBHOOKS, "state percentageComplete").await;
    eprintln!(
        "calls in an hour: {alone} without events, {told} with, {progress} with, for the progress"
    );
    // Each 2 s, one by one, would be 360,000. The budget is 1 a second, and the time that the test itself takes passes too.
    assert!((1.0..=4_200.0).contains(&alone), "{alone}");
    assert!((1.0..=150.0).contains(&told), "{told}");
    assert!((1.0..=4_200.0).contains(&progress), "{progress}");
}
