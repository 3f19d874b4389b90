//! Each operation under each fault of Move's: code, status, calls, audit.

use std::fmt::Write as _;
use std::time::Duration;

use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE, Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::audit::records;
use crate::support::{ALL, Reply, Setup, World};

const OPERATIONS: [&str; 4] = ["getJob", "listJobs", "createSingleCamJob", "updateJob"];

/// Short timeouts, so that stalls pass soon; a breaker that never opens, so that every cell is its
/// own.
fn config(url: &str) -> String {
    format!(
        "server: {{ listen: 127.0.0.1:0, request_timeout: 3s }}
upstream:
  url: {url}
  api_key: ${{MOVE_API_KEY}}
  timeout: 400ms
  retries: {{ budget: 100% }}
  circuit_breaker: {{ failures: 100000 }}
audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}] }}
"
    )
}

async fn world(sandbox: Sandbox, url: &str) -> World {
    Setup::new().tenant("acme", ALL).config(config(url)).over(sandbox).await
}

async fn call(world: &World, operation: &str, job: &str) -> Reply {
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    match operation {
        "getJob" => world.get("acme", job, "id state").await,
        "listJobs" => world.ask("acme", "{ listJobs { items { id } } }", json!({})).await,
        "updateJob" => {
            let update = format!("mutation {{ updateJob(id: \"{job}\", name: \"n\") {{ id }} }}");
            world.ask("acme", &update, json!({})).await
        }
        _ => world.ask("acme", &create, json!({})).await,
    }
}

/// One cell of the table.
async fn cell(world: &World, operation: &str, job: &str, written: &mut usize) -> String {
    world.sandbox.clear_calls();
    let reply = call(world, operation, job).await;
    let code = match reply.code() {
        code if code.is_empty() => "OK".to_owned(),
        code => code,
    };
    let calls = world.sandbox.count(operation);
    if !matches!(operation, "getJob" | "listJobs") {
        assert!(calls <= 1, "a mutation is sent once: {operation} {calls}");
    }
    let secret = ["<html", "sandbox-move-key", "127.0.0.1"];
    assert!(secret.iter().all(|secret| !reply.text.contains(secret)), "{reply:?}");
    // The last record is the call's own; a mutation that came so far has its intent before it.
    let all = loop {
        let all = records(world, *written + 1).await;
        if all.last().is_some_and(|last| last["unmapped"]["phase"] != "intent") {
            break all;
        }
    };
    *written = all.len();
    let audit = all.last().map_or("-", |last| last["status"].as_str().unwrap_or("-"));
    format!("{code} {} {calls} {audit}", reply.status)
}

async fn row(world: &World, name: &str, job: &str, written: &mut usize, table: &mut String) {
    write!(table, "{name:<16}").unwrap();
    for operation in OPERATIONS {
        write!(table, "| {:<39}", cell(world, operation, job, written).await).unwrap();
    }
    writeln!(table).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_every_operation_has_its_code_status_calls_and_record() {
    let faults = [
        ("none", None),
        ("reset before", Some(Fault::Reset)),
        ("reset mid-body", Some(Fault::ResetMidBody)),
        ("slow headers", Some(Fault::Delay(Duration::from_millis(100)))),
        ("slow body", Some(Fault::SlowBody(Duration::from_millis(100)))),
        ("stall", Some(Fault::Stall)),
        ("429", Some(Fault::empty(429))),
        ("500", Some(Fault::empty(500))),
        ("502", Some(Fault::empty(502))),
        ("503", Some(Fault::empty(503))),
        ("HTML page", Some(Fault::html(200))),
        ("truncated JSON", Some(Fault::Truncate)),
        ("wrong shape", Some(Fault::json(200, r#"{"data": [1]}"#))),
        ("huge body", Some(Fault::Huge(9 << 20))),
    ];
    let mut table =
        "Each cell: code, HTTP status, calls of it to Move, status of the audit record.\n\n"
            .to_owned();
    write!(table, "{:<16}", "").unwrap();
    for operation in OPERATIONS {
        write!(table, "| {operation:<39}").unwrap();
    }
    table.push('\n');

    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let world = world_over(sandbox).await;
    let job = world.create("acme", "{}").await;
    let mut written = records(&world, 2).await.len();
    for (name, fault) in faults {
        for operation in OPERATIONS {
            world.sandbox.fail_always(Some(operation), None);
        }
        // The job is read before it is updated: the fault is the update's alone.
        write!(table, "{name:<16}").unwrap();
        for operation in OPERATIONS {
            world.sandbox.fail_always(Some(operation), fault.clone());
            write!(table, "| {:<39}", cell(&world, operation, &job, &mut written).await).unwrap();
            world.sandbox.fail_always(Some(operation), None);
        }
        writeln!(table).unwrap();
    }
    world.sandbox.stop().await;
    row(&world, "refused", &job, &mut written, &mut table).await;

    // A port that speaks no TLS.
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let mut url = sandbox.url();
    url.set_scheme("https").unwrap();
    let world = self::world(sandbox, url.as_str()).await;
    let mut written = 0;
    row(&world, "TLS failure", "job-none", &mut written, &mut table).await;

    println!("{table}");
    insta::assert_snapshot!(table);
}

async fn world_over(sandbox: Sandbox) -> World {
    let url = sandbox.url();
    world(sandbox, url.as_str()).await
}
