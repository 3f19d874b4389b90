//! The cost of many who listen, measured at a gateway that is a process of its own: what it takes of memory and of CPU,
//! and the time from an event of Move's to an app. Each prints its figures; all traffic stays on this machine.
//!
//! `JOBS_GATEWAY=target/release/jobs-gateway cargo nextest run --run-ignored only --no-capture live::load` measures that
//! build; the sandbox and the clients are this one, beside it.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{Job, Sandbox, SandboxOptions, State};
use serde_json::json;
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use super::streams::SSE;
use crate::edges::head_of;
use crate::support::process::{Process, free_address};
use crate::support::{WEBHOOK_SECRET, key};
use crate::webhooks::older;

/// The time that a job takes from 0 to 100 percent: longer than any of this.
const STEP: Duration = Duration::from_hours(1000);

/// The time over which readers that hear nothing new are measured: three heartbeats.
const SILENCE: Duration = Duration::from_secs(30);

/// A gateway, the Move of its own, and jobs that run.
struct Crowd {
    sandbox: Sandbox,
    process: Process,
    webhooks: std::net::SocketAddr,
    http: reqwest::Client,
    jobs: Vec<Job>,
    _folder: tempfile::TempDir,
}

impl Crowd {
    async fn start(jobs: usize, metadata: usize) -> Self {
        let options = SandboxOptions { step: STEP, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let metadata = "x".repeat(metadata);
        let envelope = json!({"acme": {"x": metadata}, "_gateway": {"v": 1, "owner": "acme"}});
        let jobs: Vec<_> = (0..jobs)
            .map(|_| Job {
                metadata: Some(envelope.to_string()),
                pinned: Some(State::Running),
                ..Job::new(sandbox.now())
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let (address, admin, webhooks) = (free_address(), free_address(), free_address());
        let hash = KeyHash::of(key("acme").as_bytes());
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        let policy = format!(
            "tenant: acme\noperations: ['*']\nauth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}\n\
             rate_limit: {{ queries: ~, mutations: ~, max_in_flight: 1000 }}\n\
             cache: {{ get_job: {{ unfinished: 10m, no_cache: true }} }}\nsubscriptions: {{ max: 15000 }}\n"
        );
        std::fs::write(folder.path().join("policies/acme.yaml"), policy).unwrap();
        let config = format!(
            "server: {{ listen: {address} }}\nadmin: {{ listen: {admin} }}\npolicies: ./policies\n\
             upstream: {{ url: '{}', api_key: '${{MOVE_API_KEY}}' }}\n\
             subscriptions: {{ max_connections: 15000 }}\ntelemetry: {{ log: {{ level: warn }} }}\n\
             webhooks: {{ listen: {webhooks}, accounts: {{ shared: {{ secrets: ['${{MOVE_WEBHOOK_SECRET}}'] }} }} }}\n",
            sandbox.url()
        );
        std::fs::write(folder.path().join("gateway.yaml"), config).unwrap();
        let environment = [("MOVE_WEBHOOK_SECRET", WEBHOOK_SECRET)];
        let log = std::process::Stdio::inherit();
        let process = Process::start_with(folder.path(), (address, admin), &environment, log).await;
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build().unwrap();
        let crowd = Self { sandbox, process, webhooks, http, jobs, _folder: folder };
        crowd.sandbox.clear_calls();
        for job in 0..crowd.jobs.len() {
            crowd.set_percent(job, 0);
        }
        crowd
    }

    /// Says how far a job that runs has come.
    fn set_percent(&self, job: usize, percent: u32) {
        // A little further, so that it is no less than that.
        let created = self.sandbox.now() - STEP * 2 - STEP * percent / 100 - STEP / 1000;
        self.sandbox.add_job(Job { created, ..self.jobs[job].clone() });
    }

    /// Reads a job anew, as somebody of the tenant's may: whoever follows it hears of what that brings.
    async fn read(&self, job: usize) {
        let query = format!("{{ getJob(jobId: \"{}\") {{ state }} }}", self.jobs[job].id);
        let request = self.http.post(self.process.url()).header("authorization", key("acme"));
        let request = request.header("cache-control", "no-cache").json(&json!({"query": query}));
        let answer = request.send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["x-cache"].to_str().unwrap()),
            (200, "MISS")
        );
        answer.bytes().await.unwrap();
    }

    /// The request for a stream of a job.
    fn request(&self, job: usize, selection: &str) -> String {
        let id = &self.jobs[job].id;
        let query = format!("subscription {{ jobUpdated(jobId: \"{id}\") {{ {selection} }} }}");
        let body = json!({"query": query}).to_string();
        head_of("acme", &format!("Accept: {SSE}\r\nContent-Length: {}\r\n", body.len())) + &body
    }

    /// Opens a stream of a job: its head was read, and says that it is open.
    async fn open(&self, job: usize, selection: &str, socket: TcpSocket) -> TcpStream {
        let mut stream = socket.connect(self.process.address).await.unwrap();
        stream.write_all(self.request(job, selection).as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
        stream
    }

    /// Follows a job and reads what comes; tells the percentage that came last.
    async fn follow(&self, job: usize, seen: watch::Sender<u32>) {
        let socket = TcpSocket::new_v4().unwrap();
        let mut stream = self.open(job, "state percentageComplete", socket).await;
        tokio::spawn(async move {
            let (mut text, mut bytes) = (String::new(), [0; 2048]);
            while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
                let name = "\"percentageComplete\":";
                while let Some((_, rest)) = text.split_once(name)
                    && let Some((percent, rest)) = rest.split_once('}')
                {
                    seen.send_replace(percent.parse().unwrap());
                    text = rest.to_owned();
                }
            }
        });
    }

    /// Opens a stream of a job that nobody reads.
    async fn ignore(&self, job: usize) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        self.open(job, "state percentageComplete metadata", socket).await
    }

    /// The same over HTTP/2: there is no more room than its window.
    async fn ignore_on(&self, http: &reqwest::Client, job: usize) -> reqwest::Response {
        let id = &self.jobs[job].id;
        let selection = "state percentageComplete metadata";
        let query = format!("subscription {{ jobUpdated(jobId: \"{id}\") {{ {selection} }} }}");
        let request = http.post(self.process.url()).header("authorization", key("acme"));
        let request = request.header("accept", SSE).json(&json!({"query": query}));
        request.send().await.unwrap()
    }

    async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.process.admin);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |value| value.parse().unwrap())
    }

    async fn streams(&self, count: usize) {
        let give_up = Instant::now() + Duration::from_mins(10);
        while usize_of(self.metric("jobs_gateway_streams ").await) < count {
            assert!(Instant::now() < give_up, "{count} streams do not open");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The gateway's resident memory, in MiB.
    fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1024.0
    }

    /// The CPU that the gateway has taken, in seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.child.id()));
        let stat = stat.unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<_> = fields.split(' ').collect();
        // utime and stime, in hundredths (proc(5)).
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn usize_of(metric: f64) -> usize {
    metric as usize
}

/// Has this process open as many files as it may.
fn raise_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Streams that nobody reads: half over connections of their own, half over HTTP/2.
async fn ignored(crowd: &Crowd, count: usize) -> (Vec<TcpStream>, Vec<reqwest::Response>) {
    let own = iter(0..count / 2).map(|job| crowd.ignore(job)).buffer_unordered(50).collect().await;
    let mut shared = Vec::new();
    for first in (count / 2..count).step_by(100) {
        // More for all of them than for each: one that is not read holds up no other.
        let http = reqwest::Client::builder()
            .http2_prior_knowledge()
            .http2_initial_stream_window_size(65_535)
            .http2_initial_connection_window_size(100 * 65_535)
            .build()
            .unwrap();
        for job in first..(first + 100).min(count) {
            shared.push(crowd.ignore_on(&http, job).await);
        }
    }
    (own, shared)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, and as many connections as a process may have"]
async fn memory_is_flat_under_ten_thousand_readers_a_thousand_that_do_not_read_and_100_000_changes()
{
    const JOBS: usize = 1000;
    const READERS: usize = 10 * JOBS;
    raise_files();
    let crowd = Crowd::start(JOBS, 4000).await;
    println!("{:8} changes: {:6.1} MiB", "before", crowd.resident());
    let seen: Vec<_> = (0..READERS).map(|_| watch::Sender::new(0)).collect();
    let opening = iter(&seen).enumerate();
    let opening = opening.map(|(n, seen)| crowd.follow(n % JOBS, seen.clone()));
    opening.buffer_unordered(50).collect::<Vec<()>>().await;
    crowd.streams(READERS).await;
    println!("{:8} readers: {:6.1} MiB", READERS, crowd.resident());
    let (began, cpu) = (Instant::now(), crowd.cpu());
    tokio::time::sleep(SILENCE).await;
    let taken = (crowd.cpu() - cpu) / began.elapsed().as_secs_f64();
    println!("{READERS:8} readers that hear heartbeats alone: {:.1} % of a core", 100.0 * taken);
    let mut stuck = ignored(&crowd, JOBS).await;
    crowd.streams(READERS + JOBS).await;
    println!("{:8} that do not read: {:6.1} MiB", JOBS, crowd.resident());
    let (began, cpu) = (Instant::now(), crowd.cpu());
    let mut sizes = Vec::new();
    for percent in 1..=100 {
        let change = async |job: usize| {
            match percent {
                100 => crowd.sandbox.set_state(&crowd.jobs[job].id, State::Finished),
                percent => crowd.set_percent(job, percent),
            }
            crowd.read(job).await;
        };
        iter(0..JOBS).map(change).buffer_unordered(16).collect::<Vec<()>>().await;
        if percent % 10 == 0 {
            sizes.push(crowd.resident());
            println!("{:8} changes: {:6.1} MiB", percent as usize * JOBS, crowd.resident());
        }
        if percent % 10 == 0 && percent < 100 {
            // The gateway closes those that do not read after a while: they come again.
            drop(stuck);
            stuck = ignored(&crowd, JOBS).await;
        }
    }
    for seen in &seen {
        let heard = seen.subscribe();
        let last = async { heard.clone().wait_for(|percent| *percent == 100).await.map(drop) };
        tokio::time::timeout(Duration::from_mins(10), last).await.unwrap().unwrap();
    }
    println!(
        "{} events told, {:.0} s of CPU in {:.0} s",
        crowd.metric("jobs_gateway_stream_events_total").await,
        crowd.cpu() - cpu,
        began.elapsed().as_secs_f64()
    );
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    assert!(last < 1.1 * first, "from {first} to {last} MiB");
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: nothing else should run"]
async fn a_change_of_a_job_that_a_thousand_follow_costs_one_call() {
    const READERS: usize = 1000;
    raise_files();
    let crowd = Crowd::start(1, 100).await;
    let seen: Vec<_> = (0..READERS).map(|_| watch::Sender::new(0)).collect();
    iter(&seen)
        .map(|seen| crowd.follow(0, seen.clone()))
        .buffer_unordered(50)
        .collect::<Vec<()>>()
        .await;
    crowd.streams(READERS).await;
    crowd.sandbox.clear_calls();
    let (cpu, mut slowest) = (crowd.cpu(), Duration::ZERO);
    for percent in 1..100 {
        crowd.set_percent(0, percent);
        let began = Instant::now();
        crowd.read(0).await;
        for seen in &seen {
            let heard = seen.subscribe().wait_for(|seen| *seen >= percent).await.map(drop);
            heard.unwrap();
        }
        slowest = slowest.max(began.elapsed());
    }
    let (each, calls) = ((crowd.cpu() - cpu) * 1e6 / 99_000.0, crowd.sandbox.count("getJob"));
    println!("{each:.1} us of CPU an update and listener; {calls} calls for 99 changes");
    println!("the last of 1,000 has one after {slowest:?} at most");
    // The poller asks by itself now and then.
    assert!((99..120).contains(&calls), "{calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: nothing else should run"]
async fn an_event_of_moves_comes_to_an_app() {
    const EVENTS: usize = 1000;
    raise_files();
    let crowd = Crowd::start(EVENTS, 100).await;
    let seen: Vec<_> = (0..EVENTS).map(|_| watch::Sender::new(0)).collect();
    let opening = iter(&seen).enumerate().map(|(job, seen)| crowd.follow(job, seen.clone()));
    opening.buffer_unordered(50).collect::<Vec<()>>().await;
    crowd.streams(EVENTS).await;
    let mut times = Vec::new();
    for (n, (job, seen)) in crowd.jobs.iter().zip(&seen).enumerate() {
        crowd.sandbox.set_state(&job.id, State::Finished);
        let (id, at) = (format!("msg_{n}"), crowd.sandbox.now().as_second());
        let body = older("completed", &job.id);
        let signature = Webhook::new(WEBHOOK_SECRET).unwrap().sign(&id, at, &body).unwrap();
        let request = crowd.http.post(format!("http://{}/webhooks/move/shared", crowd.webhooks));
        let request = request.header("svix-id", &id).header("svix-timestamp", at);
        let request = request.header("svix-signature", signature).body(body);
        let mut heard = seen.subscribe();
        let began = Instant::now();
        let (answer, _) = tokio::join!(request.send(), heard.wait_for(|percent| *percent == 100));
        times.push(began.elapsed());
        assert_eq!(answer.unwrap().status(), 204);
    }
    times.sort();
    println!("{EVENTS} events, each with two questions to the sandbox");
    println!(
        "p50 {:?}, p99 {:?}, longest {:?}",
        times[EVENTS / 2],
        times[EVENTS * 99 / 100],
        times[EVENTS - 1]
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn ten_thousand_streams_on_one_socket_are_refused_but_for_as_many_as_may_be() {
    use super::sockets::Socket;
    let crowd = Crowd::start(1, 100).await;
    let before = crowd.resident();
    let stream = TcpStream::connect(crowd.process.address).await.unwrap();
    let mut socket = Socket::acknowledged_over(stream, "acme").await;
    let query = "subscription($id: ID!) { jobUpdated(jobId: $id) { state } }";
    let (mut open, mut refused) = (0, 0);
    for n in 0..10_000 {
        socket.subscribe(&n.to_string(), query, &crowd.jobs[0].id).await;
        let counter = if socket.hear().await["type"] == "next" { &mut open } else { &mut refused };
        *counter += 1;
    }
    println!(
        "{open} open, {refused} refused; {before:.1} MiB before, {:.1} after",
        crowd.resident()
    );
    assert_eq!((open, refused), (100, 9900));
}
