//! Collectors: one that takes everything, by OpenTelemetry's own protobufs, and one that never
//! answers.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1 as logs;
use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
use opentelemetry_proto::tonic::collector::trace::v1 as trace;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::header::HeaderMap;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::process::free_address;

/// A collector: OTLP over gRPC and over HTTP.
#[derive(Clone, Default)]
pub struct Collector {
    pub spans: Arc<Mutex<Vec<Span>>>,
    pub metrics: Arc<Mutex<BTreeSet<String>>>,
    /// Log records, and who says them.
    pub logs: Arc<Mutex<Vec<(String, LogRecord)>>>,
    /// The values of `x-collector-key` that it is told.
    pub keys: Arc<Mutex<BTreeSet<String>>>,
    /// Names of the processes that tell it something.
    pub instances: Arc<Mutex<BTreeSet<String>>>,
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// An attribute, as text.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|own| own.key == key)?.value.clone()?.value?;
    Some(match value {
        // The conventions have a list for each header; one value stands for itself here.
        Value::ArrayValue(ArrayValue { mut values }) if values.len() == 1 => {
            let only = KeyValue { key: key.to_owned(), value: values.pop(), ..KeyValue::default() };
            return attribute(&[only], key);
        }
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

impl Collector {
    fn take_spans(&self, key: Option<&str>, request: trace::ExportTraceServiceRequest) {
        self.keys.lock().unwrap().extend(key.map(str::to_owned));
        for own in request.resource_spans {
            let instance = attribute(&own.resource.unwrap().attributes, "service.instance.id");
            self.instances.lock().unwrap().insert(instance.unwrap());
            let spans = own.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
    }

    fn take_metrics(&self, key: Option<&str>, request: metrics::ExportMetricsServiceRequest) {
        self.keys.lock().unwrap().extend(key.map(str::to_owned));
        let scopes = request.resource_metrics.into_iter().flat_map(|own| own.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name);
        self.metrics.lock().unwrap().extend(names);
    }

    fn take_logs(&self, key: Option<&str>, request: logs::ExportLogsServiceRequest) {
        self.keys.lock().unwrap().extend(key.map(str::to_owned));
        let scopes = request.resource_logs.into_iter().flat_map(|own| own.scope_logs);
        for scope in scopes {
            let target = scope.scope.unwrap_or_default().name;
            let records = scope.log_records.into_iter().map(|record| (target.clone(), record));
            self.logs.lock().unwrap().extend(records);
        }
    }

    pub fn serve_grpc(&self) -> SocketAddr {
        self.serve(Server::builder())
    }

    /// Serves with the certificate of a folder, for `localhost`.
    pub fn serve_tls(&self, folder: &Path) -> SocketAddr {
        let [certificate, key] =
            ["cert.pem", "key.pem"].map(|file| std::fs::read(folder.join(file)).unwrap());
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        self.serve(Server::builder().tls_config(tls).unwrap())
    }

    fn serve(&self, mut server: Server) -> SocketAddr {
        let address = free_address();
        let router = server
            .add_service(trace::trace_service_server::TraceServiceServer::new(self.clone()))
            .add_service(metrics::metrics_service_server::MetricsServiceServer::new(self.clone()))
            .add_service(logs::logs_service_server::LogsServiceServer::new(self.clone()));
        tokio::spawn(router.serve(address));
        address
    }

    pub async fn serve_http(&self) -> SocketAddr {
        fn read<M: Message + Default>(headers: &HeaderMap, body: &[u8]) -> M {
            let mut plain = Vec::new();
            match headers.get("content-encoding") {
                Some(_) => GzDecoder::new(body).read_to_end(&mut plain).unwrap(),
                None => return M::decode(body).unwrap(),
            };
            M::decode(&*plain).unwrap()
        }
        fn key(headers: &HeaderMap) -> Option<&str> {
            headers.get("x-collector-key")?.to_str().ok()
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let [spans, metrics, logs] = [self.clone(), self.clone(), self.clone()];
        let take_spans = async move |head: HeaderMap, body: Bytes| {
            spans.take_spans(key(&head), read(&head, &body));
        };
        let take_metrics = async move |head: HeaderMap, body: Bytes| {
            metrics.take_metrics(key(&head), read(&head, &body));
        };
        let take_logs = async move |head: HeaderMap, body: Bytes| {
            logs.take_logs(key(&head), read(&head, &body));
        };
        let router = Router::new()
            .route("/v1/traces", post(take_spans))
            .route("/v1/metrics", post(take_metrics))
            .route("/v1/logs", post(take_logs));
        tokio::spawn(axum::serve(listener, router).into_future());
        address
    }

    /// Takes connections, and never says a word.
    pub async fn serve_silence() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut taken: Vec<TcpStream> = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                taken.push(stream);
            }
        });
        address
    }
}

fn key<T>(request: &Request<T>) -> Option<String> {
    Some(request.metadata().get("x-collector-key")?.to_str().ok()?.to_owned())
}

#[tonic::async_trait]
impl trace::trace_service_server::TraceService for Collector {
    async fn export(
        &self,
        request: Request<trace::ExportTraceServiceRequest>,
    ) -> Result<Response<trace::ExportTraceServiceResponse>, Status> {
        self.take_spans(key(&request).as_deref(), request.into_inner());
        Ok(Response::new(trace::ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl metrics::metrics_service_server::MetricsService for Collector {
    async fn export(
        &self,
        request: Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics::ExportMetricsServiceResponse>, Status> {
        self.take_metrics(key(&request).as_deref(), request.into_inner());
        Ok(Response::new(metrics::ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl logs::logs_service_server::LogsService for Collector {
    async fn export(
        &self,
        request: Request<logs::ExportLogsServiceRequest>,
    ) -> Result<Response<logs::ExportLogsServiceResponse>, Status> {
        self.take_logs(key(&request).as_deref(), request.into_inner());
        Ok(Response::new(logs::ExportLogsServiceResponse::default()))
    }
}
