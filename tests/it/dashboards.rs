//! Dashboards and alerts: every query names metrics that exist, and a real
//! Prometheus answers them with series.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jobs_gateway::config::TlsFiles;
use jobs_gateway::http::Tls;
use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE, State};
use jobs_gateway::telemetry::instruments::ALL;
use serde_json::{Value, json};

use crate::support::process::free_address;
use crate::support::redis::Redis;
use crate::support::{Setup, World, key, send};
use crate::tls::Authority;
use crate::tokens::Issuer;

fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("helm/jobs-gateway")
}

/// Dashboard, panel and query, of all dashboards.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(chart().join("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        let dashboard: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let name = format!("{} / {}", dashboard["title"], panel["title"]);
                queries.push((name, target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    queries
}

/// The metrics that a query names.
fn named(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("jobs_gateway_") || word.starts_with("process_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .collect()
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let alerts = fs::read_to_string(chart().join("files/alerts.yaml")).unwrap();
    let mut queries = queries();
    assert!(queries.len() > 40, "{}", queries.len());
    queries.push(("alerts".to_owned(), alerts));
    let mut seen = BTreeSet::new();
    for (place, query) in &queries {
        for name in named(query) {
            assert!(ALL.iter().any(|metric| metric.name == name), "{place}: {name}");
            seen.insert(name);
        }
    }
    for metric in ALL {
        assert!(seen.contains(metric.name), "nobody looks at {}", metric.name);
    }
}

#[test]
fn runbooks_and_guides_name_metrics_and_panels_that_exist() {
    let queries = queries();
    let titles: BTreeSet<_> = queries.iter().map(|(place, _)| place.as_str()).collect();
    for (path, page) in crate::documents::pages() {
        for name in named(&page) {
            let is_known = ALL.iter().any(|metric| metric.name == name);
            assert!(is_known, "{}: {name}", path.display());
        }
        // In runbooks only panels and dashboards are in italics.
        if path.parent().is_some_and(|folder| folder.ends_with("runbooks")) {
            let plain = page.replace("**", "");
            for title in plain.split(" *").skip(1).map(|rest| rest.split('*').next().unwrap()) {
                let is_known = titles.iter().any(|known| known.contains(&format!("{title}\"")));
                assert!(is_known, "{}: {title}", path.display());
            }
        }
    }
}

#[test]
fn dashboards_are_what_grafana_imports() {
    let mut uids = BTreeSet::new();
    for entry in fs::read_dir(chart().join("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        let dashboard: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let place = path.display();
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()), "{place}");
        assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36));
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let variables: Vec<_> = variables.iter().map(|v| v["name"].as_str().unwrap()).collect();
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            let place = format!("{place}: {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{place}");
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(x < 24 && taken.insert((x, y)), "{place} lies over another");
                }
            }
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "");
                let variable = query.split('$').nth(1).map(|rest| rest.split('"').next().unwrap());
                assert!(variable.is_none_or(|name| variables.contains(&name)), "{place}: {query}");
            }
        }
    }
}

struct Prometheus {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn scraping(world: &World) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let config = format!(
            "scrape_configs:\n  - job_name: gateway\n    scrape_interval: 250ms\n    scrape_timeout: 250ms\n    \
             static_configs: [{{ targets: ['{}'] }}]\n",
            world.admin
        );
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus (scripts/test installs it): {error}"));
        Self { child, url: format!("http://{address}/api/v1/query"), _folder: folder }
    }

    /// Returns the number of series a query gives.
    async fn series(&self, http: &reqwest::Client, query: &str) -> usize {
        let asked = http.get(&self.url).query(&[("query", query)]).send().await;
        let Ok(answer) = asked else { return 0 };
        let answer: Value = answer.json().await.unwrap_or_default();
        assert_ne!(answer["status"], "error", "{query}: {answer}");
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_scrapes_a_busy_gateway_answers_every_query() {
    let (redis, issuer) = (Redis::start(), Issuer::start(&[]).await);
    let hash = KeyHash::of(key("acme").as_bytes());
    let policy = format!(
        "operations: [\"*\"]\n\
         auth: {{ issuers: [sso], api_keys: [{{ id: main, sha256: {hash}, expires: 2099-01-01T00:00:00Z }}] }}\n\
         rate_limit: {{ queries: {{ rate: 20/s, burst: 20 }} }}\ncache: {{ get_job: {{ unfinished: 1s }} }}\n"
    );
    let config = format!(
        "{}{}{}audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}, {{ stdout: true }}] }}\n",
        redis.config(),
        issuer.config(),
        crate::webhooks::CONFIG
    );
    let config = config + "index: { calls: 100/s }\n";
    let setup = Setup::new().tenant("acme", policy).config(config).changed(|folder| {
        // A file of the index that is damaged is thrown away.
        fs::create_dir_all(folder.join("state")).unwrap();
        fs::write(folder.join("state/index.redb"), b"redb\x1A\x0A\xA9\x0D\x0A, cut off").unwrap();
    });
    let world = setup.start().await;
    let folder = tempfile::tempdir().unwrap();
    Authority::new().write_server(folder.path());
    let file = |name: &str| folder.path().join(name);
    let files = TlsFiles { cert: file("cert.pem"), key: file("key.pem"), client_ca: None };
    Tls::open(files).unwrap();
    world.write_policy("globex", "operations: [getJob]\n");
    let prometheus = Prometheus::scraping(&world);
    let create = json!({"query": format!(
        "mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}"
    )});
    let (id, done) = (world.create("acme", "{}").await, world.create("acme", "{}").await);
    world.sandbox.set_state(&done, State::Finished);
    let follow =
        json!({"query": format!("subscription {{ jobUpdated(jobId: \"{done}\") {{ id }} }}")});

    let mut missing: Vec<_> = queries()
        .into_iter()
        .map(|(place, query)| {
            (place, query.replace("$__rate_interval", "5s").replace("$tenant", "acme"))
        })
        .collect();
    let give_up = Instant::now() + Duration::from_secs(40);
    let mut round = 0;
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    while !missing.is_empty() {
        assert!(Instant::now() < give_up, "no series: {missing:#?}");
        // Load of every kind, while Prometheus looks on. The limit admits what comes first.
        pace.tick().await;
        round += 1;
        world.post("acme", &follow).await;
        world.ask("acme", "{ listJobs { first } }", json!({})).await;
        let keyed = world.http.post(world.url()).header("authorization", key("acme"));
        send(keyed.header("idempotency-key", format!("k-{round}")).json(&create)).await;
        world.sandbox.fail_next(Some("getJob"), Fault::empty(500));
        for _ in 0..15 {
            world.get("acme", &id, "id state").await;
        }
        world.ask("nobody", "{ listJobs { first } }", json!({})).await;
        crate::webhooks::send(&world, &format!("msg_{round}"), &id).await;
        let mut left = Vec::new();
        for (place, query) in missing {
            if prometheus.series(&world.http, &query).await == 0 {
                left.push((place, query));
            }
        }
        missing = left;
    }
    let metrics = send(world.http.get(format!("http://{}/metrics", world.admin))).await.text;
    check_metrics(&metrics);
}

/// Asks promtool about names, units and help texts: it has nothing to say.
fn check_metrics(metrics: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let found = promtool.wait_with_output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
}
