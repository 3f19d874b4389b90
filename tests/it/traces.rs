//! Traces and logs at a collector: what arrives, how it hangs together, and what happens when the
//! collector does not take it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{Fault, Sandbox, SandboxOptions};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::support::collector::{Collector, attribute, hex};
use crate::support::process::{Process, free_address, prepare};
use crate::support::{key, until_called};
use crate::tls::Authority;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
const COLLECTOR_KEY: &str = "collector-key-0001";

/// A gateway that tells a collector, over a sandbox.
struct Traced {
    sandbox: Sandbox,
    process: Process,
    folder: tempfile::TempDir,
}

impl Traced {
    async fn start(otlp: &str, level: &str) -> Self {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let addresses = prepare(folder.path(), &sandbox, "");
        let path = folder.path().join("gateway.yaml");
        let config = std::fs::read_to_string(&path).unwrap();
        let telemetry = format!("{{ log: {{ level: '{level}' }}, otlp: {{ {otlp} }} }}");
        let told = config.replace("{ log: { level: warn } }", &telemetry);
        assert_ne!(config, told);
        std::fs::write(path, told).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let environment = [("COLLECTOR_KEY", COLLECTOR_KEY)];
        let process = Process::start_with(folder.path(), addresses, &environment, log.into()).await;
        Self { sandbox, process, folder }
    }

    /// Asks for a job that nobody has, with these headers.
    async fn ask(&self, job: &str, headers: &[(&str, &str)]) {
        let mut request = reqwest::Client::new()
            .post(self.process.url())
            .header("authorization", key("acme"))
            .json(&json!({"query": format!("{{ getJob(jobId: \"{job}\") {{ id }} }}")}));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    /// Asks for a job within a trace; Move answers at the second attempt.
    async fn ask_in_a_trace(&self) {
        self.sandbox.fail_next(Some("getJob"), Fault::empty(503));
        let parent = format!("00-{TRACE}-{PARENT}-01");
        let headers = [
            ("traceparent", &*parent),
            ("tracestate", STATE),
            ("user-agent", "a-client/1.0"),
            ("x-request-id", "order-7"),
        ];
        self.ask("job-none", &headers).await;
    }

    /// Stops it, and reads its log.
    fn stop(mut self) -> (Sandbox, Vec<Value>) {
        self.process.signal("TERM");
        tokio::task::block_in_place(|| self.process.child.wait().unwrap());
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        let lines =
            log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
        (self.sandbox, lines.collect())
    }
}

/// The spans of the trace of [`Traced::ask_in_a_trace`], checked for how they hang together and for
/// what Move was told.
fn check_trace(collector: &Collector, sandbox: &Sandbox) -> Vec<Span> {
    let spans = collector.spans.lock().unwrap().clone();
    let spans: Vec<_> = spans.into_iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    let wanted = ["POST /graphql", "query", "job getJob", "cache", "upstream getJob"];
    assert_eq!(names, [&wanted[..], &["upstream getJob"]].concat());
    assert_eq!(hex(&spans[0].parent_span_id), PARENT);
    for (child, parent) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 2)] {
        assert_eq!(spans[child].parent_span_id, spans[parent].span_id);
        assert!(spans[child].start_time_unix_nano >= spans[parent].start_time_unix_nano);
        assert!(spans[child].end_time_unix_nano <= spans[parent].end_time_unix_nano);
    }
    assert!(spans.iter().all(|span| span.trace_state == STATE), "{spans:?}");
    let calls = sandbox.calls();
    let calls: Vec<_> = calls.iter().filter(|call| call.field == "getJob").take(2).collect();
    for (call, span) in calls.iter().zip(&spans[4..]) {
        let told = format!("00-{TRACE}-{}-01", hex(&span.span_id));
        assert_eq!(call.header("traceparent"), Some(told.as_str()));
        assert_eq!(call.header("tracestate"), Some(STATE));
    }
    spans
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_arrives_over_grpc_with_the_callers_id_and_the_calls_to_move() {
    let collector = Collector::default();
    let endpoint = collector.serve_grpc();
    let otlp = format!(
        "endpoint: 'http://{endpoint}', headers: {{ x-collector-key: '${{COLLECTOR_KEY}}' }}, sample: 0%"
    );
    // The clients of the exporters have a lot to say at this level.
    let gateway = Traced::start(&otlp, "debug").await;
    gateway.ask_in_a_trace().await;
    // Not sampled: no spans, but Move is told all the same.
    gateway.ask("job-nobodys", &[("tracestate", STATE)]).await;
    let (sandbox, log) = gateway.stop();

    let spans = check_trace(&collector, &sandbox);
    assert_eq!(collector.spans.lock().unwrap().len(), spans.len());
    let url = sandbox.url();
    let (port, url) = (url.port().unwrap().to_string(), url.to_string());
    for (span, name, value) in [
        (0, "http.request.method", Some("POST")),
        (0, "http.response.status_code", Some("200")),
        (0, "http.route", Some("/graphql")),
        (0, "url.path", Some("/graphql")),
        (0, "url.scheme", Some("http")),
        (0, "server.address", Some("127.0.0.1")),
        (0, "client.address", Some("127.0.0.1")),
        (0, "network.protocol.version", Some("1.1")),
        (0, "user_agent.original", Some("a-client/1.0")),
        (0, "http.request.header.x-request-id", Some("order-7")),
        (0, "jobs_gateway.tenant", Some("acme")),
        (0, "error.type", None),
        (1, "graphql.operation.type", Some("query")),
        (2, "jobs_gateway.operation", Some("getJob")),
        (3, "jobs_gateway.cache", Some("MISS")),
        (4, "http.request.method", Some("POST")),
        (4, "http.response.status_code", Some("503")),
        (4, "server.address", Some("127.0.0.1")),
        (4, "server.port", Some(&*port)),
        (4, "url.full", Some(&*url)),
        (4, "http.request.resend_count", None),
        (4, "error.type", Some("status")),
        (5, "http.response.status_code", Some("200")),
        (5, "http.request.resend_count", Some("1")),
        (5, "error.type", None),
    ] {
        let found = attribute(&spans[span].attributes, name);
        assert_eq!(found.as_deref(), value, "{name} of {}", spans[span].name);
    }
    let everything = format!("{spans:?} {log:?} {:?}", collector.logs.lock().unwrap());
    for secret in [&*key("acme"), "sandbox-move-key", COLLECTOR_KEY] {
        assert!(!everything.contains(secret), "{secret}");
    }

    let calls = sandbox.calls();
    let last = calls.iter().rfind(|call| call.field == "getJob").unwrap();
    assert!(last.header("traceparent").is_some_and(|told| told.ends_with("-00")), "{last:?}");
    assert_eq!(last.header("tracestate"), None, "a tracestate without its traceparent");

    assert!(collector.metrics.lock().unwrap().contains("jobs_gateway_requests"));
    assert_eq!(*collector.keys.lock().unwrap(), [COLLECTOR_KEY.to_owned()].into());
    assert_eq!(collector.instances.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_move_that_nobody_waited_for_is_in_the_trace() {
    let collector = Collector::default();
    let endpoint = collector.serve_grpc();
    let gateway = Traced::start(&format!("endpoint: 'http://{endpoint}'"), "warn").await;
    gateway.sandbox.set_latency(Duration::from_mins(1));
    let request = reqwest::Client::new()
        .post(gateway.process.url())
        .header("authorization", key("acme"))
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .json(&json!({"query": "{ getJob(jobId: \"job-none\") { id } }"}));
    let sandbox = gateway.sandbox.clone();
    let hangs_up = until_called(&sandbox, "getJob", 1);
    tokio::select! {
        _ = request.send() => panic!("an answer"),
        () = hangs_up => {}
    }
    gateway.stop();
    let spans = collector.spans.lock().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["POST /graphql", "query", "job getJob", "upstream getJob"]);
    let status = attribute(&spans[0].attributes, "http.response.status_code");
    assert_eq!(status.as_deref(), Some("499"));
    assert_eq!(attribute(&spans[3].attributes, "error.type").as_deref(), Some("unfinished"));
}

/// Checks the log record of the call of [`Traced::ask_in_a_trace`].
fn check_call(record: &LogRecord) {
    let members: Vec<_> = record.attributes.iter().map(|own| own.key.as_str()).collect();
    assert_eq!(
        members.join(" "),
        "request_id callers_request_id tenant credential source_ip operations entity_ids status \
         codes cache cost_units upstream_calls upstream_us duration_us"
    );
    for (member, value) in [
        ("callers_request_id", "order-7"),
        ("operations", "[\"getJob\"]"),
        ("entity_ids", "[\"job-none\"]"),
        ("status", "200"),
        ("codes", "[\"NOT_FOUND\"]"),
        ("upstream_calls", "2"),
    ] {
        assert_eq!(attribute(&record.attributes, member).as_deref(), Some(value), "{record:?}");
    }
    let status = record.attributes.iter().find(|own| own.key == "status").unwrap();
    let status = status.value.clone().unwrap().value.unwrap();
    assert_eq!(status, any_value::Value::IntValue(200));
    assert_eq!((record.severity_number, &*record.severity_text), (9, "INFO"));
    let body = record.body.clone().unwrap().value.unwrap();
    let any_value::Value::StringValue(text) = body else { panic!("{body:?}") };
    assert!(text.starts_with("acme: getJob: 200 NOT_FOUND in "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_that_is_logged_within_a_request_names_its_trace() {
    let collector = Collector::default();
    let endpoint = collector.serve_grpc();
    let gateway = Traced::start(&format!("endpoint: 'http://{endpoint}'"), "debug,h2=debug").await;
    gateway.ask_in_a_trace().await;
    let (sandbox, log) = gateway.stop();
    let spans = check_trace(&collector, &sandbox);

    let own = hex(&spans[0].span_id);
    let within: Vec<_> = log.iter().filter(|line| line["trace_id"] == TRACE).collect();
    assert!(within.iter().all(|line| line["span_id"] == *own), "{within:#?}");
    for (target, level) in [("call", "INFO"), ("jobs_gateway::upstream::client", "WARN")] {
        let is_it = |line: &&&Value| line["target"] == target && line["level"] == level;
        assert!(within.iter().find(is_it).is_some(), "{target}: {log:#?}");
    }
    let listening = log.iter().find(|line| line["message"] == "the gateway is ready").unwrap();
    assert_eq!(listening.get("trace_id"), None);

    let records = collector.logs.lock().unwrap();
    let within: Vec<_> = records.iter().filter(|(_, one)| hex(&one.trace_id) == TRACE).collect();
    assert!(within.iter().all(|(_, record)| hex(&record.span_id) == own));
    for target in ["call", "jobs_gateway::upstream::client"] {
        assert!(within.iter().any(|(own, _)| own == target), "{target}: {within:#?}");
    }
    check_call(&within.iter().find(|(own, _)| own == "call").unwrap().1);
    // What an exporter's client says is not exported: it would never end.
    assert!(log.iter().any(|line| line["target"].as_str().unwrap().starts_with('h')), "{log:#?}");
    for (target, record) in &*records {
        assert!(target == "call" || target.starts_with("jobs_gateway"), "{target}: {record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_arrives_over_http_and_a_caller_who_does_not_want_one_has_none() {
    let collector = Collector::default();
    let endpoint = collector.serve_http().await;
    let otlp = format!(
        "endpoint: 'http://{endpoint}', protocol: http, headers: {{ X-Collector-Key: '${{COLLECTOR_KEY}}' }}"
    );
    let gateway = Traced::start(&otlp, "warn").await;
    gateway.ask_in_a_trace().await;
    let unwanted = TRACE.replace('0', "1");
    gateway.ask("job-none", &[("traceparent", &format!("00-{unwanted}-{PARENT}-00"))]).await;
    gateway.ask("job-nobodys", &[]).await;
    let (sandbox, _) = gateway.stop();
    let spans = check_trace(&collector, &sandbox);
    let all = collector.spans.lock().unwrap();
    assert!(all.iter().all(|span| hex(&span.trace_id) != unwanted), "{all:?}");
    let own = all.iter().find(|span| hex(&span.trace_id) != TRACE && span.name == spans[0].name);
    assert!(own.is_some_and(|span| span.parent_span_id.is_empty()), "a trace begins here: {all:?}");
    assert_eq!(*collector.keys.lock().unwrap(), [COLLECTOR_KEY.to_owned()].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_speaks_tls_is_trusted_by_the_authority_that_is_named() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.write_server(folder.path());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let (collector, stranger) = (Collector::default(), Collector::default());
    let port = collector.serve_tls(folder.path()).port();
    Authority::new().write_server(folder.path());
    let other = stranger.serve_tls(folder.path()).port();
    for port in [port, other] {
        let otlp = format!("endpoint: 'https://localhost:{port}', ca: '{}'", ca.display());
        let gateway = Traced::start(&otlp, "warn").await;
        gateway.ask_in_a_trace().await;
        gateway.stop();
    }
    assert!(!collector.spans.lock().unwrap().is_empty());
    assert!(stranger.spans.lock().unwrap().is_empty());
}

/// A gateway that was asked for more spans than its queue holds.
async fn asked_much(endpoint: SocketAddr, protocol: &str) -> Traced {
    let otlp = format!("endpoint: 'http://{endpoint}', protocol: {protocol}");
    let gateway = Traced::start(&otlp, "info").await;
    let (began, http) = (Instant::now(), reqwest::Client::new());
    for job in 0..1_000 {
        let query = format!("{{ getJob(jobId: \"job-{job}\") {{ id }} }}");
        let request = http.post(gateway.process.url()).header("authorization", key("acme"));
        let asked = request.json(&json!({"query": query})).send();
        assert_eq!(asked.await.unwrap().status(), 200);
    }
    // A collector's patience is five seconds a batch: nobody waited for that.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    gateway
}

/// Stops it: a second of draining, and five for the collector.
fn stop_in_time(gateway: Traced) -> Vec<Value> {
    let began = Instant::now();
    let (_, log) = gateway.stop();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_costs_nothing_but_the_data_and_a_metric_says_so() {
    let gateway = asked_much("127.0.0.1:9".parse().unwrap(), "grpc").await;
    let url = format!("http://{}/metrics", gateway.process.admin);
    let none = "jobs_gateway_telemetry_failures_total{signal=\"traces\"} 0\n";
    let give_up = Instant::now() + Duration::from_secs(20);
    while reqwest::get(&url).await.unwrap().text().await.unwrap().contains(none) {
        assert!(Instant::now() < give_up, "no failure is counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = stop_in_time(gateway);
    let complaints = log.iter().filter(|line| line.to_string().contains("collector"));
    // One for each of traces, metrics and logs, however often it fails.
    assert!((1..=3).contains(&complaints.clone().count()), "{:#?}", complaints.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_nothing_but_the_data() {
    let endpoint = Collector::serve_silence().await;
    let gateways = ["grpc", "http"].map(|protocol| {
        tokio::spawn(async move { stop_in_time(asked_much(endpoint, protocol).await) })
    });
    for gateway in gateways {
        gateway.await.unwrap();
    }
}

/// The agent of PyPI's `rotel`, a collector; it sends on what it gets.
struct Rotel {
    child: Child,
    grpc: SocketAddr,
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rotel {
    async fn start(folder: &Path, to: SocketAddr) -> Self {
        let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/python");
        let libraries = std::fs::read_dir(python.join("lib")).into_iter().flatten();
        let agents = libraries
            .map(|version| version.unwrap().path().join("site-packages/rotel/rotel-agent"));
        let agent = agents.into_iter().find(|agent| agent.exists());
        let agent = agent.unwrap_or_else(|| panic!("no rotel (scripts/test installs it)"));
        let (grpc, http) = (free_address(), free_address());
        let child = Command::new(agent)
            .args(["start", "--exporter=otlp", "--otlp-exporter-protocol=http"])
            .arg(format!("--otlp-grpc-endpoint={grpc}"))
            .arg(format!("--otlp-http-endpoint={http}"))
            .arg(format!("--otlp-exporter-endpoint=http://{to}"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let rotel = Self { child, grpc };
        let give_up = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(grpc).await.is_err() {
            assert!(Instant::now() < give_up, "rotel does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rotel
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_others_wrote_takes_the_trace() {
    let (folder, behind) = (tempfile::tempdir().unwrap(), Collector::default());
    let rotel = Rotel::start(folder.path(), behind.serve_http().await).await;
    let gateway = Traced::start(&format!("endpoint: 'http://{}'", rotel.grpc), "info").await;
    gateway.ask_in_a_trace().await;
    let (sandbox, _) = gateway.stop();
    let give_up = Instant::now() + Duration::from_secs(10);
    let is_there = || {
        let (spans, logs) = (behind.spans.lock().unwrap(), behind.logs.lock().unwrap());
        !spans.is_empty() && !logs.is_empty() && !behind.metrics.lock().unwrap().is_empty()
    };
    while !is_there() && Instant::now() < give_up {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    check_trace(&behind, &sandbox);
    assert!(behind.logs.lock().unwrap().iter().any(|(_, record)| hex(&record.trace_id) == TRACE));
    assert!(behind.metrics.lock().unwrap().contains("jobs_gateway_requests"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_decide_that_its_trace_is_kept() {
    let collector = Collector::default();
    let endpoint = collector.serve_grpc();
    let otlp = format!("endpoint: 'http://{endpoint}', sample: 0%");
    let gateway = Traced::start(&otlp, "warn").await;
    let strangers = TRACE.replace('0', "1");
    let refused = reqwest::Client::new()
        .post(gateway.process.url())
        .header("traceparent", format!("00-{strangers}-{PARENT}-01"))
        .json(&json!({"query": "{ __typename }"}));
    assert_eq!(refused.send().await.unwrap().status(), 401);
    gateway.ask("job-none", &[("traceparent", &format!("00-{TRACE}-{PARENT}-01"))]).await;
    gateway.stop();
    let spans = collector.spans.lock().unwrap();
    assert!(!spans.is_empty());
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:?}");
}
