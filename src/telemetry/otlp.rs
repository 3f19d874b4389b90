//! OTLP: traces, metrics and logs to a collector. Its being down costs nothing but the data: queues
//! are bounded, what does not fit is dropped, and nobody waits for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::TraceId;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::failures::Watched;
use super::resource::resource;
use super::{causes, metrics};
use crate::settings::forms::{FilePath, Percent, Secrets, WebUrl, hidden};
use crate::settings::{Choice, OneOf, Optional, ValueKind};
use crate::{scalars, settings};

/// The longest time a collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

settings! {
    /// A collector.
    pub struct Otlp {
        /// A collector for traces, metrics and logs, `http://host:4317` or `https://…`.
        endpoint: WebUrl | "none: `/metrics` and the log alone",
        /// `grpc`, or `http` (protobuf, usually port 4318).
        protocol: OneOf<Transport> = Transport::Grpc,
        /// Headers that the collector is told with everything, such as a vendor's key: `{ x-api-key: "${OTLP_KEY}" }`, by reference only.
        headers: Secrets<CollectorHeader, CollectorValue>,
        /// A PEM file with authorities the collector's certificate may come from besides.
        ca: Optional<FilePath> | "the system's authorities",
        /// Traces that are kept of those whose caller does not decide: a `traceparent` that is sampled is kept, one that is not is not.
        sample: Percent = 100,
    }
}

scalars! {
    /// The name of a header that a collector is told; `grpc-…` and `…-bin` are gRPC's own.
    CollectorHeader(HeaderName): ValueKind::Word, header_name, hidden;
    /// The value of such a header.
    CollectorValue(HeaderValue): ValueKind::Secret, header_value, hidden;
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text)
        .ok()
        .filter(|name| !name.as_str().starts_with("grpc-") && !name.as_str().ends_with("-bin"))
        .ok_or_else(|| "must be the name of a header such as authorization".to_owned())
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| "must be what a header can hold: printable ASCII".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

impl Otlp {
    /// The headers that the collector is told.
    fn header_map(&self) -> HeaderMap {
        self.headers.iter().cloned().collect()
    }
}

/// OTLP's two transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// gRPC.
    Grpc,
    /// HTTP with protobuf.
    Http,
}

impl Choice for Transport {
    const WORDS: &'static [(&'static str, Self)] = &[("grpc", Self::Grpc), ("http", Self::Http)];
}

/// Why a collector cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its address cannot be one.
    #[error(transparent)]
    Build(#[from] ExporterBuildError),
    /// Its authorities are none.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    /// Its authorities cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Their file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The exporters to a collector.
#[derive(Debug)]
pub struct Exporters {
    pub(super) spans: BatchSpanProcessor,
    pub(super) metrics: MetricReader,
    pub(super) logs: SdkLoggerProvider,
}

/// The reader that sends all metrics now and then.
pub(super) type MetricReader = PeriodicReader<Watched<MetricExporter>>;

/// The parts that traces need while the gateway runs.
#[derive(Debug)]
pub(super) struct Tracing {
    pub spans: BatchSpanProcessor,
    logs: SdkLoggerProvider,
    sample: u32,
}

static TRACING: OnceLock<Tracing> = OnceLock::new();

pub(super) fn tracing() -> Option<&'static Tracing> {
    TRACING.get()
}

/// Makes the exporters; they connect when there is something to send. Needs a runtime.
///
/// # Errors
/// When the endpoint cannot be one, or its authorities cannot be used.
pub fn exporters(otlp: &Otlp) -> Result<Exporters, Error> {
    let (spans, metrics, logs) = match otlp.protocol {
        Transport::Grpc => {
            let tls = tls(otlp)?;
            (
                grpc(SpanExporter::builder().with_tonic(), otlp, tls.as_ref()).build()?,
                grpc(MetricExporter::builder().with_tonic(), otlp, tls.as_ref()).build()?,
                grpc(LogExporter::builder().with_tonic(), otlp, tls.as_ref()).build()?,
            )
        }
        Transport::Http => {
            let client = client(otlp)?;
            (
                http(SpanExporter::builder().with_http(), otlp, &client, "traces").build()?,
                http(MetricExporter::builder().with_http(), otlp, &client, "metrics").build()?,
                http(LogExporter::builder().with_http(), otlp, &client, "logs").build()?,
            )
        }
    };
    let mut spans = BatchSpanProcessor::builder(Watched::new("traces", spans)).build();
    spans.set_resource(&resource());
    Ok(Exporters {
        spans,
        metrics: PeriodicReader::builder(Watched::new("metrics", metrics)).build(),
        logs: SdkLoggerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(Watched::new("logs", logs))
            .build(),
    })
}

/// Sends a collector no traces at all, to hear whether it would take them.
///
/// # Errors
/// When it cannot be spoken to, or does not take them, in words.
pub async fn probe(otlp: &Otlp) -> Result<(), String> {
    let told = |error: Error| causes(&error);
    let sent = match otlp.protocol {
        Transport::Grpc => {
            let tls = tls(otlp).map_err(told)?;
            let exporter = grpc(SpanExporter::builder().with_tonic(), otlp, tls.as_ref()).build();
            let mut exporter = exporter.map_err(|error| told(error.into()))?;
            exporter.set_resource(&resource());
            exporter.export(Vec::new()).await
        }
        Transport::Http => {
            let client = client(otlp).map_err(told)?;
            let exporter = http(SpanExporter::builder().with_http(), otlp, &client, "traces");
            let mut exporter = exporter.build().map_err(|error| told(error.into()))?;
            exporter.set_resource(&resource());
            // Its client blocks: all is done at the first poll.
            let export = move || exporter.export(Vec::new()).now_or_never();
            let outcome = tokio::task::spawn_blocking(export).await;
            outcome.map_err(|error| error.to_string())?.unwrap_or(Ok(()))
        }
    };
    sent.map_err(|error| causes(&error))
}

fn grpc<B>(exporter: B, otlp: &Otlp, tls: Option<&ClientTlsConfig>) -> B
where
    B: WithExportConfig + WithTonicConfig,
{
    let exporter = exporter
        .with_endpoint(otlp.endpoint.as_str().trim_end_matches('/'))
        .with_timeout(PATIENCE)
        .with_metadata(MetadataMap::from_headers(otlp.header_map()));
    match tls {
        Some(tls) => exporter.with_tls_config(tls.clone()),
        None => exporter,
    }
}

fn http<B>(exporter: B, otlp: &Otlp, client: &reqwest::blocking::Client, signal: &str) -> B
where
    B: WithExportConfig + WithHttpConfig,
{
    let headers = otlp.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    exporter
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/{signal}", otlp.endpoint.as_str().trim_end_matches('/')))
        .with_timeout(PATIENCE)
        .with_headers(headers.collect())
        .with_http_client(client.clone())
}

/// Whom a collector that is spoken to in TLS is trusted by.
fn tls(otlp: &Otlp) -> Result<Option<ClientTlsConfig>, Error> {
    if otlp.endpoint.scheme() != "https" {
        return Ok(None);
    }
    let tls = ClientTlsConfig::new().with_enabled_roots();
    Ok(Some(match &otlp.ca {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
        None => tls,
    }))
}

/// A client that goes where the configuration says and nowhere else: it may carry a key.
fn client(otlp: &Otlp) -> Result<reqwest::blocking::Client, Error> {
    let authorities = otlp.ca.as_deref().map(read).transpose()?.unwrap_or_default();
    let authorities = reqwest::Certificate::from_pem_bundle(&authorities)?;
    let build = || {
        reqwest::blocking::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_merge(authorities)
            .build()
    };
    // It brings a runtime of its own, which cannot be started within another.
    thread::scope(|scope| match scope.spawn(build).join() {
        Ok(client) => Ok(client?),
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Begins to keep traces.
pub(super) fn start(spans: BatchSpanProcessor, logs: SdkLoggerProvider, sample: u32) {
    let _ = TRACING.set(Tracing { spans, logs, sample });
}

/// Returns true if traces are kept at all.
#[must_use]
pub fn is_tracing() -> bool {
    TRACING.get().is_some()
}

/// Returns true if a trace that begins here is kept.
#[must_use]
pub fn is_sampled(trace: TraceId) -> bool {
    TRACING.get().is_some_and(|tracing| is_among(tracing.sample, trace))
}

/// Returns true if a trace is among so many in a hundred: decided by its id, so that all who ask agree.
fn is_among(percent: u32, trace: TraceId) -> bool {
    let [.., before, last] = trace.to_bytes().map(u32::from);
    (before << 8 | last) * 100 < percent << 16
}

/// Sends the collector what it has not got yet, within `patience`.
pub async fn flush(patience: Duration) {
    let Some(tracing) = TRACING.get() else { return };
    let (busy, mut ended) = mpsc::channel::<()>(1);
    let flushes: [fn(&Tracing); 3] = [
        |_| metrics::flush(),
        |tracing| drop(tracing.spans.force_flush()),
        |tracing| drop(tracing.logs.force_flush()),
    ];
    for flush in flushes {
        let busy = busy.clone();
        // Threads, and not the runtime's: it would wait for them, however long a collector takes.
        let started = thread::Builder::new().spawn(move || {
            flush(tracing);
            drop(busy);
        });
        drop(started);
    }
    drop(busy);
    let _ = timeout(patience, ended.recv()).await;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_share_of_kept_traces_is_what_was_asked_for() {
        let kept = |percent| {
            let ids = (0..=u128::from(u16::MAX)).map(|id| TraceId::from(1 << 64 | id));
            ids.filter(|id| is_among(percent, *id)).count()
        };
        assert_eq!([kept(0), kept(50), kept(100)], [0, 32_768, 65_536]);
        for percent in [1, 5, 33, 99] {
            let share = kept(percent) * 100;
            let wanted = 65_536 * percent as usize;
            assert!((wanted..wanted + 100).contains(&share), "{percent}%: {share}");
        }
    }

    proptest! {
        #[test]
        fn a_trace_kept_at_one_ratio_is_kept_at_every_higher_one(
            id: u128,
            low in 0_u32..=100,
            more in 0_u32..=100,
        ) {
            let (id, high) = (TraceId::from(id), (low + more).min(100));
            prop_assert!(!is_among(0, id) && is_among(100, id));
            prop_assert!(!is_among(low, id) || is_among(high, id));
        }
    }
}
