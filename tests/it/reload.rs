//! Policies change while requests run.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::{Setup, World, send};
use crate::tokens::{Issuer, Key, claims};

const READ: &str = "{ listJobs { first } }";
const RENAME: &str = "mutation { updateJob(id: \"job-1\", name: \"n\") { id } }";

/// Asks until the answer has this status: a change is noticed within a second or so.
async fn becomes(world: &World, query: &str, status: u16) {
    let waiting = async {
        while world.ask("acme", query, json!({})).await.status != status {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert!(in_time.is_ok(), "{query} never became {status}");
}

/// Waits until a metric has a value.
async fn metric_becomes(world: &World, name: &str, value: f64) {
    let waiting = async {
        while world.metric(name).await != Some(value) {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert!(in_time.is_ok(), "{name} never became {value}");
}

#[tokio::test]
async fn a_changed_policy_takes_effect_without_a_restart() {
    let world = World::start().await;
    assert_eq!(world.ask("acme", RENAME, json!({})).await.status, 200);
    world.write_policy("acme", "operations: [listJobs]\n");
    becomes(&world, RENAME, 403).await;
    world.write_policy("acme", "operations: [\"*\"]\n");
    becomes(&world, RENAME, 200).await;
}

#[tokio::test]
async fn an_invalid_change_leaves_the_running_policies_and_sets_the_metric() {
    let world = World::start().await;
    world.write_policy("acme", "operations: [nope]\nsurprise: 1\n");
    metric_becomes(&world, "jobs_gateway_policy_reload_ok", 0.0).await;
    assert_eq!(world.ask("acme", RENAME, json!({})).await.status, 200);
    world.write_policy("acme", "operations: [listJobs]\n");
    becomes(&world, RENAME, 403).await;
    metric_becomes(&world, "jobs_gateway_policy_reload_ok", 1.0).await;
}

#[tokio::test]
async fn a_reload_that_would_take_away_more_than_is_allowed_is_refused_until_it_is_allowed() {
    let world = World::start().await;
    let folder = world.folder();
    for tenant in ["globex", "initech"] {
        std::fs::remove_file(folder.join("policies").join(format!("{tenant}.yaml"))).unwrap();
    }
    metric_becomes(&world, "jobs_gateway_policy_reload_ok", 0.0).await;
    assert_eq!(world.ask("globex", READ, json!({})).await.status, 200);
    let path = folder.join("gateway.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}reload: {{ allow_removal: 70% }}\n")).unwrap();
    metric_becomes(&world, "jobs_gateway_policy_reload_ok", 1.0).await;
    assert_eq!(world.ask("globex", READ, json!({})).await.status, 401);
    assert_eq!(world.ask("acme", READ, json!({})).await.status, 200);
}

#[tokio::test]
async fn tenants_whose_place_others_take_are_taken_away() {
    let config = "reload: { allow_removal: 100% }\n".to_owned();
    let world = Setup::new().config(config).start().await;
    let policies = world.folder().join("policies");
    for tenant in ["acme", "globex", "initech"] {
        let text = std::fs::read_to_string(policies.join(format!("{tenant}.yaml"))).unwrap();
        let other = text.replace(&format!("tenant: {tenant}\n"), &format!("tenant: {tenant}2\n"));
        assert_ne!(text, other);
        std::fs::write(policies.join(format!("{tenant}2.yaml")), other).unwrap();
        std::fs::remove_file(policies.join(format!("{tenant}.yaml"))).unwrap();
    }
    metric_becomes(&world, "jobs_gateway_policy_reload_ok", 0.0).await;
    assert_eq!(world.ask("acme", READ, json!({})).await.status, 200);
}

#[tokio::test]
async fn a_list_of_networks_that_allows_none_is_refused() {
    let world = World::start().await;
    world.write_policy("acme", "operations: [\"*\"]\nauth: { sources: [] }\n");
    metric_becomes(&world, "jobs_gateway_policy_reload_ok", 0.0).await;
    assert_eq!(world.ask("acme", READ, json!({})).await.status, 200);
}

#[tokio::test]
async fn keys_that_take_the_place_of_others_are_not_taken_away() {
    let world = World::start().await;
    for tenant in ["acme", "globex", "initech"] {
        let hash = jobs_gateway::model::KeyHash::of(b"another key");
        let hash =
            if tenant == "acme" { hash.to_string() } else { tenant.len().to_string().repeat(64) };
        let keys = format!("auth: {{ api_keys: [{{ id: next, sha256: {hash} }}] }}\n");
        world.write_policy(tenant, &keys);
    }
    becomes(&world, READ, 401).await;
    let request = world.http.post(world.url()).header("authorization", "another key");
    assert_eq!(send(request.json(&json!({"query": READ}))).await.status, 200);
}

#[tokio::test]
async fn a_broken_policy_can_leave_its_tenant_as_it_was_and_the_others_current() {
    let config = "reload: { on_error: keep_tenant }\n".to_owned();
    let world = Setup::new().config(config).start().await;
    world.write_policy("acme", "operations: [nope]\n");
    world.write_policy("globex", "operations: [listJobs]\n");
    let waiting = async {
        while world.ask("globex", RENAME, json!({})).await.status != 403 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    assert_eq!(world.ask("acme", RENAME, json!({})).await.status, 200, "as it was");
    assert_eq!(world.metric("jobs_gateway_policy_reload_ok").await, Some(0.0));
    world.write_policy("acme", "operations: [listJobs]\n");
    becomes(&world, RENAME, 403).await;
    metric_becomes(&world, "jobs_gateway_policy_reload_ok", 1.0).await;
}

#[tokio::test]
async fn a_broken_policy_takes_nothing_from_the_tenant_whose_file_it_is() {
    let config = "reload: { on_error: keep_tenant }\n".to_owned();
    let world = Setup::new().config(config).start().await;
    let acme = world.folder().join("policies/acme.yaml");
    // As an editor leaves it for a moment, or worse: the others get their changes.
    for (broken, operations, status) in [
        (&b""[..], "[listJobs]", 403),
        (b"- tenant: acme\n", "[\"*\"]", 200),
        (b"\xff\xfe", "[listJobs]", 403),
    ] {
        std::fs::write(&acme, broken).unwrap();
        world.write_policy("globex", &format!("operations: {operations}\n"));
        let waiting = async {
            while world.ask("globex", RENAME, json!({})).await.status != status {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert!(in_time.is_ok(), "beside {broken:?}");
        assert_eq!(world.ask("acme", RENAME, json!({})).await.status, 200, "as it was");
    }
    // It says that it is another's: nothing is reloaded.
    let refused = "jobs_gateway_policy_reloads_total{outcome=\"error\"";
    let before = world.metric(refused).await;
    assert!(before.is_some());
    world.write_policy("globex", "operations: [\"*\"]\n");
    std::fs::write(&acme, "tenant: globex\nnope: 1\n").unwrap();
    let waiting = async {
        while world.metric(refused).await == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    assert_eq!(world.ask("acme", RENAME, json!({})).await.status, 200, "still as it was");
}

#[tokio::test]
async fn a_mount_that_swaps_a_link_is_noticed() {
    // As Kubernetes mounts a ConfigMap: files are links into `..data`, which is a link itself.
    let world = World::start().await;
    let policies = world.folder().join("policies");
    let text = std::fs::read_to_string(policies.join("acme.yaml")).unwrap();
    for (version, operations) in [("..1", "[\"*\"]"), ("..2", "[listJobs]")] {
        std::fs::create_dir(policies.join(version)).unwrap();
        let changed = text.replace("[\"*\"]", operations);
        std::fs::write(policies.join(version).join("acme.yaml"), changed).unwrap();
    }
    let link = |target: &str, name: &str| {
        let draft = policies.join("..draft");
        std::os::unix::fs::symlink(target, &draft).unwrap();
        std::fs::rename(draft, policies.join(name)).unwrap();
    };
    link("..1", "..data");
    link("..data/acme.yaml", "acme.yaml");
    becomes(&world, RENAME, 200).await;
    link("..2", "..data");
    becomes(&world, RENAME, 403).await;
}

#[tokio::test]
async fn a_log_that_grows_beside_gateway_yaml_is_no_change() {
    const RELOADS: &str = "jobs_gateway_policy_reloads_total{outcome=\"ok\"";
    let world = World::start().await;
    let mut log = std::fs::File::create(world.folder().join("gateway.log")).unwrap();
    let reloads = async || world.metric(RELOADS).await.map(f64::to_bits);
    let settled = async || {
        let (mut seen, mut since) = (reloads().await, Instant::now());
        while since.elapsed() < Duration::from_millis(300) {
            let now = reloads().await;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            tokio::task::yield_now().await;
        }
        seen
    };
    let before = settled().await;
    writeln!(log, "a line").unwrap();
    assert_eq!(settled().await, before);
    // gateway.yaml itself is still watched.
    let config = world.folder().join("gateway.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(config, format!("{text}# changed\n")).unwrap();
    assert_ne!(settled().await, before);
}

#[tokio::test]
async fn hidden_fields_exist_neither_in_validation_nor_in_introspection() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    world.write_policy(
        "acme",
        "operations: [\"*\"]\nhidden_fields: [File.thumbnailUrl, Query.listJobs]\n",
    );
    becomes(&world, RENAME, 200).await;
    let hidden = "outputs { file { thumbnailUrl } }";
    let waiting = async {
        while world.get("acme", &id, hidden).await.code() != "GRAPHQL_VALIDATION_FAILED" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    let fields = "{ file: __type(name: \"File\") { fields { name } }
        query: __type(name: \"Query\") { fields { name } } }";
    let seen = world.ask("acme", fields, json!({})).await.text;
    assert!(!seen.contains("thumbnailUrl") && !seen.contains("listJobs"), "{seen}");
    assert!(seen.contains("presignedUrl") && seen.contains("getJob"), "{seen}");
    assert_eq!(world.ask("acme", READ, json!({})).await.code(), "GRAPHQL_VALIDATION_FAILED");
    // Other tenants see everything.
    let seen = world.ask("globex", fields, json!({})).await.text;
    assert!(seen.contains("thumbnailUrl") && seen.contains("listJobs"), "{seen}");
}

#[tokio::test]
async fn keys_rotate_and_policies_swap_a_hundred_times_under_load_with_no_wrong_answer() {
    let (first, second) = (Key::new("1", Algorithm::ES256), Key::new("2", Algorithm::ES256));
    let issuer = Issuer::start(&[&first]).await;
    let policy = |description: usize| {
        format!(
            "auth: {{ issuers: [sso], api_keys: [{{ id: main, sha256: {} }}] }}
description: version {description}\noperations: [listJobs]\n",
            jobs_gateway::model::KeyHash::of(crate::support::key("acme").as_bytes())
        )
    };
    let setup = Setup::new().tenant("acme", policy(0)).tenant("globex", "operations: [listJobs]\n");
    let world = Arc::new(setup.config(issuer.config()).start().await);
    let done = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let rotated = Arc::new(AtomicBool::new(false));
    let tokens = [&first, &second].map(|key| key.token(Algorithm::ES256, &claims("acme")));
    let mut callers = Vec::new();
    for caller in 0..4 {
        let (world, done, asked) = (Arc::clone(&world), Arc::clone(&done), Arc::clone(&asked));
        let (tokens, rotated) = (tokens.clone(), Arc::clone(&rotated));
        callers.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let at = usize::from(rotated.load(Ordering::Relaxed));
                let credential =
                    if caller % 2 == 0 { tokens[at].clone() } else { crate::support::key("acme") };
                let ask = |query: &str| {
                    let request = world.http.post(world.url()).header("x-api-key", &credential);
                    send(request.json(&json!({"query": query})))
                };
                let (read, rename) = (ask(READ).await, ask(RENAME).await);
                assert_eq!(read.status, 200, "wrongly refused: {read:?}");
                assert_eq!(rename.status, 403, "wrongly allowed: {rename:?}");
                asked.fetch_add(2, Ordering::Relaxed);
            }
        }));
    }
    for version in 1..=100 {
        // What globex may do shows that this very swap has happened.
        let (allowed, status) = if version % 2 == 0 { ("listJobs", 200) } else { ("getJob", 403) };
        world.write_policy("globex", &format!("operations: [{allowed}]\n"));
        world.write_policy("acme", &policy(version));
        if version == 50 {
            issuer.publish(&[&first, &second]);
            rotated.store(true, Ordering::Relaxed);
        }
        let swapped =
            async { while world.ask("globex", READ, json!({})).await.status != status {} };
        tokio::time::timeout(Duration::from_secs(5), swapped).await.unwrap();
        assert!(callers.iter().all(|caller| !caller.is_finished()), "a caller failed");
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    println!("{} requests during 100 swaps", asked.load(Ordering::Relaxed));
}
