//! The log line of a call, and of a stream that has ended: its members in their order. How they look is up to who
//! writes them: JSON, a text for people, or a log record for a collector.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use tracing::Level;

use crate::model::{CallRecord, TenantId, Trail};

/// The target of these lines.
pub(super) const TARGET: &str = "call";

/// The level of these lines.
pub(super) const LEVEL: Level = Level::INFO;

/// The times of lines: to the microsecond, in UTC.
pub(super) const TIMES: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// A line on its way.
pub(super) trait Members {
    /// Writes the message, which comes first.
    fn message(&mut self, text: &str);

    /// Writes a member that is a name or an id.
    fn name(&mut self, member: &'static str, value: &str);

    /// Writes a member that is an address.
    fn address(&mut self, member: &'static str, value: IpAddr);

    /// Writes a member that is a word, which people see in quotation marks.
    fn word(&mut self, member: &'static str, value: &str);

    /// Writes a member that is a whole number.
    fn number(&mut self, member: &'static str, value: u64);

    /// Writes a member that is a list of names or ids.
    fn list<T: AsRef<str>>(&mut self, member: &'static str, values: impl Iterator<Item = T>);
}

/// Writes what is told of a record: its call, or the end of its stream.
pub(super) fn tell(record: &CallRecord, line: &mut impl Members) {
    match record.closing {
        None => call(record, line),
        Some(_) => stream_ended(record, line),
    }
}

fn call(record: &CallRecord, line: &mut impl Members) {
    line.message(&summary(record));
    line.name("request_id", record.request_id.encode(&mut [0; 36]));
    if let Some(id) = &record.callers_id {
        line.word("callers_request_id", id.as_str());
    }
    caller(record, line);
    if let Some(ip) = record.source {
        line.address("source_ip", ip);
    }
    line.list("operations", record.trails.iter().map(|trail| trail.operation));
    entities(record, line);
    line.number("status", record.status.into());
    line.list("codes", record.failures.iter().map(|failure| failure.code.as_str()));
    if let Some(reason) = record.refused_because {
        line.word("reason", reason);
    }
    if let Some(status) = record.cache {
        line.word("cache", status.as_str());
    }
    line.number("cost_units", record.cost.into());
    let (mut upstream_calls, mut upstream_time) = (0, Duration::ZERO);
    for trail in record.trails.iter() {
        trail.note(|notes| {
            upstream_calls += u64::from(notes.upstream_calls);
            upstream_time += notes.upstream_time;
        });
    }
    line.number("upstream_calls", upstream_calls);
    line.number("upstream_us", microseconds(upstream_time));
    line.number("duration_us", microseconds(record.took));
}

fn stream_ended(record: &CallRecord, line: &mut impl Members) {
    line.message("a stream has ended");
    line.name("request_id", record.request_id.encode(&mut [0; 36]));
    caller(record, line);
    entities(record, line);
    if let Some(closing) = record.closing {
        line.word("reason", closing.reason);
        line.number("events", closing.events);
    }
    line.number("duration_us", microseconds(record.took));
}

fn caller(record: &CallRecord, line: &mut impl Members) {
    if let Some(tenant) = &record.tenant {
        line.name("tenant", tenant.as_str());
    }
    if let Some(credential) = &record.credential {
        line.name("credential", credential.as_str());
    }
}

/// Writes the jobs, takes, files and volumes that it was about.
fn entities(record: &CallRecord, line: &mut impl Members) {
    let noted = |trail: &Trail| trail.note(|notes| notes.entity.clone());
    let entities = record.trails.iter().filter_map(noted);
    line.list("entity_ids", entities.filter(|id| id.kind().has_owner()));
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Returns a call in a few words: `acme: getJob, listJobs: 200 NOT_FOUND in 12.3 ms`.
fn summary(record: &CallRecord) -> String {
    let mut text = String::with_capacity(80);
    text.push_str(record.tenant.as_ref().map_or("nobody", TenantId::as_str));
    text.push_str(": ");
    for (n, trail) in record.trails.iter().enumerate() {
        text.push_str(if n == 0 { "" } else { ", " });
        text.push_str(trail.operation);
    }
    if record.trails.is_empty() {
        text.push_str(if record.kind.is_some() { "introspection" } else { "none" });
    }
    let code = record.failures.first().map_or("OK", |failure| failure.code.as_str());
    let tenths = (microseconds(record.took) + 50) / 100;
    // Writing into a text does not fail.
    let _ = write!(text, ": {} {code} in {}.{} ms", record.status, tenths / 10, tenths % 10);
    text
}

/// Returns names or ids as a list in JSON: none of them has anything to escape.
pub(super) fn list<T: AsRef<str>>(values: impl Iterator<Item = T>) -> String {
    let mut text = "[".to_owned();
    for (n, value) in values.enumerate() {
        text.push_str(if n == 0 { "\"" } else { ",\"" });
        text.push_str(value.as_ref());
        text.push('"');
    }
    text.push(']');
    text
}
