//! What the gateway says of itself.

pub mod instruments;
pub mod metrics;
mod subscriber;

pub use subscriber::{Format, init};

use crate::model::CallRecord;

/// Tells a finished call, once.
pub fn emit(record: &CallRecord) {
    metrics::call(record);
    let microseconds = u64::try_from(record.began.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::info!(
        target: "call",
        request_id = %record.request_id,
        tenant = record.tenant.as_ref().map(tracing::field::display),
        credential = record.credential.as_ref().map(tracing::field::display),
        operations = ?record.trails.iter().map(|trail| trail.field).collect::<Vec<_>>(),
        status = record.status,
        codes = ?record.failures.iter().map(|failure| failure.code).collect::<Vec<_>>(),
        microseconds,
    );
}
