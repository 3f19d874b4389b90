//! A record as one line of JSON.

use std::time::Duration;

use super::actor::{Actor, SourceEndpoint};
use super::chain::Link;
use super::event::{CallOutcome, Event};
use super::ocsf::{self, ApiActivity, CLASS, RequestUid, Resources, Shown};
use super::print::print;
use crate::model::{
    Activity, CacheStatus, CallersRequestId, CredentialId, ErrorCode, FieldOutcome, KeyHash, Notes,
    TenantId,
};

const PRODUCT: ocsf::Product = ocsf::Product {
    name: "Jobs Gateway",
    vendor_name: "Jobs Gateway",
    version: env!("CARGO_PKG_VERSION"),
};

/// Appends the line of an event at its place in the chain, without its end.
pub fn write(event: &Event, place: Link, into: &mut Vec<u8>) {
    print(&activity(event, place), into);
}

fn activity(event: &Event, place: Link) -> ApiActivity<'_> {
    let (activity_id, activity_name, type_name) = kind_of_activity(event);
    let (decision, rule) = decision(event);
    let (status, status_id, severity, severity_id) = status(event, decision);
    let (field, ending) = (event.field(), event.ending());
    let callers_id = event.call().and_then(|call| call.callers_id.as_ref());
    let code = ending.and_then(|ending| ending.code()).map(ErrorCode::as_str);
    let mut activity = ApiActivity {
        activity_id,
        activity_name,
        actor: ocsf::Actor { user: user(event.actor()) },
        api: ocsf::Api {
            operation: field.map_or("none", |field| field.operation),
            service: ocsf::Service { name: "jobs-gateway" },
            request: ocsf::Request { uid: RequestUid(event.request_id()) },
            response: ocsf::Response { code: ending.map(|ending| ending.http_status), error: code },
        },
        count: None,
        start_time: None,
        end_time: None,
        category_name: "Application Activity",
        category_uid: 6,
        class_name: "API Activity",
        class_uid: CLASS,
        duration: 0,
        message: None,
        metadata: ocsf::Metadata {
            version: "1.3.0",
            product: PRODUCT,
            uid: Shown(place.seq),
            correlation_uid: callers_id.map(CallersRequestId::as_str),
        },
        resources: Resources(field.map(|field| &field.notes)),
        severity,
        severity_id,
        src_endpoint: src_endpoint(event.source()),
        status,
        status_code: code,
        status_detail: ending.and_then(|ending| ending.reason),
        status_id,
        time: event.at().as_millisecond(),
        type_name,
        type_uid: CLASS * 100 + activity_id,
        unmapped: unmapped(event, place, decision, rule),
    };
    match event {
        Event::Intent(_) => {}
        Event::Outcome(outcome) => {
            activity.duration = milliseconds(outcome.latency);
            activity.unmapped.cost = outcome.cost;
            activity.unmapped.replayed = outcome.is_replay;
        }
        Event::Refusals(refusals) => {
            activity.count = Some(refusals.requests);
            activity.start_time = Some(refusals.first.as_millisecond());
            activity.end_time = Some(refusals.last.as_millisecond());
        }
        Event::Journal(note) => {
            activity.message = Some(&note.message);
            activity.unmapped.retired = note.retired;
        }
        Event::Notification(event) => activity.status_detail = Some(event.outcome),
    }
    activity
}

/// The facts that OCSF has no place for.
fn unmapped<'a>(
    event: &'a Event,
    place: Link,
    decision: &'static str,
    rule: &'static str,
) -> ocsf::Unmapped<'a> {
    let (actor, notes) = (event.actor(), event.field().map(|field| &field.notes));
    ocsf::Unmapped {
        chain: place,
        phase: phase(event),
        tenant: actor.tenant().map(TenantId::as_str),
        alias: event.field().map(|field| &*field.response_key),
        decision,
        rule,
        metadata: notes.and_then(|notes| notes.metadata).map(given),
        expires: notes.and_then(|notes| notes.expires.as_deref()),
        cache: notes.and_then(|notes| notes.cache).map(CacheStatus::as_str),
        cost: 0,
        replayed: false,
        upstream: notes.map(upstream).unwrap_or_default(),
        policy_version: actor.policy_version(),
        trace_id: event.call().and_then(|call| call.trace_id).map(Shown),
        retired: None,
    }
}

fn user(actor: &Actor) -> ocsf::User<'_> {
    let (subject, credential) = (actor.subject(), actor.credential().map(CredentialId::as_str));
    let (r#type, type_id) = if subject.is_some() { ("User", 1) } else { ("System", 3) };
    ocsf::User {
        uid: subject.or(credential).unwrap_or("unknown"),
        r#type,
        type_id,
        credential_uid: credential,
        org: actor.tenant().map(|tenant| ocsf::Organization { uid: tenant.as_str() }),
    }
}

const fn src_endpoint(source: SourceEndpoint) -> ocsf::SrcEndpoint {
    match source {
        SourceEndpoint::Address(ip) => ocsf::SrcEndpoint::Address { ip },
        SourceEndpoint::Several => ocsf::SrcEndpoint::Name { name: "several" },
        SourceEndpoint::Unknown => ocsf::SrcEndpoint::Name { name: "unknown" },
    }
}

const fn given((bytes, sha256): (usize, [u8; 32])) -> ocsf::GivenMetadata {
    ocsf::GivenMetadata { bytes, sha256: Shown(KeyHash(sha256)) }
}

fn upstream(notes: &Notes) -> ocsf::Upstream<'_> {
    ocsf::Upstream {
        calls: notes.upstream_calls,
        milliseconds: milliseconds(notes.upstream_time),
        request_id: notes.upstream_request_id.as_deref(),
    }
}

const fn phase(event: &Event) -> &'static str {
    match event {
        Event::Intent(_) => "intent",
        Event::Outcome(CallOutcome { closes: true, .. }) => "close",
        Event::Outcome(_) => "outcome",
        Event::Refusals(_) => "refusals",
        Event::Journal(_) => "journal",
        Event::Notification(_) => "event",
    }
}

/// Returns the status, its id, the severity and its id.
fn status(event: &Event, decision: &str) -> (&'static str, u8, &'static str, u8) {
    let outcome = match (event, event.ending()) {
        (Event::Journal(_) | Event::Notification(_), _) => FieldOutcome::Succeeded,
        (_, Some(ending)) => ending.outcome,
        (_, None) => FieldOutcome::Unknown,
    };
    match (outcome, decision) {
        (FieldOutcome::Succeeded, _) => ("Success", 1, "Informational", 1),
        (FieldOutcome::Unknown, _) => ("Unknown", 0, "Informational", 1),
        (FieldOutcome::Failed(_), "allowed") => ("Failure", 2, "Low", 2),
        (FieldOutcome::Failed(_), _) => ("Failure", 2, "Medium", 3),
    }
}

/// The decision on a request, and the rule that made it.
fn decision(event: &Event) -> (&'static str, &'static str) {
    if matches!(event, Event::Journal(_) | Event::Notification(_)) {
        return ("none", "none");
    }
    match event.ending().and_then(|ending| ending.code()) {
        Some(ErrorCode::Unauthenticated) => ("denied", "authentication"),
        Some(ErrorCode::Forbidden) => ("denied", "policy"),
        Some(ErrorCode::RateLimited) => ("limited", "rate_limit"),
        Some(ErrorCode::Overloaded) => ("limited", "load"),
        Some(ErrorCode::OperationTooComplex) => ("limited", "complexity"),
        Some(ErrorCode::AuditUnavailable) => ("denied", "audit"),
        // As HTTP, before anybody looked at the policies.
        Some(_) if matches!(event, Event::Refusals(_)) => ("denied", "request"),
        _ => ("allowed", "policy"),
    }
}

/// The activity's number, its name and its type's name in OCSF.
fn kind_of_activity(event: &Event) -> (u32, &'static str, &'static str) {
    match event.field().map(|field| field.root.activity()) {
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
    use std::sync::Arc;

    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::event::{CallOutcome, Ending, Intent, JournalNote, Notification, Refusals};
    use super::*;
    use crate::model::{CallRecord, EntityId, EntityKind, Kind, RequestId, RootField, Trail};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn line(event: &Event) -> String {
        let place = Link { seq: 7, prev: super::super::Hash::default() };
        let mut text = Vec::new();
        write(event, place, &mut text);
        let text = String::from_utf8(text).expect("a line is text");
        assert_eq!(text, serde_json::to_string(&activity(event, place)).expect("a record"));
        text
    }

    fn outcome(alias: &str, subject: &str) -> CallOutcome {
        let mut record = CallRecord::begin(RequestId::new(), AT);
        record.parsed(Kind::Mutation, [Trail::new(alias, RootField::CreateSingleCamJob)].into());
        let Event::Outcome(mut outcome) = Event::of_call(&record).remove(0) else { unreachable!() };
        outcome.call.actor = Actor::Caller {
            tenant: TenantId::parse("acme").unwrap(),
            credential: CredentialId::parse("main").unwrap(),
            subject: Some(subject.into()),
            policy_version: Arc::from("v1"),
        };
        outcome
    }

    /// An outcome and its intent of which everything is known.
    fn full() -> [Event; 2] {
        let mut outcome = outcome("a", "s");
        let notes = &mut outcome.field.as_mut().unwrap().notes;
        notes.entity = EntityId::job("job-1").ok();
        notes.named = EntityId::parse(EntityKind::Take, "take-1").into_iter().collect();
        notes.metadata = Some((2, [1; 32]));
        notes.expires = Some("2030-01-01T00:00:00Z".into());
        notes.cache = Some(CacheStatus::Hit);
        (notes.upstream_calls, notes.upstream_time) = (2, Duration::from_millis(3));
        notes.upstream_request_id = Some("r".into());
        outcome.call.source = Some([127, 0, 0, 1].into());
        outcome.call.trace_id = Some(7.into());
        outcome.ending.outcome = FieldOutcome::Failed(ErrorCode::NotFound);
        (outcome.is_replay, outcome.cost, outcome.latency) = (true, 4, Duration::from_millis(5));
        let intent =
            Intent { call: outcome.call.clone(), field: outcome.field.clone().expect("a field") };
        [Event::Intent(intent), Event::Outcome(outcome)]
    }

    /// One of each kind of which little is known.
    fn bare() -> [Event; 4] {
        let nothing = CallRecord::begin(RequestId::new(), AT);
        let refusals = Refusals {
            requests: 3,
            first: AT,
            last: AT + Duration::from_secs(2),
            actor: Actor::Several(TenantId::parse("acme").unwrap()),
            source: SourceEndpoint::Several,
            request_id: RequestId::new(),
            ending: Ending {
                outcome: FieldOutcome::Failed(ErrorCode::Unauthenticated),
                reason: Some("key_expired"),
                http_status: 401,
            },
        };
        let note = JournalNote { at: AT, ..JournalNote::new("\"quoted\"".to_owned(), Some(9)) };
        let trail = Trail::new("event", RootField::GetJob);
        trail.note(|notes| notes.entity = EntityId::job("job-1").ok());
        let event = Notification::new(None, &trail, "msg_1", "unclaimed", AT);
        let event = Event::Notification(Box::new(event));
        let call = Event::of_call(&nothing).remove(0);
        [call, Event::Refusals(refusals), Event::Journal(note), event]
    }

    #[test]
    fn each_kind_of_line_is_the_same_to_the_byte_as_it_ever_was() {
        let mut lines = String::new();
        for event in full().iter().chain(&bare()) {
            let line = line(event);
            let id = event.request_id().map(|id| id.to_string()).unwrap_or_default();
            let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
            lines += &line.replace(&version, "\"version\":\"VERSION\"");
            if !id.is_empty() {
                lines = lines.replace(&id, "REQUEST-ID");
            }
            lines.push('\n');
        }
        insta::assert_snapshot!("lines", lines);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_from_outside_breaks_out_of_its_place(alias: String, subject: String, id: String) {
            let mut outcome = outcome(&alias, &subject);
            outcome.field.as_mut().unwrap().notes.upstream_request_id = Some(id.as_str().into());
            outcome.call.source = Some(std::net::Ipv6Addr::LOCALHOST.into());
            let line: Value = serde_json::from_str(&line(&Event::Outcome(outcome))).unwrap();
            prop_assert_eq!(&line["unmapped"]["upstream"]["request_id"], &Value::from(id));
            prop_assert_eq!(&line["src_endpoint"]["ip"], "::1");
            prop_assert_eq!(&line["unmapped"]["alias"], &Value::from(alias));
            prop_assert_eq!(&line["actor"]["user"]["uid"], &Value::from(subject));
            prop_assert_eq!(&line["unmapped"]["chain"]["seq"], &Value::from(7));
        }
    }
}
