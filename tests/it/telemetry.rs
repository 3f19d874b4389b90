//! Metrics, and their description in docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jobs_gateway::config::TlsFiles;
use jobs_gateway::http::Tls;
use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{Fault, Job, SINGLECAM_TAKE, State};
use jobs_gateway::telemetry::instruments::{ALL, markdown};
use serde_json::json;

use crate::support::redis::Redis;
use crate::support::{Setup, World, key, send};
use crate::tls::Authority;
use crate::tokens::Issuer;

#[test]
fn the_table_of_metrics_is_current() {
    let written = std::fs::read_to_string("docs/metrics.md").unwrap_or_default();
    assert_eq!(written, markdown(), "`jobs-gateway metrics > docs/metrics.md`");
    let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len(), "each name once");
}

type Metrics = BTreeMap<String, BTreeSet<String>>;

/// All metrics that a gateway shows series of, and the labels of these.
async fn shown(world: &World) -> Metrics {
    let text = send(world.http.get(format!("http://{}/metrics", world.admin))).await.text;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let types: Vec<_> = types.filter_map(|line| line.split_once(' ')).collect();
    let mut metrics = Metrics::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
        let is_its = |(own, kind): &&(&str, &str)| match name.strip_prefix(own) {
            Some("_bucket" | "_sum" | "_count") => *kind == "histogram",
            rest => rest == Some(""),
        };
        let (name, _) = types.iter().find(is_its).unwrap_or_else(|| panic!("untyped: {line}"));
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
        let labels = labels.filter(|label| *label != "le").map(str::to_owned);
        metrics.entry((*name).to_owned()).or_default().extend(labels);
    }
    metrics
}

#[tokio::test]
async fn every_metric_of_the_table_is_shown_with_its_labels_and_no_other() {
    let (redis, issuer) = (Redis::start(), Issuer::start(&[]).await);
    let hash = KeyHash::of(key("acme").as_bytes());
    let policy = format!(
        "operations: [\"*\"]\n\
         auth: {{ issuers: [sso], api_keys: [{{ id: main, sha256: {hash}, expires: 2099-01-01T00:00:00Z }}] }}\n\
         rate_limit: {{ queries: {{ rate: 100/s, burst: 100 }} }}\ncache: {{ get_job: {{ unfinished: 1s }} }}\n"
    );
    let config = format!(
        "{}{}{}audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}, {{ stdout: true }}] }}\n",
        redis.config(),
        issuer.config(),
        crate::webhooks::CONFIG
    );
    let config = config + "index: { calls: 100/s }\n";
    let setup = Setup::new().tenant("acme", policy).config(config).changed(|folder| {
        // A file of the index that is none is thrown away.
        std::fs::create_dir_all(folder.join("state")).unwrap();
        std::fs::write(folder.join("state/index.redb"), b"redb\x1A\x0A\xA9\x0D\x0A, cut off")
            .unwrap();
    });
    let world = setup.start().await;
    let folder = tempfile::tempdir().unwrap();
    Authority::new().write_server(folder.path());
    let file = |name: &str| folder.path().join(name);
    let files = TlsFiles { cert: file("cert.pem"), key: file("key.pem"), client_ca: None };
    Tls::open(files).unwrap();
    let id = world.create("acme", "{}").await;
    world.get("acme", &id, "id").await;
    for _ in 0..101 {
        world.sandbox.add_job(Job::new(world.sandbox.now()));
    }
    world.ask("acme", "{ listJobs { first } }", json!({})).await;
    let done = world.create("acme", "{}").await;
    world.sandbox.set_state(&done, State::Finished);
    let follow =
        json!({"query": format!("subscription {{ jobUpdated(jobId: \"{done}\") {{ id }} }}")});
    world.post("acme", &follow).await;
    crate::webhooks::send(&world, "msg_1", &done).await;
    // Before Move fails.
    while world.metric("jobs_gateway_webhook_lag_seconds_count").await.is_none() {
        tokio::task::yield_now().await;
    }
    let create = json!({"query": format!(
        "mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}"
    )});
    let keyed = world.http.post(world.url()).header("authorization", key("acme"));
    send(keyed.header("idempotency-key", "k-1").json(&create)).await;
    // Calls that fail for one tenant alone.
    world.sandbox.fail_always(Some("getJob"), Some(Fault::html(500)));
    for _ in 0..20 {
        world.get("acme", "job-none", "id").await;
    }
    world.write_policy("globex", "operations: [getJob]\n");
    world.pass(Duration::from_secs(6)).await;

    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let table: Metrics =
        ALL.iter().map(|metric| (metric.name.to_owned(), labels(metric.labels))).collect();
    let give_up = Instant::now() + Duration::from_secs(10);
    let mut seen = shown(&world).await;
    while seen != table && Instant::now() < give_up {
        tokio::task::yield_now().await;
        seen = shown(&world).await;
    }
    assert_eq!(seen, table);
}

#[tokio::test]
async fn calls_are_counted_from_zero_so_that_the_first_is_an_increase() {
    let world =
        Setup::new().tenant("acme", "operations: [getJob, createSingleCamJob]\n").start().await;
    let count = async |operation: &str| {
        let labels = format!("code=\"OK\",operation=\"{operation}\",tenant=\"acme\"");
        world.metric(&format!("jobs_gateway_requests_total{{{labels}}}")).await
    };
    assert_eq!(count("createSingleCamJob").await, Some(0.0));
    assert_eq!(count("getJob").await, Some(0.0));
    assert_eq!(count("updateJob").await, None, "it may not be called");
    world.create("acme", "{}").await;
    assert_eq!(count("createSingleCamJob").await, Some(1.0));
    for outcome in ["ok", "error"] {
        let reloads = format!("jobs_gateway_policy_reloads_total{{outcome=\"{outcome}\"}}");
        assert_eq!(world.metric(&reloads).await, Some(0.0), "{outcome}");
    }
}

#[tokio::test]
async fn the_version_of_the_policies_in_force_is_shown_and_no_other() {
    let world = World::start().await;
    let versions = async || {
        let text = send(world.http.get(format!("http://{}/metrics", world.admin))).await.text;
        let lines = text.lines().filter(|line| line.starts_with("jobs_gateway_policy_info{"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = versions().await;
    assert_eq!(before.len(), 1);
    assert_eq!(world.metric("jobs_gateway_tenants").await, Some(3.0));
    world.write_policy("umbrella", "operations: [getJob]\n");
    let give_up = Instant::now() + Duration::from_secs(10);
    while world.metric("jobs_gateway_tenants").await != Some(4.0) {
        assert!(Instant::now() < give_up);
        tokio::task::yield_now().await;
    }
    let after = versions().await;
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
}

#[tokio::test]
async fn what_is_not_there_any_more_is_not_shown_any_more() {
    let issuer = Issuer::start(&[]).await;
    let hash = KeyHash::of(key("globex").as_bytes());
    let own = format!(
        "operations: [\"*\"]\nupstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n\
         auth: {{ api_keys: [{{ id: main, sha256: {hash}, expires: 2099-01-01T00:00:00Z }}] }}\n"
    );
    let tenants = vec![("acme", "operations: [\"*\"]\n".to_owned()), ("globex", own)];
    let config = issuer.config();
    let world = Setup::new().tenants(tenants).config(config).start().await;
    for tenant in ["acme", "globex"] {
        world.ask(tenant, "{ listJobs { first } }", json!({})).await;
    }
    let shared = "jobs_gateway_circuit_breaker_state{account=\"shared\"}";
    let gone = [
        "jobs_gateway_circuit_breaker_state{account=\"tenant:globex\"}",
        "jobs_gateway_issuer_keys_ok{issuer=\"sso\"}",
        "jobs_gateway_api_key_expiry_timestamp_seconds{key=\"main\",tenant=\"globex\"}",
    ];
    let wait_until = async |are_shown: bool| {
        let give_up = Instant::now() + Duration::from_secs(10);
        loop {
            world.pass(Duration::from_secs(6)).await;
            let mut right = world.metric(shared).await.is_some();
            for series in gone {
                right &= world.metric(series).await.is_some() == are_shown;
            }
            if right {
                return;
            }
            assert!(Instant::now() < give_up, "shown: {are_shown}");
        }
    };
    wait_until(true).await;
    std::fs::remove_file(world.folder().join("policies/globex.yaml")).unwrap();
    let path = world.folder().join("gateway.yaml");
    let text = std::fs::read_to_string(&path).unwrap().replace(&issuer.config(), "");
    std::fs::write(path, text).unwrap();
    wait_until(false).await;
}

#[tokio::test]
async fn series_of_a_tenant_that_is_gone_are_shown_no_more() {
    let world = World::start().await;
    for tenant in ["acme", "globex"] {
        world.get(tenant, "job-none", "id").await;
    }
    let metrics = async || {
        crate::support::send(world.http.get(format!("http://{}/metrics", world.admin))).await.text
    };
    assert!(metrics().await.contains("tenant=\"globex\""));
    std::fs::remove_file(world.folder().join("policies/globex.yaml")).unwrap();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while metrics().await.contains("tenant=\"globex\"") {
        assert!(std::time::Instant::now() < give_up, "it is still shown");
        tokio::task::yield_now().await;
    }
    assert!(metrics().await.contains("tenant=\"acme\""));
}
