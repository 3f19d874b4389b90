//! What a record says: OCSF 1.3.0, API Activity (class 6003), so that a SIEM takes it as it is.
//! <https://schema.ocsf.io/1.3.0/classes/api_activity>
//!
//! Never in it: metadata (its length and SHA-256 are), keys, tokens, URLs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    CallRecord, CredentialId, ErrorCode, Notes, RequestContext, RequestId, RootField, TenantId,
    Trail,
};

/// Which half of a mutation a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is about to be sent.
    Intent,
    /// It is over; queries have this record alone.
    Outcome,
    /// A segment ends, or the journal found something odd: no call at all.
    Journal,
}

impl Phase {
    /// As records show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Journal => "journal",
        }
    }
}

/// One record before it has its place in the chain.
#[derive(Debug, Clone)]
pub struct Event {
    pub(super) phase: Phase,
    pub(super) at: Timestamp,
    pub(super) request_id: Option<RequestId>,
    pub(super) source: Option<IpAddr>,
    pub(super) tenant: Option<TenantId>,
    pub(super) credential: Option<CredentialId>,
    pub(super) subject: Option<Arc<str>>,
    pub(super) policy_version: Option<Arc<str>>,
    pub(super) operation: Option<(Arc<str>, RootField)>,
    pub(super) notes: Notes,
    pub(super) code: Option<ErrorCode>,
    pub(super) http_status: Option<u16>,
    pub(super) is_replay: bool,
    pub(super) cost: u32,
    pub(super) latency: Duration,
    pub(super) message: Option<String>,
    pub(super) trace_id: Option<Box<str>>,
}

impl Event {
    /// The records of a finished call: one for each root field, or one if it asked for none.
    #[must_use]
    pub fn of_call(record: &CallRecord) -> Vec<Self> {
        let event = |trail: Option<&Trail>| Self {
            phase: Phase::Outcome,
            at: record.at,
            request_id: Some(record.request_id),
            source: record.source,
            tenant: record.tenant.clone(),
            credential: record.credential.clone(),
            subject: record.subject.clone(),
            policy_version: record.policy_version.clone(),
            operation: trail.map(|trail| (Arc::clone(&trail.response_key), trail.field)),
            notes: trail.map(|trail| trail.note(|notes| notes.clone())).unwrap_or_default(),
            code: match trail {
                Some(trail) => record.code_of(trail),
                None => record.failures.first().map(|failure| failure.code),
            },
            http_status: Some(record.status),
            is_replay: record.is_replay,
            cost: record.cost,
            latency: record.took,
            message: None,
            trace_id: record.trace.as_ref().map(|trace| trace.trace.to_string().into()),
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
            phase: Phase::Intent,
            at,
            request_id: Some(request.id),
            source: request.source,
            tenant: Some(request.caller.tenant.id.clone()),
            credential: Some(request.caller.credential.clone()),
            subject: request.caller.subject.clone(),
            policy_version: None,
            operation: Some((Arc::clone(&trail.response_key), trail.field)),
            notes: trail.note(|notes| notes.clone()),
            code: None,
            http_status: None,
            is_replay: false,
            cost: 0,
            latency: Duration::ZERO,
            message: None,
            trace_id: None,
        }
    }

    /// Something about the journal itself.
    #[must_use]
    pub fn of_journal(message: String, at: Timestamp) -> Self {
        Self {
            phase: Phase::Journal,
            at,
            request_id: None,
            source: None,
            tenant: None,
            credential: None,
            subject: None,
            policy_version: None,
            operation: None,
            notes: Notes::default(),
            code: None,
            http_status: None,
            is_replay: false,
            cost: 0,
            latency: Duration::ZERO,
            message: Some(message),
            trace_id: None,
        }
    }
}
