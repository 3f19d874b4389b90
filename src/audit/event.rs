//! The content of a record: OCSF 1.3.0, API Activity (class 6003), so that a SIEM takes it as it is.
//! <https://schema.ocsf.io/1.3.0/classes/api_activity>
//!
//! Never in it: metadata (its length and SHA-256 are), keys, tokens, URLs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry::trace::TraceId;

use super::actor::{Actor, SourceEndpoint};
use crate::model::{
    CallRecord, Caller, CallersRequestId, ErrorCode, FieldOutcome, Notes, RequestContext,
    RequestId, RootField, Trail,
};

/// One record before it has its place in the chain.
#[derive(Debug, Clone)]
pub enum Event {
    /// A mutation that is about to be sent.
    Intent(Intent),
    /// A call that is over; queries have this record alone.
    Outcome(CallOutcome),
    /// Refused requests that have no records of their own.
    Refusals(Refusals),
    /// The journal itself; no call at all.
    Journal(JournalNote),
    /// An event of Move's that was looked into; no call of anybody's.
    Notification(Box<Notification>),
}

/// An event of Move's, and what became of it.
#[derive(Debug, Clone)]
pub struct Notification {
    pub(super) call: RecordedCall,
    pub(super) field: RecordedField,
    /// The end of it, in a word of the code's own.
    pub(super) outcome: &'static str,
}

/// One root field of a mutation, before it is sent.
#[derive(Debug, Clone)]
pub struct Intent {
    pub(super) call: RecordedCall,
    pub(super) field: RecordedField,
}

/// One root field of a finished call, or the call itself if it asked for none.
#[derive(Debug, Clone)]
pub struct CallOutcome {
    pub(super) call: RecordedCall,
    pub(super) field: Option<RecordedField>,
    pub(super) ending: Ending,
    pub(super) is_replay: bool,
    /// True if a stream has ended that an earlier record told of.
    pub(super) closes: bool,
    /// In units of the tenant's limits.
    pub(super) cost: u32,
    pub(super) latency: Duration,
}

/// Requests of one actor that were refused for one reason.
#[derive(Debug, Clone)]
pub struct Refusals {
    /// Their number.
    pub(super) requests: u64,
    /// The moment at which the first of them came.
    pub(super) first: Timestamp,
    /// The moment at which the last of them came.
    pub(super) last: Timestamp,
    pub(super) actor: Actor,
    pub(super) source: SourceEndpoint,
    /// The id of the last of them.
    pub(super) request_id: RequestId,
    pub(super) ending: Ending,
}

/// Something about the files themselves: what became of them, or that somebody read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalNote {
    pub(super) at: Timestamp,
    /// Who read them.
    pub(super) actor: Actor,
    pub(super) source: SourceEndpoint,
    /// In words.
    pub(super) message: String,
    /// The last record that retention removed.
    pub(super) retired: Option<u64>,
}

/// A call: all that its records share.
#[derive(Debug, Clone)]
pub struct RecordedCall {
    pub(super) at: Timestamp,
    pub(super) request_id: RequestId,
    pub(super) callers_id: Option<CallersRequestId>,
    pub(super) actor: Actor,
    pub(super) source: Option<IpAddr>,
    pub(super) trace_id: Option<TraceId>,
}

/// A root field, and the facts about it.
#[derive(Debug, Clone)]
pub struct RecordedField {
    pub(super) response_key: Arc<str>,
    pub(super) root: RootField,
    /// Its name, or that of the subscription that it is read for.
    pub(super) operation: &'static str,
    pub(super) notes: Notes,
}

/// The end of a request, in words of the code's own: there are only so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ending {
    pub(super) outcome: FieldOutcome,
    /// Why a credential was refused.
    pub(super) reason: Option<&'static str>,
    pub(super) http_status: u16,
}

impl JournalNote {
    /// A note of the journal's own, at this moment.
    pub(super) fn new(message: String, retired: Option<u64>) -> Self {
        let (actor, source) = (Actor::Stranger, SourceEndpoint::Unknown);
        Self { at: Timestamp::now(), actor, source, message, retired }
    }
}

impl From<&Trail> for RecordedField {
    fn from(trail: &Trail) -> Self {
        Self {
            response_key: Arc::clone(&trail.response_key),
            root: trail.field,
            operation: trail.operation,
            notes: trail.note(|notes| notes.clone()),
        }
    }
}

impl Intent {
    /// The intent to carry out one root field of a request.
    #[must_use]
    pub fn new(request: &RequestContext, trail: &Trail, at: Timestamp) -> Self {
        let call = RecordedCall {
            at,
            request_id: request.id,
            callers_id: request.callers_id.clone(),
            actor: Actor::from(&request.caller),
            source: request.source,
            trace_id: request.trace.as_ref().map(|context| context.trace),
        };
        Self { call, field: trail.into() }
    }
}

impl Notification {
    /// An event, by the id that its sender gave it, that came at a moment. `caller` is the gateway itself, for the
    /// tenant that it turned out to be about, and the trail that of its question to Move.
    #[must_use]
    pub fn new(
        caller: Option<&Caller>,
        trail: &Trail,
        event: &str,
        outcome: &'static str,
        at: Timestamp,
    ) -> Self {
        let call = RecordedCall {
            at,
            request_id: RequestId::new(),
            callers_id: CallersRequestId::parse(event),
            actor: caller.map_or(Actor::Stranger, Actor::from),
            source: None,
            trace_id: None,
        };
        Self { call, field: trail.into(), outcome }
    }
}

impl From<&CallRecord> for RecordedCall {
    fn from(record: &CallRecord) -> Self {
        Self {
            at: record.at,
            request_id: record.request_id,
            callers_id: record.callers_id.clone(),
            actor: Actor::from(record),
            source: record.source,
            trace_id: record.trace.as_ref().map(|context| context.trace),
        }
    }
}

impl Ending {
    /// The code of its error, if it failed.
    pub const fn code(&self) -> Option<ErrorCode> {
        match self.outcome {
            FieldOutcome::Failed(code) => Some(code),
            FieldOutcome::Succeeded | FieldOutcome::Unknown => None,
        }
    }
}

impl Event {
    /// The records of a finished call: one for each root field, or one if it asked for none.
    #[must_use]
    pub fn of_call(record: &CallRecord) -> Vec<Self> {
        let event = |field: Option<RecordedField>, outcome: FieldOutcome| {
            let closing = record.closing.map(|closing| closing.reason);
            let (reason, http_status) = (record.refused_because.or(closing), record.status);
            Self::Outcome(CallOutcome {
                call: record.into(),
                field,
                ending: Ending { outcome, reason, http_status },
                is_replay: record.is_replay,
                closes: record.closing.is_some(),
                // What is closed was charged when it was opened.
                cost: if record.closing.is_some() { 0 } else { record.cost },
                latency: record.took,
            })
        };
        if record.trails.is_empty() {
            return vec![event(None, record.outcome())];
        }
        let trails = record.trails.iter();
        trails.map(|trail| event(Some(trail.into()), record.outcome_of(trail))).collect()
    }

    /// The moment of what it tells of.
    pub(super) const fn at(&self) -> Timestamp {
        match self {
            Self::Intent(Intent { call, .. }) | Self::Outcome(CallOutcome { call, .. }) => call.at,
            Self::Refusals(refusals) => refusals.last,
            Self::Journal(note) => note.at,
            Self::Notification(event) => event.call.at,
        }
    }

    /// The call that it is about, if it is a single one.
    pub(super) const fn call(&self) -> Option<&RecordedCall> {
        match self {
            Self::Intent(Intent { call, .. }) | Self::Outcome(CallOutcome { call, .. }) => {
                Some(call)
            }
            Self::Notification(event) => Some(&event.call),
            Self::Refusals(_) | Self::Journal(_) => None,
        }
    }

    /// The root field that it is about.
    pub(super) const fn field(&self) -> Option<&RecordedField> {
        match self {
            Self::Intent(intent) => Some(&intent.field),
            Self::Outcome(outcome) => outcome.field.as_ref(),
            Self::Notification(event) => Some(&event.field),
            Self::Refusals(_) | Self::Journal(_) => None,
        }
    }

    /// The id of its request; of the last, if there were several.
    pub(super) const fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::Intent(Intent { call, .. }) | Self::Outcome(CallOutcome { call, .. }) => {
                Some(call.request_id)
            }
            Self::Notification(event) => Some(event.call.request_id),
            Self::Refusals(refusals) => Some(refusals.request_id),
            Self::Journal(_) => None,
        }
    }

    /// Who asked; the journal itself is nobody.
    pub(super) const fn actor(&self) -> &Actor {
        match self {
            Self::Intent(Intent { call, .. }) | Self::Outcome(CallOutcome { call, .. }) => {
                &call.actor
            }
            Self::Notification(event) => &event.call.actor,
            Self::Refusals(refusals) => &refusals.actor,
            Self::Journal(note) => &note.actor,
        }
    }

    /// The origin of its requests.
    pub(super) fn source(&self) -> SourceEndpoint {
        match self {
            Self::Intent(Intent { call, .. }) | Self::Outcome(CallOutcome { call, .. }) => {
                call.source.into()
            }
            Self::Notification(event) => event.call.source.into(),
            Self::Refusals(refusals) => refusals.source,
            Self::Journal(note) => note.source,
        }
    }

    /// The end of its requests, if they have one.
    pub(super) const fn ending(&self) -> Option<Ending> {
        match self {
            Self::Outcome(CallOutcome { ending, .. }) | Self::Refusals(Refusals { ending, .. }) => {
                Some(*ending)
            }
            Self::Intent(_) | Self::Journal(_) | Self::Notification(_) => None,
        }
    }
}
