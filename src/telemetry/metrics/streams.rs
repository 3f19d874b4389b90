//! The metrics of streams.

use opentelemetry::KeyValue;

use super::metrics;

/// Open streams.
pub fn streams(more: i64) {
    if let Some(metrics) = metrics() {
        metrics.streams.add(more, &[]);
    }
}

/// A stream was given an answer.
pub fn stream_event() {
    if let Some(metrics) = metrics() {
        metrics.stream_events.add(1, &[]);
    }
}

/// A stream has ended.
pub fn stream_ended(reason: &'static str) {
    if let Some(metrics) = metrics() {
        metrics.streams_ended.add(1, &[KeyValue::new("reason", reason)]);
    }
}
