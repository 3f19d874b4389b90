//! A start beside broken policies takes the last good copy of them, and says so.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::key;
use crate::support::process::{Process, prepare};

const LAST_GOOD: &str = "cursor_key: '${CURSOR_KEY}'\nreload: { last_good: ./state/policies";
const RENAME: &str = "mutation { updateJob(id: \"job-none\", name: \"n\") { id } }";

async fn sandbox() -> Sandbox {
    Sandbox::start(SandboxOptions::default()).await.unwrap()
}

/// Gives the HTTP status of a tenant's call that only the right to change jobs allows.
async fn rename(process: &Process, tenant: &str) -> u16 {
    let request = reqwest::Client::new().post(process.url()).header("authorization", key(tenant));
    request.json(&json!({"query": RENAME})).send().await.unwrap().status().as_u16()
}

async fn admin(process: &Process, path: &str) -> String {
    let answer = reqwest::get(format!("http://{}{path}", process.admin)).await;
    answer.unwrap().text().await.unwrap()
}

async fn status(process: &Process) -> Value {
    serde_json::from_str(&admin(process, "/status").await).unwrap()
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(Instant::now() < give_up, "{what}");
        tokio::task::yield_now().await;
    }
}

/// Starts a gateway, has its policies copied, and stops it.
async fn run_once(folder: &Path, addresses: (std::net::SocketAddr, std::net::SocketAddr)) {
    let mut process = Process::start(folder, addresses).await;
    assert_eq!(status(&process).await["policies"]["last_good_of"], Value::Null);
    let copy = folder.join("state/policies");
    until("the policies are copied", async || copy.exists()).await;
    process.signal("TERM");
    process.signal("TERM");
    tokio::task::block_in_place(|| process.child.wait().unwrap());
}

/// Runs a command to its end, and gives its exit status and what it says.
fn run(folder: &Path, command: &str) -> (Option<i32>, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args([command, "--config"])
        .arg(folder.join("gateway.yaml"))
        .env("MOVE_API_KEY", "sandbox-move-key")
        .env("CURSOR_KEY", "07".repeat(32))
        .output()
        .unwrap();
    let said = [run.stdout, run.stderr].concat();
    (run.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_beside_broken_policies_goes_on_with_the_last_good_copy_and_says_so()
{
    let (folder, sandbox) = (tempfile::tempdir().unwrap(), sandbox().await);
    let addresses = prepare(folder.path(), &sandbox, &format!("{LAST_GOOD} }}\n"));
    run_once(folder.path(), addresses).await;
    let policy = folder.path().join("policies/acme.yaml");
    let good = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, good.replace("operations", "operatons")).unwrap();

    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let process = Process::start_with(folder.path(), addresses, &[], log.into()).await;
    assert_eq!(rename(&process, "acme").await, 200, "it may what it might");
    let told = status(&process).await;
    assert!(told["policies"]["last_good_of"].is_string(), "{told}");
    assert_eq!(told["policies"]["tenants"], json!(["acme"]));
    assert_eq!(told["reload"]["ok"], false);
    let problem = &told["reload"]["problems"][0];
    assert!(problem["place"].as_str().unwrap().ends_with("acme.yaml:2:1"), "{told}");
    assert_eq!(problem["problem"], "unknown key `operatons`", "{told}");
    assert!(problem["help"].as_str().unwrap().contains("operations"), "{told}");
    let metrics = admin(&process, "/metrics").await;
    assert!(metrics.contains("jobs_gateway_policy_last_good 1"), "{metrics}");
    assert!(metrics.contains("jobs_gateway_policy_reload_ok 0"), "{metrics}");
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("the last good copy of the policies stands in"), "{log}");
    let (code, said) = run(folder.path(), "check");
    assert_eq!(code, Some(1), "the check is not content: {said}");

    // What is repaired counts at once.
    std::fs::write(&policy, good.replace("[\"*\"]", "[getJob]")).unwrap();
    until("the repaired policy is in force", async || rename(&process, "acme").await == 403).await;
    let told = status(&process).await;
    assert_eq!(
        (&told["policies"]["last_good_of"], &told["reload"]["ok"]),
        (&Value::Null, &json!(true))
    );
    assert!(admin(&process, "/metrics").await.contains("jobs_gateway_policy_last_good 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_beside_broken_policies_fails_where_there_is_no_copy_or_no_good_one() {
    let (folder, sandbox) = (tempfile::tempdir().unwrap(), sandbox().await);
    let addresses = prepare(folder.path(), &sandbox, &format!("{LAST_GOOD} }}\n"));
    let (policy, copy) =
        (folder.path().join("policies/acme.yaml"), folder.path().join("state/policies"));
    let good = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, "nope: 1\n").unwrap();
    let fails = |why: &str| {
        let (code, said) = run(folder.path(), "serve");
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains("unknown key `nope`") && said.contains(why), "{why}: {said}");
    };
    fails("is not used: it cannot be read");
    std::fs::write(&policy, &good).unwrap();
    run_once(folder.path(), addresses).await;
    std::fs::write(&policy, "nope: 1\n").unwrap();
    let whole = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &whole[..whole.len() / 2]).unwrap();
    fails("is not used: it is torn");
    std::fs::write(&copy, &whole).unwrap();
    let config = folder.path().join("gateway.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}issuers: []\n")).unwrap();
    fails("is not used: it was made beside another gateway.yaml");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tenants_keep_what_they_had_a_start_takes_only_the_broken_ones_from_the_copy() {
    let (folder, sandbox) = (tempfile::tempdir().unwrap(), sandbox().await);
    let more = format!("{LAST_GOOD}, on_error: keep_tenant }}\n");
    let addresses = prepare(folder.path(), &sandbox, &more);
    let (acme, globex) =
        (folder.path().join("policies/acme.yaml"), folder.path().join("policies/globex.yaml"));
    let good = std::fs::read_to_string(&acme).unwrap();
    let hash = |tenant: &str| jobs_gateway::model::KeyHash::of(key(tenant).as_bytes()).to_string();
    let beside = good.replace("acme", "globex").replace(&hash("acme"), &hash("globex"));
    std::fs::write(&globex, &beside).unwrap();
    run_once(folder.path(), addresses).await;
    std::fs::write(&acme, "").unwrap();
    std::fs::write(&globex, beside.replace("[\"*\"]", "[getJob]")).unwrap();

    let mut process = Process::start(folder.path(), addresses).await;
    assert_eq!(rename(&process, "acme").await, 200, "as it was");
    assert_eq!(rename(&process, "globex").await, 403, "as its file says now");
    assert!(status(&process).await["policies"]["last_good_of"].is_string());
    // That is what is copied now: what was taken away does not come back.
    let copy = folder.path().join("state/policies");
    let written = std::fs::metadata(&copy).unwrap().modified().unwrap();
    std::fs::write(&globex, beside.replace("[\"*\"]", "[listJobs]")).unwrap();
    until("the copy is written", async || {
        std::fs::metadata(&copy).unwrap().modified().unwrap() != written
    })
    .await;
    process.signal("KILL");
    tokio::task::block_in_place(|| process.child.wait().unwrap());
    std::fs::write(&globex, "").unwrap();
    let process = Process::start(folder.path(), addresses).await;
    assert_eq!(rename(&process, "acme").await, 200, "as it was");
    assert_eq!(rename(&process, "globex").await, 403, "as it was last");
}
