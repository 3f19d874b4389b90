//! A record as one line of JSON, put together by hand: most of it is the same in every line, and every
//! call costs one.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use super::chain::Link;
use super::event::{Event, Phase, Source};
use crate::model::{
    Activity, CacheStatus, CredentialId, ErrorCode, FieldOutcome, KeyHash, TenantId,
};

const CLASS: u32 = 6003;

/// A line that is being written.
struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    /// JSON, as it stands.
    fn json(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// A number, or a text in which nothing needs an escape.
    fn plain(&mut self, value: impl Display) -> &mut Self {
        // Writing into memory does not fail.
        let _ = write!(self.0, "{value}");
        self
    }

    /// Any text, as a JSON string.
    fn text(&mut self, text: &str) -> &mut Self {
        let _ = serde_json::to_writer(&mut *self.0, text);
        self
    }

    /// A member that OCSF leaves out where it is not known.
    fn maybe_text(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.json(name).text(text),
            None => self,
        }
    }
}

/// Appends the line of an event at its place in the chain, without its end.
pub fn write(event: &Event, place: Link, into: &mut Vec<u8>) {
    let (activity_id, activity, type_name) = activity(event);
    let (decision, rule) = decision(event);
    let (status, status_id, severity, severity_id) = status(event, decision);
    let code = code_of(event).map(ErrorCode::as_str);
    let mut line = Line(into);
    line.json(r#"{"activity_id":"#).plain(activity_id);
    line.json(r#","activity_name":""#).json(activity);
    line.json(r#"","actor":{"user":{"uid":"#);
    actor(&mut line, event);
    line.json("}},");
    api(&mut line, event, code);
    if let Phase::Refusals(count) = &event.phase {
        line.json(r#","count":"#).plain(count.requests);
        line.json(r#","start_time":"#).plain(count.first.as_millisecond());
        line.json(r#","end_time":"#).plain(count.last.as_millisecond());
    }
    line.json(r#","category_name":"Application Activity","category_uid":6,"#);
    line.json(r#""class_name":"API Activity","class_uid":"#);
    line.plain(CLASS).json(r#","duration":"#);
    line.plain(milliseconds(event.latency));
    if let Phase::Journal(note) = &event.phase {
        line.json(r#","message":"#).text(&note.message);
    }
    line.json(concat!(
        r#","metadata":{"version":"1.3.0","product":{"name":"Jobs Gateway","vendor_name":"Jobs Gateway","#,
        r#""version":""#,
        env!("CARGO_PKG_VERSION"),
        r#""},"uid":""#
    ));
    line.plain(place.seq).json(r#""},"resources":["#);
    resources(&mut line, event);
    line.json(r#"],"severity":""#).json(severity);
    line.json(r#"","severity_id":"#).plain(severity_id);
    match event.source {
        Source::Address(ip) => line.json(r#","src_endpoint":{"ip":""#).plain(ip),
        Source::Several => line.json(r#","src_endpoint":{"name":"several"#),
        Source::Unknown => line.json(r#","src_endpoint":{"name":"unknown"#),
    };
    line.json(r#""},"status":""#).json(status);
    if let Some(code) = code {
        line.json(r#"","status_code":""#).json(code);
    }
    if let Some(reason) = event.reason {
        line.json(r#"","status_detail":""#).json(reason);
    }
    line.json(r#"","status_id":"#).plain(status_id);
    line.json(r#","time":"#).plain(event.at.as_millisecond());
    line.json(r#","type_name":""#).json(type_name);
    line.json(r#"","type_uid":"#).plain(CLASS * 100 + activity_id);
    line.json(r#","unmapped":{"chain":{"seq":"#).plain(place.seq);
    line.json(r#","prev":""#).plain(place.prev).json(r#""},"phase":""#).json(event.phase.as_str());
    line.json("\"");
    line.maybe_text(r#","tenant":"#, event.tenant.as_ref().map(TenantId::as_str));
    line.maybe_text(r#","alias":"#, event.operation.as_ref().map(|(key, _)| &**key));
    line.json(r#","decision":""#).json(decision).json(r#"","rule":""#).json(rule).json("\"");
    unmapped(&mut line, event);
    line.json("}}");
}

/// Returns the status, its id, the severity and its id.
fn status(event: &Event, decision: &str) -> (&'static str, u8, &'static str, u8) {
    match (&event.phase, event.result, decision) {
        (Phase::Journal(_), ..) | (_, FieldOutcome::Succeeded, _) => {
            ("Success", 1, "Informational", 1)
        }
        (_, FieldOutcome::Unknown, _) => ("Unknown", 0, "Informational", 1),
        (_, FieldOutcome::Failed(_), "allowed") => ("Failure", 2, "Low", 2),
        (_, FieldOutcome::Failed(_), _) => ("Failure", 2, "Medium", 3),
    }
}

fn api(line: &mut Line<'_>, event: &Event, code: Option<&str>) {
    line.json(r#""api":{"operation":""#);
    line.json(event.operation.as_ref().map_or("none", |(_, field)| field.name()));
    line.json(r#"","service":{"name":"jobs-gateway"},"request":{"uid":""#);
    match &event.request_id {
        Some(id) => line.plain(id),
        None => line.json("none"),
    };
    line.json(r#""},"response":{"#);
    if let Some(status) = event.http_status {
        line.json(r#""code":"#).plain(status);
    }
    if let Some(code) = code {
        line.json(if event.http_status.is_some() { "," } else { "" });
        line.json(r#""error":""#).json(code).json("\"");
    }
    line.json("}}");
}

fn actor(line: &mut Line<'_>, event: &Event) {
    let credential = event.credential.as_ref().map(CredentialId::as_str);
    line.text(event.subject.as_deref().or(credential).unwrap_or("unknown"));
    line.json(match event.subject {
        Some(_) => r#","type":"User","type_id":1"#,
        None => r#","type":"System","type_id":3"#,
    });
    line.maybe_text(r#","credential_uid":"#, credential);
    if let Some(tenant) = &event.tenant {
        line.json(r#","org":{"uid":"#).text(tenant.as_str()).json("}");
    }
}

fn resources(line: &mut Line<'_>, event: &Event) {
    let notes = &event.notes;
    for (index, id) in notes.entity.iter().chain(&notes.named).enumerate() {
        line.json(if index > 0 { "," } else { "" });
        line.json(r#"{"uid":"#).text(id.as_str());
        line.json(r#","type":""#).json(id.kind().name()).json(r#""}"#);
    }
}

/// Writes the facts that OCSF has no place for.
fn unmapped(line: &mut Line<'_>, event: &Event) {
    let notes = &event.notes;
    if let Some((bytes, sha256)) = notes.metadata {
        line.json(r#","metadata":{"bytes":"#).plain(bytes);
        line.json(r#","sha256":""#).plain(KeyHash(sha256)).json("\"}");
    }
    line.maybe_text(r#","expires":"#, notes.expires.as_deref());
    line.maybe_text(r#","cache":"#, notes.cache.map(CacheStatus::as_str));
    line.json(r#","cost":"#).plain(event.cost);
    line.json(if event.is_replay { r#","replayed":true"# } else { "" });
    line.json(r#","upstream":{"calls":"#).plain(notes.upstream_calls);
    line.json(r#","milliseconds":"#).plain(milliseconds(notes.upstream_time));
    line.maybe_text(r#","request_id":"#, notes.upstream_request_id.as_deref());
    line.json("}");
    line.maybe_text(r#","policy_version":"#, event.policy_version.as_deref());
    if let Some(trace) = &event.trace_id {
        line.json(r#","trace_id":""#).plain(trace).json("\"");
    }
    if let Phase::Journal(note) = &event.phase
        && let Some(retired) = note.retired
    {
        line.json(r#","retired":"#).plain(retired);
    }
}

const fn code_of(event: &Event) -> Option<ErrorCode> {
    match event.result {
        FieldOutcome::Failed(code) => Some(code),
        FieldOutcome::Succeeded | FieldOutcome::Unknown => None,
    }
}

/// Returns true if it was let through, and the rule that decided.
fn decision(event: &Event) -> (&'static str, &'static str) {
    match (&event.phase, code_of(event)) {
        (Phase::Journal(_), _) => ("none", "none"),
        (_, Some(ErrorCode::Unauthenticated)) => ("denied", "authentication"),
        (_, Some(ErrorCode::Forbidden)) => ("denied", "policy"),
        (_, Some(ErrorCode::RateLimited)) => ("limited", "rate_limit"),
        (_, Some(ErrorCode::Overloaded)) => ("limited", "load"),
        (_, Some(ErrorCode::OperationTooComplex)) => ("limited", "complexity"),
        (_, Some(ErrorCode::AuditUnavailable)) => ("denied", "audit"),
        _ => ("allowed", "policy"),
    }
}

/// The activity's number, its name and its type's name in OCSF.
fn activity(event: &Event) -> (u32, &'static str, &'static str) {
    match event.operation.as_ref().map(|(_, field)| field.activity()) {
        Some(Activity::Create) => (1, "Create", "API Activity: Create"),
        Some(Activity::Read | Activity::List) => (2, "Read", "API Activity: Read"),
        Some(Activity::Update) => (3, "Update", "API Activity: Update"),
        Some(Activity::Other) | None => (99, "Other", "API Activity: Other"),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::event::JournalNote;
    use super::*;
    use crate::model::{CallRecord, EntityKind, Kind, RequestId, RootField, Trail};

    fn written(event: &Event) -> Value {
        let mut text = Vec::new();
        write(event, Link { seq: 7, prev: super::super::Hash::default() }, &mut text);
        serde_json::from_slice(&text).expect("a line is JSON")
    }

    fn event(alias: &str, subject: &str) -> Event {
        let mut record = CallRecord::begin(RequestId::new(), Timestamp::UNIX_EPOCH);
        record.parsed(Kind::Query, [Trail::new(alias, RootField::GetJob)].into());
        let mut event = Event::of_call(&record).remove(0);
        event.subject = Some(subject.into());
        event
    }

    #[test]
    fn a_line_without_anything_known_is_json_too() {
        let note = JournalNote { message: "m".to_owned(), retired: None };
        let line = written(&Event::of_journal(note, Timestamp::UNIX_EPOCH));
        assert_eq!(line["api"]["request"]["uid"], "none");
        assert_eq!(line["api"]["response"], json!({}));
        assert_eq!(line["unmapped"]["phase"], "journal");
        assert_eq!(line["resources"], json!([]));
    }

    #[test]
    fn a_line_with_everything_known_is_json_too() {
        let mut event = event("a", "s");
        event.notes.entity = crate::model::EntityId::job("job-1").ok();
        event.notes.named =
            crate::model::EntityId::parse(EntityKind::Take, "take-1").into_iter().collect();
        event.notes.metadata = Some((2, [1; 32]));
        event.notes.cache = Some(CacheStatus::Hit);
        event.notes.upstream_request_id = Some("r".into());
        event.source = Source::Address([127, 0, 0, 1].into());
        event.tenant = TenantId::parse("acme").ok();
        event.result = FieldOutcome::Failed(ErrorCode::NotFound);
        event.reason = Some("a_reason");
        event.is_replay = true;
        let line = written(&event);
        assert_eq!(line["resources"][1], json!({"uid": "take-1", "type": "take"}));
        assert_eq!(line["api"]["response"], json!({"code": 0, "error": "NOT_FOUND"}));
        assert_eq!(line["unmapped"]["metadata"]["sha256"], "01".repeat(32));
        assert_eq!(line["unmapped"]["upstream"]["request_id"], "r");
        assert_eq!(line["actor"]["user"]["org"]["uid"], "acme");
        assert_eq!(line["status_detail"], "a_reason");
        assert_eq!(line["src_endpoint"]["ip"], "127.0.0.1");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_from_outside_breaks_out_of_its_place(alias: String, subject: String, id: String) {
            let mut event = event(&alias, &subject);
            event.notes.upstream_request_id = Some(id.as_str().into());
            event.source = Source::Address(std::net::Ipv6Addr::LOCALHOST.into());
            let line = written(&event);
            prop_assert_eq!(&line["unmapped"]["upstream"]["request_id"], &Value::from(id));
            prop_assert_eq!(&line["src_endpoint"]["ip"], "::1");
            prop_assert_eq!(&line["unmapped"]["alias"], &Value::from(alias));
            prop_assert_eq!(&line["actor"]["user"]["uid"], &Value::from(subject));
            prop_assert_eq!(&line["unmapped"]["chain"]["seq"], &Value::from(7));
        }
    }
}
