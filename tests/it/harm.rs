//! The harm that one tenant, or a stranger, can do to another through what they share. A process of its own for
//! each shared thing; B calls for a while alone and then beside somebody who misbehaves, and its
//! success and its 99th percentile are compared. `cargo nextest run --run-ignored only --no-capture harm`.
//!
//! Whoever misbehaves does so often enough to use up what is shared, and not so often that the processors of a
//! small machine are what is used up: gateway, Move and callers share them here.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{SINGLECAM_TAKE, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edges::head_of;
use crate::support::key;
use crate::support::process::{Process, free_address};
use crate::support::redis::Redis;

/// The time for which B calls, alone and beside the other.
const QUIET: Duration = Duration::from_secs(8);
const LOUD: Duration = Duration::from_secs(20);

/// B's calls in a second.
const RATE: u32 = 25;

/// An attacker.
#[derive(Clone)]
struct Attacker {
    address: SocketAddr,
    http: reqwest::Client,
    is_over: Arc<AtomicBool>,
}

impl Attacker {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    async fn post(&self, credential: &str, body: &Value, headers: &[(&str, &str)]) {
        let url = format!("http://{}/graphql", self.address);
        let mut request = self.http.post(url).header("authorization", credential).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Ok(response) = request.send().await {
            let _ = response.bytes().await;
        }
    }

    /// Sends the same request from several callers, each as soon as it may.
    async fn repeat(&self, callers: usize, pause: Duration, tenant: &str, body: Value) {
        let (credential, body) = (key(tenant), Arc::new(body));
        let caller = |_| {
            let (this, credential, body) = (self.clone(), credential.clone(), Arc::clone(&body));
            tokio::spawn(async move {
                while this.goes_on() {
                    this.post(&credential, &body, &[]).await;
                    tokio::time::sleep(pause).await;
                }
            })
        };
        for caller in (0..callers).map(caller).collect::<Vec<_>>() {
            let _ = caller.await;
        }
    }

    /// Sends documents that are refused, short ones that take long to judge and long ones, none of them twice.
    async fn send_new_documents(&self, callers: usize) {
        let unknown: Vec<_> = (0..1_900).map(|n| format!("z{n}")).collect();
        let documents = [
            format!("{{ getJob(jobId: \"a\") {{ {} }} }}", "name ".repeat(1_900)),
            format!("{{ {} }}", unknown.join(" ")),
            format!("{{ __typename {} }}", " ".repeat(240_000)),
        ];
        let caller = |at: usize| {
            let (this, document) = (self.clone(), documents[at % documents.len()].clone());
            tokio::spawn(async move {
                let mut sent = 0;
                while this.goes_on() {
                    sent += 1;
                    let body = json!({"query": format!("# {at} {sent}\n{document}")});
                    this.post(&key("acme"), &body, &[]).await;
                }
            })
        };
        for caller in (0..callers).map(caller).collect::<Vec<_>>() {
            let _ = caller.await;
        }
    }

    /// Keeps connections open on which these bytes were sent, and opens others as they are closed.
    async fn hold(&self, connections: usize, bytes: String) {
        let bytes = Arc::new(bytes);
        let holder = |_| {
            let (this, bytes) = (self.clone(), Arc::clone(&bytes));
            tokio::spawn(async move {
                while this.goes_on() {
                    if let Ok(mut stream) = TcpStream::connect(this.address).await {
                        let _ = stream.write_all(bytes.as_bytes()).await;
                        let mut rest = Vec::new();
                        let closed = stream.read_to_end(&mut rest);
                        let _ = tokio::time::timeout(Duration::from_secs(10), closed).await;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            })
        };
        for holder in (0..connections).map(holder).collect::<Vec<_>>() {
            let _ = holder.await;
        }
    }
}

/// The answers that B met.
struct Met {
    calls: usize,
    failed: Vec<String>,
    p99: Duration,
}

/// B reads a job and now and then creates one, each on a connection of its own.
async fn call_as_b(address: SocketAddr, time: Duration) -> Met {
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id state }} }}");
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    let (began, mut calls) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        ticks.tick().await;
        let query = if calls.len() % 10 == 0 {
            create.clone()
        } else {
            format!("{{ getJob(jobId: \"job-{}\") {{ id }} }}", calls.len())
        };
        let request = http.post(format!("http://{address}/graphql"));
        let request = request.header("authorization", key("globex")).json(&json!({"query": query}));
        calls.push(tokio::spawn(async move {
            let began = Instant::now();
            let answer = match request.timeout(Duration::from_secs(20)).send().await {
                Ok(response) => response.text().await.unwrap_or_else(|error| error.to_string()),
                Err(error) => format!("{error:?}"),
            };
            // A job that is not there is what most calls ask for.
            let is_good = answer.contains("NOT_FOUND") || !answer.contains("\"errors\"");
            (began.elapsed(), (!is_good || !answer.starts_with('{')).then_some(answer))
        }));
    }
    let (mut times, mut failed) = (Vec::new(), Vec::new());
    for call in calls {
        let (took, failure) = call.await.unwrap();
        times.push(took);
        failed.extend(failure);
    }
    times.sort();
    Met { calls: times.len(), failed, p99: times[times.len() * 99 / 100] }
}

/// A gateway with the limits that it ships with for A (`acme`), and none for B (`globex`).
async fn start(folder: &std::path::Path, sandbox: &Sandbox, server: &str, more: &str) -> Process {
    let (address, admin) = (free_address(), free_address());
    std::fs::create_dir_all(folder.join("policies")).unwrap();
    let free = "rate_limit: { queries: ~, mutations: ~, max_in_flight: 1000 }\n";
    for (tenant, limits) in [("acme", ""), ("globex", free)] {
        let hash = KeyHash::of(key(tenant).as_bytes());
        let policy = format!(
            "tenant: {tenant}\noperations: [\"*\"]\ntakes: {{ unclaimed: use }}\n{limits}\
             auth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}\n"
        );
        std::fs::write(folder.join(format!("policies/{tenant}.yaml")), policy).unwrap();
    }
    let config = format!(
        "server: {{ listen: {address}, {server} }}\nadmin: {{ listen: {admin} }}\npolicies: ./policies\n\
         upstream: {{ url: '{}', api_key: '${{MOVE_API_KEY}}' }}\n\
         audit: {{ sinks: [{{ file: ./audit/audit.jsonl, rotate: 1MiB, keep: 3 }}] }}\n\
         telemetry: {{ log: {{ level: error }} }}\n{more}",
        sandbox.url()
    );
    std::fs::write(folder.join("gateway.yaml"), config).unwrap();
    Process::start(folder, (address, admin)).await
}

/// One row of the table.
struct Row {
    thing: &'static str,
    who: &'static str,
    server: &'static str,
    config: String,
}

/// Misbehaves until it is over.
async fn misbehave(thing: &str, attacker: Attacker) {
    let list = json!({"query": "{ listJobs { items { id } } }"});
    match thing {
        "breaker" => {
            while attacker.goes_on() {
                let credential = key("acme");
                attacker.post(&credential, &list, &[("x-request-timeout", "20ms")]).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        "places" => {
            let unfinished = head_of("acme", "Content-Length: 100\r\n") + "{\"query\":";
            attacker.hold(300, unfinished).await;
        }
        "bodies" => {
            let unfinished = head_of("acme", "Content-Length: 250000\r\n") + &"x".repeat(200_000);
            attacker.hold(100, unfinished).await;
        }
        "connections" => attacker.hold(300, String::new()).await,
        "idle connections" => {
            let body = json!({"query": "{ __typename }"}).to_string();
            let whole = head_of("acme", &format!("Content-Length: {}\r\n", body.len())) + &body;
            attacker.hold(300, whole).await;
        }
        "memory" => {
            let aliases: Vec<_> = (0..28).map(|n| format!("m{n}: metadata")).collect();
            let aliases = aliases.join(" ");
            let query = format!("{{ listJobs(first: 100000) {{ items {{ {aliases} }} }} }}");
            attacker.repeat(1, Duration::from_millis(500), "acme", json!({"query": query})).await;
        }
        "queue" => attacker.repeat(60, Duration::from_secs(1), "acme", list).await,
        "parser" => {
            let query = format!("{{ a(b: \"{}\" }}", "x".repeat(200_000));
            attacker.repeat(1, Duration::from_millis(500), "acme", json!({"query": query})).await;
        }
        "new documents" => attacker.send_new_documents(12).await,
        "audit file" => {
            attacker.repeat(4, Duration::from_millis(50), "nobody", json!({"query": "{a}"})).await;
        }
        "Redis" => attacker.repeat(20, Duration::from_millis(500), "acme", list).await,
        "JWKS fetch" => {
            // A made-up key of the issuer, and no signature; the caller hangs up.
            let token = "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6Im1hZGUtdXAifQ.\
                         eyJpc3MiOiJodHRwczovL3Nzby5leGFtcGxlLnRlc3QvIn0.AAAA";
            attacker.hold(200, head_of("x", "").replace(&key("x"), token)).await;
        }
        _ => unreachable!("no such row"),
    }
}

async fn measure(row: &Row) -> (Met, Met) {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(folder.path(), &sandbox, row.server, &row.config).await;
    let attacker = Attacker {
        address: gateway.address,
        http: reqwest::Client::new(),
        is_over: Arc::default(),
    };
    if row.thing == "memory" {
        let metadata = json!({"x": "y".repeat(8_000)}).to_string();
        let query = "mutation($take: String!, $m: AWSJSON) {
            createSingleCamJob(takeId: $take, metadata: $m) { id } }";
        let variables = json!({"take": SINGLECAM_TAKE, "m": metadata});
        for _ in 0..100 {
            let body = json!({"query": query, "variables": variables});
            attacker.post(&key("acme"), &body, &[]).await;
        }
    }
    sandbox.set_latency(Duration::from_millis(100));
    let quiet = call_as_b(gateway.address, QUIET).await;
    let misbehaving = tokio::spawn({
        let (thing, attacker) = (row.thing, attacker.clone());
        async move { misbehave(thing, attacker).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let loud = call_as_b(gateway.address, LOUD).await;
    attacker.is_over.store(true, Ordering::Relaxed);
    misbehaving.abort();
    (quiet, loud)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "six minutes of misbehaviour"]
async fn harm_that_a_tenant_or_a_stranger_does_stays_its_own() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!(
        "issuers: [{{ name: sso, issuer: https://sso.example.test/, audiences: [jobs], \
         tenant_claim: team, jwks: 'http://{}/' }}]\n",
        silent.local_addr().unwrap()
    );
    let redis = Redis::start();
    let cursor_key = redis.config();
    let row =
        |thing, who, server, config: &str| Row { thing, who, server, config: config.to_owned() };
    let rows = [
        row("breaker", "A", "", ""),
        row("places", "A", "max_requests: 100", ""),
        row("bodies", "A", "", ""),
        row("connections", "a stranger", "max_connections: 200", ""),
        row("idle connections", "A", "max_connections: 200", ""),
        row("memory", "A", "", ""),
        row("queue", "A", "", ""),
        row("parser", "A", "", ""),
        row("new documents", "A", "", ""),
        row("audit file", "a stranger", "", ""),
        row("Redis", "A", "", &cursor_key),
        row("JWKS fetch", "a stranger", "max_requests: 100", &issuer),
    ];
    let only = std::env::var("ONLY").ok();
    let mut harmed = Vec::new();
    let mut out = std::io::stdout();
    writeln!(out, "| shared | who misbehaves | B's calls | failed | p99 alone | p99 beside |")
        .unwrap();
    writeln!(out, "|---|---|---|---|---|---|").unwrap();
    for row in rows.iter().filter(|row| only.as_deref().is_none_or(|only| only == row.thing)) {
        let (quiet, loud) = measure(row).await;
        let Row { thing, who, .. } = row;
        let [alone, beside] = [quiet.p99, loud.p99].map(|time| time.as_millis());
        let (calls, failed) = (loud.calls, loud.failed.len());
        writeln!(out, "| {thing} | {who} | {calls} | {failed} | {alone} ms | {beside} ms |")
            .unwrap();
        if let Some(first) = loud.failed.first().or(quiet.failed.first()) {
            harmed.push(format!("{thing}: {failed} failed, such as {first}"));
        }
        if loud.p99 > quiet.p99 * 3 / 2 {
            harmed.push(format!("{thing}: {alone} ms became {beside} ms"));
        }
    }
    assert!(harmed.is_empty(), "{harmed:#?}");
}
