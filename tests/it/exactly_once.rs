//! Random histories of keyed mutations through a whole gateway: lost calls and answers, looks that fail,
//! a breaker that opens. The model in `idempotency` runs thousands of them, with Redis and restarts.

use std::time::Duration;

use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

use crate::support::{Reply, World, key, send};

const HISTORIES: usize = 60;

const CREATE: &str = "mutation($take: String!, $a: String, $b: String) {
    a: createSingleCamJob(takeId: $take, name: $a) { id client { id } }
    b: createSingleCamJob(takeId: $take, name: $b) { id } }";

async fn create(world: &World, own: &str) -> Reply {
    let (a, b) = (format!("{own} a"), format!("{own} b"));
    let variables = json!({"take": SINGLECAM_TAKE, "a": a, "b": b});
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let body = json!({"query": CREATE, "variables": variables});
    send(request.header("idempotency-key", own).json(&body)).await
}

/// A fault of a creation.
fn creation_fault(chance: &mut TestRng) -> Fault {
    match chance.next_u32() % 8 {
        0 => Fault::LoseAnswer,
        1 => Fault::Reset,
        2 => Fault::html(503),
        3 => Fault::too_many_requests(0),
        4 => Fault::Truncate,
        5 => Fault::GraphqlError { error_type: "MoveBadRequest", message: "no" },
        6 => Fault::edit(|answer| {
            answer["data"] = Value::Null;
            answer["errors"] = json!([{"message": "m", "path": ["createSingleCamJob", "client"]}]);
        }),
        _ => Fault::edit(|answer| answer["data"]["createSingleCamJob"]["metadata"] = Value::Null),
    }
}

/// A fault of a look.
fn look_fault(chance: &mut TestRng) -> Fault {
    match chance.next_u32() % 4 {
        0 => Fault::html(500),
        1 => Fault::too_many_requests(0),
        2 => Fault::GraphqlError { error_type: "InternalFailure", message: "no" },
        _ => Fault::edit(|answer| answer["data"]["listJobs"]["items"][0] = Value::Null),
    }
}

#[tokio::test]
async fn each_root_field_of_a_key_makes_one_job_whatever_goes_wrong_and_its_caller_reads_it() {
    let world = World::start().await;
    // The store of keys is older than keys are kept: a key that is not in it is not looked for.
    world.pass(Duration::from_hours(25)).await;
    let mut chance = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for n in 0..HISTORIES {
        let own = format!("history-{n}");
        for _ in 0..=chance.next_u32() % 4 {
            for _ in 0..chance.next_u32() % 3 {
                let fault = creation_fault(&mut chance);
                world.sandbox.fail_next(Some("createSingleCamJob"), fault);
            }
            if chance.next_u32().is_multiple_of(2) {
                world.sandbox.fail_next(Some("listJobs"), look_fault(&mut chance));
            }
            create(&world, &own).await;
            world.sandbox.clear_faults();
        }
        // The breaker closes again.
        world.pass(Duration::from_secs(6)).await;
        let reply = create(&world, &own).await;
        for field in ["a", "b"] {
            let name = format!("{own} {field}");
            let jobs = world.sandbox.jobs().into_iter();
            let made: Vec<_> = jobs.filter(|job| job.name.as_ref() == Some(&name)).collect();
            assert_eq!(made.len(), 1, "{name}: {made:?}");
            assert_eq!(reply.data(&format!("/{field}/id")), made[0].id, "{name}");
        }
    }
}
