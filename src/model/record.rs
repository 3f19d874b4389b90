//! What happened in one call: filled in on the way, told once at its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    CacheStatus, Caller, CredentialId, ErrorCode, Kind, RequestHead, RequestId, TenantId,
    TraceContext, Trail,
};

/// The record of one request. Logs, metrics and audit read it; nothing else measures a call.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// Its id, also in `X-Request-Id`.
    pub request_id: RequestId,
    /// When it began.
    pub began: Instant,
    /// The same moment by the clock on the wall.
    pub at: Timestamp,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// Its head, where its trace is kept.
    pub head: Option<Box<RequestHead>>,
    /// `POST`, `GET` or `OTHER`.
    pub method: &'static str,
    /// Where it came from.
    pub source: Option<IpAddr>,
    /// Whose it was, once that was known.
    pub tenant: Option<TenantId>,
    /// By which credential.
    pub credential: Option<CredentialId>,
    /// Who a token says it is.
    pub subject: Option<Arc<str>>,
    /// The policies it was judged by: see `policy::Snapshot::version`.
    pub policy_version: Option<Arc<str>>,
    /// Query or mutation, once that was known.
    pub kind: Option<Kind>,
    /// The root fields it asked for, in order, and what was learnt of each.
    pub trails: Arc<[Trail]>,
    /// When it was executed, and how long that took, if it was not broken off.
    pub execution: Option<(Instant, Option<Duration>)>,
    /// What the cache had for it: the worst that it had for one of its reads.
    pub cache: Option<CacheStatus>,
    /// Whether it was answered as the same mutation was before.
    pub is_replay: bool,
    /// What it cost, in units of the tenant's limits.
    pub cost: u32,
    /// What the limiter decided, if it was asked.
    pub decision: Option<Decision>,
    /// Why its credential was refused, in a word.
    pub refused_because: Option<&'static str>,
    /// The errors of the answer, in order.
    pub failures: Vec<Failure>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// How long it took, from its head to its answer.
    pub took: Duration,
}

/// What the limiter decided on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Decision {
    /// It may be done.
    Admitted,
    /// A rate is used up.
    RateLimited,
    /// It costs more than one request may.
    TooCostly,
    /// As many are under way as may be.
    TooManyInFlight,
}

impl Decision {
    /// All of them, in order.
    pub const ALL: [Self; 4] =
        [Self::Admitted, Self::RateLimited, Self::TooCostly, Self::TooManyInFlight];

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::RateLimited => "rate_limited",
            Self::TooCostly => "too_costly",
            Self::TooManyInFlight => "too_many_in_flight",
        }
    }
}

/// Whose call was refused before anything was done for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedCaller<'a> {
    /// Nobody's that is known.
    Stranger,
    /// The holder's of a credential.
    Holder(&'a TenantId, &'a CredentialId),
}

/// What became of a root field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldOutcome {
    /// It has its answer.
    Succeeded,
    /// It failed.
    Failed(ErrorCode),
    /// It was not brought to its end: a sibling failed, or its caller hung up.
    Unknown,
}

/// One error of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its code.
    pub code: ErrorCode,
    /// The response key of the root field it is about; `None` if it is about the whole request.
    pub root: Option<Box<str>>,
}

impl CallRecord {
    /// Begins a record.
    #[must_use]
    pub fn begin(request_id: RequestId, at: Timestamp) -> Self {
        Self {
            request_id,
            began: Instant::now(),
            at,
            trace: None,
            head: None,
            method: "OTHER",
            source: None,
            tenant: None,
            credential: None,
            subject: None,
            policy_version: None,
            kind: None,
            trails: Arc::default(),
            execution: None,
            cache: None,
            is_replay: false,
            cost: 0,
            decision: None,
            refused_because: None,
            failures: Vec::new(),
            status: 0,
            took: Duration::ZERO,
        }
    }

    /// Notes who called.
    pub fn identify(&mut self, caller: &Caller) {
        self.tenant = Some(caller.tenant.id.clone());
        self.credential = Some(caller.credential.clone());
        self.subject.clone_from(&caller.subject);
        self.policy_version = Some(Arc::clone(&caller.policy_version));
    }

    /// Notes why a credential was refused, and whose it is if that is known.
    pub fn refuse(&mut self, reason: &'static str, holder: Option<(TenantId, CredentialId)>) {
        self.refused_because = Some(reason);
        (self.tenant, self.credential) = holder.unzip();
    }

    /// Who was refused, if nothing was done for the call: for want of a credential or of a limit's
    /// units, or because there was too much to do.
    #[must_use]
    pub fn refused_caller(&self) -> Option<RefusedCaller<'_>> {
        let (Some(tenant), Some(credential)) = (&self.tenant, &self.credential) else {
            return Some(RefusedCaller::Stranger);
        };
        let is_refused = self.failures.first().is_some_and(|failure| {
            use ErrorCode::{Overloaded, RateLimited, Unauthenticated};
            matches!(failure.code, Overloaded | RateLimited | Unauthenticated)
        });
        let is_refused = is_refused && self.execution.is_none();
        is_refused.then_some(RefusedCaller::Holder(tenant, credential))
    }

    /// How old the oldest cached part of the answer is.
    #[must_use]
    pub fn age(&self) -> Duration {
        let ages = self.trails.iter().map(|trail| trail.note(|notes| notes.age));
        ages.max().unwrap_or_default()
    }

    /// What became of one of its root fields: the first error that is about it or about everything.
    #[must_use]
    pub fn code_of(&self, trail: &Trail) -> Option<ErrorCode> {
        let is_about = |failure: &&Failure| match &failure.root {
            None => true,
            Some(root) => **root == *trail.response_key,
        };
        self.failures.iter().find(is_about).map(|failure| failure.code)
    }

    /// What became of one of its root fields, as far as anybody knows.
    #[must_use]
    pub fn outcome_of(&self, trail: &Trail) -> FieldOutcome {
        let was_answered_whole = self.execution.is_none() || self.is_replay;
        match self.code_of(trail) {
            Some(code) => FieldOutcome::Failed(code),
            None if was_answered_whole => self.outcome(),
            None if trail.note(|notes| notes.ended.is_some()) => FieldOutcome::Succeeded,
            None => FieldOutcome::Unknown,
        }
    }

    /// What became of it as a whole.
    #[must_use]
    pub fn outcome(&self) -> FieldOutcome {
        match self.failures.first() {
            Some(failure) => FieldOutcome::Failed(failure.code),
            None if self.status >= 400 => FieldOutcome::Unknown,
            None => FieldOutcome::Succeeded,
        }
    }
}
