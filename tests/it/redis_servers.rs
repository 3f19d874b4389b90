//! Redis as operators run it: behind one address that fails over, as a cluster, and full.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::redis::{Door, Redis};
use crate::support::{Reply, Setup, World};

const CACHED: &str = "operations: [\"*\"]\ncache: {}\n";

/// Two gateways over one sandbox that share what is behind an address.
async fn two_replicas(config: &str, policy: &str) -> (World, World) {
    let (one, two) = Setup::new().tenant("acme", policy).config(config).start_two().await;
    for world in [&one, &two] {
        until_shared(world).await;
    }
    (one, two)
}

async fn until_shared(world: &World) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while world.metric("jobs_gateway_shared_state_ok").await != Some(1.0) {
        assert!(Instant::now() < give_up, "Redis is not found");
        tokio::task::yield_now().await;
    }
}

fn x_cache(reply: &Reply) -> &str {
    reply.headers["x-cache"].to_str().unwrap()
}

/// Waits until what one gateway fetched is known to the other.
async fn until_cache_is_shared(one: &World, two: &World) {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let fresh = one.create("acme", "{}").await;
        one.get("acme", &fresh, "id").await.data("/getJob/id");
        if x_cache(&two.get("acme", &fresh, "id").await) == "HIT" {
            return;
        }
        assert!(Instant::now() < give_up, "nothing is shared");
    }
}

#[tokio::test]
async fn after_a_failover_behind_one_redis_address_the_new_master_is_found() {
    let (old, new) = (Redis::start(), Redis::start());
    new.replicate(Some(&old)).await;
    let door = Door::open(&old).await;
    let (one, two) = two_replicas(&door.config(), CACHED).await;
    until_cache_is_shared(&one, &two).await;

    // The address leads to the new master; connections to the old one stay open.
    door.lead_to(&new);
    new.replicate(None).await;
    old.replicate(Some(&new)).await;
    let give_up = Instant::now() + Duration::from_secs(20);
    let listening = async || {
        let (_, count): (String, u32) =
            new.command(&["PUBSUB", "NUMSUB", "jobs-gateway:v1:forget"]).await;
        count
    };
    while listening().await < 2 {
        assert!(Instant::now() < give_up, "nobody comes to the new master");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_shared(&one).await;
    until_shared(&two).await;
    until_cache_is_shared(&one, &two).await;
    assert!(door.connections() > 4, "both made new ones");
}

#[tokio::test]
async fn a_redis_that_refuses_some_commands_is_asked_the_others() {
    let redis = Redis::start();
    let policy =
        format!("{CACHED}rate_limit: {{ queries: {{ rate: 1/h, burst: 1000 }}, mutations: ~ }}\n");
    let (one, two) = two_replicas(&redis.config(), &policy).await;
    until_cache_is_shared(&one, &two).await;
    let mut known = Vec::new();
    for _ in 0..20 {
        let id = one.create("acme", "{}").await;
        one.get("acme", &id, "id").await.data("/getJob/id");
        known.push(id);
    }
    // Full: it takes nothing new, no count of a limit either, and still knows what it knew.
    let () = redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut found = 0;
    for id in &known {
        let reply = two.get("acme", id, "id").await;
        assert_eq!(reply.data("/getJob/id"), *id);
        found += usize::from(x_cache(&reply) == "HIT");
    }
    let refused: String = redis.command(&["INFO", "errorstats"]).await;
    assert!(refused.contains("OOM"), "{refused}");
    assert!(found > 0, "a limit that cannot be counted keeps nobody from the cache");
    let () = redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    until_cache_is_shared(&one, &two).await;
}

#[tokio::test]
async fn a_redis_cluster_of_one_node_limits_and_caches_for_all_replicas() {
    let redis = Redis::start_cluster().await;
    let policy = format!(
        "{CACHED}rate_limit: {{ mutations: ~, queries: {{ rate: 1/h, burst: 400 }}, per_credential: \
         {{ queries: {{ rate: 1/h, burst: 300 }} }}, operations: {{ listJobs: {{ rate: 1/h, burst: 200 }} }} }}\n"
    );
    let (one, two) = two_replicas(&redis.config(), &policy).await;
    until_cache_is_shared(&one, &two).await;
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        one.ask("acme", "{ listJobs { first } }", json!({})).await.data("/listJobs");
        let keys: Vec<String> = redis.command(&["KEYS", "jobs-gateway:v1:rate:*"]).await;
        let kinds = ["listJobs", "queries of this credential", "queries:"];
        if kinds.iter().all(|kind| keys.iter().any(|key| key.contains(kind))) {
            break;
        }
        assert!(Instant::now() < give_up, "{keys:?}");
    }
    let refused: String = redis.command(&["INFO", "errorstats"]).await;
    assert!(!refused.contains("CROSSSLOT") && !refused.contains("MOVED"), "{refused}");
}
