//! Traces, metrics and logs, at a collector and at /metrics.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jobs_gateway::http::{Tls, TlsFiles};
use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{SINGLECAM_TAKE, Sandbox, SandboxOptions};
use jobs_gateway::telemetry::instruments::{ALL, markdown};
use opentelemetry_proto::tonic::collector::logs::v1 as logs;
use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
use opentelemetry_proto::tonic::collector::trace::v1 as trace;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use tonic::{Request, Response, Status};

use crate::support::process::{Process, prepare};
use crate::support::redis::Redis;
use crate::support::{Setup, World, key, send};
use crate::tls::Authority;
use crate::tokens::Issuer;

/// A collector: OTLP over gRPC and over HTTP, decoded by OpenTelemetry's own protobufs.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<BTreeSet<String>>>,
    /// Trace ids of log records.
    logs: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn take_spans(&self, request: trace::ExportTraceServiceRequest) {
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
    }

    fn take_metrics(&self, request: metrics::ExportMetricsServiceRequest) {
        let scopes = request.resource_metrics.into_iter().flat_map(|own| own.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name);
        self.metrics.lock().unwrap().extend(names);
    }

    fn take_logs(&self, request: logs::ExportLogsServiceRequest) {
        let scopes = request.resource_logs.into_iter().flat_map(|own| own.scope_logs);
        let ids = scopes.flat_map(|scope| scope.log_records).map(|record| record.trace_id);
        self.logs.lock().unwrap().extend(ids);
    }

    fn serve_grpc(&self) -> SocketAddr {
        let address = crate::support::process::free_address();
        let router = tonic::transport::Server::builder()
            .add_service(trace::trace_service_server::TraceServiceServer::new(self.clone()))
            .add_service(metrics::metrics_service_server::MetricsServiceServer::new(self.clone()))
            .add_service(logs::logs_service_server::LogsServiceServer::new(self.clone()));
        tokio::spawn(router.serve(address));
        address
    }

    async fn serve_http(&self) -> SocketAddr {
        use axum::body::Bytes;
        use axum::routing::post;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let [spans, metrics, logs] = [self.clone(), self.clone(), self.clone()];
        let router = axum::Router::new()
            .route(
                "/v1/traces",
                post(async move |body: Bytes| spans.take_spans(Message::decode(body).unwrap())),
            )
            .route(
                "/v1/metrics",
                post(async move |body: Bytes| metrics.take_metrics(Message::decode(body).unwrap())),
            )
            .route(
                "/v1/logs",
                post(async move |body: Bytes| logs.take_logs(Message::decode(body).unwrap())),
            );
        tokio::spawn(axum::serve(listener, router).into_future());
        address
    }
}

#[tonic::async_trait]
impl trace::trace_service_server::TraceService for Collector {
    async fn export(
        &self,
        request: Request<trace::ExportTraceServiceRequest>,
    ) -> Result<Response<trace::ExportTraceServiceResponse>, Status> {
        self.take_spans(request.into_inner());
        Ok(Response::new(trace::ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl metrics::metrics_service_server::MetricsService for Collector {
    async fn export(
        &self,
        request: Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics::ExportMetricsServiceResponse>, Status> {
        self.take_metrics(request.into_inner());
        Ok(Response::new(metrics::ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl logs::logs_service_server::LogsService for Collector {
    async fn export(
        &self,
        request: Request<logs::ExportLogsServiceRequest>,
    ) -> Result<Response<logs::ExportLogsServiceResponse>, Status> {
        self.take_logs(request.into_inner());
        Ok(Response::new(logs::ExportLogsServiceResponse::default()))
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Starts a gateway that tells a collector everything, asks it for a job, stops it.
async fn one_traced_call(endpoint: SocketAddr, protocol: &str) -> Sandbox {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let addresses = prepare(folder.path(), &sandbox, "");
    let path = folder.path().join("gateway.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    let config = config.replace(
        "{ log: { level: warn } }",
        &format!(
            "{{ otlp: {{ endpoint: 'http://{endpoint}', protocol: {protocol}, sample: 0% }} }}"
        ),
    );
    std::fs::write(path, config).unwrap();
    let mut process = Process::start(folder.path(), addresses).await;
    let http = reqwest::Client::new();
    let ask = || {
        http.post(process.url())
            .header("authorization", key("acme"))
            .json(&json!({"query": "{ getJob(jobId: \"job-none\") { id } }"}))
    };
    let traced = ask().header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
    assert_eq!(traced.send().await.unwrap().status(), 200);
    // Not sampled: no spans, but Move is told all the same.
    assert_eq!(ask().send().await.unwrap().status(), 200);
    process.signal("TERM");
    tokio::task::block_in_place(|| process.child.wait().unwrap());
    sandbox
}

fn check_trace(collector: &Collector, sandbox: &Sandbox) {
    let spans = collector.spans.lock().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["POST GraphQL", "graphql query", "job getJob", "cache", "upstream getJob"]);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:?}");
    assert_eq!(hex(&spans[0].parent_span_id), "b7ad6b7169203331");
    for (child, parent) in [(1, 0), (2, 1), (3, 2), (4, 2)] {
        assert_eq!(spans[child].parent_span_id, spans[parent].span_id);
        assert!(spans[child].start_time_unix_nano >= spans[parent].start_time_unix_nano);
        assert!(spans[child].end_time_unix_nano <= spans[parent].end_time_unix_nano);
    }
    let call = sandbox.calls().into_iter().find(|call| call.field == "getJob").unwrap();
    let told = format!("00-{TRACE}-{}-01", hex(&spans[4].span_id));
    assert_eq!(call.header("traceparent"), Some(told.as_str()));
    let metrics = collector.metrics.lock().unwrap();
    assert!(metrics.contains("jobs_gateway_requests"), "{metrics:?}");
    assert!(collector.logs.lock().unwrap().iter().any(|id| hex(id) == TRACE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_arrives_over_grpc_with_the_callers_id_and_the_call_to_move() {
    let collector = Collector::default();
    let sandbox = one_traced_call(collector.serve_grpc(), "grpc").await;
    check_trace(&collector, &sandbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_arrives_over_http_too() {
    let collector = Collector::default();
    let sandbox = one_traced_call(collector.serve_http().await, "http").await;
    check_trace(&collector, &sandbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_costs_nothing_but_the_data() {
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let began = Instant::now();
    one_traced_call(nowhere, "grpc").await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn the_table_of_metrics_is_current() {
    let written = std::fs::read_to_string("docs/metrics.md").unwrap_or_default();
    assert_eq!(written, markdown(), "`jobs-gateway metrics > docs/metrics.md`");
    let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len(), "each name once");
}

/// The names of all metrics that a gateway shows.
async fn shown(world: &World) -> BTreeSet<String> {
    let text = send(world.http.get(format!("http://{}/metrics", world.admin))).await.text;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
}

#[tokio::test]
async fn every_metric_of_the_table_is_shown_and_no_other() {
    let (redis, issuer) = (Redis::start(), Issuer::start(&[]).await);
    let hash = KeyHash::of(key("acme").as_bytes());
    let policy = format!(
        "operations: [\"*\"]\n\
         auth: {{ issuers: [sso], api_keys: [{{ id: main, sha256: {hash}, expires: 2099-01-01T00:00:00Z }}] }}\n\
         rate_limit: {{ queries: {{ rate: 100/s, burst: 100 }} }}\ncache: {{ get_job: {{ unfinished: 1s }} }}\n"
    );
    let config = format!(
        "{}{}audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}, {{ stdout: true }}] }}\n",
        redis.config(),
        issuer.config()
    );
    let tenants = vec![("acme", policy)];
    let world = World::set_up(Setup { tenants, config, ..Setup::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    Authority::new().write_server(folder.path());
    let file = |name: &str| folder.path().join(name);
    let files = TlsFiles { cert: file("cert.pem"), key: file("key.pem"), client_ca: None };
    Tls::open(files).unwrap();
    let id = world.create("acme", "{}").await;
    world.get("acme", &id, "id").await;
    let create = json!({"query": format!(
        "mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}"
    )});
    let keyed = world.http.post(world.url()).header("authorization", key("acme"));
    send(keyed.header("idempotency-key", "k-1").json(&create)).await;
    world.write_policy("globex", "operations: [getJob]\n");
    world.pass(Duration::from_secs(6)).await;

    let table: BTreeSet<_> = ALL.iter().map(|metric| metric.name.to_owned()).collect();
    let give_up = Instant::now() + Duration::from_secs(10);
    let mut seen = shown(&world).await;
    while seen != table && Instant::now() < give_up {
        tokio::task::yield_now().await;
        seen = shown(&world).await;
    }
    assert_eq!(seen, table);
}
