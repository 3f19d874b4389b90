//! The log, and its description in docs/logging.md.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::key;
use crate::support::process::{Process, prepare};

/// A gateway whose log goes into a file.
struct Logged {
    process: Process,
    folder: tempfile::TempDir,
    _sandbox: Sandbox,
}

impl Logged {
    /// `log` is the setting `telemetry.log`.
    async fn start(log: &str) -> Self {
        let (folder, sandbox) = (tempfile::tempdir().unwrap(), start_sandbox().await);
        let addresses = prepare(folder.path(), &sandbox, "");
        let path = folder.path().join("gateway.yaml");
        let config = std::fs::read_to_string(&path).unwrap();
        let config = config.replace("log: { level: warn }", &format!("log: {log}"));
        std::fs::write(&path, config).unwrap();
        let reader = "tenant: globex\nauth: { api_keys: [{ id: main, sha256: HASH }] }\n";
        let hash = jobs_gateway::model::KeyHash::of(key("globex").as_bytes()).to_string();
        let policy = folder.path().join("policies/globex.yaml");
        std::fs::write(policy, reader.replace("HASH", &hash)).unwrap();
        let file = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Process::start_with(folder.path(), addresses, &[], file.into()).await;
        Self { process, folder, _sandbox: sandbox }
    }

    async fn ask(&self, key: &str, query: &str) {
        let request = reqwest::Client::new().post(self.process.url());
        let request = request.header("authorization", key).header("x-request-id", "order-7");
        let asked = request.json(&json!({"query": query})).send();
        asked.await.unwrap().text().await.unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits for a line that is what is looked for.
    async fn line(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let give_up = Instant::now() + Duration::from_secs(20);
        loop {
            let text = self.text();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.into_iter().find(|line| is_it(line)) {
                return line;
            }
            assert!(Instant::now() < give_up, "{text}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn start_sandbox() -> Sandbox {
    Sandbox::start(SandboxOptions::default()).await.unwrap()
}

/// The members that a section of docs/logging.md lists.
fn documented(section: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/logging.md");
    let page = std::fs::read_to_string(path).unwrap();
    let section = page.split("\n## ").find(|text| text.starts_with(section)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn members(line: &Value) -> BTreeSet<String> {
    line.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_a_call_has_the_documented_members_in_the_documented_words() {
    let gateway = Logged::start("{ level: info }").await;
    gateway.ask(&key("globex"), "mutation { createSingleCamJob(takeId: \"take-1\") { id } }").await;
    let refused = gateway.line(|line| line["status"] == 403).await;
    assert_eq!(refused["operations"], json!(["createSingleCamJob"]), "{refused}");
    assert_eq!(refused["codes"], json!(["FORBIDDEN"]), "{refused}");
    assert_eq!(refused["tenant"], "globex");
    assert_eq!(refused["credential"], "main");
    assert_eq!(refused["source_ip"], "127.0.0.1");
    assert_eq!(refused["callers_request_id"], "order-7");
    let text = refused["message"].as_str().unwrap();
    assert!(text.starts_with("globex: createSingleCamJob: 403 FORBIDDEN in "), "{text}");

    gateway.ask(&key("acme"), "{ getJob(jobId: \"job-none\") { id } }").await;
    let read = gateway.line(|line| line["tenant"] == "acme").await;
    assert_eq!(read["codes"], json!(["NOT_FOUND"]), "{read}");
    assert_eq!(read["entity_ids"], json!(["job-none"]), "{read}");
    assert_eq!(read["upstream_calls"], 1, "{read}");
    assert_eq!(read["cost_units"], 1, "{read}");
    assert!(read["upstream_us"].as_u64().unwrap() <= read["duration_us"].as_u64().unwrap());

    gateway.ask("nobody's-key", "{ listJobs { first } }").await;
    let unknown = gateway.line(|line| line["status"] == 401).await;
    let (known, common) = (documented("A call"), documented("Every line"));
    let shown = [refused, read, unknown].iter().flat_map(members).collect::<BTreeSet<_>>();
    assert_eq!(shown.difference(&common).cloned().collect::<BTreeSet<_>>(), known);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_takes_a_right_away_is_a_warning_and_one_that_is_refused_says_what_would_be_right()
 {
    let gateway = Logged::start("{ level: info }").await;
    let policy = gateway.folder.path().join("policies/acme.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace("operations", "operatons")).unwrap();
    let refused = gateway.line(|line| line["message"] == "the reload is refused").await;
    assert_eq!(refused["level"], "ERROR");
    assert!(refused["place"].as_str().unwrap().ends_with("acme.yaml:2:1"), "{refused}");
    assert!(refused["help"].as_str().unwrap().contains("operations"), "{refused}");
    std::fs::write(&policy, text.replace("[\"*\"]", "[getJob]")).unwrap();
    let warned = gateway.line(|line| line["message"] == "reloaded").await;
    assert_eq!(warned["level"], "WARN", "{warned}");
    assert!(warned["rights_removed"].as_str().unwrap().contains("acme/updateJob"), "{warned}");
    std::fs::write(&policy, &text).unwrap();
    let told = |line: &Value| line["message"] == "reloaded" && line["level"] == "INFO";
    let told = gateway.line(told).await;
    let shown: BTreeSet<_> =
        members(&told).difference(&documented("Every line")).cloned().collect();
    assert_eq!(shown, documented("A reload"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_names_the_keys_of_the_configuration_and_warns_of_a_restart_only_where_one_is_due()
{
    let gateway = Logged::start("{ level: info }").await;
    let path = gateway.folder.path().join("gateway.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let debug = text.replace("level: info", "level: debug");
    let warns = |line: &Value| line["keys"] == "telemetry.log.level";
    let changes = |keys: &'static str| {
        move |line: &Value| line["message"] == "reloaded" && line["config_changed"] == keys
    };
    std::fs::write(&path, &debug).unwrap();
    gateway.line(warns).await;
    gateway.line(changes("telemetry.log.level")).await;
    // Back to what is in force, with something that a reload does.
    let secret = gateway.folder.path().join("webhook.secret");
    std::fs::write(&secret, format!("whsec_{}=", "A".repeat(43))).unwrap();
    let webhooks = format!(
        "webhooks: {{ listen: '127.0.0.1:1', accounts: {{ shared: {{ secrets: ['${{file:{}}}'] }} }} }}\n",
        secret.display()
    );
    std::fs::write(&path, format!("{text}{webhooks}limits: {{ depth: 9 }}\n")).unwrap();
    gateway.line(changes("limits.depth, telemetry.log.level, webhooks")).await;
    // What only stands elsewhere is the same.
    std::fs::write(&path, format!("{text}limits: {{ depth: 8 }}\n{webhooks}")).unwrap();
    gateway.line(changes("limits.depth")).await;
    let log = gateway.text();
    let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    assert_eq!(lines.filter(warns).count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_what_runs_and_libraries_say_nothing() {
    let gateway = Logged::start("{ level: info }").await;
    let ready = gateway.line(|line| line["message"] == "the gateway is ready").await;
    let common = documented("Every line");
    let shown: BTreeSet<_> = members(&ready).difference(&common).cloned().collect();
    assert_eq!(shown, documented("The start"));
    assert_eq!(ready["tenants"], 2, "{ready}");
    assert_eq!(ready["version"], env!("CARGO_PKG_VERSION"));
    assert!(ready["config"].as_str().unwrap().ends_with("gateway.yaml"), "{ready}");
    assert!(ready["upstream"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{ready}");

    // The watched folder goes: notify would tell where it was built.
    let policies = gateway.folder.path().join("policies");
    std::fs::rename(&policies, policies.with_extension("old")).unwrap();
    gateway.line(|line| line["level"] == "ERROR").await;
    for line in gateway.text().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let target = line["target"].as_str().unwrap();
        assert!(target == "call" || target.starts_with("jobs_gateway"), "{line}");
        assert!(!line.to_string().contains(".cargo"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_people_have_no_colours_in_a_file() {
    let gateway = Logged::start("{ level: info, format: text }").await;
    gateway.ask("an-unknown-key", "{ listJobs { first } }").await;
    let give_up = Instant::now() + Duration::from_secs(20);
    while !gateway.text().contains("codes=[\"UNAUTHENTICATED\"]") {
        assert!(Instant::now() < give_up, "{}", gateway.text());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!gateway.text().contains('\u{1b}'), "{}", gateway.text());
}

#[tokio::test]
async fn a_log_that_nobody_reads_keeps_no_request_waiting() {
    let (folder, sandbox) = (tempfile::tempdir().unwrap(), start_sandbox().await);
    let addresses = prepare(folder.path(), &sandbox, "");
    let path = folder.path().join("gateway.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("level: warn", "level: info")).unwrap();
    let process = Process::start_with(folder.path(), addresses, &[], Stdio::piped()).await;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    // A pipe takes 64 KiB.
    for _ in 0..300 {
        let request = client.post(process.url()).header("authorization", key("acme"));
        let reply = request.json(&json!({"query": "{ __typename }"})).send().await.unwrap();
        assert_eq!(reply.status(), 200);
    }
}
