//! What the gateway says of itself: a log line, metrics and a trace of each call, all from its record.

mod causes;
mod current;
mod failures;
pub mod instruments;
mod json;
mod line;
pub mod metrics;
pub mod otlp;
mod process;
mod refusals;
mod series;
mod spans;
mod subscriber;

use http::HeaderMap;
use opentelemetry_sdk::trace::SpanProcessor;

pub use causes::{causes, http_causes};
pub use current::within;
pub use otlp::{Otlp, flush};
pub use refusals::report as report_refused;
pub use subscriber::{Error, Format, init};

use crate::model::{CallRecord, TraceContext};

/// The trace of a request: its caller's, or one that begins here where traces are kept.
#[must_use]
pub fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::of(headers)
        .or_else(|| otlp::is_tracing().then(|| TraceContext::root(otlp::is_sampled)))
}

/// Tells a finished call, once.
pub fn emit(record: &CallRecord) {
    metrics::call(record);
    if refusals::may_log(record) {
        current::scope(record.trace.as_ref(), || line::call(record));
    }
    if let Some(tracing) = otlp::tracing() {
        for span in spans::of(record) {
            tracing.spans.on_end(span);
        }
    }
}
