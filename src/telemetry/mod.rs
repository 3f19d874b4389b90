//! Telemetry: a log line, metrics and a trace of each call, all from its record.

mod causes;
mod current;
mod failures;
pub mod instruments;
mod json;
mod line;
mod lines;
pub mod listings;
mod log_record;
pub mod metrics;
pub mod otlp;
mod process;
mod refusals;
pub mod resource;
mod series;
mod spans;
mod subscriber;
mod text;
mod writer;

use http::HeaderMap;
use opentelemetry_sdk::trace::SpanProcessor;

pub use causes::{causes, http_causes};
pub use current::within;
pub use lines::{Format, lines};
pub use otlp::{Otlp, flush};
pub use refusals::{may_log_stranger, report as report_refused};
pub use subscriber::{Error, init};
pub use writer::Log;

use crate::model::{CallRecord, TraceContext};

/// The trace of a request: its caller's, or one that begins here where traces are kept. Whether it is
/// kept is decided here, and not by its id where a caller chose that: nobody knows the caller yet.
#[must_use]
pub fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    let own = || TraceContext::root(otlp::is_sampled);
    match TraceContext::from_headers(headers) {
        Some(trace) => Some(TraceContext { sampled: own().sampled, ..trace }),
        None => otlp::is_tracing().then(own),
    }
}

/// Returns true if a caller's `traceparent` says that the trace is kept; `None` if there is none.
#[must_use]
pub fn wishes_trace(headers: &HeaderMap) -> Option<bool> {
    TraceContext::from_headers(headers).map(|trace| trace.sampled)
}

/// Tells the end of a stream.
pub fn stream_ended(record: &CallRecord) {
    lines::log(record);
}

/// Tells a finished call, once.
pub fn emit(record: &CallRecord) {
    metrics::call(record);
    if refusals::may_log(record) {
        lines::log(record);
    }
    if let Some(tracing) = otlp::tracing() {
        for span in spans::from_record(record) {
            tracing.spans.on_end(span);
        }
    }
}
