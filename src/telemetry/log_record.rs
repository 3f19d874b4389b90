//! Lines of calls as log records, for the collector.

use std::net::IpAddr;

use opentelemetry::TraceFlags;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, Severity};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger};

use super::line::{self, Members};
use crate::model::CallRecord;

/// Sends the line of a record.
pub(super) fn send(record: &CallRecord, logger: &SdkLogger) {
    let mut line = Line(logger.create_log_record());
    line.0.set_target(line::TARGET);
    line.0.set_event_name(line::TARGET);
    line.0.set_severity_number(Severity::Info);
    line.0.set_severity_text(line::LEVEL.as_str());
    if let Some(context) = &record.trace {
        let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        line.0.set_trace_context(context.trace, context.span, Some(flags));
    }
    line::tell(record, &mut line);
    logger.emit(line.0);
}

/// A line on its way.
struct Line(SdkLogRecord);

impl Members for Line {
    fn message(&mut self, text: &str) {
        self.0.set_body(AnyValue::from(text.to_owned()));
    }

    fn name(&mut self, member: &'static str, value: &str) {
        self.0.add_attribute(member, value.to_owned());
    }

    fn address(&mut self, member: &'static str, value: IpAddr) {
        self.name(member, &value.to_string());
    }

    fn word(&mut self, member: &'static str, value: &str) {
        self.name(member, value);
    }

    fn number(&mut self, member: &'static str, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.0.add_attribute(member, value),
            Err(_) => self.name(member, &value.to_string()),
        }
    }

    fn list<T: AsRef<str>>(&mut self, member: &'static str, values: impl Iterator<Item = T>) {
        self.name(member, &line::list(values));
    }
}
