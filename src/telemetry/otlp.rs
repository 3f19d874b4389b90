//! OTLP: traces, metrics and logs to a collector. Its being down costs nothing but the data: queues
//! are bounded, and what does not fit is dropped.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TraceId;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor};

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where telemetry goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// The collector: `http://host:4317` (gRPC) or `http://host:4318` (HTTP).
    pub endpoint: url::Url,
    /// How it is spoken to.
    pub protocol: Transport,
    /// How many traces in a hundred are kept, of those whose caller does not decide.
    pub sample: u32,
}

/// OTLP's two transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// gRPC.
    Grpc,
    /// HTTP with protobuf.
    Http,
}

/// What is sent there.
#[derive(Debug)]
pub struct Exporters {
    pub(super) spans: BatchSpanProcessor,
    pub(super) metrics: PeriodicReader<MetricExporter>,
    pub(super) logs: SdkLoggerProvider,
}

/// What traces need while the gateway runs.
#[derive(Debug)]
pub(super) struct Tracing {
    pub spans: BatchSpanProcessor,
    pub logs: SdkLoggerProvider,
    sample: u32,
}

static TRACING: OnceLock<Tracing> = OnceLock::new();

pub(super) fn tracing() -> Option<&'static Tracing> {
    TRACING.get()
}

/// Who the data is of.
#[must_use]
pub fn resource() -> Resource {
    Resource::builder()
        .with_service_name("jobs-gateway")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Makes the exporters; they connect when there is something to send. Needs a runtime.
///
/// # Errors
/// When the endpoint cannot be one.
pub fn exporters(otlp: &Otlp) -> Result<Exporters, ExporterBuildError> {
    let base = otlp.endpoint.as_str().trim_end_matches('/');
    let (spans, metrics, logs) = match otlp.protocol {
        Transport::Grpc => (
            SpanExporter::builder()
                .with_tonic()
                .with_endpoint(base)
                .with_timeout(PATIENCE)
                .build()?,
            MetricExporter::builder()
                .with_tonic()
                .with_endpoint(base)
                .with_timeout(PATIENCE)
                .build()?,
            LogExporter::builder()
                .with_tonic()
                .with_endpoint(base)
                .with_timeout(PATIENCE)
                .build()?,
        ),
        Transport::Http => (
            SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{base}/v1/traces"))
                .with_timeout(PATIENCE)
                .build()?,
            MetricExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{base}/v1/metrics"))
                .with_timeout(PATIENCE)
                .build()?,
            LogExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{base}/v1/logs"))
                .with_timeout(PATIENCE)
                .build()?,
        ),
    };
    let mut spans = BatchSpanProcessor::builder(spans).build();
    spans.set_resource(&resource());
    Ok(Exporters {
        spans,
        metrics: PeriodicReader::builder(metrics).build(),
        logs: SdkLoggerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(logs)
            .build(),
    })
}

/// Begins to keep traces.
pub(super) fn start(spans: BatchSpanProcessor, logs: SdkLoggerProvider, sample: u32) {
    let _ = TRACING.set(Tracing { spans, logs, sample });
}

/// Whether traces are kept at all.
#[must_use]
pub fn is_tracing() -> bool {
    TRACING.get().is_some()
}

/// Whether a trace that begins here is kept: decided by its id, so that all who ask agree.
#[must_use]
pub fn is_sampled(trace: TraceId) -> bool {
    TRACING.get().is_some_and(|tracing| {
        let [.., last] = trace.to_bytes().map(u32::from);
        let [.., before, _] = trace.to_bytes().map(u32::from);
        (before << 8 | last) * 100 < tracing.sample << 16
    })
}

/// Sends what is left. Blocks until the collector has it or its time is over.
pub(super) fn flush() {
    if let Some(tracing) = TRACING.get() {
        let _ = tracing.spans.force_flush();
        let _ = tracing.logs.force_flush();
    }
}
