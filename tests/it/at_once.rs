//! One key, or one job, at two replicas at the same moment; and a Redis that is slow, or silent.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE};
use serde_json::{Value, json};

use crate::support::redis::{Door, Redis};
use crate::support::{Reply, Setup, World, key, send, until_called};

const CREATE: &str = "mutation($take: String!, $name: String) {
    createSingleCamJob(takeId: $take, name: $name) { id } }";

const UPDATE: &str = "mutation($id: String!, $m: AWSJSON, $n: String) {
    updateJob(id: $id, metadata: $m, name: $n) { id } }";

async fn keyed(world: &World, own: &str, query: &str, variables: Value) -> Reply {
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let body = json!({"query": query, "variables": variables});
    send(request.header("idempotency-key", own).json(&body)).await
}

async fn create(world: &World, own: &str) -> Reply {
    keyed(world, own, CREATE, json!({"take": SINGLECAM_TAKE, "name": own})).await
}

fn id(reply: &Reply) -> String {
    reply.data("/createSingleCamJob/id").as_str().unwrap().to_owned()
}

/// The jobs at Move that a key made.
fn made(world: &World, own: &str) -> usize {
    world.sandbox.jobs().iter().filter(|job| job.name.as_deref() == Some(own)).count()
}

/// Two gateways over one sandbox, each with its configuration of Redis.
async fn replicas(configs: [String; 2]) -> (World, World) {
    let [first, second] = configs;
    let one = Setup::new().config(first).start().await;
    let other = Setup::new().config(second).over(one.sandbox.clone()).await;
    one.sandbox.clear_calls();
    (one, other)
}

async fn until(world: &World, metric: &str, value: f64) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while world.metric(metric).await != Some(value) {
        assert!(Instant::now() < give_up, "{metric} does not become {value}");
        tokio::task::yield_now().await;
    }
}

/// Makes the store of keys older than keys are kept: one that is not in it was not used.
async fn nothing_is_missing(redis: &Redis) {
    let () = redis.command(&["SET", "jobs-gateway:v1:{idempotency}:complete-since", "0"]).await;
}

#[tokio::test]
async fn one_key_at_two_replicas_at_once_makes_one_job_with_a_redis_that_is_slow() {
    let redis = Redis::start();
    let doors = [Door::open(&redis).await, Door::open(&redis).await];
    let (one, other) = replicas(doors.each_ref().map(Door::config)).await;
    one.sandbox.set_latency(Duration::from_millis(100));
    for (n, late) in [[0, 25], [25, 25], [60, 0], [150, 150], [300, 40], [300, 300], [0, 0]]
        .into_iter()
        .flat_map(|late| [late, late])
        .enumerate()
    {
        for (door, late) in doors.iter().zip(late) {
            door.slow_down(Duration::from_millis(late));
        }
        nothing_is_missing(&redis).await;
        let own = format!("k-{n}");
        let all = [&one, &other, &one, &other].map(|world| create(world, &own));
        let all = join_all(all).await;
        assert_eq!(made(&one, &own), 1, "{own}, {late:?} ms late: {all:?}");
        assert!(all.iter().all(|reply| id(reply) == id(&all[0])), "{own}: {all:?}");
        assert_eq!(id(&create(&other, &own).await), id(&all[0]));
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_entered_is_refused_before_anything_is_sent_where_that_is_wanted() {
    let redis = Redis::start();
    let config = redis.config() + "idempotency: { on_trouble: refuse }\n";
    let (one, other) = replicas([config.clone(), config]).await;
    let first = id(&create(&one, "first").await);
    redis.freeze(true);
    let refused = join_all([create(&one, "k"), create(&other, "k"), create(&one, "first")]).await;
    for reply in &refused {
        assert_eq!((reply.status, reply.code().as_str()), (503, "OVERLOADED"), "{reply:?}");
        assert_eq!(reply.headers["retry-after"], "1");
    }
    assert_eq!(one.sandbox.job_count(), 1, "nothing was sent");
    one.create("acme", "{}").await;
    redis.freeze(false);
    for world in [&one, &other] {
        until(world, "jobs_gateway_shared_state_ok", 1.0).await;
    }
    let all = join_all([create(&one, "k"), create(&other, "k")]).await;
    assert_eq!((id(&all[0]), made(&one, "k")), (id(&all[1]), 1));
    assert_eq!(id(&create(&other, "first").await), first);
}

#[tokio::test]
async fn a_key_that_redis_forgets_while_its_first_try_looks_makes_one_job() {
    for on_trouble in ["refuse", "look"] {
        let redis = Redis::start();
        let config = format!("{}idempotency: {{ on_trouble: {on_trouble} }}\n", redis.config());
        let (one, other) = replicas([config.clone(), config]).await;
        // What Redis holds is not all: each first try looks, and reads what was there before the other's.
        let () = redis.command(&["FLUSHALL"]).await;
        let slow = Fault::SlowBody(Duration::from_millis(700));
        one.sandbox.fail_next(Some("listJobs"), slow);
        let first = create(&one, "k");
        let second = async {
            until_called(&one.sandbox, "listJobs", 1).await;
            let () = redis.command(&["FLUSHALL"]).await;
            create(&other, "k").await
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.status, first.code().as_str()), (503, "OVERLOADED"), "{first:?}");
        assert_eq!(first.headers["retry-after"], "1");
        let retried = create(&one, "k").await;
        assert_eq!((id(&retried), made(&one, "k")), (id(&second), 1));
    }
}

/// A rename at one replica that Move takes its time for, and new metadata at the other meanwhile. Returns
/// the job.
async fn rename_beside_an_update(one: &World, other: &World, is_keyed: bool) -> String {
    let job = one.create("acme", "{\"n\": 1}").await;
    one.sandbox.fail_next(Some("updateJob"), Fault::Delay(Duration::from_millis(400)));
    let renaming = async {
        let rename = json!({"id": job, "n": "new"});
        if is_keyed {
            keyed(one, "rename", UPDATE, rename).await
        } else {
            one.ask("acme", UPDATE, rename).await
        }
    };
    let writing = async {
        until_called(&one.sandbox, "updateJob", 1).await;
        other.ask("acme", UPDATE, json!({"id": job, "m": "{\"n\": 2}"})).await
    };
    let (renamed, written) = tokio::join!(renaming, writing);
    renamed.data("/updateJob/id");
    written.data("/updateJob/id");
    job
}

/// Reads a job's name and metadata at Move.
fn held(world: &World, job: &str) -> (Option<String>, Value) {
    let job = world.sandbox.job(job).unwrap();
    (job.name, serde_json::from_str(job.metadata.as_deref().unwrap()).unwrap())
}

#[tokio::test]
async fn two_replicas_write_one_job_one_after_the_other() {
    let redis = Redis::start();
    let (one, other) = replicas([redis.config(), redis.config()]).await;
    for world in [&one, &other] {
        until(world, "jobs_gateway_shared_state_ok", 1.0).await;
    }
    let job = rename_beside_an_update(&one, &other, true).await;
    let (name, stored) = held(&one, &job);
    assert_eq!((name.as_deref(), &stored["acme"]), (Some("new"), &json!({"n": 2})));
    assert!(stored["_gateway"]["writes"].is_array(), "the mark of the first is kept: {stored}");
    // Its turn is over: nothing is left of it, and the next waits for nobody.
    let turn = format!("jobs-gateway:v1:turn:acme:{job}");
    assert_eq!(redis.command::<u32>(&["EXISTS", &turn]).await, 0);
}

#[tokio::test]
async fn a_turn_that_nobody_ends_is_waited_for_and_fails_no_update() {
    let redis = Redis::start();
    let (one, _other) = replicas([redis.config(), redis.config()]).await;
    until(&one, "jobs_gateway_shared_state_ok", 1.0).await;
    let job = one.create("acme", "{\"n\": 1}").await;
    let turn = format!("jobs-gateway:v1:turn:acme:{job}");
    let () = redis.command(&["SET", &turn, "a replica that is gone"]).await;
    let request = one.http.post(one.url()).header("authorization", key("acme"));
    let body = json!({"query": UPDATE, "variables": {"id": job, "m": "{\"n\": 2}"}});
    let reply = send(request.header("x-request-timeout", "1s").json(&body)).await;
    reply.data("/updateJob/id");
    assert_eq!(held(&one, &job).1["acme"], json!({"n": 2}));
    assert_eq!(redis.command::<u32>(&["EXISTS", &turn]).await, 1, "it is not this one's to end");
}

#[tokio::test]
async fn without_redis_a_rename_with_a_key_touches_no_metadata() {
    let mut redis = Redis::start();
    let (one, other) = replicas([redis.config(), redis.config()]).await;
    redis.kill();
    let job = rename_beside_an_update(&one, &other, true).await;
    let (name, stored) = held(&one, &job);
    assert_eq!((name.as_deref(), &stored["acme"]), (Some("new"), &json!({"n": 2})));
    let again = rename_beside_an_update(&one, &other, false).await;
    assert_eq!(held(&one, &again).1["acme"], json!({"n": 2}));
}
