//! `Idempotency-Key`: one mutation, however often it is sent.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE, State};
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
async fn a_link_is_made_again_and_its_answer_does_not_say_that_it_was_made_before() {
    let world = Setup::new().tenant("acme", "operations: [\"*\", sharing]\n").start().await;
    let own = r#"{"acme":{},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#;
    world.sandbox.add_file("file-own", Some(own));
    let share = "mutation { generateShareCode(fileId: \"file-own\") { code } }";
    let mut codes = Vec::new();
    for _ in 0..2 {
        let reply = keyed(&world, "acme", "k-1", &json!({"query": share})).await;
        assert!(!reply.headers.contains_key("idempotent-replayed"), "{reply:?}");
        codes.push(reply.data("/generateShareCode/code"));
    }
    assert_ne!(codes[0], codes[1]);
}

#[tokio::test]
async fn a_key_that_is_used_for_something_else_is_a_conflict_and_does_nothing() {
    let world = World::start().await;
    create_keyed(&world, "k-1").await;
    let reply = keyed(&world, "acme", "k-1", &create("another")).await;
    assert_eq!((reply.status, reply.code().as_str()), (422, "IDEMPOTENCY_CONFLICT"));
    assert_eq!(world.sandbox.job_count(), 1);
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let two = request.header("idempotency-key", "k-2").header("idempotency-key", "k-3");
    let reply = send(two.json(&create("one"))).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "BAD_USER_INPUT"), "two keys");
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

/// A gateway whose store of keys is older than keys are kept: nothing can be missing in it.
async fn settled() -> World {
    let world = World::start().await;
    world.pass(Duration::from_hours(25)).await;
    world
}

#[tokio::test]
async fn a_refused_mutation_did_not_happen_and_its_key_may_be_used_again() {
    let world = settled().await;
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
async fn a_look_that_is_shown_nothing_and_told_of_something_has_not_looked() {
    let world = World::start().await;
    world.sandbox.fail_next(Some("createSingleCamJob"), Fault::LoseAnswer);
    assert_eq!(create_keyed(&world, "k-1").await.code(), "OUTCOME_UNKNOWN");
    let of_an_item = Fault::edit(|answer| {
        answer["errors"] = json!([{"path": ["listJobs", "items", 0], "message": "odd"}]);
        answer["data"]["listJobs"] = json!({"items": [], "after": null});
    });
    let endless = Fault::edit(|answer| {
        answer["data"]["listJobs"] = json!({"items": [], "after": "more"});
    });
    for fault in [of_an_item, endless] {
        world.sandbox.fail_always(Some("listJobs"), Some(fault));
        assert_eq!(create_keyed(&world, "k-1").await.code(), "OUTCOME_UNKNOWN");
        let unknown = create_keyed(&world, "k-that-may-be-forgotten").await;
        assert!(unknown.json()["data"]["createSingleCamJob"].is_null(), "{unknown:?}");
    }
    world.sandbox.fail_always(Some("listJobs"), None);
    id(&create_keyed(&world, "k-1").await);
    assert_eq!(world.sandbox.job_count(), 1);
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
    let world = Setup::new().config(config).start().await;
    create_keyed(&world, "k-1").await;
    world.pass(Duration::from_mins(59)).await;
    create_keyed(&world, "k-1").await;
    assert_eq!(world.sandbox.job_count(), 1);
    world.pass(Duration::from_mins(2)).await;
    create_keyed(&world, "k-1").await;
    assert_eq!(world.sandbox.job_count(), 2);
}

#[tokio::test]
async fn a_replay_is_answered_by_the_rights_and_the_jobs_of_today() {
    let world = World::start().await;
    let made = id(&create_keyed(&world, "k-1").await);
    world.sandbox.set_state(&made, State::Failed);
    let query = CREATE.replace("{ id name }", "{ id state }");
    let body = json!({"query": query, "variables": {"take": SINGLECAM_TAKE}});
    keyed(&world, "acme", "k-2", &body).await.data("/createSingleCamJob/id");
    let replay = create_keyed(&world, "k-1").await;
    assert_eq!(
        (id(&replay), &replay.headers["idempotent-replayed"]),
        (made, &"true".parse().unwrap())
    );
    let gone = Fault::GraphqlError { error_type: "MoveNotFoundError", message: "gone" };
    world.sandbox.fail_next(Some("getJob"), gone);
    assert_eq!(create_keyed(&world, "k-1").await.code(), "NOT_FOUND");
    world.sandbox.fail_next(Some("getJob"), Fault::html(503));
    assert_eq!(create_keyed(&world, "k-1").await.code(), "OUTCOME_UNKNOWN", "not: it failed");
    world.write_policy("acme", "operations: [getJob, updateJob]\n");
    let give_up = Instant::now() + Duration::from_secs(20);
    while create_keyed(&world, "k-1").await.code() != "FORBIDDEN" {
        assert!(Instant::now() < give_up, "the replay goes past the policy");
        tokio::task::yield_now().await;
    }
    assert_eq!(world.sandbox.job_count(), 2);
}

#[tokio::test]
async fn a_tenant_that_has_too_many_keys_is_refused_new_ones_and_takes_nobodys_place() {
    let config = "idempotency: { max_keys: 2 }\n".to_owned();
    let world = Setup::new().config(config).start().await;
    let first = id(&create_keyed(&world, "k-1").await);
    create_keyed(&world, "k-2").await;
    let refused = create_keyed(&world, "k-3").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"));
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((86_000..=86_401).contains(&seconds), "{seconds}");
    keyed(&world, "globex", "k-1", &create("one")).await.data("/createSingleCamJob/id");
    assert_eq!(id(&create_keyed(&world, "k-1").await), first);
    assert_eq!(world.sandbox.job_count(), 3);
    world.pass(Duration::from_secs(seconds)).await;
    id(&create_keyed(&world, "k-3").await);
}

#[tokio::test]
async fn the_file_tells_nothing_of_the_jobs_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::start().await;
    let made = id(&create_keyed(&world, "k-1").await);
    let path = world.folder().join("state/idempotency.redb");
    let rights = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((rights(&path), rights(path.parent().unwrap())), (0o600, 0o700));
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.windows(4).any(|part| part == b"acme"), "the entry is there");
    assert!(!bytes.windows(made.len()).any(|part| part == made.as_bytes()));
}

/// Two gateways over one sandbox, with one Redis that has been there for longer than keys are kept.
async fn two_replicas(redis: &Redis) -> (World, World) {
    let () = redis.command(&["SET", "jobs-gateway:v1:{idempotency}:complete-since", "0"]).await;
    Setup::new().config(redis.config()).start_two().await
}

/// The names of a tenant's entries.
async fn entries(redis: &Redis) -> Vec<String> {
    redis.command(&["KEYS", "jobs-gateway:v1:idempotency:{acme}:*"]).await
}

/// Waits until both replicas told that they are in touch from now on.
async fn until_in_touch(redis: &Redis) {
    let give_up = Instant::now() + Duration::from_secs(20);
    let (seconds, micros): (i64, i64) = redis.command(&["TIME"]).await;
    let now = (seconds * 1_000 + micros / 1_000).to_string();
    let replicas = "jobs-gateway:v1:{idempotency}:replicas";
    while redis.command::<u32>(&["ZCOUNT", replicas, &now, "+inf"]).await < 2 {
        assert!(Instant::now() < give_up, "the replicas are not heard of");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn another_replica_gives_the_answer_of_the_first() {
    let redis = Redis::start();
    let (one, other) = two_replicas(&redis).await;
    one.sandbox.fail_next(None, Fault::Delay(Duration::from_millis(100)));
    let all = join_all([create_keyed(&one, "k-1"), create_keyed(&other, "k-1")]).await;
    assert_eq!(id(&all[0]), id(&all[1]));
    assert_eq!(id(&create_keyed(&other, "k-1").await), id(&all[0]));
    assert_eq!(one.sandbox.job_count(), 1);
}

#[tokio::test]
async fn without_redis_a_retry_looks_for_the_job_before_it_makes_one() {
    let mut redis = Redis::start();
    let (one, other) = two_replicas(&redis).await;
    redis.kill();
    let first = create_keyed(&one, "k-1").await;
    let second = create_keyed(&other, "k-1").await;
    assert_eq!(id(&first), id(&second));
    assert_eq!(one.sandbox.job_count(), 1);
}

#[tokio::test]
async fn what_was_entered_while_redis_was_silent_is_known_when_it_answers_again() {
    let redis = Redis::start();
    let (one, other) = two_replicas(&redis).await;
    until_in_touch(&redis).await;
    redis.freeze(true);
    let well = id(&create_keyed(&one, "well").await);
    one.sandbox.fail_next(Some("createSingleCamJob"), Fault::LoseAnswer);
    assert_eq!(create_keyed(&one, "lost").await.code(), "OUTCOME_UNKNOWN");
    redis.freeze(false);
    let give_up = Instant::now() + Duration::from_secs(20);
    while entries(&redis).await.len() < 2 {
        assert!(Instant::now() < give_up, "what was entered meanwhile is not carried over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let replay = create_keyed(&other, "well").await;
    assert_eq!(
        (id(&replay), &replay.headers["idempotent-replayed"]),
        (well, &"true".parse().unwrap())
    );
    id(&create_keyed(&other, "lost").await);
    assert_eq!(one.sandbox.job_count(), 2);
}

#[tokio::test]
async fn entries_that_redis_lost_are_found_by_their_jobs() {
    let redis = Redis::start();
    let (one, other) = two_replicas(&redis).await;
    let made = id(&create_keyed(&one, "k-1").await);
    let () = redis.command(&["FLUSHALL"]).await;
    assert_eq!(id(&create_keyed(&other, "k-1").await), made);
    assert_eq!(one.sandbox.job_count(), 1);
}

#[tokio::test]
async fn entries_that_redis_lost_with_its_last_moments_are_found_by_their_jobs() {
    let mut redis = Redis::start();
    let (one, other) = two_replicas(&redis).await;
    until_in_touch(&redis).await;
    // Redis itself says that it has every entry.
    let () = redis.command(&["SET", "jobs-gateway:v1:{idempotency}:complete-since", "1"]).await;
    let () = redis.command(&["SAVE"]).await;
    one.sandbox.fail_next(Some("createSingleCamJob"), Fault::LoseAnswer);
    assert_eq!(create_keyed(&one, "k-1").await.code(), "OUTCOME_UNKNOWN");
    let made = id(&create_keyed(&other, "k-2").await);
    redis.kill();
    redis.restart();
    assert_eq!(entries(&redis).await, Vec::<String>::new(), "it is as it was saved");
    until_in_touch(&redis).await;
    id(&create_keyed(&one, "k-1").await);
    assert_eq!(id(&create_keyed(&other, "k-2").await), made);
    assert_eq!(one.sandbox.job_count(), 2);
}

#[tokio::test]
async fn a_redis_that_may_evict_entries_is_not_believed_that_there_were_none() {
    let redis = Redis::start();
    let () = redis.command(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    let () = redis.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]).await;
    let (one, other) = two_replicas(&redis).await;
    until_in_touch(&redis).await;
    let made = id(&create_keyed(&one, "k-1").await);
    let () = redis.command(&["DEL", &entries(&redis).await[0]]).await;
    assert_eq!(id(&create_keyed(&other, "k-1").await), made);
    assert_eq!(one.sandbox.job_count(), 1);
}

#[tokio::test]
async fn a_replica_that_lost_redis_makes_the_others_look() {
    let redis = Redis::start();
    let (one, other) = two_replicas(&redis).await;
    until_in_touch(&redis).await;
    let replicas = "jobs-gateway:v1:{idempotency}:replicas";
    // One that went silent longer ago than keys are kept does not matter.
    let () = redis.command(&["ZADD", replicas, &"1".repeat(13), "a replica of old"]).await;
    let give_up = Instant::now() + Duration::from_secs(20);
    let mut n = 0;
    loop {
        // Redis may have been slow a moment ago, on a machine that is busy.
        let () = redis.command(&["SET", "jobs-gateway:v1:{idempotency}:complete-since", "0"]).await;
        one.sandbox.clear_calls();
        n += 1;
        id(&create_keyed(&other, &format!("k-{n}")).await);
        if one.sandbox.count("listJobs") == 0 {
            break;
        }
        assert!(Instant::now() < give_up, "all are in touch, and nothing can be missing");
        until_in_touch(&redis).await;
    }
    let (seconds, _): (i64, i64) = redis.command(&["TIME"]).await;
    let silent_since = ((seconds - 10) * 1_000).to_string();
    let () = redis.command(&["ZADD", replicas, &silent_since, "a silent replica"]).await;
    one.sandbox.clear_calls();
    id(&create_keyed(&other, "k").await);
    assert_eq!(one.sandbox.count("listJobs"), 1);
}
