//! The content of a record: OCSF 1.3.0, API Activity (class 6003), so that a SIEM takes it as it is.
//! <https://schema.ocsf.io/1.3.0/classes/api_activity>
//!
//! Never in it: metadata (its length and SHA-256 are), keys, tokens, URLs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use opentelemetry::trace::TraceId;

use crate::model::{
    CallRecord, CredentialId, FieldOutcome, Notes, RequestContext, RequestId, RootField, TenantId,
    Trail,
};

/// The kind of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// A mutation that is about to be sent.
    Intent,
    /// A call that is over; queries have this record alone.
    Outcome,
    /// Refused requests that have no records of their own.
    Refusals(Count),
    /// The journal itself; no call at all.
    Journal(JournalNote),
}

impl Phase {
    /// As records show it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Refusals(_) => "refusals",
            Self::Journal(_) => "journal",
        }
    }
}

/// Requests that are told together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Their number.
    pub requests: u64,
    /// The moment at which the first of them came.
    pub first: Timestamp,
    /// The moment at which the last of them came.
    pub last: Timestamp,
}

/// Something about the files themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalNote {
    /// In words.
    pub message: String,
    /// The last record that retention removed.
    pub retired: Option<u64>,
}

/// One record before it has its place in the chain.
#[derive(Debug, Clone)]
pub struct Event {
    pub(super) phase: Phase,
    pub(super) at: Timestamp,
    pub(super) request_id: Option<RequestId>,
    pub(super) source: Source,
    pub(super) tenant: Option<TenantId>,
    pub(super) credential: Option<CredentialId>,
    pub(super) subject: Option<Arc<str>>,
    pub(super) policy_version: Option<Arc<str>>,
    pub(super) operation: Option<(Arc<str>, RootField)>,
    pub(super) notes: Notes,
    pub(super) result: FieldOutcome,
    /// Why a credential was refused.
    pub(super) reason: Option<&'static str>,
    pub(super) http_status: Option<u16>,
    pub(super) is_replay: bool,
    pub(super) cost: u32,
    pub(super) latency: Duration,
    pub(super) trace_id: Option<TraceId>,
}

/// The origin of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// One address.
    Address(IpAddr),
    /// More addresses than are told.
    Several,
    /// Nobody knows.
    Unknown,
}

impl From<Option<IpAddr>> for Source {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Unknown, Self::Address)
    }
}

impl Event {
    /// The records of a finished call: one for each root field, or one if it asked for none.
    #[must_use]
    pub fn of_call(record: &CallRecord) -> Vec<Self> {
        let event = |trail: Option<&Trail>| Self {
            phase: Phase::Outcome,
            at: record.at,
            request_id: Some(record.request_id),
            source: record.source.into(),
            tenant: record.tenant.clone(),
            credential: record.credential.clone(),
            subject: record.subject.clone(),
            policy_version: record.policy_version.clone(),
            operation: trail.map(|trail| (Arc::clone(&trail.response_key), trail.field)),
            notes: trail.map(|trail| trail.note(|notes| notes.clone())).unwrap_or_default(),
            result: trail.map_or_else(|| record.outcome(), |trail| record.outcome_of(trail)),
            reason: record.refused_because,
            http_status: Some(record.status),
            is_replay: record.is_replay,
            cost: record.cost,
            latency: record.took,
            trace_id: record.trace.as_ref().map(|context| context.trace),
        };
        if record.trails.is_empty() {
            vec![event(None)]
        } else {
            record.trails.iter().map(|trail| event(Some(trail))).collect()
        }
    }

    /// A mutation that is about to be sent.
    #[must_use]
    pub fn intent(request: &RequestContext, trail: &Trail, at: Timestamp) -> Self {
        Self {
            request_id: Some(request.id),
            source: request.source.into(),
            tenant: Some(request.caller.tenant.id.clone()),
            credential: Some(request.caller.credential.clone()),
            subject: request.caller.subject.clone(),
            policy_version: Some(Arc::clone(&request.caller.policy_version)),
            operation: Some((Arc::clone(&trail.response_key), trail.field)),
            notes: trail.note(|notes| notes.clone()),
            trace_id: request.trace.as_ref().map(|context| context.trace),
            ..Self::bare(Phase::Intent, at)
        }
    }

    /// Something about the journal itself.
    #[must_use]
    pub fn of_journal(note: JournalNote, at: Timestamp) -> Self {
        Self::bare(Phase::Journal(note), at)
    }

    /// A record of which nothing is known but what it tells of.
    pub(super) fn bare(phase: Phase, at: Timestamp) -> Self {
        Self {
            phase,
            at,
            request_id: None,
            source: Source::Unknown,
            tenant: None,
            credential: None,
            subject: None,
            policy_version: None,
            operation: None,
            notes: Notes::default(),
            result: FieldOutcome::Unknown,
            reason: None,
            http_status: None,
            is_replay: false,
            cost: 0,
            latency: Duration::ZERO,
            trace_id: None,
        }
    }
}
