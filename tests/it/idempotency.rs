//! `Idempotency-Key`: one mutation, however often it is sent.

use std::time::Duration;

use futures_util::future::join_all;
use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::redis::Redis;
use crate::support::{Reply, Setup, World, key, send};

const CREATE: &str = "mutation($take: String!, $name: String) {
    createSingleCamJob(takeId: $take, name: $name) { id name } }";

async fn keyed(world: &World, tenant: &str, own: &str, body: &Value) -> Reply {
    let request = world.http.post(world.url()).header("authorization", key(tenant));
    send(request.header("idempotency-key", own).json(body)).await
}

fn create(name: &str) -> Value {
    json!({"query": CREATE, "variables": {"take": SINGLECAM_TAKE, "name": name}})
}

async fn create_keyed(world: &World, own: &str) -> Reply {
    keyed(world, "acme", own, &create("one")).await
}

fn id(reply: &Reply) -> String {
    reply.data("/createSingleCamJob/id").as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_same_mutation_with_the_same_key_happens_once_and_is_answered_the_same() {
    let world = World::start().await;
    let first = create_keyed(&world, "\"k-1\"").await;
    // Quotes are the draft's, not the key's; the order of variables is nobody's.
    let body = format!(
        "{{\"variables\": {{\"name\": \"one\", \"take\": \"{SINGLECAM_TAKE}\"}}, \"query\": {}}}",
        Value::from(CREATE)
    );
    let again = world.http.post(world.url()).header("authorization", key("acme"));
    let again = again.header("idempotency-key", "k-1").header("content-type", "application/json");
    let again = send(again.body(body)).await;
    assert_eq!(first.text, again.text);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(world.sandbox.job_count(), 1);
    // Another key, another tenant, no key: each is a job of its own.
    create_keyed(&world, "k-2").await;
    keyed(&world, "globex", "k-1", &create("one")).await;
    world.post("acme", &create("one")).await;
    assert_eq!(world.sandbox.job_count(), 4);
}

#[tokio::test]
async fn a_key_that_is_used_for_something_else_is_a_conflict_and_does_nothing() {
    let world = World::start().await;
    create_keyed(&world, "k-1").await;
    let reply = keyed(&world, "acme", "k-1", &create("another")).await;
    assert_eq!((reply.status, reply.code().as_str()), (422, "IDEMPOTENCY_CONFLICT"));
    assert_eq!(world.sandbox.job_count(), 1);
    for bad in ["", "\"open", "with space", &"x".repeat(256)] {
        let reply = create_keyed(&world, bad).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "BAD_USER_INPUT"), "{bad}");
    }
}

#[tokio::test]
async fn who_comes_while_the_first_is_running_waits_for_its_answer() {
    let world = World::start().await;
    world.sandbox.fail_next(None, Fault::Delay(Duration::from_millis(150)));
    let all = join_all((0..10).map(|_| create_keyed(&world, "k-1"))).await;
    assert!(all.iter().all(|reply| id(reply) == id(&all[0])), "{all:?}");
    assert_eq!(world.sandbox.job_count(), 1);
}

#[tokio::test]
async fn a_refused_mutation_did_not_happen_and_its_key_may_be_used_again() {
    let world = World::start().await;
    world.sandbox.fail_next(None, Fault::too_many_requests(1));
    assert_eq!(create_keyed(&world, "k-1").await.code(), "UPSTREAM_UNAVAILABLE");
    world.sandbox.clear_calls();
    let made = create_keyed(&world, "k-1").await;
    assert_eq!(world.sandbox.jobs()[0].id, id(&made));
    assert_eq!(world.sandbox.count("listJobs"), 0, "there is nothing to look for");
}

#[tokio::test]
async fn a_mutation_whose_answer_was_lost_is_found_and_not_made_again() {
    let world = World::start().await;
    for n in 0..150 {
        world.create("globex", &n.to_string()).await;
    }
    world.sandbox.fail_next(Some("createSingleCamJob"), Fault::LoseAnswer);
    assert_eq!(create_keyed(&world, "k-1").await.code(), "OUTCOME_UNKNOWN");
    assert_eq!(world.sandbox.job_count(), 151, "it happened");
    for n in 0..150 {
        world.create("globex", &n.to_string()).await;
    }
    let found = create_keyed(&world, "k-1").await;
    assert_eq!(found.data("/createSingleCamJob/name"), "one");
    assert_eq!(world.sandbox.job_count(), 301, "it was found, not made again");
    let again = create_keyed(&world, "k-1").await;
    assert_eq!(again.text, found.text);
    assert_eq!(again.headers["idempotent-replayed"], "true");
}

#[tokio::test]
async fn a_mutation_that_was_lost_before_it_happened_is_made_by_the_retry() {
    let world = World::start().await;
    world.sandbox.fail_next(Some("createSingleCamJob"), Fault::Reset);
    assert_eq!(create_keyed(&world, "k-1").await.code(), "OUTCOME_UNKNOWN");
    assert_eq!(world.sandbox.job_count(), 0);
    id(&create_keyed(&world, "k-1").await);
    assert_eq!(world.sandbox.job_count(), 1);
}

#[tokio::test]
async fn each_root_field_of_a_mutation_that_half_happened_happens_once() {
    let world = World::start().await;
    let two = format!(
        "mutation {{ a: createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }}
            b: createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}"
    );
    let two = json!({"query": two});
    world.sandbox.fail_next(Some("createSingleCamJob"), Fault::Delay(Duration::ZERO));
    world.sandbox.fail_next(Some("createSingleCamJob"), Fault::too_many_requests(1));
    let half = keyed(&world, "acme", "k-1", &two).await;
    assert_eq!(half.code(), "UPSTREAM_UNAVAILABLE");
    assert_eq!(world.sandbox.job_count(), 1, "one of them happened");
    keyed(&world, "acme", "k-1", &two).await.data("/b/id");
    assert_eq!(world.sandbox.job_count(), 2);
}

#[tokio::test]
async fn a_key_is_forgotten_when_its_time_is_over() {
    let config = "idempotency: { keep: 1h }\n".to_owned();
    let world = World::set_up(Setup { config, ..Setup::default() }).await;
    create_keyed(&world, "k-1").await;
    world.pass(Duration::from_mins(59)).await;
    create_keyed(&world, "k-1").await;
    assert_eq!(world.sandbox.job_count(), 1);
    world.pass(Duration::from_mins(2)).await;
    create_keyed(&world, "k-1").await;
    assert_eq!(world.sandbox.job_count(), 2);
}

#[tokio::test]
async fn another_replica_gives_the_answer_of_the_first() {
    let redis = Redis::start();
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let tenants = [("acme", "operations: [\"*\"]\n".to_owned())];
    let config =
        format!("cursor_key: ${{CURSOR_KEY}}\nshared_state: {{ redis: '{}' }}\n", redis.url());
    let one = World::over(sandbox.clone(), &tenants, &config).await;
    let other = World::over(sandbox, &tenants, &config).await;
    one.sandbox.fail_next(None, Fault::Delay(Duration::from_millis(100)));
    let all = join_all([create_keyed(&one, "k-1"), create_keyed(&other, "k-1")]).await;
    assert_eq!(id(&all[0]), id(&all[1]));
    assert_eq!(id(&create_keyed(&other, "k-1").await), id(&all[0]));
    assert_eq!(one.sandbox.job_count(), 1);
}

#[tokio::test]
async fn without_redis_a_retry_looks_for_the_job_before_it_makes_one() {
    let mut redis = Redis::start();
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let tenants = [("acme", "operations: [\"*\"]\n".to_owned())];
    let config =
        format!("cursor_key: ${{CURSOR_KEY}}\nshared_state: {{ redis: '{}' }}\n", redis.url());
    let one = World::over(sandbox.clone(), &tenants, &config).await;
    let other = World::over(sandbox, &tenants, &config).await;
    redis.kill();
    let first = create_keyed(&one, "k-1").await;
    let second = create_keyed(&other, "k-1").await;
    assert_eq!(id(&first), id(&second));
    assert_eq!(one.sandbox.job_count(), 1);
}
