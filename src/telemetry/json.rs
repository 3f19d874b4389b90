//! Log lines as JSON, as docs/logging.md describes them.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::current;
use super::line::{self, Members, TIMES};
use crate::json::JsonPrinter;
use crate::model::{CallRecord, TraceContext};

/// The room that is made for a line, in bytes: most have 400 to 700.
const ROOM: usize = 1_024;

/// One JSON object a line: the trace's ids within one, the time, the level, the line's own members, and
/// which part of the gateway says so.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (metadata, mut text) = (event.metadata(), Vec::with_capacity(ROOM));
        let trace = current::look(TraceContext::clone);
        let line = Line::begin(&mut text, *metadata.level(), trace.as_ref(), Timestamp::now());
        let mut fields = Fields { line, target: None };
        event.record(&mut fields);
        let Fields { line, target } = fields;
        line.end(target.as_deref().unwrap_or(metadata.target()));
        writer.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Returns the line of a record.
pub(super) fn line_of(record: &CallRecord, at: Timestamp) -> Vec<u8> {
    let mut text = Vec::with_capacity(ROOM);
    let mut line = Line::begin(&mut text, line::LEVEL, record.trace.as_ref(), at);
    line::tell(record, &mut line);
    line.end(line::TARGET);
    text
}

/// A line on its way.
struct Line<'a>(JsonPrinter<'a>);

impl<'a> Line<'a> {
    fn begin(
        text: &'a mut Vec<u8>,
        level: Level,
        trace: Option<&TraceContext>,
        at: Timestamp,
    ) -> Self {
        let mut line = JsonPrinter(text);
        line.json("{");
        if let Some(TraceContext { trace, span, .. }) = trace {
            line.json(r#""trace_id":""#).plain(trace);
            line.json(r#"","span_id":""#).plain(span).json(r#"","#);
        }
        line.json(r#""timestamp":""#);
        // Writing into memory does not fail.
        let _ = TIMES.print_timestamp(&at, &mut *line.0);
        line.json(r#"","level":"#).word(level.as_str());
        Self(line)
    }

    /// Writes the name of a member.
    fn member(&mut self, name: &'static str) -> &mut JsonPrinter<'a> {
        self.0.json(",\"").json(name).json("\":")
    }

    fn end(mut self, target: &str) {
        self.member("target").value(target).json("}\n");
    }
}

impl Members for Line<'_> {
    fn message(&mut self, text: &str) {
        self.member("message").value(text);
    }

    fn name(&mut self, member: &'static str, value: &str) {
        self.member(member).value(value);
    }

    fn address(&mut self, member: &'static str, value: IpAddr) {
        self.member(member).json("\"").address(value).json("\"");
    }

    fn word(&mut self, member: &'static str, value: &str) {
        self.member(member).value(value);
    }

    fn number(&mut self, member: &'static str, value: u64) {
        self.member(member).value(value);
    }

    fn list<T: AsRef<str>>(&mut self, member: &'static str, values: impl Iterator<Item = T>) {
        let list = self.member(member).json("[");
        for (n, value) in values.enumerate() {
            list.json(if n == 0 { "" } else { "," }).value(value.as_ref());
        }
        list.json("]");
    }
}

/// The line of an event.
struct Fields<'a> {
    line: Line<'a>,
    /// Who speaks, where a library speaks through the `log` crate.
    target: Option<String>,
}

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: impl serde::Serialize) {
        // Where in its code a library speaks is nobody's business here.
        if !field.name().starts_with("log.") {
            self.line.member(field.name()).value(value);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(value.to_owned());
        }
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}
