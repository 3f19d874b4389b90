//! The stores of entries: a file, Redis, or this process's memory. None of them lets go of an entry
//! before its time to make room for another: a tenant that has too many is refused new ones.

mod file;
mod memory;
mod redis;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

pub(super) use memory::Memory;

use self::file::File;
use self::redis::Redis;
use super::Key;
use crate::redb_file::OpenError;
use crate::shared_state::SharedState;

/// The store did not answer; why is in the log.
#[derive(Debug)]
pub(super) struct StoreError;

/// The result of an exchange of entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Swapped {
    Yes,
    /// Something else stood there.
    No,
    /// The tenant has as many keys as it may, until then at least.
    Full {
        until: Timestamp,
    },
}

/// An exchange: `new` in the place of `old`, if that is what is there.
#[derive(Debug)]
pub(super) struct Swap<'a> {
    pub key: &'a Key,
    pub old: Option<Bytes>,
    pub new: Option<Bytes>,
    pub now: Timestamp,
}

/// The bounds of what is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub keep: Duration,
    /// Keys of one tenant.
    pub max_keys: u64,
}

/// A closed set of backends.
#[derive(Debug)]
pub(super) enum Store {
    /// This process's memory.
    Memory(Memory),
    /// A file: one write at a time, each on disk before it counts.
    File(File),
    /// One for all replicas.
    Redis(Redis),
    /// One for all replicas of a simulation.
    #[cfg(test)]
    Model(super::simulation::Model),
}

impl Store {
    pub fn memory(bounds: Bounds, now: Timestamp) -> Self {
        Self::Memory(Memory::new(bounds.max_keys, now))
    }

    pub fn file(path: &Path, bounds: Bounds, now: Timestamp) -> Result<Self, OpenError> {
        File::open(path, bounds.max_keys, now).map(Self::File)
    }

    pub fn redis(state: Arc<SharedState>, bounds: Bounds) -> Self {
        Self::Redis(Redis::new(state, bounds))
    }

    /// Returns true if other processes write to it too.
    pub const fn is_shared(&self) -> bool {
        match self {
            Self::Memory(_) | Self::File(_) => false,
            Self::Redis(_) => true,
            #[cfg(test)]
            Self::Model(_) => true,
        }
    }

    /// Returns true if it may have lost entries that were in it.
    pub fn may_evict(&self) -> bool {
        match self {
            Self::Redis(redis) => redis.may_evict(),
            #[cfg(test)]
            Self::Model(model) => model.may_evict(),
            Self::Memory(_) | Self::File(_) => false,
        }
    }

    /// Returns the number of times it did not answer, so far.
    pub fn disturbances(&self) -> u64 {
        match self {
            Self::Memory(_) => 0,
            Self::File(file) => file.disturbances(),
            Self::Redis(redis) => redis.disturbances(),
            #[cfg(test)]
            Self::Model(model) => model.disturbances(),
        }
    }

    /// Returns the entry under a key.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key)),
            Self::File(file) => file.get(key).await,
            Self::Redis(redis) => redis.get(key).await,
            #[cfg(test)]
            Self::Model(model) => model.get(key).await,
        }
    }

    pub async fn swap(&self, swap: Swap<'_>) -> Result<Swapped, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.swap(swap)),
            Self::File(file) => file.swap(swap).await,
            Self::Redis(redis) => redis.swap(swap).await,
            #[cfg(test)]
            Self::Model(model) => model.swap(swap).await,
        }
    }

    /// Since when every entry that was made is in it: `now` for a store that was never asked, or if a
    /// replica is out of touch.
    pub async fn complete_since(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.complete_since()),
            Self::File(file) => file.complete_since(now, false).await,
            Self::Redis(redis) => redis.complete_since(now).await,
            #[cfg(test)]
            Self::Model(model) => model.complete_since(now).await,
        }
    }

    /// Notes for everybody that entries of before `now` may be missing.
    pub async fn note_gap(&self, now: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(file) => file.complete_since(now, true).await.map(drop),
            Self::Redis(redis) => redis.note_gap(now).await,
            #[cfg(test)]
            Self::Model(model) => model.note_gap(now).await,
        }
    }

    /// Tells the other replicas that this one is in touch, and has noted every gap that it knows of.
    pub async fn beat(&self, process: &str) {
        match self {
            Self::Memory(_) | Self::File(_) => {}
            Self::Redis(redis) => redis.beat(process).await,
            #[cfg(test)]
            Self::Model(model) => model.beat(process).await,
        }
    }

    /// Tells the other replicas that this one ends, and that it has nothing that they miss.
    pub async fn leave(&self, process: &str) {
        if let Self::Redis(redis) = self {
            redis.leave(process).await;
        }
    }

    /// Learns how it treats what is in it, if that is not known.
    pub async fn learn(&self) {
        if let Self::Redis(redis) = self {
            redis.learn().await;
        }
    }

    /// The entries in this process's memory, if that is where they are.
    pub const fn as_memory(&self) -> Option<&Memory> {
        match self {
            Self::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    /// Removes entries that are over, where that does not happen by itself.
    pub async fn sweep(&self, now: Timestamp) {
        match self {
            Self::Memory(memory) => memory.sweep(now),
            Self::File(file) => file.sweep(now).await,
            Self::Redis(redis) => redis.learn_again(),
            #[cfg(test)]
            Self::Model(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::entry::expiry;
    use crate::model::TenantId;

    const BOUNDS: Bounds = Bounds { keep: Duration::from_hours(24), max_keys: 3 };
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn key(tenant: &str, key: &str) -> Key {
        Key::of(&TenantId::parse(tenant).expect("a name"), key)
    }

    /// An entry that ends after so many seconds.
    #[expect(clippy::unnecessary_wraps, reason = "as swaps take it")]
    fn entry(seconds: i64, text: &str) -> Option<Bytes> {
        let expires = (seconds * 1_000).to_be_bytes();
        Some([expires.as_slice(), text.as_bytes()].concat().into())
    }

    async fn swap(store: &Store, key: &Key, old: Option<Bytes>, new: Option<Bytes>) -> Swapped {
        store.swap(Swap { key, old, new, now: NOW }).await.expect("an answer")
    }

    async fn behaves(store: &Store) {
        let own = key("acme", "1");
        let (one, two) = (entry(60, "1"), entry(60, "2"));
        assert_eq!(store.get(&own).await.expect("an answer"), None);
        assert_eq!(swap(store, &own, None, one.clone()).await, Swapped::Yes);
        assert_eq!(swap(store, &own, None, two.clone()).await, Swapped::No, "it is taken");
        assert_eq!(swap(store, &own, two.clone(), None).await, Swapped::No, "it is another");
        assert_eq!(swap(store, &own, one, two.clone()).await, Swapped::Yes);
        assert_eq!(store.get(&own).await.expect("an answer"), two);
        assert_eq!(swap(store, &own, two, None).await, Swapped::Yes);
        assert_eq!(store.get(&own).await.expect("an answer"), None);
        assert_eq!(store.complete_since(NOW).await.expect("an answer"), NOW);
    }

    async fn refuses_more_than_a_tenant_may_have(store: &Store) {
        for (n, ends) in [("1", 60), ("2", 30), ("3", 60)] {
            assert_eq!(swap(store, &key("acme", n), None, entry(ends, n)).await, Swapped::Yes);
        }
        let until = Timestamp::from_second(30).expect("a time");
        let more = swap(store, &key("acme", "4"), None, entry(60, "4")).await;
        assert_eq!(more, Swapped::Full { until });
        assert_eq!(swap(store, &key("globex", "1"), None, entry(60, "1")).await, Swapped::Yes);
        let held = store.get(&key("acme", "1")).await.expect("an answer");
        assert_eq!(held, entry(60, "1"), "nothing had to go");
        assert_eq!(swap(store, &key("acme", "1"), held, entry(60, "!")).await, Swapped::Yes);
        let later = key("acme", "4");
        let now = until;
        let swap = Swap { key: &later, old: None, new: entry(60, "4"), now };
        assert_eq!(store.swap(swap).await.expect("an answer"), Swapped::Yes, "one was over");
        assert_eq!(store.get(&key("acme", "2")).await.expect("an answer"), None);
    }

    #[tokio::test]
    async fn an_entry_changes_only_from_what_it_was() {
        behaves(&Store::memory(BOUNDS, NOW)).await;
        let folder = tempfile::tempdir().expect("a folder");
        behaves(&Store::file(&folder.path().join("keys.redb"), BOUNDS, NOW).expect("a file")).await;
    }

    #[tokio::test]
    async fn a_tenant_that_has_too_many_keys_is_refused_new_ones_and_takes_nobodys_place() {
        refuses_more_than_a_tenant_may_have(&Store::memory(BOUNDS, NOW)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::file(&folder.path().join("keys.redb"), BOUNDS, NOW).expect("a file");
        refuses_more_than_a_tenant_may_have(&store).await;
    }

    #[tokio::test]
    async fn a_file_is_one_processs_alone_and_keeps_what_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.redb");
        let store = Store::file(&path, BOUNDS, NOW).expect("a file");
        let (key, held) = (key("acme", "1"), entry(60, "1"));
        assert_eq!(swap(&store, &key, None, held.clone()).await, Swapped::Yes);
        assert!(Store::file(&path, BOUNDS, NOW).is_err(), "it is open already");
        drop(store);
        let later = expiry(&held.clone().expect("an entry")).expect("a time");
        let store = Store::file(&path, BOUNDS, later).expect("a file");
        assert_eq!(store.get(&key).await.expect("an answer"), held);
        assert_eq!(store.complete_since(later).await.expect("an answer"), NOW);
        store.note_gap(later).await.expect("an answer");
        assert_eq!(store.complete_since(NOW).await.expect("an answer"), later);
        store.sweep(later).await;
        assert_eq!(store.get(&key).await.expect("an answer"), None);
    }

    #[tokio::test]
    async fn nobody_else_on_the_machine_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/keys.redb");
        let mode = |path: &Path| {
            std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
        };
        drop(Store::file(&path, BOUNDS, NOW).expect("a file"));
        assert_eq!((mode(&path), mode(&folder.path().join("state"))), (0o600, 0o700));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("set");
        drop(Store::file(&path, BOUNDS, NOW).expect("a file"));
        assert_eq!(mode(&path), 0o600);
    }
}
