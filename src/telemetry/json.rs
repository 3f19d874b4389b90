//! Log lines as JSON, as docs/logging.md describes them.

use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::current;
use super::line::LISTS;
use crate::model::TraceContext;

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
        let text = line(event).map_err(|_| fmt::Error)?;
        writer.write_str(&text)?;
        writer.write_char('\n')
    }
}

fn line(event: &Event<'_>) -> serde_json::Result<String> {
    let mut text = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::new(&mut text);
    let mut line = serializer.serialize_map(None)?;
    let ids =
        current::look(|TraceContext { trace, span, .. }| (trace.to_string(), span.to_string()));
    if let Some((trace, span)) = ids {
        line.serialize_entry("trace_id", &trace)?;
        line.serialize_entry("span_id", &span)?;
    }
    line.serialize_entry("timestamp", &format_args!("{:.6}", jiff::Timestamp::now()))?;
    line.serialize_entry("level", event.metadata().level().as_str())?;
    let mut members = Members { line, target: None, result: Ok(()) };
    event.record(&mut members);
    members.result?;
    let Members { mut line, target, .. } = members;
    line.serialize_entry("target", target.as_deref().unwrap_or(event.metadata().target()))?;
    line.end()?;
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// A line on its way.
struct Members<M: SerializeMap> {
    line: M,
    /// Who speaks, where a library speaks through the `log` crate.
    target: Option<String>,
    result: Result<(), M::Error>,
}

impl<M: SerializeMap> Members<M> {
    fn add(&mut self, field: &Field, value: &(impl serde::Serialize + ?Sized)) {
        // Where in its code a library speaks is nobody's business here.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            self.result = self.line.serialize_entry(field.name(), value);
        }
    }
}

impl<M: SerializeMap> Visit for Members<M> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(value.to_owned());
        }
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if LISTS.contains(&field.name())
            && let Ok(list) = RawValue::from_string(format!("{value:?}"))
        {
            return self.add(field, &list);
        }
        self.add(field, &format_args!("{value:?}"));
    }
}
