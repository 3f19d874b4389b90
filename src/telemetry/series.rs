//! The series of one tenant, and those of calls to Move, bound to their labels when they are first counted: after that a call looks
//! no label up and allocates nothing. Labels are enums, so there are only so many.

use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use ahash::HashMap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram};

use super::instruments::Instruments;
use crate::model::{CacheStatus, CallRecord, Decision, ErrorCode, Kind, RootField, RootFields};

/// The label of what a request asked for.
#[derive(Debug, Clone, Copy)]
enum OperationSlot {
    Field(RootField),
    /// No job: the schema, or a name that it does not have.
    Introspection,
    /// It was refused before that was known.
    Nothing,
}

impl OperationSlot {
    const COUNT: usize = RootField::ALL.len() + 2;

    const fn index(self) -> usize {
        match self {
            Self::Field(field) => field as usize,
            Self::Introspection => RootField::ALL.len(),
            Self::Nothing => RootField::ALL.len() + 1,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Field(field) => field.name(),
            Self::Introspection => "introspection",
            Self::Nothing => "none",
        }
    }
}

type Counters<const N: usize> = [OnceLock<BoundCounter<u64>>; N];

/// The counters of one tenant's calls.
#[derive(Debug)]
pub struct Series {
    tenant: KeyValue,
    operations: [OnceLock<Box<Operation>>; OperationSlot::COUNT],
    cache_results: Counters<{ CacheStatus::ALL.len() }>,
    decisions: Counters<{ Decision::ALL.len() }>,
    /// Units of queries, and of mutations.
    units: Counters<2>,
}

/// The counters of one operation, by its outcome.
#[derive(Debug, Default)]
struct Operation {
    durations: [OnceLock<BoundHistogram<f64>>; 2],
    succeeded: OnceLock<BoundCounter<u64>>,
    /// Made with the first failure: of ten thousand tenants' operations few ever fail.
    failed: OnceLock<Box<Failed>>,
}

type Failed = Counters<{ ErrorCode::ALL.len() }>;

impl Series {
    /// Makes them; none is shown before something is counted in it, but for those that [`Self::begin`]
    /// shows.
    #[must_use]
    pub fn new(tenant: &str) -> Self {
        Self {
            tenant: KeyValue::new("tenant", tenant.to_owned()),
            operations: Default::default(),
            cache_results: Default::default(),
            decisions: Default::default(),
            units: Default::default(),
        }
    }

    /// Shows the successes of these operations, at zero where there were none.
    pub fn begin(&self, instruments: &Instruments, operations: RootFields) {
        for asked in operations.iter().map(OperationSlot::Field) {
            let operation = self.operations[asked.index()].get_or_init(Box::default);
            operation.succeeded.get_or_init(|| {
                let bound = self.bind_requests(instruments, asked, "OK");
                bound.add(0);
                bound
            });
        }
    }

    fn bind_requests(
        &self,
        instruments: &Instruments,
        asked: OperationSlot,
        code: &'static str,
    ) -> BoundCounter<u64> {
        let operation = KeyValue::new("operation", asked.label());
        instruments.requests.bind(&[self.tenant.clone(), operation, KeyValue::new("code", code)])
    }

    /// Counts a call that is over.
    pub fn count(&self, instruments: &Instruments, record: &CallRecord) {
        let seconds = record.took.as_secs_f64();
        if record.trails.is_empty() {
            let is_schema = record.kind.is_some();
            let asked =
                if is_schema { OperationSlot::Introspection } else { OperationSlot::Nothing };
            let code = record.failures.first().map(|failure| failure.code);
            self.count_operation(instruments, asked, code, seconds);
        }
        for trail in record.trails.iter() {
            let asked = OperationSlot::Field(trail.field);
            self.count_operation(instruments, asked, record.code_of(trail), seconds);
            if let Some(status) = trail.note(|notes| notes.cache) {
                let bound = self.cache_results[status as usize].get_or_init(|| {
                    let result = KeyValue::new("result", status.as_str());
                    instruments.cache_results.bind(&[self.tenant.clone(), result])
                });
                bound.add(1);
            }
        }
        if let Some(decision) = record.decision {
            let bound = self.decisions[decision as usize].get_or_init(|| {
                let decision = KeyValue::new("decision", decision.as_str());
                instruments.limiter_decisions.bind(&[self.tenant.clone(), decision])
            });
            bound.add(1);
        }
        if let (Some(Decision::Admitted), Some(kind)) = (record.decision, record.kind)
            && record.cost > 0
        {
            let bound = self.units[usize::from(kind == Kind::Mutation)].get_or_init(|| {
                let kind = KeyValue::new("kind", kind.as_str());
                instruments.limiter_units.bind(&[self.tenant.clone(), kind])
            });
            bound.add(record.cost.into());
        }
    }

    fn count_operation(
        &self,
        instruments: &Instruments,
        asked: OperationSlot,
        code: Option<ErrorCode>,
        seconds: f64,
    ) {
        let label = || KeyValue::new("operation", asked.label());
        let operation = self.operations[asked.index()].get_or_init(Box::default);
        let failed = code.is_some();
        let durations = operation.durations[usize::from(failed)].get_or_init(|| {
            let outcome = KeyValue::new("outcome", if failed { "error" } else { "ok" });
            instruments.durations.bind(&[self.tenant.clone(), label(), outcome])
        });
        durations.record(seconds);
        let (counter, code) = match code {
            None => (&operation.succeeded, "OK"),
            Some(code) => {
                let failed = operation
                    .failed
                    .get_or_init(|| Box::new(std::array::from_fn(|_| OnceLock::new())));
                (&failed[code as usize], code.as_str())
            }
        };
        counter.get_or_init(|| self.bind_requests(instruments, asked, code)).add(1);
    }
}

/// The counters of calls to Move, by root field.
#[derive(Debug, Default)]
pub struct UpstreamSeries(RwLock<HashMap<&'static str, Called>>);

/// The counters of one root field's calls.
#[derive(Debug, Default)]
struct Called {
    succeeded: OnceLock<BoundCounter<u64>>,
    durations: OnceLock<BoundHistogram<f64>>,
}

impl UpstreamSeries {
    /// Counts a call that ended, or was not made (`took` is `None` then).
    pub fn count(
        &self,
        instruments: &Instruments,
        field: &'static str,
        outcome: &'static str,
        took: Option<Duration>,
    ) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(called) = known.get(field) {
            return called.count(instruments, field, outcome, took);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(field).or_default().count(instruments, field, outcome, took);
    }
}

impl Called {
    fn count(
        &self,
        instruments: &Instruments,
        field: &'static str,
        outcome: &'static str,
        took: Option<Duration>,
    ) {
        let field = || KeyValue::new("field", field);
        let labels = || [field(), KeyValue::new("outcome", outcome)];
        if outcome == "ok" {
            self.succeeded.get_or_init(|| instruments.upstream_calls.bind(&labels())).add(1);
        } else {
            instruments.upstream_calls.add(1, &labels());
        }
        if let Some(took) = took {
            let durations = || instruments.upstream_durations.bind(&[field()]);
            self.durations.get_or_init(durations).record(took.as_secs_f64());
        }
    }
}
