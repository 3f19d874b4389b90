//! Idempotency keys on a disk that is full for a while.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{SINGLECAM_TAKE, Sandbox, SandboxOptions};
use redb::{Database, TableDefinition};
use serde_json::{Value, json};

use crate::audit_files::{Process, prepare, spawn};
use crate::support::key;

/// A file of keys in which nothing is missing, for all that it says: it was begun long ago.
async fn old_file(folder: &Path, sandbox: &Sandbox, settings: &str) -> u16 {
    let more =
        format!("cursor_key: ${{CURSOR_KEY}}\nidempotency: {{ file: ./keys.redb{settings} }}\n");
    let port = prepare(folder, sandbox, &more);
    drop(start(folder, port).await);
    let database = Database::create(folder.join("keys.redb")).unwrap();
    let begun = database.begin_write().unwrap();
    let times = TableDefinition::<&str, i64>::new("times");
    begun.open_table(times).unwrap().insert("complete_since", 1).unwrap();
    begun.commit().unwrap();
    port
}

async fn start(folder: &Path, port: u16) -> Process {
    let cursor_key = "07".repeat(32);
    spawn(folder, port, &format!("trap '' XFSZ; export CURSOR_KEY={cursor_key};")).await
}

/// Whoever writes beyond the first bytes of a file gets an error, as on a full disk; or nobody does.
fn full(gateway: &Process, is_full: bool) {
    let limit = if is_full { "--fsize=4096:unlimited" } else { "--fsize=unlimited" };
    let pid = gateway.child.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, limit]).status().unwrap().success());
}

/// Creates a job with a key; returns its id, or an error's code.
async fn create(gateway: &Process, own: &str) -> String {
    let query = format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    let request = reqwest::Client::new()
        .post(&gateway.url)
        .header("authorization", key("acme"))
        .header("content-type", "application/json")
        .header("idempotency-key", own)
        .body(json!({"query": query}).to_string());
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let told =
        [&answer["data"]["createSingleCamJob"]["id"], &answer["errors"][0]["extensions"]["code"]];
    told.into_iter().find_map(Value::as_str).unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn a_key_that_a_full_disk_could_not_hold_makes_no_second_job_after_a_kill() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = old_file(folder.path(), &sandbox, "").await;
    let gateway = start(folder.path(), port).await;
    let before = create(&gateway, "before").await;
    full(&gateway, true);
    let made = create(&gateway, "k-1").await;
    assert!(made.starts_with("job-"), "{made}");
    drop(gateway);
    let gateway = start(folder.path(), port).await;
    assert_eq!(create(&gateway, "k-1").await, made);
    assert_eq!(create(&gateway, "before").await, before);
    assert_eq!(sandbox.job_count(), 2);
}

#[tokio::test]
async fn keys_are_held_again_when_there_is_room_again() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = old_file(folder.path(), &sandbox, ", on_trouble: refuse").await;
    let gateway = start(folder.path(), port).await;
    full(&gateway, true);
    assert_eq!(create(&gateway, "k-1").await, "OVERLOADED");
    assert_eq!(sandbox.job_count(), 0);
    full(&gateway, false);
    let give_up = Instant::now() + Duration::from_secs(20);
    let made = loop {
        let told = create(&gateway, "k-1").await;
        if told != "OVERLOADED" {
            break told;
        }
        assert!(Instant::now() < give_up, "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    drop(gateway);
    let gateway = start(folder.path(), port).await;
    assert_eq!(create(&gateway, "k-1").await, made);
    assert_eq!(sandbox.job_count(), 1);
}
