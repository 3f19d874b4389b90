//! `/status` tells what runs, by which rules, and how everything beside it is.

use serde_json::{Value, json};

use crate::index::{INDEXED, fill, until_indexed};
use crate::support::redis::Redis;
use crate::support::{Setup, World, key, send};

async fn status(world: &World) -> Value {
    let reply = send(world.http.get(format!("http://{}/status", world.admin))).await;
    assert_eq!(
        (reply.status, &reply.headers["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    for secret in [key("acme"), "sandbox-move-key".to_owned(), "07".repeat(32)] {
        assert!(!reply.text.contains(&secret), "{reply:?}");
    }
    reply.json()
}

#[tokio::test]
async fn a_status_tells_versions_rules_breakers_redis_and_audit() {
    let redis = Redis::start();
    let sinks = "audit: { sinks: [{ file: ./audit/audit.jsonl }, { stdout: true }] }\n";
    let config = format!("{}{sinks}", redis.config());
    let world = World::set_up(Setup { config, ..Setup::default() }).await;
    world.create("acme", "{}").await;
    let told = loop {
        let told = status(&world).await;
        if told["audit"]["records"] == 2 && told["audit"]["sinks"][0]["behind"] == 0 {
            break told;
        }
        tokio::task::yield_now().await;
    };
    assert!(told["version"].as_str().unwrap().starts_with(env!("CARGO_PKG_VERSION")), "{told}");
    assert_eq!(told["ready"], true);
    assert!(told["config"].as_str().unwrap().ends_with("gateway.yaml"), "{told}");
    assert_eq!(told["policies"]["tenants"], json!(["acme", "globex", "initech"]));
    assert_eq!(told["policies"]["keys"], 3);
    assert_eq!(told["reload"]["problems"], json!([]));
    assert_eq!(told["accounts"], json!([{"account": "shared", "breaker": "closed"}]));
    assert_eq!(told["redis"], json!({"ok": true}));
    assert_eq!(told["audit"]["writable"], true);
    assert_eq!((&told["streams"], &told["webhooks"]), (&json!(0), &Value::Null));
    assert_eq!(told["audit"]["sinks"], json!([{"sink": "stdout", "ok": true, "behind": 0}]));

    // A change that is refused says why; the rules stay, and since when.
    world.write_policy("acme", "operatons: []\n");
    let refused = loop {
        let told = status(&world).await;
        if told["reload"]["ok"] == false {
            break told;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused["policies"], told["policies"]);
    let problem = &refused["reload"]["problems"][0];
    assert!(problem["place"].as_str().unwrap().contains("acme.yaml:"), "{refused}");
    assert!(problem["help"].as_str().unwrap().contains("operations"), "{refused}");
    world.write_policy("acme", "operations: [getJob]\n");
    loop {
        let told = status(&world).await;
        // The rules are in force a moment before the reload is told to be well.
        if told["reload"]["ok"] == true {
            assert_ne!(told["policies"]["version"], refused["policies"]["version"]);
            assert_ne!(told["policies"]["since"], refused["policies"]["since"]);
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_status_tells_how_far_the_index_is_and_that_events_wait() {
    let config = format!("{INDEXED}{}", crate::webhooks::CONFIG);
    let world = Setup::new().config(config).start().await;
    fill(&world.sandbox);
    let index = status(&world).await["index"].clone();
    assert!(index["file"].as_str().unwrap().ends_with("index.redb"), "{index}");
    assert_eq!((&index["wanted"], &index["complete"]), (&json!(false), &json!(false)), "{index}");
    until_indexed(&world, "acme").await;
    let told = status(&world).await;
    let index = &told["index"];
    let members = ["wanted", "open", "complete", "jobs"].map(|member| &index[member]);
    let jobs = index["jobs"].as_u64().unwrap();
    assert!(jobs >= 1000, "{index}");
    assert_eq!(members, [&json!(true), &json!(true), &json!(true), &json!(jobs)]);
    assert!(index["joined_at"].is_string(), "{index}");
    assert_eq!(told["webhooks"], json!({"waiting": 0}));
}
