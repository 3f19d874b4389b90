//! The cache of entities: jobs, takes, files, volumes and the catalogue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use jiff::Timestamp;
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{CacheSize, Key, Lifetime, Versions};
use crate::model::{Selection, Tenant, Version};

/// A cached entity: `V` is what the tenant sees.
#[derive(Debug)]
pub struct Entry<V> {
    /// The value that was fetched.
    pub value: V,
    /// The fields that were fetched.
    pub selection: Arc<Selection>,
    /// The policy by which it was judged; another one judges anew.
    pub tenant: Arc<Tenant>,
    /// The time for which it may be given.
    pub lifetime: Lifetime,
    /// The version under which it is kept.
    pub version: Version,
    /// Its approximate size, in bytes.
    pub weight: usize,
}

/// A cache of entities, bounded by bytes.
#[derive(Debug)]
pub struct EntityCache<V: Send + Sync + 'static> {
    entries: Cache<Key, Arc<Entry<V>>, RandomState>,
    versions: Arc<Versions>,
}

/// The size of an entry without its value, in bytes: key, policy, lifetime, counter, moka's own nodes.
const OVERHEAD: usize = 800;

impl<V: Send + Sync + 'static> EntityCache<V> {
    /// An empty cache that holds at most so many bytes.
    #[must_use]
    pub fn new(max_bytes: u64, versions: Arc<Versions>) -> Self {
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &Key, entry: &Arc<Entry<V>>| {
                u32::try_from(entry.weight + OVERHEAD).unwrap_or(u32::MAX)
            })
            // A job that is polled for the first time is the one to keep: no admission by
            // popularity.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(ByLifetime)
            .build_with_hasher(RandomState::new());
        Self { entries, versions }
    }

    /// Returns an entity's entry under this policy, if nothing was written since and nothing newer told.
    #[must_use]
    pub fn get(&self, key: &Key, tenant: &Arc<Tenant>) -> Option<Arc<Entry<V>>> {
        let entry = self.entries.get(key)?;
        let is_good =
            Arc::ptr_eq(&entry.tenant, tenant) && self.versions.is_current(&entry.version);
        is_good.then_some(entry)
    }

    /// Returns the fields of an entity that were fetched last, be it fresh or not: who asks for less is
    /// likely to come again.
    #[must_use]
    pub fn last_selection(&self, key: &Key) -> Option<Arc<Selection>> {
        Some(Arc::clone(&self.entries.get(key)?.selection))
    }

    /// Remembers what was fetched, also where it may not be given any more already: see
    /// [`EntityCache::last_selection`].
    pub fn put(&self, key: Key, entry: Arc<Entry<V>>, now: Timestamp) {
        if entry.lifetime.end() > now {
            self.entries.insert(key, entry);
        }
    }

    /// Returns the number of entries and their approximate size in bytes.
    #[must_use]
    pub fn size(&self) -> CacheSize {
        CacheSize { entries: self.entries.entry_count(), bytes: self.entries.weighted_size() }
    }
}

/// Lets go of entries that are of no use any more. Whether one may be given is decided by its
/// lifetime and the gateway's clock; this only frees memory.
struct ByLifetime;

impl ByLifetime {
    fn left<V>(entry: &Entry<V>) -> Duration {
        Duration::try_from(entry.lifetime.end().duration_since(entry.lifetime.fetched))
            .unwrap_or_default()
    }
}

impl<V> Expiry<Key, Arc<Entry<V>>> for ByLifetime {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry<V>>, _: Instant) -> Option<Duration> {
        Some(Self::left(entry))
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Arc<Entry<V>>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(Self::left(entry))
    }
}
