//! Entries in this process's memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;

use super::{Swap, Swapped};
use crate::idempotency::Key;
use crate::idempotency::entry::expiry;
use crate::model::TenantId;

/// The keys of each tenant.
type Tenants = HashMap<TenantId, HashMap<[u8; 32], Bytes>>;

/// Entries that end with the process.
#[derive(Debug)]
pub(in crate::idempotency) struct Memory {
    tenants: Mutex<Tenants>,
    since: Timestamp,
    max_keys: usize,
}

impl Memory {
    pub fn new(max_keys: u64, now: Timestamp) -> Self {
        let max_keys = usize::try_from(max_keys).unwrap_or(usize::MAX);
        Self { tenants: Mutex::default(), since: now, max_keys }
    }

    fn tenants(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub const fn complete_since(&self) -> Timestamp {
        self.since
    }

    pub fn get(&self, key: &Key) -> Option<Bytes> {
        self.tenants().get(&key.tenant)?.get(&key.hash).cloned()
    }

    pub fn swap(&self, swap: Swap<'_>) -> Swapped {
        let Swap { key, old, new, now } = swap;
        let mut tenants = self.tenants();
        let keys = tenants.entry(key.tenant.clone()).or_default();
        let current = keys.get(&key.hash);
        if current != old.as_ref() {
            return Swapped::No;
        }
        if current.is_none() && new.is_some() && keys.len() >= self.max_keys {
            keys.retain(|_, entry| expiry(entry).is_some_and(|expires| expires > now));
            if keys.len() >= self.max_keys {
                let first = keys.values().filter_map(|entry| expiry(entry)).min();
                return Swapped::Full { until: first.unwrap_or(now) };
            }
        }
        match new {
            Some(new) => drop(keys.insert(key.hash, new)),
            None => drop(keys.remove(&key.hash)),
        }
        Swapped::Yes
    }

    /// Everything there is.
    pub fn all(&self) -> Vec<(Key, Bytes)> {
        let tenants = self.tenants();
        let all = tenants.iter().flat_map(|(tenant, keys)| {
            let key = |hash: &[u8; 32]| Key { tenant: tenant.clone(), hash: *hash };
            keys.iter().map(move |(hash, entry)| (key(hash), entry.clone()))
        });
        all.collect()
    }

    pub fn sweep(&self, now: Timestamp) {
        let mut tenants = self.tenants();
        tenants.retain(|_, keys| {
            keys.retain(|_, entry| expiry(entry).is_some_and(|expires| expires > now));
            !keys.is_empty()
        });
    }
}
