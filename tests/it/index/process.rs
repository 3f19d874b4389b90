//! The index of a gateway that is killed, or whose disk is full: no job is missing in a listing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{SINGLECAM_TAKE, Sandbox, SandboxOptions};
use serde_json::json;

use super::{LIST, fill, ids};
use crate::support::process::{self, Process};
use crate::support::{key, send};

const CONFIG: &str = "index: { calls: 40/s }\ncursor_key: '${CURSOR_KEY}'\n";

/// Lists all that is acme's, newest first, page by page.
async fn list_whole(http: &reqwest::Client, process: &Process) -> Vec<String> {
    list_with(http, process, "max-age=60").await
}

/// The same with a header `Cache-Control`.
async fn list_with(http: &reqwest::Client, process: &Process, cache: &str) -> Vec<String> {
    let (mut listed, mut after) = (Vec::new(), json!(null));
    loop {
        let body = json!({"query": LIST, "variables": {"first": 50, "after": after}});
        let request = http.post(process.url()).header("authorization", key("acme"));
        let request = request.header("cache-control", cache).json(&body);
        let page = send(request).await.data("/listJobs");
        listed.extend(ids(&page));
        after = page["after"].clone();
        if after.is_null() {
            return listed;
        }
    }
}

/// Returns acme's jobs as Move has them, newest first.
fn truth(sandbox: &Sandbox) -> Vec<String> {
    let jobs = sandbox.jobs().into_iter().rev();
    let own = jobs.filter(|job| job.metadata.as_ref().is_some_and(|text| text.contains("acme")));
    own.map(|job| job.id).collect()
}

/// Creates jobs until the gateway does not answer any more.
async fn create_on(http: reqwest::Client, url: String) {
    let query = format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    loop {
        let body = json!({"query": query});
        let request = http.post(&url).header("authorization", key("acme")).json(&body);
        match request.send().await {
            Ok(answer) if answer.status() == 200 => {}
            _ => return,
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

async fn metric(http: &reqwest::Client, process: &Process, name: &str) -> Option<f64> {
    let text = send(http.get(format!("http://{}/metrics", process.admin))).await.text;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn is_indexed(http: &reqwest::Client, process: &Process) -> bool {
    metric(http, process, "jobs_gateway_listings_total{way=\"index\"").await.is_some()
}

/// Kills a gateway at random moments while its index is filled and while jobs are created: each listing has all that
/// was there when it began.
async fn killed(rounds: u64) {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    fill(&sandbox);
    let folder = tempfile::tempdir().unwrap();
    let addresses = process::prepare(folder.path(), &sandbox, CONFIG);
    let file = folder.path().join("state/index.redb");
    let http = reqwest::Client::new();
    for round in 0..rounds {
        if round % 4 == 3 {
            drop(std::fs::remove_file(&file));
        }
        let mut process = Process::start(folder.path(), addresses).await;
        let creating = tokio::spawn(create_on(http.clone(), process.url()));
        let began = Instant::now();
        let time = Duration::from_millis(900 + round * 137 % 800);
        while began.elapsed() < time {
            let before = truth(&sandbox);
            let listed = list_whole(&http, &process).await;
            let has_all = before.iter().all(|own| listed.contains(own));
            assert!(has_all, "round {round}: {before:?} and not {listed:?}");
        }
        process.child.kill().unwrap();
        drop(process);
        creating.await.unwrap();
    }
    let process = Process::start(folder.path(), addresses).await;
    let give_up = Instant::now() + Duration::from_mins(1);
    while !is_indexed(&http, &process).await {
        assert!(Instant::now() < give_up, "the index is not filled");
        assert_eq!(list_whole(&http, &process).await, truth(&sandbox));
    }
    assert_eq!(list_whole(&http, &process).await, truth(&sandbox));
}

#[tokio::test]
async fn a_kill_while_the_index_is_filled_and_written_takes_no_job_out_of_a_listing() {
    killed(2).await;
}

#[tokio::test]
#[ignore = "two minutes: it kills the gateway 50 times"]
async fn kills_while_the_index_is_filled_and_written_take_no_job_out_of_a_listing_however_often() {
    killed(50).await;
}

/// Starts a gateway that goes on where a file may not be larger.
async fn start(folder: &Path, addresses: (std::net::SocketAddr, std::net::SocketAddr)) -> Process {
    let script = "trap '' XFSZ; exec \"$0\" serve --config \"$1\"";
    let child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_jobs-gateway")])
        .arg(folder.join("gateway.yaml"))
        .env("MOVE_API_KEY", "sandbox-move-key")
        .env("CURSOR_KEY", "07".repeat(32))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let process = Process { child: child.unwrap(), address: addresses.0, admin: addresses.1 };
    let give_up = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(process.address).await.is_err() {
        assert!(Instant::now() < give_up, "the gateway does not start");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process
}

#[tokio::test]
async fn an_index_on_a_full_disk_is_thrown_away_and_listings_are_whole_all_the_same() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    fill(&sandbox);
    let folder = tempfile::tempdir().unwrap();
    let addresses = process::prepare(folder.path(), &sandbox, CONFIG);
    let http = reqwest::Client::new();
    let process = start(folder.path(), addresses).await;
    let give_up = Instant::now() + Duration::from_mins(1);
    while !is_indexed(&http, &process).await {
        assert!(Instant::now() < give_up, "the index is not filled");
        assert_eq!(list_whole(&http, &process).await, truth(&sandbox));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pid = process.child.id().to_string();
    // Whoever writes beyond the first bytes of a file gets an error, as on a full disk.
    let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=4096:unlimited"]).status();
    assert!(limited.unwrap().success());
    let dropped = "jobs_gateway_index_dropped_total{kind=\"job\",reason=\"file\"";
    while metric(&http, &process, dropped).await.is_none() {
        assert!(Instant::now() < give_up, "nothing was written");
        let new = super::add(&sandbox, "acme", 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = truth(&sandbox);
        // The newest page is else as old as two seconds.
        let listed = list_with(&http, &process, "no-cache").await;
        assert!(before.iter().all(|own| listed.contains(own)), "{before:?} and not {listed:?}");
        // What the index knows of it is taken out of the file.
        let query = format!("mutation {{ updateJob(id: \"{new}\", name: \"new\") {{ id }} }}");
        let request = http.post(process.url()).header("authorization", key("acme"));
        send(request.json(&json!({"query": query}))).await.data("/updateJob/id");
    }
    assert_eq!(list_with(&http, &process, "no-cache").await, truth(&sandbox));
}
