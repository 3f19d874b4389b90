//! The log line of a call, and lines for people.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::current;
use crate::model::{CacheStatus, CallRecord, CallersRequestId, EntityId, TenantId};

/// Members of lines that are lists: their text is JSON already.
pub(super) const LISTS: [&str; 3] = ["operations", "entity_ids", "codes"];

/// Logs a call that is over.
pub(super) fn call(record: &CallRecord) {
    if !tracing::enabled!(target: "call", tracing::Level::INFO) {
        return;
    }
    let mut entities = Vec::new();
    let (mut upstream_calls, mut upstream_time) = (0, std::time::Duration::ZERO);
    for trail in record.trails.iter() {
        trail.note(|notes| {
            entities.extend(notes.entity.clone().filter(|id| id.kind().has_owner()));
            upstream_calls += notes.upstream_calls;
            upstream_time += notes.upstream_time;
        });
    }
    let operations = List(record.trails.iter().map(|trail| trail.operation));
    let codes = List(record.failures.iter().map(|failure| failure.code.as_str()));
    let entities = List(entities.iter().map(EntityId::as_str));
    tracing::info!(
        target: "call",
        request_id = %record.request_id,
        callers_request_id = record.callers_id.as_ref().map(CallersRequestId::as_str),
        tenant = record.tenant.as_ref().map(tracing::field::display),
        credential = record.credential.as_ref().map(tracing::field::display),
        source_ip = record.source.map(tracing::field::display),
        %operations,
        entity_ids = %entities,
        status = record.status,
        %codes,
        reason = record.refused_because,
        cache = record.cache.map(CacheStatus::as_str),
        cost_units = record.cost,
        upstream_calls,
        upstream_us = microseconds(upstream_time),
        duration_us = microseconds(record.took),
        "{}", Summary(record),
    );
}

/// Logs a stream that has ended.
pub(super) fn stream_ended(record: &CallRecord) {
    let entity = record.trails.first().and_then(|trail| trail.note(|notes| notes.entity.clone()));
    tracing::info!(
        target: "call",
        request_id = %record.request_id,
        tenant = record.tenant.as_ref().map(tracing::field::display),
        credential = record.credential.as_ref().map(tracing::field::display),
        entity_ids = %List(entity.iter().map(EntityId::as_str)),
        reason = record.closing.map(|closing| closing.reason),
        events = record.closing.map(|closing| closing.events),
        duration_us = microseconds(record.took),
        "a stream has ended",
    );
}

fn microseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Names or ids as a list in JSON: none of them has anything to escape.
struct List<I>(I);

impl<'a, I: Iterator<Item = &'a str> + Clone> fmt::Display for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (n, name) in self.0.clone().enumerate() {
            f.write_str(if n == 0 { "\"" } else { ",\"" })?;
            f.write_str(name)?;
            f.write_str("\"")?;
        }
        f.write_str("]")
    }
}

/// A call in a few words: `acme: getJob, listJobs: 200 NOT_FOUND in 12.3 ms`.
struct Summary<'a>(&'a CallRecord);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        f.write_str(record.tenant.as_ref().map_or("nobody", TenantId::as_str))?;
        f.write_str(": ")?;
        for (n, trail) in record.trails.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { ", " })?;
            f.write_str(trail.operation)?;
        }
        if record.trails.is_empty() {
            f.write_str(if record.kind.is_some() { "introspection" } else { "none" })?;
        }
        let code = record.failures.first().map_or("OK", |failure| failure.code.as_str());
        write!(f, ": {} {code} in {:.1} ms", record.status, record.took.as_secs_f64() * 1e3)
    }
}

/// Lines for people, which begin with the trace's id within one.
pub(super) struct Text<F>(pub F);

impl<S, N, F> FormatEvent<S, N> for Text<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(trace) = current::look(|context| context.trace) {
            write!(writer, "{trace} ")?;
        }
        self.0.format_event(context, writer, event)
    }
}
