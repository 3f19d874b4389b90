//! Several gateways that share a Redis, and what they do without it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jobs_gateway::sandbox::Fault;
use serde_json::json;

use crate::support::redis::Redis;
use crate::support::{Reply, Setup, World};

const POLICY: &str = "operations: [\"*\"]\ncache: {}\n";

/// Two gateways over one sandbox, with one Redis.
pub async fn two_replicas(redis: &Redis) -> (World, World) {
    let setup = Setup::new().tenant("acme", POLICY).tenant("globex", POLICY);
    let (one, two) = setup.config(redis.config()).start_two().await;
    for world in [&one, &two] {
        until(world, "jobs_gateway_shared_state_ok", 1.0).await;
    }
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let counted: (String, u32) =
            redis.command(&["PUBSUB", "NUMSUB", "jobs-gateway:v1:forget"]).await;
        if counted.1 == 2 {
            break;
        }
        assert!(Instant::now() < give_up, "{} of two listen", counted.1);
    }
    one.sandbox.clear_calls();
    (one, two)
}

async fn until(world: &World, metric: &str, value: f64) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while world.metric(metric).await != Some(value) {
        assert!(Instant::now() < give_up, "{metric} does not become {value}");
        tokio::task::yield_now().await;
    }
}

fn x_cache(reply: &Reply) -> &str {
    reply.headers["x-cache"].to_str().unwrap()
}

#[tokio::test]
async fn two_gateways_make_at_most_two_calls_and_none_while_the_entry_in_redis_is_fresh() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis).await;
    let id = one.create("acme", "{\"shot\": 1}").await;
    one.sandbox.set_latency(Duration::from_millis(100));
    let selection = "id state metadata";
    let both = join_all((0..200).map(|n| {
        let world = if n % 2 == 0 { &one } else { &two };
        world.get("acme", &id, selection)
    }))
    .await;
    assert!(one.sandbox.count("getJob") <= 2);
    for reply in both {
        assert_eq!(reply.data("/getJob/metadata"), json!("{\"shot\": 1}"));
    }
    // A machine this busy may have kept Redis' answers waiting.
    for world in [&one, &two] {
        until(world, "jobs_gateway_shared_state_ok", 1.0).await;
    }
    let other = one.create("acme", "{}").await;
    one.sandbox.clear_calls();
    assert_eq!(x_cache(&one.get("acme", &other, selection).await), "MISS");
    let second = two.get("acme", &other, selection).await;
    assert_eq!((x_cache(&second), second.data("/getJob/metadata")), ("HIT", json!("{}")));
    assert_eq!(one.sandbox.count("getJob"), 1);
    assert_eq!(two.get("globex", &other, selection).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn a_write_on_one_replica_is_seen_by_the_next_read_on_the_other() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis).await;
    let id = one.create("acme", "{\"n\": 0}").await;
    for n in 1..50 {
        let (writer, reader) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        for world in [&one, &two] {
            world.get("acme", &id, "metadata").await.data("/getJob/metadata");
        }
        let metadata = format!("{{\"n\": {n}}}");
        let update =
            "mutation($id: String!, $m: AWSJSON) { updateJob(id: $id, metadata: $m) { id } }";
        writer.ask("acme", update, json!({"id": id, "m": metadata})).await.data("/updateJob/id");
        let read = reader.get("acme", &id, "metadata").await;
        assert_eq!(read.data("/getJob/metadata"), json!(metadata), "write {n}");
    }
}

#[tokio::test]
async fn redis_holds_nothing_that_can_be_read_or_forged() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis).await;
    let id = one.create("acme", "{\"secret\": \"plan\"}").await;
    one.get("acme", &id, "id metadata").await.data("/getJob/id");
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await;
    assert!(keys.iter().all(|key| key.starts_with("jobs-gateway:v1:")), "{keys:?}");
    let entry = format!("jobs-gateway:v1:job:acme:{id}");
    let stored: Vec<u8> = redis.command(&["GET", &entry]).await;
    let text = String::from_utf8_lossy(&stored);
    assert!(!text.contains("plan") && !text.contains("sandbox-move-key") && !text.contains(&id));
    let ttl: i64 = redis.command(&["PTTL", &entry]).await;
    assert!(ttl > 0, "it goes away by itself: {ttl}");

    // Another tenant's entry under this name, or anything else, is not believed.
    let () = redis.command(&["COPY", &entry, &format!("jobs-gateway:v1:job:globex:{id}")]).await;
    assert_eq!(two.get("globex", &id, "id").await.code(), "NOT_FOUND");
    let () = redis.command(&["SET", &entry, "{\"job\": \"forged\"}"]).await;
    two.get("acme", &id, "id metadata").await.data("/getJob/id");
}

#[tokio::test]
async fn without_redis_each_goes_on_with_its_own_memory_and_recovers_by_itself() {
    let mut redis = Redis::start();
    let (one, two) = two_replicas(&redis).await;
    let id = one.create("acme", "{\"n\": 0}").await;
    two.get("acme", &id, "metadata").await.data("/getJob/metadata");
    redis.kill();
    until(&one, "jobs_gateway_shared_state_ok", 0.0).await;
    assert_eq!(x_cache(&one.get("acme", &id, "id metadata").await), "MISS");
    assert_eq!(x_cache(&one.get("acme", &id, "id metadata").await), "HIT");
    let update =
        "mutation($id: String!) { updateJob(id: $id, metadata: \"{\\\"n\\\": 1}\") { id } }";
    one.ask("acme", update, json!({"id": id})).await.data("/updateJob/id");
    assert_eq!(
        one.get("acme", &id, "metadata").await.data("/getJob/metadata"),
        json!("{\"n\": 1}")
    );

    redis.restart();
    for world in [&one, &two] {
        until(world, "jobs_gateway_shared_state_ok", 1.0).await;
    }
    // What was written while nobody could be told: the other one forgets everything as soon as it listens again.
    let give_up = Instant::now() + Duration::from_secs(20);
    let read = async || two.get("acme", &id, "metadata").await.data("/getJob/metadata");
    while read().await != json!("{\"n\": 1}") {
        assert!(Instant::now() < give_up, "the write is not heard of");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    loop {
        let fresh = one.create("acme", "{}").await;
        one.get("acme", &fresh, "id").await.data("/getJob/id");
        if x_cache(&two.get("acme", &fresh, "id").await) == "HIT" {
            break;
        }
        assert!(Instant::now() < give_up, "nothing is shared again");
    }
}

#[tokio::test]
async fn a_redis_that_does_not_answer_costs_a_request_no_more_than_its_patience() {
    let redis = Redis::start();
    let (one, _two) = two_replicas(&redis).await;
    let id = one.create("acme", "{}").await;
    redis.freeze(true);
    let began = Instant::now();
    one.get("acme", &id, "id").await.data("/getJob/id");
    let first = began.elapsed();
    one.get("acme", &id, "id name").await.data("/getJob/id");
    let ok = one.metric("jobs_gateway_shared_state_ok").await;
    redis.freeze(false);
    assert!(first < Duration::from_secs(2), "{first:?}");
    assert_eq!(ok, Some(0.0));
}

#[tokio::test]
async fn what_redis_knows_covers_an_outage_of_move_on_every_replica() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis).await;
    let id = one.create("acme", "{}").await;
    one.get("acme", &id, "id state").await.data("/getJob/id");
    one.sandbox.fail_always(Some("getJob"), Some(Fault::html(503)));
    one.pass(Duration::from_secs(30)).await;
    for world in [&one, &two] {
        let reply = world.get("acme", &id, "id state").await;
        assert_eq!((x_cache(&reply), reply.data("/getJob/id")), ("STALE", json!(id)));
    }
}
