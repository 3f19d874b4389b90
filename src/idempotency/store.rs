//! Where entries are: in a file, in Redis, or in this process's memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use bytes::Bytes;
use moka::ops::compute::{CompResult, Op};
use moka::sync::Cache;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use redis::Script;

use super::Key;
use crate::shared_state::{PREFIX, SharedState};

/// The file's one table.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// How much memory entries may take in this process, in bytes.
const MEMORY: u64 = 64 << 20;

/// Why the file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another gateway has it open: each needs a file of its own")]
    Taken,
    /// Something else; the text says what.
    #[error("{0}")]
    Other(String),
}

/// The store did not answer; why is in the log.
#[derive(Debug)]
pub struct Trouble;

/// A closed set of backends.
#[derive(Debug)]
pub enum Store {
    /// This process's memory.
    Memory(Cache<Key, Bytes>),
    /// A file: one write at a time, each on disk before it counts.
    File(Arc<Database>),
    /// One for all replicas.
    Redis(Shared),
}

#[derive(Debug)]
pub struct Shared {
    state: Arc<SharedState>,
    swap: Script,
}

/// Puts ARGV[2] (nothing: deletes) in the place of ARGV[1] (nothing: of no entry).
const SWAP: &str = r"
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
";

impl Store {
    pub fn memory(keep: Duration) -> Self {
        let weigh = |_: &Key, entry: &Bytes| u32::try_from(entry.len() + 64).unwrap_or(u32::MAX);
        Self::Memory(
            Cache::builder().max_capacity(MEMORY).weigher(weigh).time_to_live(keep).build(),
        )
    }

    pub fn file(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: &dyn std::fmt::Display| OpenError::Other(error.to_string());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        }
        let database = Database::create(path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => OpenError::Taken,
            error => failed(&error),
        })?;
        let begun = database.begin_write().map_err(|error| failed(&error))?;
        begun.open_table(ENTRIES).map_err(|error| failed(&error))?;
        begun.commit().map_err(|error| failed(&error))?;
        Ok(Self::File(Arc::new(database)))
    }

    pub fn redis(state: Arc<SharedState>) -> Self {
        Self::Redis(Shared { state, swap: Script::new(SWAP) })
    }

    /// Whether other processes write to it too.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    pub async fn get(&self, key: Key) -> Result<Option<Bytes>, Trouble> {
        match self {
            Self::Memory(entries) => Ok(entries.get(&key)),
            Self::File(database) => {
                in_file(database, move |database| {
                    let entries = database.begin_read()?.open_table(ENTRIES)?;
                    let entry = entries.get(key.0.as_slice())?;
                    Ok(entry.map(|entry| Bytes::copy_from_slice(entry.value())))
                })
                .await
            }
            Self::Redis(Shared { state, .. }) => {
                let name = name(key);
                let ask = async |redis: &mut _| {
                    redis::cmd("GET").arg(&name).query_async::<Option<Vec<u8>>>(redis).await
                };
                state.run(ask).await.map(|entry| entry.map(Bytes::from)).ok_or(Trouble)
            }
        }
    }

    /// Puts `new` in the place of `old`, if that is what is there.
    pub async fn swap(
        &self,
        key: Key,
        old: Option<Bytes>,
        new: Option<Bytes>,
        keep: Duration,
    ) -> Result<bool, Trouble> {
        match self {
            Self::Memory(entries) => {
                let swapped = entries.entry(key).and_compute_with(|current| {
                    match (current.map(moka::Entry::into_value) == old, new) {
                        (false, _) => Op::Nop,
                        (true, Some(new)) => Op::Put(new),
                        (true, None) => Op::Remove,
                    }
                });
                Ok(!matches!(swapped, CompResult::Unchanged(_) | CompResult::StillNone(_)))
            }
            Self::File(database) => {
                in_file(database, move |database| {
                    let begun = database.begin_write()?;
                    {
                        let mut entries = begun.open_table(ENTRIES)?;
                        let key = key.0.as_slice();
                        let current = entries.get(key)?.map(|entry| entry.value().to_vec());
                        if current.as_deref() != old.as_deref() {
                            return Ok(false);
                        }
                        match &new {
                            Some(new) => drop(entries.insert(key, &new[..])?),
                            None => drop(entries.remove(key)?),
                        }
                    }
                    begun.commit()?;
                    Ok(true)
                })
                .await
            }
            Self::Redis(Shared { state, swap }) => {
                let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
                let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
                let mut call = swap.key(name(key));
                call.arg(&old[..]).arg(&new[..]).arg(keep);
                let ask = async |redis: &mut _| call.invoke_async::<bool>(redis).await;
                state.run(ask).await.ok_or(Trouble)
            }
        }
    }

    /// Removes entries that are over; the other backends do that themselves.
    pub async fn sweep(&self, is_over: impl Fn(&[u8]) -> bool + Send + 'static) {
        if let Self::File(database) = self {
            let _ = in_file(database, move |database| {
                let begun = database.begin_write()?;
                begun.open_table(ENTRIES)?.retain(|_, entry| !is_over(entry))?;
                begun.commit()?;
                Ok(())
            })
            .await;
        }
    }
}

fn name(key: Key) -> String {
    format!("{PREFIX}idempotency:{}", URL_SAFE_NO_PAD.encode(key.0))
}

/// Does something with the file, where it may wait for the disk.
async fn in_file<T: Send + 'static>(
    database: &Arc<Database>,
    task: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
) -> Result<T, Trouble> {
    let database = Arc::clone(database);
    match tokio::task::spawn_blocking(move || task(&database)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            tracing::error!(%error, "the file of idempotency keys is in trouble");
            Err(Trouble)
        }
        Err(_) => Err(Trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    async fn behaves(store: &Store) {
        let key = Key([7; 32]);
        let (one, two) = (Some(Bytes::from("1")), Some(Bytes::from("2")));
        assert_eq!(store.get(key).await.expect("an answer"), None);
        assert!(store.swap(key, None, one.clone(), DAY).await.expect("an answer"));
        assert!(!store.swap(key, None, two.clone(), DAY).await.expect("an answer"), "it is taken");
        assert!(
            !store.swap(key, two.clone(), None, DAY).await.expect("an answer"),
            "it is another"
        );
        assert!(store.swap(key, one, two.clone(), DAY).await.expect("an answer"));
        assert_eq!(store.get(key).await.expect("an answer"), two);
        assert!(store.swap(key, two, None, DAY).await.expect("an answer"));
        assert_eq!(store.get(key).await.expect("an answer"), None);
    }

    #[tokio::test]
    async fn an_entry_changes_only_from_what_it_was() {
        behaves(&Store::memory(DAY)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/keys.redb");
        behaves(&Store::file(&path).expect("a file")).await;
    }

    #[tokio::test]
    async fn a_file_is_one_processs_alone_and_keeps_what_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.redb");
        let store = Store::file(&path).expect("a file");
        let (key, entry) = (Key([7; 32]), Some(Bytes::from("1")));
        store.swap(key, None, entry.clone(), DAY).await.expect("an answer");
        assert!(Store::file(&path).is_err(), "it is open already");
        drop(store);
        let store = Store::file(&path).expect("a file");
        assert_eq!(store.get(key).await.expect("an answer"), entry);
        store.sweep(|entry| entry == b"1").await;
        assert_eq!(store.get(key).await.expect("an answer"), None);
    }
}
