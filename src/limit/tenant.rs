//! The limits of each tenant.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use moka::sync::Cache;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::slot::Slots;
use super::streams::{StreamPlace, Streams};
use super::{Bucket, BucketScope, LimitError, Slot};
use crate::model::{CredentialId, Kind, Rate, RateLimits, RootField, Tenant, TenantId, Weights};

/// The number of credentials of one tenant that have buckets of their own at once.
const CREDENTIALS: u64 = 10_000;

/// Longest time that the bucket of a credential that is not used is kept.
const LONGEST_IDLE: Duration = Duration::from_hours(24 * 365);

/// The limits of all tenants. A reload makes others; the state of a bucket whose rate stays the
/// same stays too.
#[derive(Debug, Default)]
pub struct Limits {
    tenants: HashMap<TenantId, Arc<TenantLimits>, RandomState>,
    /// The cost of each root field.
    pub weights: Weights,
}

/// The limits of one tenant.
#[derive(Debug)]
pub struct TenantLimits {
    limits: RateLimits,
    /// Few: looked through faster than hashed.
    buckets: Vec<(Name, Arc<Bucket>)>,
    /// Buckets of single credentials, made when they are first used and dropped when they are full
    /// again; `None` if they have no limits, as such a cache takes 30 KiB.
    credentials: Option<Cache<(CredentialId, Name), Arc<Bucket>>>,
    slots: Slots,
    streams: Streams,
    sockets: Streams,
    /// Held by the request of which a document is parsed.
    parsing: Arc<Mutex<()>>,
}

/// The name of a bucket: what it limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Queries,
    Mutations,
    Introspection,
    Operation(RootField),
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Queries => "queries",
            Self::Mutations => "mutations",
            Self::Introspection => "introspection",
            Self::Operation(field) => field.name(),
        }
    }
}

/// The cost of a request. One that asks for no operation costs a unit all the same: its document was
/// read. So does one that is refused for what its document is ([`Charge::default`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Charge {
    /// Units, by operation.
    operations: Vec<(RootField, u32)>,
    /// True if it asks for the schema.
    introspects: bool,
}

impl Charge {
    /// Adds up the cost of root fields by their weights, each as often as it is asked for.
    pub fn for_units(
        fields: impl Iterator<Item = RootField>,
        weight: impl Fn(RootField) -> u32,
        introspects: bool,
    ) -> Self {
        Self::of(fields.map(|field| (field, weight(field))), introspects)
    }

    /// Adds up the cost of root fields, each use with its own.
    #[must_use]
    pub fn of(costs: impl Iterator<Item = (RootField, u32)>, introspects: bool) -> Self {
        let mut operations: Vec<(RootField, u32)> = Vec::new();
        for (field, units) in costs {
            match operations.iter_mut().find(|(known, _)| *known == field) {
                Some((_, sum)) => *sum = sum.saturating_add(units),
                None => operations.push((field, units)),
            }
        }
        Self { operations, introspects }
    }

    /// All of it together.
    #[must_use]
    pub fn total(&self) -> u32 {
        if self.is_bare() {
            return 1;
        }
        self.operations.iter().fold(0, |sum, (_, units)| sum.saturating_add(*units))
    }

    /// Neither an operation nor the schema is asked for.
    const fn is_bare(&self) -> bool {
        self.operations.is_empty() && !self.introspects
    }

    fn of_kind(&self, kind: Kind) -> u32 {
        if self.is_bare() && kind == Kind::Query {
            return 1;
        }
        let own = self.operations.iter().filter(|(field, _)| field.kind() == kind);
        own.fold(0, |sum, (_, units)| sum.saturating_add(*units))
    }
}

impl Limits {
    /// The limits of these tenants, with the state they had before.
    pub fn new<'a>(
        tenants: impl Iterator<Item = &'a Tenant>,
        weights: Weights,
        before: Option<&Self>,
    ) -> Self {
        let limits = |tenant: &Tenant| {
            let before = before.and_then(|limits| limits.tenants.get(&tenant.id));
            let limits = match before {
                Some(before) if before.limits == tenant.rate_limit => Arc::clone(before),
                _ => Arc::new(TenantLimits::new(&tenant.rate_limit, before.map(|b| &**b))),
            };
            (tenant.id.clone(), limits)
        };
        Self { tenants: tenants.map(limits).collect(), weights }
    }

    /// A tenant's.
    #[must_use]
    pub fn get(&self, tenant: &TenantId) -> Option<&Arc<TenantLimits>> {
        self.tenants.get(tenant)
    }
}

impl TenantLimits {
    fn new(limits: &RateLimits, before: Option<&Self>) -> Self {
        let single = limits.operations.iter();
        let rates = [
            (Name::Queries, limits.queries),
            (Name::Mutations, limits.mutations),
            (Name::Introspection, limits.introspection.or(limits.queries)),
        ]
        .into_iter()
        .chain(single.map(|(field, rate)| (Name::Operation(*field), Some(*rate))));
        let bucket = |(name, rate): (Name, Option<Rate>)| {
            let rate = rate?;
            let same = before.and_then(|before| before.bucket(name));
            let bucket = match same.filter(|bucket| bucket.rate == rate) {
                Some(bucket) => Arc::clone(bucket),
                None => Arc::new(Bucket::new(name.as_str(), BucketScope::Tenant, rate)),
            };
            Some((name, bucket))
        };
        let longest = [limits.credential_queries, limits.credential_mutations];
        let longest = longest.into_iter().flatten().map(|rate| rate.interval() * rate.burst.get());
        let cache = |idle: Duration| {
            let idle = idle.min(LONGEST_IDLE);
            Cache::builder().max_capacity(CREDENTIALS).time_to_idle(idle).build()
        };
        Self {
            limits: limits.clone(),
            buckets: rates.filter_map(bucket).collect(),
            credentials: longest.max().map(cache),
            slots: match before {
                Some(before) => before.slots.resized(limits.max_in_flight),
                None => Slots::new(limits.max_in_flight),
            },
            streams: match before {
                Some(before) => before.streams.resized(limits.max_streams),
                None => Streams::new(limits.max_streams),
            },
            sockets: match before {
                Some(before) => before.sockets.resized(limits.max_streams),
                None => Streams::new(limits.max_streams),
            },
            parsing: before.map_or_else(Arc::default, |before| Arc::clone(&before.parsing)),
        }
    }

    /// Returns the greatest cost of one request.
    #[must_use]
    pub const fn max_cost(&self) -> u32 {
        self.limits.max_cost
    }

    /// Takes a place among the tenant's requests at once.
    ///
    /// # Errors
    /// When all are taken.
    pub fn enter(&self) -> Result<Slot, LimitError> {
        self.slots.take()
    }

    /// Takes a place among the tenant's requests at once, waiting for one if need be.
    ///
    /// # Errors
    /// When none becomes free in time.
    pub async fn enter_within(&self, time: Duration) -> Result<Slot, LimitError> {
        self.slots.take_within(time).await
    }

    /// Takes a place among the tenant's long polls and streams, and one of `everybodys`.
    ///
    /// # Errors
    /// When all are taken.
    pub fn listen(&self, everybodys: &Arc<Semaphore>) -> Result<StreamPlace, LimitError> {
        self.streams.take(everybodys)
    }

    /// Takes a place among the tenant's WebSockets, of which there may be as many as streams, and one of `everybodys`.
    ///
    /// # Errors
    /// When all are taken.
    pub fn connect(&self, everybodys: &Arc<Semaphore>) -> Result<StreamPlace, LimitError> {
        self.sockets.take(everybodys)
    }

    /// Returns the number of streams that may be open on one WebSocket.
    #[must_use]
    pub const fn max_per_connection(&self) -> usize {
        self.limits.max_per_connection as usize
    }

    /// Waits until none of the tenant's other documents is being parsed. Its requests take turns as they came, and
    /// between two of them others' requests go on.
    pub async fn turn_to_parse(&self) -> MutexGuard<'_, ()> {
        self.parsing.lock().await
    }

    /// The buckets that a charge takes from, and how much from each; the narrowest first.
    #[must_use]
    pub(super) fn buckets(
        &self,
        credential: &CredentialId,
        charge: &Charge,
    ) -> Vec<(Arc<Bucket>, NonZeroU32)> {
        let mut taken = Vec::with_capacity(3);
        let mut add = |bucket: Option<Arc<Bucket>>, units: u32| {
            if let (Some(bucket), Some(units)) = (bucket, NonZeroU32::new(units)) {
                taken.push((bucket, units));
            }
        };
        let own = |name| self.bucket(name).cloned();
        for (field, units) in &charge.operations {
            add(own(Name::Operation(*field)), *units);
        }
        for (kind, name, credential_rate) in [
            (Kind::Query, Name::Queries, self.limits.credential_queries),
            (Kind::Mutation, Name::Mutations, self.limits.credential_mutations),
        ] {
            let units = charge.of_kind(kind);
            if units > 0 {
                add(credential_rate.map(|rate| self.of_credential(credential, name, rate)), units);
                add(own(name), units);
            }
        }
        if charge.introspects && charge.operations.is_empty() {
            add(own(Name::Introspection), 1);
        }
        taken
    }

    fn bucket(&self, name: Name) -> Option<&Arc<Bucket>> {
        self.buckets.iter().find(|(own, _)| *own == name).map(|(_, bucket)| bucket)
    }

    fn of_credential(&self, credential: &CredentialId, name: Name, rate: Rate) -> Arc<Bucket> {
        let bucket = || {
            let name = format!("{} of this credential", name.as_str());
            Arc::new(Bucket::new(&name, BucketScope::Credential, rate))
        };
        match &self.credentials {
            Some(credentials) => credentials.get_with((credential.clone(), name), bucket),
            None => bucket(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn documents_of_one_tenant_are_parsed_in_turns_also_across_a_reload() {
        let limits = |max_cost| RateLimits {
            queries: None,
            mutations: None,
            operations: Vec::new(),
            introspection: None,
            credential_queries: None,
            credential_mutations: None,
            max_cost,
            max_in_flight: 64,
            max_streams: 50,
            max_per_connection: 100,
        };
        let [before, other] = [1, 1].map(|cost| TenantLimits::new(&limits(cost), None));
        let after = TenantLimits::new(&limits(2), Some(&before));
        let turn = before.turn_to_parse().now_or_never().expect("nobody has it");
        assert!(after.turn_to_parse().now_or_never().is_none());
        assert!(other.turn_to_parse().now_or_never().is_some());
        drop(turn);
        assert!(after.turn_to_parse().now_or_never().is_some());
    }
}
