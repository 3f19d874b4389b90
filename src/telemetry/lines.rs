//! Lines of calls: written from the record as bytes. An event of `tracing` would carry each member as a value to be
//! formatted, and a call's line is by far the most frequent.

use std::io::Write as _;

use jiff::Timestamp;
use opentelemetry_sdk::logs::SdkLogger;
use tracing::{Subscriber, dispatcher};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt as layers};

use super::json::{self, Json};
use super::line::{LEVEL, TARGET};
use super::log_record;
use super::text::{self, Text};
use crate::model::CallRecord;
use crate::settings::Choice;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Choice for Format {
    const WORDS: &'static [(&'static str, Self)] = &[("json", Self::Json), ("text", Self::Text)];
}

/// The layer that writes lines: those of events, and those of calls, which are no events. What is told of calls goes
/// to a collector too, if there is one.
pub fn lines<S, W>(
    format: Format,
    is_colored: bool,
    writer: W,
    collector: Option<SdkLogger>,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    let events = layers::layer().with_writer(writer.clone()).with_ansi(is_colored);
    // A line that is lost is counted by the writer.
    let write = Box::new(move |line: &[u8]| drop(writer.make_writer().write_all(line)));
    let calls = Calls { format, is_colored, write, collector };
    match format {
        Format::Json => events.event_format(Json).and_then(calls).boxed(),
        Format::Text => events.event_format(Text(layers::format())).and_then(calls).boxed(),
    }
}

/// Logs the call of a record, or the end of its stream.
pub(super) fn log(record: &CallRecord) {
    if tracing::enabled!(target: TARGET, LEVEL) {
        dispatcher::get_default(|log| log.downcast_ref().map(|calls: &Calls| calls.log(record)));
    }
}

/// Writes a line, as far as there is room for it.
type WriteLine = Box<dyn Fn(&[u8]) + Send + Sync>;

/// The lines of calls. It is a layer so that it is found in the log; events pass it by.
struct Calls {
    format: Format,
    is_colored: bool,
    write: WriteLine,
    collector: Option<SdkLogger>,
}

impl<S: Subscriber> Layer<S> for Calls {}

impl Calls {
    fn log(&self, record: &CallRecord) {
        let at = Timestamp::now();
        (self.write)(&match self.format {
            Format::Json => json::line_of(record, at),
            Format::Text => text::line_of(record, at, self.is_colored),
        });
        if let Some(collector) = &self.collector {
            log_record::send(record, collector);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing::Dispatch;
    use tracing::dispatcher::with_default;
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::model::{
        CacheStatus, CallersRequestId, CredentialId, EntityId, ErrorCode, Failure, Kind, RequestId,
        RequestMethod, RootField, TenantId, TraceContext, Trail,
    };

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Output {
        /// Returns the text so far, each time and the request's id replaced.
        fn text(&self, id: RequestId) -> String {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let text = text.replace(&id.to_string(), "REQUEST-ID");
            let is_time = |at: &usize| text.as_bytes().get(at + 26) == Some(&b'Z');
            let times: Vec<_> =
                text.match_indices("20").map(|(at, _)| at).filter(is_time).collect();
            let mut parts = text.clone();
            times.iter().rev().for_each(|at| parts.replace_range(at..=&(at + 26), "TIME"));
            parts
        }
    }

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log with a filter.
    fn log_of(format: Format, is_colored: bool, filter: &str) -> (Dispatch, Output) {
        let output = Output::default();
        let writer = output.clone();
        let lines = lines(format, is_colored, move || writer.clone(), None);
        let filter = EnvFilter::new(filter);
        (Dispatch::new(tracing_subscriber::registry().with(filter).with(lines)), output)
    }

    /// A call of which everything is known.
    fn full() -> CallRecord {
        let mut record = CallRecord::begin(RequestId::new(), Timestamp::UNIX_EPOCH);
        let trace = TraceContext {
            trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.into(),
            parent: None,
            span: 0xb7ad_6b71_6920_3331_u64.into(),
            sampled: true,
            state: None,
        };
        record.arrived(RequestMethod::Post, Some([127, 0, 0, 1].into()), Some(trace));
        record.named(CallersRequestId::parse("order-7"));
        record.held_by(TenantId::parse("acme").unwrap(), CredentialId::parse("main").unwrap());
        record.unauthenticated("key_expired");
        let [job, take] = [("a", RootField::GetJob), ("b", RootField::GetTake)]
            .map(|(key, field)| Trail::new(key, field));
        job.note(|notes| {
            notes.entity = EntityId::job("job-1").ok();
            notes.cache = Some(CacheStatus::Miss);
            (notes.upstream_calls, notes.upstream_time) = (2, Duration::from_millis(3));
        });
        take.note(|notes| notes.entity = EntityId::of_any_kind("take-1").ok());
        record.parsed(Kind::Query, [job, take].into());
        record.executed(false);
        record.priced(4);
        record.failed(vec![Failure { code: ErrorCode::NotFound, root: None }]);
        record.answered(200);
        record
    }

    fn stream_ended() -> CallRecord {
        let mut record = full();
        record.closed("finished", 3);
        record
    }

    fn of_nobody() -> CallRecord {
        let mut record = CallRecord::begin(RequestId::new(), Timestamp::UNIX_EPOCH);
        record.answered(401);
        record
    }

    #[test]
    fn the_line_of_a_call_in_json_is_what_it_ever_was() {
        let head = r#""timestamp":"TIME","level":"INFO""#;
        let trace = r#""trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331""#;
        let ids = r#""request_id":"REQUEST-ID""#;
        for (record, line) in [
            (
                full(),
                format!(
                    r#"{{{trace},{head},"message":"acme: getJob, getTake: 200 NOT_FOUND in 0.0 ms",{ids},"callers_request_id":"order-7","tenant":"acme","credential":"main","source_ip":"127.0.0.1","operations":["getJob","getTake"],"entity_ids":["job-1","take-1"],"status":200,"codes":["NOT_FOUND"],"reason":"key_expired","cache":"MISS","cost_units":4,"upstream_calls":2,"upstream_us":3000,"duration_us":0,"target":"call"}}"#
                ),
            ),
            (
                stream_ended(),
                format!(
                    r#"{{{trace},{head},"message":"a stream has ended",{ids},"tenant":"acme","credential":"main","entity_ids":["job-1","take-1"],"reason":"finished","events":3,"duration_us":0,"target":"call"}}"#
                ),
            ),
            (
                of_nobody(),
                format!(
                    r#"{{{head},"message":"nobody: none: 401 OK in 0.0 ms",{ids},"operations":[],"entity_ids":[],"status":401,"codes":[],"cost_units":0,"upstream_calls":0,"upstream_us":0,"duration_us":0,"target":"call"}}"#
                ),
            ),
        ] {
            let (dispatch, output) = log_of(Format::Json, false, "info");
            with_default(&dispatch, || log(&record));
            assert_eq!(output.text(record.request_id), line + "\n");
        }
    }

    #[test]
    fn the_line_of_a_call_for_people_is_what_an_events_would_be() {
        for is_colored in [false, true] {
            let (mut record, (dispatch, output)) =
                (full(), log_of(Format::Text, is_colored, "info"));
            record.arrived(RequestMethod::Post, record.source, None);
            with_default(&dispatch, || {
                log(&record);
                tracing::info!(
                    target: "call",
                    request_id = %record.request_id,
                    callers_request_id = "order-7",
                    tenant = record.tenant.as_ref().map(display),
                    credential = record.credential.as_ref().map(display),
                    source_ip = record.source.map(display),
                    operations = %"[\"getJob\",\"getTake\"]",
                    entity_ids = %"[\"job-1\",\"take-1\"]",
                    status = record.status,
                    codes = %"[\"NOT_FOUND\"]",
                    reason = "key_expired",
                    cache = "MISS",
                    cost_units = record.cost,
                    upstream_calls = 2,
                    upstream_us = 3_000,
                    duration_us = 0,
                    "acme: getJob, getTake: 200 NOT_FOUND in 0.0 ms",
                );
            });
            let text = output.text(record.request_id);
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines[0], lines[1]);
            assert_eq!((lines.len(), lines[0].contains('\u{1b}')), (2, is_colored));
        }
        let (record, (dispatch, output)) = (full(), log_of(Format::Text, false, "info"));
        with_default(&dispatch, || log(&record));
        let text = output.text(record.request_id);
        assert!(text.starts_with("0af7651916cd43dd8448eb211c80319c TIME  INFO call: "), "{text}");
    }

    #[test]
    fn a_call_has_a_line_where_the_filter_lets_it_through() {
        let record = of_nobody();
        for (filter, lines) in
            [("info", 1), ("warn", 0), ("warn,call=info", 1), ("info,call=off", 0)]
        {
            let (dispatch, output) = log_of(Format::Json, false, filter);
            with_default(&dispatch, || log(&record));
            assert_eq!(output.text(record.request_id).lines().count(), lines, "{filter}");
        }
    }
}
