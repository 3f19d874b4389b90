//! Figures for docs/caching.md: ignored, for they are measurements.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{INDEXED, LIST, add, page, until_indexed, walk};
use crate::support::process::{self, Process};
use crate::support::{ALL, Setup, World, key, send};

/// The tenants, and every how many-th job is theirs.
const SHARES: [(&str, &str); 3] =
    [("globex", "all but 1 %"), ("acme", "1 %"), ("initech", "0.03 %")];

/// Counts the calls to Move that a listing takes.
async fn calls_of<T>(world: &World, listing: impl Future<Output = T>) -> (T, f64) {
    let count = async || {
        let way = async |way: &str| {
            let name = format!("jobs_gateway_listing_calls_total{{way=\"{way}\"");
            world.metric(&name).await.unwrap_or_default()
        };
        way("index").await + way("sift").await
    };
    world.pass(Duration::from_secs(3)).await;
    let before = count().await;
    let listed = listing.await;
    (listed, count().await - before)
}

async fn print_pages(world: &World, way: &str) {
    for (tenant, share) in SHARES {
        for first in [10, 50] {
            // Nothing that was read before is fresh.
            world.pass(Duration::from_secs(700)).await;
            let variables = json!({"first": first});
            let (cold, calls) = calls_of(world, page(world, tenant, &variables)).await;
            let (_, warm) = calls_of(world, page(world, tenant, &variables)).await;
            let items = cold["items"].as_array().unwrap().len();
            println!("{way} {share:>11} first {first}: {items} items, {calls} calls, again {warm}");
        }
        if tenant != "globex" {
            world.pass(Duration::from_secs(700)).await;
            let (items, calls) = calls_of(world, walk(world, tenant, json!({"first": 100}))).await;
            println!("{way} {share:>11} walk: {} items, {calls} calls", items.len());
        }
    }
}

#[tokio::test]
#[ignore = "a measurement: it prints a table"]
async fn calls_of_a_page_with_and_without_the_index() {
    for jobs in [3_000, 100_000] {
        let keeps = format!("{ALL}cache: {{ get_job: {{ unfinished: 10m, finished: 10m }} }}\n");
        let tenants = SHARES.map(|(name, _)| (name, keeps.clone()));
        let none = "index: { enabled: false }\ncursor_key: '${CURSOR_KEY}'\n";
        let sifting = Setup::new().tenants(tenants.clone()).config(none).start().await;
        for age in 0..jobs {
            let owner = match age {
                _ if age % 3_333 == 1 => "initech",
                _ if age % 100 == 50 => "acme",
                _ => "globex",
            };
            add(&sifting.sandbox, owner, age + 2);
        }
        println!("{jobs} jobs");
        print_pages(&sifting, "sift ").await;
        let setup = Setup::new().tenants(tenants).config(INDEXED);
        let world = setup.over(sifting.sandbox.clone()).await;
        until_indexed(&world, "acme").await;
        print_pages(&world, "index").await;
    }
}

/// The jobs of an account that are not stored anywhere: each is made of its number, one a second.
#[derive(Clone)]
struct Generated {
    jobs: usize,
    first: Timestamp,
    calls: Arc<AtomicUsize>,
}

/// Every how many-th job is acme's.
const ACMES: usize = 1_000;

impl Generated {
    fn job(&self, number: usize) -> Value {
        let owner = if number % ACMES == 7 { "acme" } else { "globex" };
        let created = self.first + i64::try_from(number).unwrap().seconds();
        json!({
            "id": format!("job-{number:08x}-0000-4000-8000-000000000000"),
            "created": format!("{created:.3}"),
            "metadata": format!(r#"{{"{owner}":{{"shot":{number}}},"_gateway":{{"v":1,"owner":"{owner}","by":"main"}}}}"#),
            "name": format!("shot {number}"),
            "state": "FINISHED",
            "progress": {"state": "FINISHED", "percentageComplete": 100},
            "take": {"id": format!("take-{number:08x}-0000-4000-8000-000000000000")},
        })
    }

    fn page(&self, variables: &Value) -> Value {
        let first = usize::try_from(variables["first"].as_u64().unwrap()).unwrap();
        let begins = variables["after"].as_str().map_or(0, |after| {
            let after: Value = serde_json::from_str(after).unwrap();
            usize::try_from(after["n"].as_u64().unwrap()).unwrap()
        });
        let ends = self.jobs.min(begins + first);
        let place = |at: usize| match variables["sortDirection"].as_str() {
            Some("ASC") => at,
            _ => self.jobs - 1 - at,
        };
        let items: Vec<_> = (begins..ends).map(|at| self.job(place(at))).collect();
        let after = (ends < self.jobs).then(|| json!({"n": ends}).to_string());
        json!({"items": items, "after": after})
    }

    fn one(&self, id: &Value) -> Value {
        let number = usize::from_str_radix(&id.as_str().unwrap()[4..12], 16).unwrap();
        self.job(number)
    }

    fn answer(&self, asked: &Value) -> Value {
        let (query, variables) = (asked["query"].as_str().unwrap(), &asked["variables"]);
        if query.contains("__type") {
            return json!({"__type": {"fields": [{"name": "createSingleCamJob"}]}});
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        if query.contains("listJobs") {
            return json!({"listJobs": self.page(variables)});
        }
        if !query.contains("getJob") {
            return json!({"client": {"id": "client-1"}});
        }
        let given = variables.as_object().unwrap();
        let is_batch = query.starts_with("query batch");
        let name = |name: &String| if is_batch { name.clone() } else { "getJob".to_owned() };
        given.iter().map(|(alias, id)| (name(alias), self.one(id))).collect()
    }

    async fn serve(self) -> String {
        let router = axum::Router::new().route("/graphql", post(answer)).with_state(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/graphql", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        url
    }
}

async fn answer(State(account): State<Generated>, asked: String) -> impl IntoResponse {
    let asked: Value = serde_json::from_slice(&asked.into_bytes()).unwrap();
    let answer = json!({"data": account.answer(&asked)});
    ([("content-type", "application/json")], answer.to_string())
}

/// Memory of a process, in MiB.
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// Walks through acme's listing, `pages` pages of 50, and prints how long each took and the calls to Move of all.
async fn time_pages(process: &Process, calls: &AtomicUsize, pages: usize, what: &str) {
    let http = reqwest::Client::new();
    let (mut took, mut items, before) = (Vec::new(), 0, calls.load(Ordering::SeqCst));
    let mut after = Value::Null;
    for _ in 0..pages {
        let body = json!({"query": LIST, "variables": {"first": 50, "after": after}});
        let request = http.post(process.url()).header("authorization", key("acme")).json(&body);
        let began = Instant::now();
        let page = send(request).await.data("/listJobs");
        took.push(began.elapsed());
        items += page["items"].as_array().unwrap().len();
        after = page["after"].clone();
    }
    took.sort();
    let (middle, most) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    let calls = calls.load(Ordering::SeqCst) - before;
    println!("{what}: {pages} pages, {items} items, p50 {middle:?}, p99 {most:?}, {calls} calls");
}

/// Waits until the index is complete. Returns the most memory that the process took meanwhile, in MiB.
async fn until_complete(process: &Process) -> u64 {
    let (began, http, mut most) = (Instant::now(), reqwest::Client::new(), 0);
    let is_complete =
        |line: &str| line.starts_with("jobs_gateway_index_complete") && line.ends_with(" 1");
    loop {
        let metrics = send(http.get(format!("http://{}/metrics", process.admin))).await.text;
        most = most.max(memory(process));
        if metrics.lines().any(is_complete) {
            return most;
        }
        assert!(began.elapsed() < Duration::from_mins(30), "the index is not filled");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: it fills an index of a million jobs (INDEX_JOBS) and prints what it takes"]
async fn an_index_of_a_million_jobs() {
    let jobs = std::env::var("INDEX_JOBS").map_or(1_000_000, |jobs| jobs.parse().unwrap());
    let first = Timestamp::now() - i64::try_from(jobs).unwrap().seconds() - 1.hours();
    let calls = Arc::new(AtomicUsize::new(0));
    let url = Generated { jobs, first, calls: Arc::clone(&calls) }.serve().await;
    let start = async |folder: &Path, more: &str| {
        let addresses = process::prepare_before(folder, &url, more);
        let policy = folder.join("policies/acme.yaml");
        let text = std::fs::read_to_string(&policy).unwrap();
        std::fs::write(&policy, text.replace("no_cache: true", "finished: 1h")).unwrap();
        Process::start(folder, addresses).await
    };
    let folder = tempfile::tempdir().unwrap();
    let none = "index: { enabled: false }\ncursor_key: '${CURSOR_KEY}'\n";
    let process = start(folder.path(), none).await;
    time_pages(&process, &calls, 20, "sifting").await;
    println!("memory {} MiB", memory(&process));
    drop(process);

    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    std::fs::write(folder.path().join("state/index.redb"), "").unwrap();
    let quick = "index: { calls: 100000/s }\ncursor_key: '${CURSOR_KEY}'\n";
    let process = start(folder.path(), quick).await;
    println!("memory {} MiB before", memory(&process));
    let began = Instant::now();
    let most = until_complete(&process).await;
    let (took, pages) = (began.elapsed(), jobs.div_ceil(100));
    let file = std::fs::metadata(folder.path().join("state/index.redb")).unwrap().len() >> 20;
    let each = took / u32::try_from(pages).unwrap();
    println!(
        "filled in {took:?}, {each:?} a page; file {file} MiB; memory {} MiB, at most {most}",
        memory(&process)
    );
    time_pages(&process, &calls, 20, "index, nothing cached").await;
    time_pages(&process, &calls, 20, "index, cached jobs").await;
    for _ in 0..9 {
        time_pages(&process, &calls, 20, "again").await;
    }
    println!("memory {} MiB", memory(&process));
    drop(process);
    let began = Instant::now();
    let process = start(folder.path(), quick).await;
    until_complete(&process).await;
    println!("complete again {:?} after a kill", began.elapsed());
}
