//! A gateway that is killed between its word that it has an event and what it does with it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{Job, Sandbox, SandboxOptions, State};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;

use super::{CONFIG, counted, event};
use crate::clients::tool;
use crate::support::process::{Process, free_address, prepare};
use crate::support::redis::Redis;
use crate::support::{WEBHOOK_SECRET, key, until_called};

/// Waits until a gateway takes connections for events, too.
async fn listens(address: SocketAddr) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).await.is_err() {
        assert!(Instant::now() < give_up, "the gateway takes no events");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Svix' own library, which signs what it is given and sends it.
struct Svix {
    python: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Svix {
    fn start(webhooks: SocketAddr) -> Option<Self> {
        let mut python = Command::new(tool("python/bin/python")?)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/svix_sender.py"))
            .args([&format!("http://{webhooks}/webhooks/move/shared"), WEBHOOK_SECRET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let says = BufReader::new(python.stdout.take().unwrap()).lines();
        Some(Self { python, says })
    }

    /// Sends an event once; returns the status that its sender reads.
    async fn send(&mut self, event: &str, body: &[u8]) -> String {
        let line = [event.as_bytes(), b" ", body, b"\n"].concat();
        self.python.stdin.as_mut().unwrap().write_all(&line).await.unwrap();
        self.says.next_line().await.unwrap().unwrap()
    }
}

/// An app that follows a job, and comes again when its stream breaks off, until the job is over. It tells each state.
async fn follow(url: String, job: String, states: mpsc::UnboundedSender<String>) {
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let query = format!("subscription {{ jobUpdated(jobId: \"{job}\") {{ state }} }}");
    loop {
        let request = http.post(&url).header("authorization", key("acme"));
        let request = request.header("accept", "text/event-stream");
        if let Ok(mut stream) = request.json(&json!({"query": query})).send().await {
            let mut text = String::new();
            while let Ok(Some(more)) = stream.chunk().await {
                text.push_str(std::str::from_utf8(&more).unwrap());
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let data = event.strip_prefix("event: next\ndata: ");
                    let data: Value = data.map_or(json!(null), |data| data.parse().unwrap());
                    if let Some(state) = data["data"]["jobUpdated"]["state"].as_str() {
                        let _ = states.send(state.to_owned());
                    }
                    if event.starts_with("event: complete") {
                        return;
                    }
                    text = rest.to_owned();
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The apps that follow one job, and the states that they were told.
struct Apps(Vec<mpsc::UnboundedReceiver<String>>);

impl Apps {
    fn start(url: &str, job: &str) -> Self {
        let app = |_| {
            let (states, told) = mpsc::unbounded_channel();
            tokio::spawn(follow(url.to_owned(), job.to_owned(), states));
            told
        };
        Self((0..3).map(app).collect())
    }

    /// Waits until each was told a state.
    async fn hear(&mut self, state: &str) {
        for told in &mut self.0 {
            let is_told = async {
                while let Some(one) = told.recv().await {
                    if one == state {
                        return true;
                    }
                }
                false
            };
            let is_told = tokio::time::timeout(Duration::from_secs(20), is_told).await;
            assert_eq!(is_told, Ok(true), "{state} comes to every app");
        }
    }
}

/// Kills a gateway between the 204 of an event and its end, so often; the next one does what was left, and every app
/// that follows the job hears of its end.
async fn killed_after_its_word(rounds: usize) {
    let (sandbox, folder) =
        (Sandbox::start(SandboxOptions::default()).await.unwrap(), tempfile::tempdir().unwrap());
    let webhooks = free_address();
    // Nobody but the event makes Move be asked.
    let config =
        CONFIG.replace("127.0.0.1:0", &webhooks.to_string()) + "watch: { max_rate: 1/h }\n";
    let addresses = prepare(folder.path(), &sandbox, &config);
    let environment = [("MOVE_WEBHOOK_SECRET", WEBHOOK_SECRET)];
    let start = async || {
        let process = Process::start_with(folder.path(), addresses, &environment, Stdio::null());
        let process = process.await;
        listens(webhooks).await;
        process
    };
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let Some(mut svix) = Svix::start(webhooks) else { return };
    for round in 0..rounds {
        let metadata = "{\"acme\":{\"shot\":1},\"_gateway\":{\"v\":1,\"owner\":\"acme\"}}";
        let job = Job {
            metadata: Some(metadata.to_owned()),
            pinned: Some(State::Running),
            ..Job::new(sandbox.now())
        };
        sandbox.add_job(job.clone());
        let end = if round % 2 == 0 { State::Finished } else { State::Failed };
        let process = start().await;
        let mut apps = Apps::start(&process.url(), &job.id);
        apps.hear("RUNNING").await;
        // Whatever it asks Move is not answered before it is killed.
        sandbox.set_state(&job.id, end);
        sandbox.set_latency(Duration::from_mins(1));
        sandbox.clear_calls();
        let news = if end == State::Finished { "completed" } else { "failed" };
        let body = event(news, &job.id, (round % 3 != 0).then_some("acme"));
        let own = format!("msg_{round}");
        assert_eq!(svix.send(&own, &body).await, "204", "round {round}");
        if round % 2 == 1 {
            until_called(&sandbox, "getJob", 1).await;
        }
        drop(process);
        sandbox.set_latency(Duration::ZERO);
        let process = start().await;
        apps.hear(end.name()).await;
        let give_up = Instant::now() + Duration::from_secs(20);
        let metrics = async || {
            let asked = http.get(format!("http://{}/metrics", process.admin)).send().await;
            asked.unwrap().text().await.unwrap()
        };
        let renewed = counted(news, "renewed") + " 1\n";
        while !metrics().await.contains(&renewed) {
            assert!(Instant::now() < give_up, "round {round}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let query = json!({"query": format!("{{ getJob(jobId: \"{}\") {{ state }} }}", job.id)});
        let read = http.post(process.url()).header("authorization", key("acme")).json(&query);
        let read: Value = read.send().await.unwrap().json().await.unwrap();
        assert_eq!(read["data"]["getJob"]["state"], end.name(), "round {round}");
        // Its sender did not hear of it, perhaps: it comes again, and was there.
        assert_eq!(svix.send(&own, &body).await, "204", "round {round}");
        assert!(metrics().await.contains(&(counted(news, "seen") + " 1\n")), "round {round}");
        drop(process);
    }
}

#[tokio::test]
async fn a_gateway_that_is_killed_after_its_204_looks_into_the_event_when_it_starts_again() {
    killed_after_its_word(2).await;
}

#[tokio::test]
async fn an_event_that_is_on_its_way_when_the_gateway_stops_is_taken() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let webhooks = free_address();
    let config = CONFIG.replace("127.0.0.1:0", &webhooks.to_string());
    let addresses = prepare(folder.path(), &sandbox, &config);
    let environment = [("MOVE_WEBHOOK_SECRET", WEBHOOK_SECRET)];
    let log = Stdio::null();
    let mut process = Process::start_with(folder.path(), addresses, &environment, log).await;
    listens(webhooks).await;
    let body = event("completed", "job-00000000-0000-4000-8000-000000000001", None);
    let at = sandbox.now().as_second();
    let signature = Webhook::new(WEBHOOK_SECRET).unwrap().sign("msg", at, &body).unwrap();
    let head = format!(
        "POST /webhooks/move/shared HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\nsvix-id: msg\r\n\
         svix-timestamp: {at}\r\nsvix-signature: {signature}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(10);
    let mut sender = TcpStream::connect(webhooks).await.unwrap();
    sender.write_all(&[head.as_bytes(), first].concat()).await.unwrap();
    process.signal("TERM");
    // Nobody new is taken any more; who is on its way is.
    let give_up = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(webhooks).await.is_ok() {
        assert!(Instant::now() < give_up, "the listener does not close");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sender.write_all(rest).await.unwrap();
    let mut answer = vec![0; 12];
    sender.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 204");
    drop(sender);
    let ended = tokio::task::spawn_blocking(move || process.child.wait().unwrap().success());
    assert!(ended.await.unwrap());
}

#[tokio::test]
#[ignore = "takes a minute: 50 times"]
async fn an_event_outlives_the_gateway_killed_fifty_times() {
    killed_after_its_word(50).await;
}

#[tokio::test]
#[ignore = "takes half a minute: the time after which another replica takes over"]
async fn an_event_whose_replica_is_killed_is_another_ones() {
    let redis = Redis::start();
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let webhooks = [free_address(), free_address()];
    let mut processes = Vec::new();
    for (folder, webhooks) in folders.iter().zip(&webhooks) {
        let config = CONFIG.replace("127.0.0.1:0", &webhooks.to_string()) + &redis.config();
        let addresses = prepare(folder.path(), &sandbox, &config);
        let environment = [("MOVE_WEBHOOK_SECRET", WEBHOOK_SECRET)];
        let log = Stdio::null();
        processes.push(Process::start_with(folder.path(), addresses, &environment, log).await);
        listens(*webhooks).await;
    }
    let metadata = "{\"acme\":{},\"_gateway\":{\"v\":1,\"owner\":\"acme\"}}";
    let job = Job { metadata: Some(metadata.to_owned()), ..Job::new(sandbox.now()) };
    sandbox.add_job(Job { pinned: Some(State::Finished), ..job.clone() });
    sandbox.set_latency(Duration::from_mins(1));
    sandbox.clear_calls();
    let (http, at) = (reqwest::Client::new(), sandbox.now().as_second());
    let body = event("completed", &job.id, Some("acme"));
    let signature = Webhook::new(WEBHOOK_SECRET).unwrap().sign("msg", at, &body).unwrap();
    let url = format!("http://{}/webhooks/move/shared", webhooks[0]);
    let sent = http.post(url).header("svix-id", "msg").header("svix-timestamp", at);
    let sent = sent.header("svix-signature", signature).body(body).send().await.unwrap();
    assert_eq!(sent.status(), 204);
    until_called(&sandbox, "getJob", 1).await;
    // Whichever took it: the one that asks Move at the moment.
    let asked = async |process: &Process| {
        let text = http.get(format!("http://{}/metrics", process.admin)).send().await.unwrap();
        text.text().await.unwrap().contains("jobs_gateway_upstream_in_flight 1")
    };
    let taker = usize::from(!asked(&processes[0]).await);
    drop(processes.remove(taker));
    sandbox.set_latency(Duration::ZERO);
    let renewed = counted("completed", "renewed") + " 1\n";
    let give_up = Instant::now() + Duration::from_secs(40);
    loop {
        let url = format!("http://{}/metrics", processes[0].admin);
        if http.get(url).send().await.unwrap().text().await.unwrap().contains(&renewed) {
            break;
        }
        assert!(Instant::now() < give_up, "the other replica does not take over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
