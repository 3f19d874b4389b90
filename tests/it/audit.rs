//! Every call leaves a record that can be trusted.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jobs_gateway::audit::{Segments, verify};
use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{SINGLECAM_TAKE, Sandbox, SandboxOptions};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

use crate::support::audit::{file_of, records, records_in};
use crate::support::{Setup, World, key};

const AUDIT: &str = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";

async fn audited(config: &str) -> World {
    World::set_up(Setup { config: config.to_owned(), ..Setup::default() }).await
}

fn create() -> String {
    format!(
        "mutation {{ made: createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\", metadata: \"{{\\\"secret\\\": 1}}\") {{ id }} }}"
    )
}

#[tokio::test]
async fn allowed_denied_and_failed_calls_leave_a_record_of_each_root_field() {
    let policy = "operations: [getJob, createSingleCamJob]\n".to_owned();
    let tenants = vec![("acme", policy)];
    let world =
        World::set_up(Setup { tenants, config: AUDIT.to_owned(), ..Setup::default() }).await;
    let made = world.ask("acme", &create(), json!({})).await;
    let id = made.data("/made/id").as_str().unwrap().to_owned();
    let two = format!(
        "{{ a: getJob(jobId: \"{id}\") {{ id }} b: getJob(jobId: \"job-none\") {{ id }} }}"
    );
    world.ask("acme", &two, json!({})).await;
    world.ask("acme", "{ listJobs { first } }", json!({})).await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    world.ask("acme", "{ oops", json!({})).await;

    let records = records(&world, 7).await;
    let told: Vec<String> = records
        .iter()
        .map(|record| {
            let own = &record["unmapped"];
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            [
                &own["phase"],
                &own["tenant"],
                &record["api"]["operation"],
                &own["alias"],
                &own["decision"],
                &own["rule"],
                &record["status_code"],
            ]
            .map(text)
            .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "intent acme createSingleCamJob made allowed policy -",
            "outcome acme createSingleCamJob made allowed policy -",
            "outcome acme getJob a allowed policy -",
            "outcome acme getJob b allowed policy NOT_FOUND",
            "outcome acme listJobs listJobs denied policy FORBIDDEN",
            "outcome - none - denied authentication UNAUTHENTICATED",
            "outcome acme none - allowed policy GRAPHQL_PARSE_FAILED",
        ]
    );
    let outcome = &records[1];
    assert_eq!(outcome["resources"][0], json!({"uid": id, "type": "job"}));
    assert_eq!(outcome["resources"][1], json!({"uid": SINGLECAM_TAKE, "type": "take"}));
    assert_eq!(outcome["src_endpoint"]["ip"], "127.0.0.1");
    assert_eq!(outcome["actor"]["user"]["credential_uid"], "main");
    let request_id = made.headers["x-request-id"].to_str().unwrap();
    assert_eq!(outcome["api"]["request"]["uid"], request_id);
    assert_eq!(records[0]["api"]["request"]["uid"], request_id);
    let given = "{\"secret\": 1}";
    assert_eq!(outcome["unmapped"]["metadata"]["bytes"], given.len());
    assert_eq!(
        outcome["unmapped"]["metadata"]["sha256"],
        KeyHash::of(given.as_bytes()).to_string()
    );
    assert!(outcome["unmapped"].get("trace_id").is_none(), "none was sent");
    let text = std::fs::read_to_string(file_of(world.folder())).unwrap();
    for secret in ["secret", &key("acme"), &key("nobody"), "sandbox-move-key"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

/// The rules of class 6003 in OCSF 1.3.0: <https://schema.ocsf.io/1.3.0/classes/api_activity>.
/// Required are these attributes, of these types; a type's number is made of class and activity.
#[tokio::test]
async fn records_keep_ocsfs_rules_for_api_activity() {
    let world = audited(AUDIT).await;
    let id = world.create("acme", "{}").await;
    world.get("acme", &id, "id").await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    for record in records(&world, 4).await {
        let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_i64);
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
        assert_eq!((number("/category_uid"), number("/class_uid")), (Some(6), Some(6003)));
        let activity = number("/activity_id").unwrap();
        assert!([0, 1, 2, 3, 4, 99].contains(&activity));
        assert_eq!(number("/type_uid"), Some(6003 * 100 + activity));
        assert!((0..=6).contains(&number("/severity_id").unwrap()));
        assert!((0..=2).contains(&number("/status_id").unwrap()));
        assert!(number("/time").unwrap() > 1_700_000_000_000, "milliseconds since 1970");
        assert_eq!(text("/metadata/version"), Some("1.3.0"));
        assert!(
            text("/metadata/product/name").is_some()
                && text("/metadata/product/vendor_name").is_some()
        );
        assert!(text("/api/operation").is_some() && text("/api/request/uid").is_some());
        assert!(text("/actor/user/uid").is_some(), "an actor names at least one of its members");
        assert!(text("/src_endpoint/ip").is_some() || text("/src_endpoint/name").is_some());
        let allowed = [
            "activity_id",
            "activity_name",
            "actor",
            "api",
            "category_name",
            "category_uid",
            "class_name",
            "class_uid",
            "duration",
            "message",
            "metadata",
            "resources",
            "severity",
            "severity_id",
            "src_endpoint",
            "status",
            "status_code",
            "status_id",
            "time",
            "type_name",
            "type_uid",
            "unmapped",
        ];
        for name in record.as_object().unwrap().keys() {
            assert!(allowed.contains(&name.as_str()), "{name} is no attribute of the class");
        }
    }
}

#[tokio::test]
async fn segments_are_sealed_linked_compressed_and_kept_as_long_as_configured() {
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl, rotate: 8KiB, keep: 3 }] }\n";
    let world = audited(config).await;
    for _ in 0..80 {
        world.ask("acme", "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    let segments = Segments::of(&file_of(world.folder()));
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
    let head = std::fs::read(Segments::of(&file_of(world.folder())).head_file()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("audit.jsonl");
    let segments = Segments::of(&file);
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
struct Process {
    child: Child,
    url: String,
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

fn prepare(folder: &Path, sandbox: &Sandbox, more: &str) -> u16 {
    let (port, admin) = (free_port(), free_port());
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    let hash = KeyHash::of(key("acme").as_bytes());
    let policy = format!(
        "tenant: acme\noperations: [\"*\"]\nauth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}\nrate_limit: {{ queries: ~, mutations: ~, max_in_flight: 1000 }}\n"
    );
    std::fs::write(policies.join("acme.yaml"), policy).unwrap();
    let config = format!(
        "server: {{ listen: 127.0.0.1:{port} }}\nadmin: {{ listen: 127.0.0.1:{admin} }}\npolicies: ./policies\n\
         upstream: {{ url: '{}', api_key: '${{MOVE_API_KEY}}' }}\ntelemetry: {{ log: {{ level: warn }} }}\n{more}",
        sandbox.url()
    );
    std::fs::write(folder.join("gateway.yaml"), config).unwrap();
    port
}

async fn spawn(folder: &Path, port: u16, prefix: &str) -> Process {
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
    for _ in 0..50 {
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
        tokio::time::sleep(Duration::from_millis(30 + random.next_u64() % 120)).await;
        gateway.child.kill().unwrap();
        gateway.child.wait().unwrap();
        join_all(callers).await;
    }
    // The last one mends what the last kill left.
    let port = prepare(folder.path(), &sandbox, config);
    drop(spawn(folder.path(), port, "").await);
    let file = file_of(folder.path());
    let report = verify::verify(&Segments::of(&file), None, |_| {}).unwrap();
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
    verify::verify(&Segments::of(&file_of(folder.path())), None, |_| {}).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_was_down_catches_up_without_loss() {
    use axum::routing::post as route;

    let taken = Arc::new(std::sync::Mutex::new(Vec::<u64>::new()));
    let refusals = Arc::new(AtomicUsize::new(2));
    let receiver = {
        let (taken, refusals) = (Arc::clone(&taken), Arc::clone(&refusals));
        axum::Router::new().route(
            "/v1/logs",
            route(async move |body: String| {
                if refusals
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok()
                {
                    return axum::http::StatusCode::SERVICE_UNAVAILABLE;
                }
                let body: Value = serde_json::from_str(&body).unwrap();
                for record in
                    body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap()
                {
                    let line: Value =
                        serde_json::from_str(record["body"]["stringValue"].as_str().unwrap())
                            .unwrap();
                    taken.lock().unwrap().push(line["unmapped"]["chain"]["seq"].as_u64().unwrap());
                }
                axum::http::StatusCode::OK
            }),
        )
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let config = format!(
        "audit: {{ sinks: [{{ file: ./audit/audit.jsonl, rotate: 4KiB }}, {{ otlp: 'http://{address}/v1/logs' }}] }}\n"
    );
    let world = audited(&config).await;
    for _ in 0..30 {
        world.ask("acme", "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    let written = records(&world, 30).await.len() as u64;
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = taken.lock().unwrap().clone();
        if (1..=written).all(|seq| seen.contains(&seq)) {
            break;
        }
        assert!(Instant::now() < give_up, "{written} were written, these came: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refusals.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn records_are_found_by_tenant_time_operation_and_outcome() {
    let world = audited(AUDIT).await;
    let id = world.create("acme", "{}").await;
    world.get("globex", &id, "id").await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    records(&world, 4).await;
    let file = file_of(world.folder());
    let query = |arguments: &[&str]| {
        let binary = env!("CARGO_BIN_EXE_jobs-gateway");
        let output = Command::new(binary)
            .args(["audit", "query", "--file"])
            .arg(&file)
            .args(arguments)
            .output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(query(&[]).len(), 4);
    assert_eq!(query(&["--tenant", "acme", "--since", "1h"]).len(), 2);
    assert_eq!(query(&["--operation", "getJob", "--outcome", "not_found"]).len(), 1);
    assert_eq!(query(&["--outcome", "denied"]).len(), 1);
    assert_eq!(query(&["--since", "0"]).len(), 0);
    let json: Value =
        serde_json::from_str(&query(&["--tenant", "globex", "--format", "json"])[0]).unwrap();
    assert_eq!(json["resources"][0]["uid"], json!(id));
    assert!(query(&["--job", &id]).iter().any(|row| row.contains("createSingleCamJob")));
}

#[tokio::test]
async fn a_callers_trace_is_in_the_record_if_it_is_one() {
    let world = audited(AUDIT).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for parent in [format!("00-{trace}-b7ad6b7169203331-01"), "00-00-evil\"-1".to_owned()] {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request =
            request.header("content-type", "application/json").header("traceparent", parent);
        request.body(r#"{"query":"{ getJob(jobId: \"job-none\") { id } }"}"#).send().await.unwrap();
    }
    let records = records(&world, 2).await;
    assert_eq!(records[0]["unmapped"]["trace_id"], trace);
    assert!(records[1]["unmapped"].get("trace_id").is_none());
}

#[tokio::test]
async fn refused_credentials_and_forbidden_operations_are_counted() {
    let policy = "operations: [getJob]\n".to_owned();
    let tenants = vec![("counted", policy)];
    let world = World::set_up(Setup { tenants, ..Setup::default() }).await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    world.ask("counted", "{ listJobs { first } }", json!({})).await;
    let forbidden =
        "jobs_gateway_requests_total{code=\"FORBIDDEN\",operation=\"listJobs\",tenant=\"counted\"";
    assert_eq!(world.metric(forbidden).await, Some(1.0));
    let refused =
        "jobs_gateway_requests_total{code=\"UNAUTHENTICATED\",operation=\"none\",tenant=\"none\"";
    assert!(world.metric(refused).await.is_some_and(|count| count >= 1.0));
}
