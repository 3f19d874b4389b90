//! Stopping, restarting, and mutations in between.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE, Sandbox, SandboxOptions};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::support::process::{Process, prepare};
use crate::support::redis::Redis;
use crate::support::{key, until_called};

async fn status(http: &reqwest::Client, process: &Process, path: &str) -> Option<u16> {
    let answer = http.get(format!("http://{}{path}", process.admin)).send().await.ok()?;
    Some(answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_fails_readiness_first_then_ends_what_is_under_way_and_a_second_stops_at_once() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let addresses = prepare(folder.path(), &sandbox, "");
    let mut process = Process::start(folder.path(), addresses).await;
    let http = reqwest::Client::new();
    assert_eq!(status(&http, &process, "/readyz").await, Some(200));
    let ask = || {
        http.post(process.url())
            .header("authorization", key("acme"))
            .json(&json!({"query": "{ listJobs { first } }"}))
            .send()
    };
    // A slow call is under way when the signal comes.
    sandbox.fail_next(Some("listJobs"), Fault::Delay(Duration::from_millis(1_500)));
    let slow = tokio::spawn(ask());
    until_called(&sandbox, "listJobs", 1).await;
    process.signal("TERM");
    while status(&http, &process, "/readyz").await != Some(503) {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&http, &process, "/livez").await, Some(200));
    let late = ask().await.unwrap();
    assert_eq!(
        (late.status().as_u16(), &late.headers()["connection"]),
        (200, &"close".parse().unwrap())
    );
    let slow = slow.await.unwrap().unwrap();
    assert_eq!(slow.status(), 200);
    assert!(slow.text().await.unwrap().contains("listJobs"));
    assert!(process.child.wait().unwrap().success(), "it ends well");

    let mut process = Process::start(folder.path(), addresses).await;
    process.signal("TERM");
    while status(&http, &process, "/readyz").await == Some(200) {
        tokio::task::yield_now().await;
    }
    let second = Instant::now();
    process.signal("TERM");
    assert_eq!(process.child.wait().unwrap().code(), Some(1));
    assert!(second.elapsed() < Duration::from_millis(900), "it did not drain");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_left_behind_is_brought_to_its_end_and_recorded_before_the_gateway_stops() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
    let addresses = prepare(folder.path(), &sandbox, settings);
    let mut process = Process::start(folder.path(), addresses).await;
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    let read = "{ getJob(jobId: \"job-none\") { id } }".to_owned();
    for (field, document) in [("createSingleCamJob", create), ("getJob", read)] {
        sandbox.fail_next(Some(field), Fault::Delay(Duration::from_millis(2_700)));
        // Its connection is closed with it, which the gateway takes for a hang-up after 2 s.
        let request =
            reqwest::Client::new().post(process.url()).header("authorization", key("acme"));
        tokio::select! {
            _ = request.json(&json!({"query": document})).send() => panic!("an answer"),
            () = until_called(&sandbox, field, 1) => {}
        }
    }
    process.signal("TERM");
    assert!(tokio::task::block_in_place(|| process.child.wait().unwrap()).success());
    let records = crate::support::audit::records_in(&crate::support::audit::file_of(folder.path()));
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            (
                &record["api"]["operation"],
                &record["unmapped"]["phase"],
                &record["api"]["response"]["code"],
            )
        })
        .map(|(operation, phase, code)| format!("{operation} {phase} {code}").replace('"', ""))
        .collect();
    assert!(told.contains(&"createSingleCamJob outcome 499".to_owned()), "{told:?}");
    assert!(told.contains(&"getJob outcome 499".to_owned()), "{told:?}");
    let created = records.iter().find(|record| {
        record["api"]["operation"] == "createSingleCamJob"
            && record["unmapped"]["phase"] == "outcome"
    });
    assert_eq!(created.unwrap()["status"], "Success", "{created:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_end_of_the_grace_cuts_off_is_recorded() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
    let addresses = prepare(folder.path(), &sandbox, settings);
    let file = folder.path().join("gateway.yaml");
    let config = std::fs::read_to_string(&file).unwrap();
    let short = "drain_delay: 100ms, shutdown_grace: 300ms, request_timeout: 3s";
    std::fs::write(&file, config.replace("drain_delay: 1s, request_timeout: 3s", short)).unwrap();
    let mut process = Process::start(folder.path(), addresses).await;
    for field in ["createSingleCamJob", "getJob"] {
        sandbox.fail_next(Some(field), Fault::Delay(Duration::from_millis(2_500)));
    }
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    let mut asked = Vec::new();
    for document in [create, "{ getJob(jobId: \"job-none\") { id } }".to_owned()] {
        let request =
            reqwest::Client::new().post(process.url()).header("authorization", key("acme"));
        asked.push(tokio::spawn(request.json(&json!({"query": document})).send()));
    }
    for field in ["getJob", "createSingleCamJob"] {
        until_called(&sandbox, field, 1).await;
    }
    process.signal("TERM");
    assert!(tokio::task::block_in_place(|| process.child.wait().unwrap()).success());
    for asked in asked {
        assert!(asked.await.unwrap().is_err(), "it was cut off");
    }
    let records = crate::support::audit::records_in(&crate::support::audit::file_of(folder.path()));
    let outcome = |operation: &str| {
        let of_it = |record: &&Value| {
            record["api"]["operation"] == operation && record["unmapped"]["phase"] == "outcome"
        };
        let record = records.iter().find(of_it).unwrap_or(&Value::Null);
        (record["api"]["response"]["code"].clone(), record["status"].clone())
    };
    let unknown = (json!(499), json!("Unknown"));
    assert_eq!((outcome("getJob"), outcome("createSingleCamJob")), (unknown.clone(), unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_whoever_does_not_read_its_records() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = "audit: { sinks: [{ file: ./audit/audit.jsonl }, { stdout: true }] }\n";
    let addresses = prepare(folder.path(), &sandbox, settings);
    let outputs = (Stdio::piped(), Stdio::null());
    let mut process = Process::start_into(folder.path(), addresses, &[], outputs).await;
    let http = reqwest::Client::new();
    // More than a pipe takes.
    for _ in 0..300 {
        let request = http.post(process.url()).header("authorization", key("acme"));
        let document = json!({"query": "{ __typename }"});
        assert!(request.json(&document).send().await.unwrap().status().is_success());
    }
    process.signal("TERM");
    let began = Instant::now();
    while process.child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(15), "it does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_two_replicas_under_load_loses_no_request() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let addresses = [0, 1].map(|n: usize| prepare(folders[n].path(), &sandbox, ""));
    let mut processes = Vec::new();
    for n in 0..2 {
        processes.push(Process::start(folders[n].path(), addresses[n]).await);
    }
    // A load balancer: it looks at /readyz and uses whoever is ready.
    let ready = Arc::new([AtomicBool::new(true), AtomicBool::new(true)]);
    let stop = Arc::new(AtomicBool::new(false));
    let balancer = {
        let (ready, stop) = (Arc::clone(&ready), Arc::clone(&stop));
        tokio::spawn(async move {
            let http = reqwest::Client::new();
            while !stop.load(Ordering::Relaxed) {
                for n in 0..2 {
                    let url = format!("http://{}/readyz", addresses[n].1);
                    let answer = http.get(url).send().await;
                    let is_ready = answer.is_ok_and(|answer| answer.status() == 200);
                    ready[n].store(is_ready, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (ready, stop, answered) =
                (Arc::clone(&ready), Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let http = reqwest::Client::new();
                let mut n = caller;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let at = if ready[n % 2].load(Ordering::Relaxed) { n % 2 } else { 1 - n % 2 };
                    let answer = http
                        .post(format!("http://{}/graphql", addresses[at].0))
                        .header("authorization", key("acme"))
                        .json(&json!({"query": "{ listJobs { first } }"}))
                        .send()
                        .await
                        .unwrap_or_else(|error| panic!("a request was lost: {error:?}"));
                    let answer: Value = answer.json().await.unwrap();
                    assert!(answer.get("errors").is_none(), "{answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        processes[n].signal("TERM");
        let ended = tokio::task::block_in_place(|| processes[n].child.wait().unwrap());
        assert!(ended.success());
        processes[n] = Process::start(folders[n].path(), addresses[n]).await;
        while !ready[n].load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    balancer.await.unwrap();
    assert!(answered.load(Ordering::Relaxed) > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_reload_right_after_readiness_does_not_end_the_process() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let addresses = prepare(folder.path(), &sandbox, "");
    // No connection outlives the process it was made to.
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    for start in 0..10 {
        let mut process = Process::start(folder.path(), addresses).await;
        let ready = format!("http://{}/readyz", process.admin);
        while !http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {}
        process.signal("HUP");
        let ask = http.post(process.url()).header("authorization", key("acme"));
        let answer = ask.json(&json!({"query": "{ listJobs { first } }"})).send().await;
        assert!(answer.is_ok_and(|answer| answer.status().is_success()), "start {start}");
        assert_eq!(process.child.try_wait().unwrap(), None, "start {start}");
    }
}

/// Sends a mutation until it is answered, as a careful client does: with the same key.
async fn create_until_done(http: &reqwest::Client, url: &str, take: &str, own: &str) -> String {
    let query = "mutation($take: String!, $name: String) {
        createSingleCamJob(takeId: $take, name: $name) { id } }";
    let body = json!({"query": query, "variables": {"take": take, "name": own}});
    let give_up = Instant::now() + Duration::from_mins(2);
    loop {
        assert!(Instant::now() < give_up, "{own} is never answered");
        let request = http.post(url).header("authorization", key("acme"));
        if let Ok(answer) = request.header("idempotency-key", own).json(&body).send().await
            && let Ok(answer) = answer.json::<Value>().await
            && let Some(id) = answer["data"]["createSingleCamJob"]["id"].as_str()
        {
            return id.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The longest life of a process whose callers get no answer.
const LIFE: Duration = Duration::from_secs(5);

/// Mutations, each sent twice at once, while Move loses answers and the gateway is killed.
async fn double_submitted(count: usize, more: &str) {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
    let addresses = prepare(folder.path(), &sandbox, &format!("{settings}{more}"));
    let process = Arc::new(RwLock::new(Process::start(folder.path(), addresses).await));
    let url = format!("http://{}/graphql", addresses.0);
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let trouble = {
        let (sandbox, process, stop) = (sandbox.clone(), Arc::clone(&process), Arc::clone(&stop));
        let answered = Arc::clone(&answered);
        let folder = folder.path().to_owned();
        tokio::spawn(async move {
            let mut chance = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            let create = Some("createSingleCamJob");
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..10 {
                    let fault = match chance.next_u32() % 4 {
                        0 => Fault::LoseAnswer,
                        1 => Fault::Reset,
                        2 => Fault::empty(503),
                        _ => Fault::ResetMidBody,
                    };
                    sandbox.fail_next(create, fault);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                // On a machine that is busy a process gets the time for one answer at least.
                let (before, give_up) = (answered.load(Ordering::Relaxed), Instant::now() + LIFE);
                while answered.load(Ordering::Relaxed) == before
                    && Instant::now() < give_up
                    && !stop.load(Ordering::Relaxed)
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let mut process = process.write().await;
                process.child.kill().unwrap();
                process.child.wait().unwrap();
                *process = Process::start(&folder, addresses).await;
            }
        })
    };
    let http = reqwest::Client::new();
    // A retry looks through the jobs of a take.
    let takes: Vec<String> = (0..25).map(|n| format!("take-{n}")).collect();
    for take in &takes {
        sandbox.add_take(take, None);
    }
    let pairs = futures_util::stream::iter(0..count).map(|n| {
        let (http, url, own) = (http.clone(), url.clone(), format!("key-{n}"));
        let (take, answered) = (takes[n % takes.len()].clone(), Arc::clone(&answered));
        async move {
            let (one, other) = tokio::join!(
                create_until_done(&http, &url, &take, &own),
                create_until_done(&http, &url, &take, &own)
            );
            assert_eq!(one, other, "{own}");
            answered.fetch_add(1, Ordering::Relaxed);
            one
        }
    });
    let mut ids: Vec<_> = pairs.buffer_unordered(16).collect().await;
    stop.store(true, Ordering::Relaxed);
    trouble.await.unwrap();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), sandbox.job_count()), (count, count));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_double_submitted_creations_make_five_hundred_jobs() {
    double_submitted(500, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn double_submitted_creations_make_one_job_each_with_redis_too() {
    let redis = Redis::start();
    double_submitted(100, &redis.config()).await;
}

fn resident(process: &Process) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", process.child.id())).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn any_fault(chance: &mut TestRng) -> Fault {
    match chance.next_u32() % 5 {
        0 => Fault::Reset,
        1 => Fault::LoseAnswer,
        2 => Fault::html(502),
        3 => Fault::Stall,
        _ => Fault::SlowBody(Duration::from_millis(300)),
    }
}

/// The body of a request: a read of one job mostly, a listing or a change now and then.
fn any_request(chance: &mut TestRng, job: &str, n: u64) -> Value {
    match chance.next_u32() % 10 {
        0 => json!({"query": "{ listJobs(first: 5) { items { id } } }"}),
        1 => json!({
            "query": "mutation($id: String!, $name: String) {
                updateJob(id: $id, name: $name) { id } }",
            "variables": {"id": job, "name": n.to_string()},
        }),
        _ => json!({
            "query": "query($id: ID!) { getJob(jobId: $id) { id state } }",
            "variables": {"id": job},
        }),
    }
}

/// `SOAK_SECONDS` of load after a fifth of that to warm up: 200 requests a second, every twentieth
/// with a fault.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes twelve minutes: cargo nextest run --run-ignored only soak"]
async fn a_soak_leaks_nothing_leaves_nothing_stuck_and_records_everything() {
    const RATE: u64 = 200;
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(600);
    let warm_up = seconds / 5;
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = "audit: { sinks: [{ file: ./audit/audit.jsonl, keep: 1000 }] }\n";
    let process = Process::start(folder.path(), prepare(folder.path(), &sandbox, settings)).await;
    let (http, url) = (reqwest::Client::new(), process.url());
    let mut jobs = Vec::new();
    for n in 0..50 {
        jobs.push(create_until_done(&http, &url, SINGLECAM_TAKE, &format!("job-{n}")).await);
    }
    let mut chance = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let began = tokio::time::Instant::now();
    let (mut asked, mut warm) = (Vec::new(), 0);
    let (mut slowest, mut sent) = (Duration::ZERO, 50);
    for n in 0..(seconds + warm_up) * RATE {
        tokio::time::sleep_until(began + Duration::from_millis(1_000 * n / RATE)).await;
        if n == warm_up * RATE {
            warm = resident(&process);
        }
        if n % 20 == 0 {
            sandbox.fail_next(None, any_fault(&mut chance));
        }
        let job = &jobs[chance.next_u32() as usize % jobs.len()];
        let request = http.post(&url).header("authorization", key("acme"));
        let request = request.json(&any_request(&mut chance, job, n)).send();
        sent += 1;
        asked.push(tokio::spawn(async move {
            let began = Instant::now();
            let answer = request.await.unwrap();
            assert!(answer.json::<Value>().await.is_ok());
            began.elapsed()
        }));
        if asked.len() >= 2_000 {
            for task in asked.drain(..) {
                slowest = slowest.max(task.await.unwrap());
            }
        }
    }
    for task in asked {
        slowest = slowest.max(task.await.unwrap());
    }
    let after = resident(&process);
    println!(
        "{sent} requests, slowest {slowest:.2?}, {} MiB resident after warm-up, {} MiB at the end",
        warm >> 20,
        after >> 20
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(after < warm + warm / 10, "{warm} bytes grew to {after}");
    process.signal("TERM");
    let file = crate::support::audit::file_of(folder.path());
    let mut process = process;
    tokio::task::block_in_place(|| process.child.wait().unwrap());
    let ended = crate::support::audit::records_in(&file);
    let ended = ended.iter().filter(|record| record["unmapped"]["phase"] == "outcome").count();
    assert!(ended as u64 >= sent, "{ended} records of {sent} requests");
}
