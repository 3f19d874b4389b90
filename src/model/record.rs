//! The record of one call: written on the way, told once at its end.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    CacheStatus, Caller, CallersRequestId, CredentialId, ErrorCode, Kind, RequestHead, RequestId,
    RequestMethod, TenantId, TraceContext, Trail,
};

/// The record of one request. Logs, metrics, traces and audit read it; nothing else measures a call.
///
/// It is written by its methods alone, one for each stage of the pipeline, and read through [`CallFacts`].
#[derive(Debug, Clone)]
pub struct CallRecord(CallFacts);

/// All that is known of one request.
#[derive(Debug, Clone)]
pub struct CallFacts {
    /// Its id, also in `X-Request-Id`.
    pub request_id: RequestId,
    /// The name that its caller gave it.
    pub callers_id: Option<CallersRequestId>,
    /// The moment at which it began.
    pub began: Instant,
    /// The same moment by the clock on the wall.
    pub at: Timestamp,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// Its head, if its trace is kept.
    pub head: Option<Box<RequestHead>>,
    /// Its HTTP method.
    pub method: RequestMethod,
    /// The address it came from.
    pub source: Option<IpAddr>,
    /// Its caller's tenant, once that is known.
    pub tenant: Option<TenantId>,
    /// Its caller's credential.
    pub credential: Option<CredentialId>,
    /// The subject of a token.
    pub subject: Option<Arc<str>>,
    /// The policies it was judged by: see `policy::Snapshot::version`.
    pub policy_version: Option<Arc<str>>,
    /// Query or mutation, once that is known.
    pub kind: Option<Kind>,
    /// The root fields it asked for, in order, and what was learnt of each.
    pub trails: Arc<[Trail]>,
    /// Its execution, if it came to that.
    pub execution: Option<Execution>,
    /// The worst that the cache had for one of its reads.
    pub cache: Option<CacheStatus>,
    /// True if it was answered as the same mutation was before.
    pub is_replay: bool,
    /// Its cost, in units of the tenant's limits.
    pub cost: u32,
    /// The limiter's decision, if it was asked.
    pub decision: Option<Decision>,
    /// The reason for which its credential was refused, in a word.
    pub refused_because: Option<&'static str>,
    /// The errors of the answer, in order.
    pub failures: Vec<Failure>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The time from its head to its answer; of a stream that has ended, to its end.
    pub took: Duration,
    /// The end of a stream, in the record of its end.
    pub closing: Option<Closing>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Why, in a word.
    pub reason: &'static str,
    /// The number of answers that were told.
    pub events: u64,
}

/// An execution in time.
#[derive(Debug, Clone, Copy)]
pub struct Execution {
    /// Its beginning.
    pub began: Instant,
    /// Its duration, if it was not broken off.
    pub took: Option<Duration>,
}

/// The limiter's decision on a request.
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

/// The outcome of a root field.
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

impl Deref for CallRecord {
    type Target = CallFacts;

    fn deref(&self) -> &CallFacts {
        &self.0
    }
}

/// The stages, in the order in which a request meets them.
impl CallRecord {
    /// Begins a record.
    #[must_use]
    pub fn begin(request_id: RequestId, at: Timestamp) -> Self {
        Self(CallFacts {
            request_id,
            callers_id: None,
            began: Instant::now(),
            at,
            trace: None,
            head: None,
            method: RequestMethod::Other,
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
            closing: None,
        })
    }

    /// Notes what is clear of every request.
    pub fn arrived(
        &mut self,
        method: RequestMethod,
        source: Option<IpAddr>,
        trace: Option<TraceContext>,
    ) {
        (self.0.method, self.0.source, self.0.trace) = (method, source, trace);
    }

    /// Notes the name that the caller gave the request.
    pub fn named(&mut self, callers_id: Option<CallersRequestId>) {
        self.0.callers_id = callers_id;
    }

    /// Notes a request's head, if its trace is kept.
    pub fn traced(&mut self, head: impl FnOnce() -> RequestHead) {
        let is_kept = self.trace.as_ref().is_some_and(|trace| trace.sampled);
        if is_kept && self.head.is_none() {
            self.0.head = Some(Box::new(head()));
        }
    }

    /// Notes who called.
    pub fn authenticated(&mut self, caller: &Caller) {
        self.held_by(caller.tenant.id.clone(), caller.credential.clone());
        self.0.subject.clone_from(&caller.subject);
        self.0.policy_version = Some(Arc::clone(&caller.policy_version));
    }

    /// Heeds a known caller's wish that its trace is kept, or not. A stranger's is not heeded.
    pub fn wished(&mut self, is_kept: impl FnOnce() -> Option<bool>) {
        if let Some(trace) = &mut self.0.trace
            && let Some(is_kept) = is_kept()
        {
            trace.sampled = is_kept;
        }
    }

    /// Notes why a credential was refused, in a word.
    pub fn unauthenticated(&mut self, reason: &'static str) {
        self.0.refused_because = Some(reason);
    }

    /// Notes whose credential was shown, be it good or not.
    pub fn held_by(&mut self, tenant: TenantId, credential: CredentialId) {
        (self.0.tenant, self.0.credential) = (Some(tenant), Some(credential));
    }

    /// Notes that a whole answer was at hand, and the root fields in it.
    pub fn served_from_cache(&mut self, trails: Arc<[Trail]>) {
        self.parsed(Kind::Query, trails);
        self.0.cache = Some(CacheStatus::Hit);
    }

    /// Notes what is asked for.
    pub fn parsed(&mut self, kind: Kind, trails: Arc<[Trail]>) {
        (self.0.kind, self.0.trails) = (Some(kind), trails);
    }

    /// Notes what the request costs.
    pub fn priced(&mut self, cost: u32) {
        self.0.cost = cost;
    }

    /// Notes what the limiter decided.
    pub fn decided(&mut self, decision: Decision) {
        self.0.decision = Some(decision);
    }

    /// Notes that execution begins.
    pub fn executing(&mut self) {
        self.0.execution = Some(Execution { began: Instant::now(), took: None });
    }

    /// Notes that execution is over, and what the cache had for it.
    pub fn executed(&mut self, is_replay: bool) {
        if let Some(execution) = &mut self.0.execution {
            execution.took = Some(execution.began.elapsed());
        }
        self.0.is_replay = is_replay;
        self.0.cache = self.trails.iter().filter_map(|trail| trail.note(|notes| notes.cache)).max();
    }

    /// Notes that the whole answer is kept: there was none before.
    pub fn kept(&mut self) {
        self.0.cache = self.cache.or(Some(CacheStatus::Miss));
    }

    /// Notes the errors of the answer.
    pub fn failed(&mut self, failures: Vec<Failure>) {
        self.0.failures = failures;
    }

    /// Notes the HTTP status of the answer.
    pub fn answered(&mut self, status: u16) {
        self.0.status = status;
    }

    /// Makes the record of a stream's opening that of its end.
    pub fn closed(&mut self, reason: &'static str, events: u64) {
        self.0.status = 200;
        self.0.closing = Some(Closing { reason, events });
    }

    /// Notes that nothing more happens.
    pub fn ended(&mut self) {
        self.0.took = self.began.elapsed();
    }
}

/// Conclusions from the facts.
impl CallFacts {
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

    /// Returns the age of the oldest cached part of the answer.
    #[must_use]
    pub fn age(&self) -> Duration {
        let ages = self.trails.iter().map(|trail| trail.note(|notes| notes.age));
        ages.max().unwrap_or_default()
    }

    /// Returns the code of one of its root fields: that of the first error about it or about everything.
    #[must_use]
    pub fn code_of(&self, trail: &Trail) -> Option<ErrorCode> {
        let is_about = |failure: &&Failure| match &failure.root {
            None => true,
            Some(root) => **root == *trail.response_key,
        };
        self.failures.iter().find(is_about).map(|failure| failure.code)
    }

    /// Returns the outcome of one of its root fields, as far as anybody knows.
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

    /// Returns the outcome of the whole.
    #[must_use]
    pub fn outcome(&self) -> FieldOutcome {
        match self.failures.first() {
            Some(failure) => FieldOutcome::Failed(failure.code),
            None if self.status >= 400 => FieldOutcome::Unknown,
            None => FieldOutcome::Succeeded,
        }
    }
}
