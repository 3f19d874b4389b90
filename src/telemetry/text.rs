//! Log lines for people.

use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::current;
use super::line::{self, Members, TIMES};
use crate::model::CallRecord;

/// Lines of events, which begin with the trace's id within one.
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

/// Returns the line of a record, as that of an event would be.
pub(super) fn line_of(record: &CallRecord, at: Timestamp, is_colored: bool) -> Vec<u8> {
    let mut line = Line { text: Vec::with_capacity(512), is_colored };
    if let Some(context) = &record.trace {
        line.push(format_args!("{} ", context.trace));
    }
    let mut time = String::new();
    // Writing into memory does not fail.
    let _ = TIMES.print_timestamp(&at, &mut time);
    line.styled(DIMMED, &time);
    line.push(" ");
    line.styled(GREEN, format_args!("{:>5}", line::LEVEL.as_str()));
    line.push(" ");
    line.styled(DIMMED, line::TARGET);
    line.styled(DIMMED, ":");
    line.push(" ");
    line::tell(record, &mut line);
    line.push("\n");
    line.text
}

/// Styles by their codes (ECMA-48, section 8.3.117).
const DIMMED: u8 = 2;
const ITALIC: u8 = 3;
const GREEN: u8 = 32;

/// A line on its way.
struct Line {
    text: Vec<u8>,
    is_colored: bool,
}

impl Line {
    fn push(&mut self, text: impl fmt::Display) {
        // Writing into memory does not fail.
        let _ = write!(self.text, "{text}");
    }

    fn styled(&mut self, style: u8, text: impl fmt::Display) {
        if self.is_colored {
            self.push(format_args!("\x1b[{style}m{text}\x1b[0m"));
        } else {
            self.push(text);
        }
    }

    fn add(&mut self, member: &'static str, value: impl fmt::Display) {
        self.push(" ");
        self.styled(ITALIC, member);
        self.styled(DIMMED, "=");
        self.push(value);
    }
}

impl Members for Line {
    fn message(&mut self, text: &str) {
        self.push(text);
    }

    fn name(&mut self, member: &'static str, value: &str) {
        self.add(member, value);
    }

    fn address(&mut self, member: &'static str, value: IpAddr) {
        self.add(member, value);
    }

    fn word(&mut self, member: &'static str, value: &str) {
        self.add(member, format_args!("{value:?}"));
    }

    fn number(&mut self, member: &'static str, value: u64) {
        self.add(member, value);
    }

    fn list<T: AsRef<str>>(&mut self, member: &'static str, values: impl Iterator<Item = T>) {
        self.add(member, line::list(values));
    }
}
