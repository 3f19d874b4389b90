//! The cost of one tenant's noise to another, and that of idle connections: a gateway as a process of
//! its own, and callers in this one. Every figure is of one run; all traffic stays on this machine.
//! The idle connections are held by processes of their own, each within the limit of open files.
#![expect(clippy::unwrap_used, reason = "a bench that meets an error has failed")]
#![allow(missing_docs, reason = "a bench explains itself by its first lines")]

mod support;

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{Sandbox, SandboxOptions};
use support::{folder, key};
use tokio::net::TcpStream;

/// The gateway's process; it ends with this value.
struct Gateway {
    process: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn start(folder: &Path, sandbox: &Sandbox) -> Gateway {
    let (address, admin) = (free_address(), free_address());
    let config = format!(
        "server: {{ listen: {address} }}\nadmin: {{ listen: {admin} }}\npolicies: ./policies\n\
         upstream: {{ url: '{}', api_key: '${{MOVE_API_KEY}}' }}\ntelemetry: {{ log: {{ level: warn }} }}\n",
        sandbox.url()
    );
    std::fs::write(folder.join("gateway.yaml"), config).unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["serve", "--config"])
        .arg(folder.join("gateway.yaml"))
        .env("MOVE_API_KEY", "sandbox-move-key")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let gateway = Gateway { process, address, admin };
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway
}

/// Asks at a steady pace for some seconds; gives the answers a second and the 99th percentile.
async fn quiet(http: &reqwest::Client, url: &str, rate: u64, seconds: u64) -> (f64, Duration) {
    let began = Instant::now();
    let mut asking = Vec::new();
    for n in 0..rate * seconds {
        let at = began + Duration::from_micros(1_000_000 * n / rate);
        tokio::time::sleep_until(at.into()).await;
        let request = ask(http, url, 0);
        asking.push(tokio::spawn(async move {
            let sent = Instant::now();
            let answer = request.send().await.unwrap();
            let is_good = answer.status() == 200;
            let _ = answer.bytes().await;
            (is_good, sent.elapsed())
        }));
    }
    let mut times = Vec::new();
    for task in asking {
        let (is_good, time) = task.await.unwrap();
        if is_good {
            times.push(time);
        }
    }
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let throughput = times.len() as f64 / began.elapsed().as_secs_f64();
    (throughput, p99)
}

fn ask(http: &reqwest::Client, url: &str, tenant: usize) -> reqwest::RequestBuilder {
    http.post(url)
        .header("authorization", key(tenant, 0))
        .header("content-type", "application/json")
        .body("{\"query\":\"{ getJob(jobId: \\\"job-none\\\") { id } }\"}")
}

/// Asks as tenant 1 at so many a second until told to stop; counts what was admitted.
async fn noisy(http: reqwest::Client, url: String, rate: u64, stop: Arc<AtomicBool>) -> (u64, u64) {
    let admitted = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep_until((began + Duration::from_micros(1_000_000 * sent / rate)).into())
            .await;
        sent += 1;
        let (request, admitted) = (ask(&http, &url, 1), Arc::clone(&admitted));
        tokio::spawn(async move {
            if request.send().await.is_ok_and(|answer| answer.status() == 200) {
                admitted.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    (sent, admitted.load(Ordering::Relaxed))
}

async fn noise(sandbox: &Sandbox) {
    let limits = "rate_limit:\n  queries: { rate: 50/s, burst: 50 }\n  max_in_flight: 1000\n";
    let folder = folder(2, None, limits);
    let free = std::fs::read_to_string(folder.path().join("policies/tenant-0.yaml")).unwrap();
    let free = free.replace("50/s, burst: 50", "100000/s, burst: 100000");
    std::fs::write(folder.path().join("policies/tenant-0.yaml"), free).unwrap();
    let gateway = start(folder.path(), sandbox).await;
    let url = format!("http://{}/graphql", gateway.address);
    let http = reqwest::Client::new();
    quiet(&http, &url, 200, 1).await;
    for run in 1..=5 {
        let (alone, alone_p99) = quiet(&http, &url, 200, 8).await;
        let stop = Arc::new(AtomicBool::new(false));
        let noise = tokio::spawn(noisy(http.clone(), url.clone(), 2_500, Arc::clone(&stop)));
        let (beside, beside_p99) = quiet(&http, &url, 200, 8).await;
        stop.store(true, Ordering::Relaxed);
        let (sent, admitted) = noise.await.unwrap();
        println!(
            "run {run}: quiet tenant alone {alone:.0}/s, p99 {alone_p99:.2?}; beside a tenant at 50 times \
             its limit {beside:.0}/s, p99 {beside_p99:.2?} ({:+.1}%, x{:.2}); the noisy one sent {sent}, \
             {admitted} were admitted",
            (beside / alone - 1.0) * 100.0,
            beside_p99.as_secs_f64() / alone_p99.as_secs_f64(),
        );
    }
}

fn resident_of(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// The number of connections one process holds.
const HELD_EACH: usize = 5_000;

/// A process that holds connections to a gateway, half of them with half a head sent.
struct Holder(Child);

impl Holder {
    fn start(address: SocketAddr) -> Self {
        let itself = std::env::current_exe().unwrap();
        let child = Command::new(itself)
            .args(["hold", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Waits until it holds what it is to hold; gives how many connections that is.
    fn held(&mut self) -> usize {
        let mut line = String::new();
        std::io::BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does what a [`Holder`] does: connects, says how often that worked, and stays until its input ends.
fn hold(address: &str) {
    let mut held = Vec::new();
    for n in 0..HELD_EACH {
        let Ok(mut stream) = std::net::TcpStream::connect(address) else { break };
        if n % 2 == 0 {
            let _ = stream.write_all(b"POST /graphql HTTP/1.1\r\nHost: x\r\n");
        }
        held.push(stream);
        // A burst beyond the system's backlog would be measured in the kernel's own retries.
        std::thread::sleep(Duration::from_micros(300));
    }
    println!("{}", held.len());
    let _ = std::io::stdin().read(&mut [0]);
}

async fn connections(sandbox: &Sandbox) {
    let folder = folder(2, None, "");
    let gateway = start(folder.path(), sandbox).await;
    let before = resident_of(gateway.process.id());
    let mut holders: Vec<_> = (0..4).map(|_| Holder::start(gateway.address)).collect();
    let asked_for: usize = holders.iter_mut().map(Holder::held).sum();
    // Those that the gateway did not accept wait in the system's backlog.
    let http = reqwest::Client::new();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let asked = Instant::now();
        let ready = http.get(format!("http://{}/readyz", gateway.admin)).send().await.unwrap();
        assert_eq!(ready.status(), 200);
        slowest = slowest.max(asked.elapsed());
    }
    let metrics = http.get(format!("http://{}/metrics", gateway.admin)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let accepted =
        metrics.lines().find(|line| line.starts_with("jobs_gateway_connections")).unwrap();
    let after = resident_of(gateway.process.id());
    println!(
        "{asked_for} connections, half of them idle and half with half a head ({accepted}): {} MiB \
         resident ({} MiB before), health answers within {slowest:.2?}",
        after >> 20,
        before >> 20
    );
}

fn main() {
    if let Some(address) = std::env::args().skip_while(|word| word != "hold").nth(1) {
        return hold(&address);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        noise(&sandbox).await;
        connections(&sandbox).await;
    });
}
