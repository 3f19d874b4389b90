//! The metrics of listings, of the pages that they go through, and of the index that spares them most.

use std::time::Duration;

use opentelemetry::KeyValue;

use super::metrics::metrics;

/// The source of a page of Move's that a listing went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageSource {
    /// A call of its own.
    Move,
    /// A call that somebody else had made.
    Joined,
    /// One that came a moment ago.
    Memory,
}

/// A listing went through a page of Move's.
pub fn listing_page(field: &'static str, source: PageSource) {
    let source = match source {
        PageSource::Move => "move",
        PageSource::Joined => "joined",
        PageSource::Memory => "memory",
    };
    if let Some(metrics) = metrics() {
        let labels = [KeyValue::new("field", field), KeyValue::new("source", source)];
        metrics.listing_pages.add(1, &labels);
    }
}

/// A listing in the shared account was answered, from the index or by sifting, and took so many calls to Move.
pub fn listing(is_from_index: bool, calls: u32) {
    if let Some(metrics) = metrics() {
        let way = [KeyValue::new("way", if is_from_index { "index" } else { "sift" })];
        metrics.listings.add(1, &way);
        metrics.listing_calls.add(calls.into(), &way);
    }
}

/// A call to Move keeps the index of a kind.
pub fn index_call(kind: &'static str, cause: &'static str) {
    if let Some(metrics) = metrics() {
        metrics.index_calls.add(1, &[KeyValue::new("kind", kind), KeyValue::new("cause", cause)]);
    }
}

/// The index of a kind was thrown away.
pub fn index_dropped(kind: &'static str, reason: &'static str) {
    if let Some(metrics) = metrics() {
        let labels = [KeyValue::new("kind", kind), KeyValue::new("reason", reason)];
        metrics.index_dropped.add(1, &labels);
    }
}

/// Shows for how long the newest of a kind have not been joined to their index.
pub fn index_lag(kind: &'static str, lag: Duration) {
    if let Some(metrics) = metrics() {
        metrics.index_lag.record(lag.as_secs_f64(), &[KeyValue::new("kind", kind)]);
    }
}

/// Shows how much is in the index of a kind, and how far its walk is (in microseconds since 1970).
pub fn index_state(kind: &'static str, rows: u64, is_complete: bool, read_to: i64) {
    #[expect(clippy::cast_precision_loss, reason = "figures to look at")]
    if let Some(metrics) = metrics() {
        let kind = [KeyValue::new("kind", kind)];
        metrics.index_jobs.record(rows as f64, &kind);
        metrics.index_complete.record(f64::from(u8::from(is_complete)), &kind);
        metrics.index_read_to.record(read_to as f64 / 1e6, &kind);
    }
}
