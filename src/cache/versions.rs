//! Versions: whether data that was fetched before may still be given.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Key;
use crate::model::{TenantId, Version};

/// How many counters there are. Two jobs that share one cost each other a fetch after a write,
/// never a wrong answer.
const COUNTERS: usize = 1 << 16;

/// Counters of writes: a job's version is the sum of its own, its tenant's and everybody's. Each
/// only grows, so equal sums mean that nothing was written in between.
#[derive(Debug)]
pub struct Versions {
    counters: Box<[AtomicU64]>,
    everybody: AtomicU64,
    hasher: RandomState,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            everybody: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Versions {
    /// A job's version now. To be taken before its data is fetched.
    #[must_use]
    pub fn of(&self, key: &Key) -> Version {
        let (job, tenant) = (self.slot(key), self.slot(&key.tenant));
        Version { job, tenant, sum: self.sum(job, tenant) }
    }

    /// Whether nothing was written since.
    #[must_use]
    pub fn is_current(&self, version: Version) -> bool {
        self.sum(version.job, version.tenant) == version.sum
    }

    /// The job was written, or may have been.
    pub fn forget_job(&self, key: &Key) {
        self.count(self.slot(key));
    }

    /// Nothing that is known of the tenant's jobs may be given any more.
    pub fn forget_tenant(&self, tenant: &TenantId) {
        self.count(self.slot(tenant));
    }

    /// Nothing that is known may be given any more: writes may have been missed.
    pub fn forget_all(&self) {
        self.everybody.fetch_add(1, Ordering::SeqCst);
    }

    fn slot(&self, of: &impl std::hash::Hash) -> u32 {
        let slot = self.hasher.hash_one(of) % COUNTERS as u64;
        u32::try_from(slot).unwrap_or_default()
    }

    fn sum(&self, job: u32, tenant: u32) -> u64 {
        let of = |slot: u32| {
            self.counters.get(slot as usize).map_or(0, |counter| counter.load(Ordering::SeqCst))
        };
        of(job) + of(tenant) + self.everybody.load(Ordering::SeqCst)
    }

    fn count(&self, slot: u32) {
        if let Some(counter) = self.counters.get(slot as usize) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}
