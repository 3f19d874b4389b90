//! What the gateway says of itself: a log line, metrics and a trace of each call, all from its record.

pub mod instruments;
pub mod metrics;
pub mod otlp;
mod series;
mod spans;
mod subscriber;

use std::time::Duration;

use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
use opentelemetry::{Context, trace::TraceId};
use opentelemetry_sdk::trace::SpanProcessor;

pub use otlp::Otlp;
pub use subscriber::{Error, Format, init};

use crate::model::{CallRecord, TraceContext};

/// The trace of a request: its caller's, or one that begins here where traces are kept.
#[must_use]
pub fn trace_of(traceparent: Option<&str>) -> Option<TraceContext> {
    traceparent
        .and_then(TraceContext::continued)
        .or_else(|| otlp::is_tracing().then(|| TraceContext::root(otlp::is_sampled)))
}

/// Tells a finished call, once.
pub fn emit(record: &CallRecord) {
    metrics::call(record);
    let tracing = otlp::tracing();
    // Log records that go to a collector name the trace.
    let _attached = tracing.and(record.trace).map(|trace| attached(trace).attach());
    let microseconds = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(
        target: "call",
        request_id = %record.request_id,
        trace_id = record.trace.map(|trace: TraceContext| tracing::field::display::<TraceId>(trace.trace)),
        tenant = record.tenant.as_ref().map(tracing::field::display),
        credential = record.credential.as_ref().map(tracing::field::display),
        operations = ?record.trails.iter().map(|trail| trail.field).collect::<Vec<_>>(),
        status = record.status,
        codes = ?record.failures.iter().map(|failure| failure.code).collect::<Vec<_>>(),
        microseconds,
    );
    if let Some(tracing) = tracing {
        for span in spans::of(record) {
            tracing.spans.on_end(span);
        }
    }
}

fn attached(trace: TraceContext) -> Context {
    let flags = if trace.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let span = SpanContext::new(trace.trace, trace.span, flags, false, TraceState::default());
    Context::new().with_remote_span_context(span)
}

/// Sends the collector what it has not got yet, within `patience`.
pub async fn flush(patience: Duration) {
    let flushing = tokio::task::spawn_blocking(|| {
        metrics::flush();
        otlp::flush();
    });
    let _ = tokio::time::timeout(patience, flushing).await;
}
