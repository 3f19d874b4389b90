//! The files of audit records: nothing is lost, forged or shared in them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use jobs_gateway::audit::{Segments, verify};
use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{Sandbox, SandboxOptions};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

use crate::audit::create;
use crate::support::audit::{file_of, records, records_in, summaries_of_strangers};
use crate::support::{Setup, World, key, process};

const AUDIT: &str = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";

async fn audited(config: &str) -> World {
    Setup::new().config(config).start().await
}

#[tokio::test]
async fn segments_are_sealed_linked_compressed_and_kept_as_long_as_configured() {
    let config =
        "audit: { sinks: [{ file: ./audit/audit.jsonl, rotate: 8KiB, keep: 3, keep_for: 0 }] }\n";
    let world = audited(config).await;
    for _ in 0..80 {
        world.ask("acme", "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    let segments = Segments::new(&file_of(world.folder()));
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        let closed = segments.closed().unwrap();
        if closed.len() == 3
            && closed.iter().all(|(_, path)| path.extension().unwrap() == "gz")
            && closed[0].0 > 1
        {
            break;
        }
        assert!(Instant::now() < give_up, "{closed:?}");
        tokio::task::yield_now().await;
    }
    let report = loop {
        // Verified while it is written: a segment may go away meanwhile.
        if let Ok(report) = verify::verify(&segments, None, |_| {}) {
            break report;
        }
        assert!(Instant::now() < give_up);
        tokio::task::yield_now().await;
    };
    assert!(report.head.count > 80 && report.records < report.head.count, "{report:?}");
    let oldest = segments.closed().unwrap()[1].1.clone();
    std::fs::remove_file(oldest).unwrap();
    assert!(verify::verify(&segments, None, |_| {}).is_err(), "a segment is missing");
}

#[tokio::test]
async fn the_head_is_exported_and_shows_that_the_end_was_cut() {
    let world = audited(AUDIT).await;
    for _ in 0..5 {
        world.ask("acme", "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    records(&world, 5).await;
    let head = world.http.get(format!("http://{}/audit/head", world.admin)).send().await.unwrap();
    let head = head.text().await.unwrap();
    let file = file_of(world.folder());
    let verify = |head: &str| {
        let binary = env!("CARGO_BIN_EXE_jobs-gateway");
        let output = Command::new(binary)
            .args(["audit", "verify", "--head", head.trim()])
            .arg(&file)
            .output();
        output.unwrap().status.success()
    };
    assert!(verify(&head));
    // The one who cuts the end also makes a new head beside it.
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: Vec<_> = text.lines().take(3).collect();
    std::fs::write(&file, kept.join("\n") + "\n").unwrap();
    assert!(!verify(&head));
}

#[test]
fn verifying_files_that_are_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for missing in ["nope.jsonl", "nowhere/audit.jsonl"] {
        let path = folder.path().join(missing);
        let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["audit", "verify"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with(&format!("error: {}: ", path.display())), "{said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

fn random() -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32])
}

#[tokio::test]
async fn a_thousand_random_changes_are_all_found() {
    let world = audited(AUDIT).await;
    for n in 0..40 {
        world.ask("acme", &format!("{{ getJob(jobId: \"job-{n}\") {{ id }} }}"), json!({})).await;
    }
    records(&world, 40).await;
    let original = std::fs::read(file_of(world.folder())).unwrap();
    let head = std::fs::read(Segments::new(&file_of(world.folder())).head_file()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("audit.jsonl");
    let segments = Segments::new(&file);
    std::fs::write(segments.head_file(), head).unwrap();
    let mut random = random();
    let mut below = |n: usize| usize::try_from(random.next_u64() % n as u64).unwrap();
    std::fs::write(&file, &original).unwrap();
    verify::verify(&segments, None, |_| {}).unwrap();
    for round in 0..1_000 {
        let mut lines: Vec<Vec<u8>> =
            original.trim_ascii_end().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let (at, other) = (below(lines.len()), below(lines.len()));
        let mut text = match round % 5 {
            0 => {
                let byte = below(original.len());
                let mut text = original.clone();
                text[byte] ^= 1 << below(8);
                text
            }
            1 => {
                lines.remove(at);
                lines.join(&b'\n')
            }
            2 => {
                lines.swap(at, if at == other { (other + 1) % 40 } else { other });
                lines.join(&b'\n')
            }
            3 => original[..below(original.len())].to_vec(),
            _ => {
                let twice = lines[at].clone();
                lines.insert(other, twice);
                lines.join(&b'\n')
            }
        };
        if !matches!(round % 5, 0 | 3) {
            text.push(b'\n');
        }
        std::fs::write(&file, &text).unwrap();
        let report = verify::verify(&segments, None, |_| {});
        assert!(report.is_err(), "round {round}: {report:?}");
    }
}

/// The gateway as a process of its own.
pub struct Process {
    pub child: Child,
    pub url: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Writes a configuration for [`spawn`] with one tenant, `acme`.
pub fn prepare(folder: &Path, sandbox: &Sandbox, more: &str) -> u16 {
    let (port, admin) = (free_port(), free_port());
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    let hash = KeyHash::of(key("acme").as_bytes());
    let policy = format!(
        "tenant: acme\noperations: [\"*\"]\ntakes: {{ unclaimed: use }}\nauth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}\nrate_limit: {{ queries: ~, mutations: ~, max_in_flight: 1000 }}\n"
    );
    std::fs::write(policies.join("acme.yaml"), policy).unwrap();
    let config = format!(
        "server: {{ listen: 127.0.0.1:{port}, drain_delay: 0 }}\nadmin: {{ listen: 127.0.0.1:{admin} }}\npolicies: ./policies\n\
         upstream: {{ url: '{}', api_key: '${{MOVE_API_KEY}}' }}\ntelemetry: {{ log: {{ level: warn }} }}\n{more}",
        sandbox.url()
    );
    std::fs::write(folder.join("gateway.yaml"), config).unwrap();
    port
}

/// Starts the gateway by a shell that does something first.
pub async fn spawn(folder: &Path, port: u16, prefix: &str) -> Process {
    let binary = env!("CARGO_BIN_EXE_jobs-gateway");
    let config = folder.join("gateway.yaml");
    let child = Command::new("sh")
        .args(["-c", &format!("{prefix} exec {binary} serve --config {}", config.display())])
        .env("MOVE_API_KEY", "sandbox-move-key")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < give_up, "the gateway does not start");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Process { child, url: format!("http://127.0.0.1:{port}/graphql") }
}

async fn post(http: &reqwest::Client, url: &str, query: &str) -> Option<Value> {
    let request = http
        .post(url)
        .header("authorization", key("acme"))
        .header("content-type", "application/json");
    let reply = request.body(json!({"query": query}).to_string()).send().await.ok()?;
    serde_json::from_str(&reply.text().await.ok()?).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_fifty_kills_every_mutation_that_move_saw_has_its_intent_and_the_chain_holds() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl, rotate: 64KiB, keep: 1000 }] }\n";
    let mut random = random();
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    for round in 0..50 {
        let port = prepare(folder.path(), &sandbox, config);
        let mut gateway = spawn(folder.path(), port, "").await;
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (http, url, answered) =
                    (http.clone(), gateway.url.clone(), Arc::clone(&answered));
                tokio::spawn(async move {
                    while let Some(reply) = post(&http, &url, &create()).await {
                        assert!(reply["data"]["made"]["id"].is_string(), "{reply}");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let strangers = http.get(format!("{}?query=%7B__typename%7D", gateway.url));
        tokio::time::sleep(Duration::from_millis(30 + random.next_u64() % 120)).await;
        drop(strangers.send().await);
        if round % 10 == 9 {
            // What was counted is written at a stop.
            let pid = gateway.child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        } else {
            gateway.child.kill().unwrap();
        }
        gateway.child.wait().unwrap();
        join_all(callers).await;
    }
    // The last one mends what the last kill left.
    let port = prepare(folder.path(), &sandbox, config);
    drop(spawn(folder.path(), port, "").await);
    let file = file_of(folder.path());
    let report = verify::verify(&Segments::new(&file), None, |_| {}).unwrap();
    let strangers = verify::verify(&Segments::new(&file).refused(), None, |_| {}).unwrap();
    assert_eq!(strangers.records, 5, "of each stop that was not a kill");
    let intents =
        records_in(&file).iter().filter(|record| record["unmapped"]["phase"] == "intent").count();
    let seen = sandbox.count("createSingleCamJob").max(sandbox.job_count());
    println!(
        "{seen} mutations at Move, {intents} intents, {} answered, {} records",
        answered.load(Ordering::Relaxed),
        report.records
    );
    assert!(seen > 50, "{seen}");
    assert!(intents >= seen, "{intents} intents for {seen} mutations");
    assert!(answered.load(Ordering::Relaxed) <= intents);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_disk_is_full_mutations_are_refused_and_go_on_when_there_is_room_again() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = prepare(folder.path(), &sandbox, AUDIT);
    // Files of 64 blocks of 512 bytes at most; whoever writes more gets an error, as on a full disk.
    let gateway = spawn(folder.path(), port, "trap '' XFSZ; ulimit -S -f 64;").await;
    let http = reqwest::Client::new();
    let code =
        |reply: &Value| reply["errors"][0]["extensions"]["code"].as_str().unwrap_or("").to_owned();
    let mut made = 0;
    let refused = loop {
        let reply = post(&http, &gateway.url, &create()).await.unwrap();
        if reply["data"]["made"]["id"].is_string() {
            made += 1;
            assert!(made < 100, "the disk is never full");
        } else {
            break reply;
        }
    };
    assert_eq!(code(&refused), "AUDIT_UNAVAILABLE", "{refused}");
    assert_eq!(sandbox.job_count(), made, "nothing was forwarded");
    let began = Instant::now();
    let query = post(&http, &gateway.url, "{ getJob(jobId: \"job-none\") { id } }").await.unwrap();
    assert_eq!(code(&query), "NOT_FOUND", "queries go on while there is room in the queue");
    let refused = post(&http, &gateway.url, &create()).await.unwrap();
    assert_eq!(code(&refused), "AUDIT_UNAVAILABLE");
    assert!(began.elapsed() < Duration::from_secs(3), "refused at once");

    let pid = gateway.child.id().to_string();
    let raised =
        Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap();
    assert!(raised.success());
    let give_up = Instant::now() + Duration::from_secs(10);
    while !post(&http, &gateway.url, &create()).await.unwrap()["data"]["made"]["id"].is_string() {
        assert!(Instant::now() < give_up, "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(gateway);
    let port = prepare(folder.path(), &sandbox, AUDIT);
    drop(spawn(folder.path(), port, "").await);
    verify::verify(&Segments::new(&file_of(folder.path())), None, |_| {}).unwrap();
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < give_up, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn read_nothing(world: &World, times: usize) {
    for _ in 0..times {
        world.ask("acme", "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
}

#[tokio::test]
async fn closed_files_stay_for_their_time_and_verify_says_from_when_on_records_are_kept() {
    let config =
        "audit: { sinks: [{ file: ./audit/audit.jsonl, rotate: 8KiB, keep: 1, keep_for: 1d }] }\n";
    let world = audited(config).await;
    let file = file_of(world.folder());
    let segments = Segments::new(&file);
    read_nothing(&world, 60).await;
    until("more files are closed than `keep` says", async || {
        let closed = segments.closed().unwrap();
        closed.len() >= 3 && closed.iter().all(|(_, path)| path.extension().unwrap() == "gz")
    })
    .await;
    let verified = || {
        let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["audit", "verify"])
            .arg(&file)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (is_good, text) = verified();
    assert!(is_good && text.contains("none was retired"), "{text}");
    let closed = segments.closed().unwrap();
    let before = verify::verify(&segments, None, |_| {}).unwrap();
    assert_eq!(before.oldest.unwrap().link.seq, 1);

    // Two days pass for the files.
    let past = SystemTime::now() - Duration::from_hours(48);
    for (_, path) in &closed {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }
    let newest = closed.last().unwrap().0;
    read_nothing(&world, 30).await;
    until("old files are removed", async || segments.closed().unwrap()[0].0 > newest).await;
    let told = |record: &Value| record["unmapped"]["retired"].is_u64();
    until("a record says so", async || records_in(&file).iter().any(told)).await;
    let (is_good, text) = verified();
    assert!(is_good && text.contains("older ones were retired"), "{text}");
    // Whoever removes more than retention did is found out, also if the head is made to fit.
    let (first, oldest) = segments.closed().unwrap().remove(0);
    std::fs::remove_file(oldest).unwrap();
    let mut head: Value =
        serde_json::from_slice(&std::fs::read(segments.head_file()).unwrap()).unwrap();
    head["first"] = json!(first + 1_000);
    let exported = segments.head().unwrap();
    std::fs::remove_file(segments.head_file()).unwrap();
    let report = verify::verify(&segments, exported, |_| {});
    assert!(matches!(report, Err(verify::Broken::BeginningMissing { .. })), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_files_does_not_start() {
    for (more, named) in [
        (AUDIT, "another gateway writes it"),
        ("", "idempotency.redb, cannot be opened: another gateway has it open"),
    ] {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let idempotency = |name: &str| match more {
            "" => String::new(),
            more => format!("idempotency: {{ file: ./{name}.redb }}\n{more}"),
        };
        let addresses = process::prepare(folder.path(), &sandbox, &idempotency("first"));
        let first = process::Process::start(folder.path(), addresses).await;
        process::prepare(folder.path(), &sandbox, &idempotency("second"));
        let second = || {
            Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
                .args(["serve", "--config"])
                .arg(folder.path().join("gateway.yaml"))
                .env("MOVE_API_KEY", "sandbox-move-key")
                .output()
                .unwrap()
        };
        let refused = tokio::task::block_in_place(second);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(named), "{text}");
        let http = reqwest::Client::new();
        let made = post(&http, &first.url(), &create()).await.unwrap();
        assert!(made["data"]["made"]["id"].is_string(), "the first goes on: {made}");
        if !more.is_empty() {
            assert!(text.contains("audit/audit.jsonl"), "{text}");
            verify::verify(&Segments::new(&file_of(folder.path())), None, |_| {}).unwrap();
        }
    }
}

#[tokio::test]
async fn audit_files_are_their_owners_alone() {
    let sink =
        "{ file: ./audit/audit.jsonl, rotate: 8KiB }, { otlp: 'http://127.0.0.1:9/v1/logs' }";
    let world = audited(&format!("audit: {{ sinks: [{sink}] }}\n")).await;
    read_nothing(&world, 30).await;
    world.ask("nobody", "{ __typename }", json!({})).await;
    records(&world, 30).await;
    summaries_of_strangers(&world, 1).await;
    let folder = world.folder().join("audit");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        // One that is being put in its place may be gone meanwhile.
        let Ok(metadata) = file.metadata() else { continue };
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_down_is_told_once_and_told_back_without_its_url() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let receiver = process::free_address();
    let more = format!(
        "audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}, {{ otlp: 'http://{receiver}/v1/logs?token=SINKSECRET' }}] }}\n"
    );
    let addresses = process::prepare(folder.path(), &sandbox, &more);
    let config = folder.path().join("gateway.yaml");
    let text = std::fs::read_to_string(&config).unwrap().replace("level: warn", "level: info");
    std::fs::write(&config, text).unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let gateway = process::Process::start_with(folder.path(), addresses, &[], log.into()).await;
    let http = reqwest::Client::new();
    post(&http, &gateway.url(), "{ getJob(jobId: \"job-none\") { id } }").await.unwrap();
    let logged = |words: &str| {
        let text = std::fs::read_to_string(folder.path().join("log")).unwrap();
        text.lines().filter(|line| line.contains(words)).count()
    };
    until("the log says that it is down", async || logged("does not take records") > 0).await;
    // It is tried again meanwhile, and refuses.
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    let taken = Arc::new(std::sync::Mutex::new(Value::Null));
    let kept = Arc::clone(&taken);
    let answer = axum::routing::post(async move |body: String| {
        if counted.fetch_add(1, Ordering::SeqCst) < 2 {
            return axum::http::StatusCode::SERVICE_UNAVAILABLE;
        }
        *kept.lock().unwrap() = serde_json::from_str(&body).unwrap();
        axum::http::StatusCode::OK
    });
    let listener = tokio::net::TcpListener::bind(receiver).await.unwrap();
    let router = axum::Router::new().route("/v1/logs", answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    until("the log says that it is back", async || logged("takes records again") > 0).await;
    assert_eq!(logged("does not take records"), 1);
    assert_eq!(logged("SINKSECRET"), 0);
    assert_eq!(logged("Connection refused"), 1, "the cause is told");
    let taken = taken.lock().unwrap().clone();
    let attributes = taken["resourceLogs"][0]["resource"]["attributes"].as_array().unwrap();
    let instance = attributes.iter().any(|attribute| attribute["key"] == "service.instance.id");
    assert!(instance, "{attributes:?}");
}
