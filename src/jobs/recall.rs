//! The rows of the index that listings were made of a moment ago, and what each is to its tenant: worked out once, for as
//! long as the index does not change.
//!
//! Dashboards list the same page again and again. It is found here without a look into the file, and its jobs
//! are read and judged already. Whether they are still fresh, and whether the cache knows them better, is looked at anew
//! each time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::fetch;
use super::ownership::{Held, Owned, Place};
use crate::cache::{Key, Lifetime};
use crate::index::{Found, FoundPlace, JobPlace};
use crate::model::{EntityId, EntityKind, Tenant, TenantId};
use crate::upstream::Entity;

/// The most that rows may take together, in bytes.
const MAX_BYTES: u64 = 8 << 20;

/// The size of a row without its text, in bytes.
const OVERHEAD: usize = 500;

/// The time for which rows are kept that nobody asks for.
const IDLE: Duration = Duration::from_mins(1);

/// A question for rows: a listing without a filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    /// The tenant whose jobs are wanted.
    pub(super) tenant: TenantId,
    /// Their kind.
    pub(super) kind: EntityKind,
    /// The take whose jobs are wanted.
    pub(super) take: Option<EntityId>,
    /// True if the oldest come first.
    pub(super) ascending: bool,
    /// The place behind which to begin.
    pub(super) after: Option<JobPlace>,
    /// The most rows.
    pub(super) most: usize,
}

/// Rows that were found.
#[derive(Debug)]
pub(super) struct Rows {
    /// The rows, in the order of the listing.
    pub(super) list: Vec<Row>,
    /// The number of those that were looked through.
    pub(super) looked_through: usize,
    /// The last place that was looked at, if there are more than one question may go through.
    pub(super) cut: Option<JobPlace>,
    /// The policy by which they are judged.
    tenant: Arc<Tenant>,
    changes: u64,
}

/// A row of the index.
#[derive(Debug)]
pub(super) struct Row {
    /// The row.
    pub(super) found: FoundPlace,
    /// The key of what it is about; `None` if it has no id.
    pub(super) key: Option<Key>,
    stored: OnceLock<Option<Stored>>,
}

/// A job as the index has it.
#[derive(Debug)]
pub(super) struct Stored {
    /// The job.
    pub(super) job: Owned,
    /// The time for which it may be given.
    pub(super) lifetime: Lifetime,
}

impl Rows {
    pub(super) fn new(tenant: &Arc<Tenant>, kind: EntityKind, found: Found) -> Self {
        let Found { places, rows, cut, changes, count: _ } = found;
        let places = places.into_iter().map(|found| Row::new(tenant, kind, found)).collect();
        Self { list: places, looked_through: rows, cut, tenant: Arc::clone(tenant), changes }
    }

    fn weight(&self) -> usize {
        // The text is there once more after it was read, with an index.
        let text = |row: &Row| row.found.known.as_ref().map_or(0, |known| 3 * known.text.len());
        self.list.iter().map(|row| OVERHEAD + text(row)).sum()
    }
}

impl Row {
    pub(super) fn new(tenant: &Tenant, kind: EntityKind, found: FoundPlace) -> Self {
        let id = EntityId::parse(kind, &found.place.id).ok();
        let key = id.map(|id| Key::new(tenant.id.clone(), id));
        Self { found, key, stored: OnceLock::new() }
    }

    /// The job as the index has it, if that is known and the tenant's. Always asked for the same tenant.
    pub(super) fn stored(&self, tenant: &Tenant, kind: EntityKind) -> Option<&Stored> {
        let read = || {
            let known = self.found.known.as_ref()?;
            let seen = Timestamp::from_microsecond(known.seen).ok()?;
            let (held, entity) = (Held::ByNobody, Entity::parse(&known.text)?);
            let job = Owned::verify(tenant, kind, held, entity, &[], Place::Root).ok()?;
            let lifetime = fetch::lifetime(&tenant.cache, kind, Some(&job), seen);
            Some(Stored { job, lifetime })
        };
        self.stored.get_or_init(read).as_ref()
    }
}

/// The rows of a moment ago.
#[derive(Debug)]
pub(super) struct Recall(Cache<Asked, Arc<Rows>>);

impl Default for Recall {
    fn default() -> Self {
        let weigher =
            |_: &Asked, rows: &Arc<Rows>| u32::try_from(rows.weight()).unwrap_or(u32::MAX);
        let cache = Cache::builder()
            .max_capacity(MAX_BYTES)
            .weigher(weigher)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE);
        Self(cache.build())
    }
}

impl Recall {
    /// The answer to a question, if it was found under the same policy after all of the index's changes.
    pub(super) fn get(
        &self,
        asked: &Asked,
        tenant: &Arc<Tenant>,
        changes: u64,
    ) -> Option<Arc<Rows>> {
        let rows = self.0.get(asked)?;
        (rows.changes == changes && Arc::ptr_eq(&rows.tenant, tenant)).then_some(rows)
    }

    /// Remembers an answer.
    pub(super) fn put(&self, asked: Asked, rows: Arc<Rows>) {
        self.0.insert(asked, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::fixture::tenant;

    #[test]
    fn rows_are_found_again_under_the_same_policy_until_the_index_changes() {
        let (recall, acme) = (Recall::default(), Arc::new(tenant("acme")));
        let asked = Asked {
            tenant: acme.id.clone(),
            kind: EntityKind::Job,
            take: None,
            ascending: false,
            after: None,
            most: 21,
        };
        let found = Found { changes: 3, ..Found::default() };
        recall.put(asked.clone(), Arc::new(Rows::new(&acme, EntityKind::Job, found)));
        let is_known = |asked: &Asked, tenant: &Arc<Tenant>, changes| {
            recall.get(asked, tenant, changes).is_some()
        };
        assert!(is_known(&asked, &acme, 3));
        assert!(!is_known(&asked, &acme, 4), "it changed");
        assert!(!is_known(&asked, &Arc::new(tenant("acme")), 3), "another policy");
        assert!(!is_known(&Asked { most: 22, ..asked.clone() }, &acme, 3));
    }
}
