//! Entries in a file that is this process's alone.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};

use super::{StoreError, Swap, Swapped};
use crate::idempotency::Key;
use crate::idempotency::entry::expiry;
use crate::redb_file::{OpenError, RedbFile};

/// Entries by tenant and key.
const ENTRIES: TableDefinition<'_, (&str, &[u8]), &[u8]> = TableDefinition::new("keys");

/// The number of keys each tenant has.
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");

/// Times, in milliseconds since 1970.
const TIMES: TableDefinition<'_, &str, i64> = TableDefinition::new("times");

/// The time since when every entry that was made is in the file.
const COMPLETE_SINCE: &str = "complete_since";

/// The table of version 0.1.0, whose entries held answers.
const ANSWERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// A file: one write at a time, each on disk before it counts.
#[derive(Debug)]
pub(in crate::idempotency) struct File {
    file: Arc<Opened>,
    max_keys: u64,
}

/// The database, and the mark beside it that says that no entry is missing in it.
///
/// While the file is in trouble nothing can be written into it, also not that something is missing. A mark can be
/// removed from a volume that is full.
#[derive(Debug)]
struct Opened {
    database: RedbFile,
    /// The number of times it did not answer.
    disturbances: AtomicU64,
}

impl Opened {
    fn mark(&self) -> PathBuf {
        self.database.path().with_added_extension("complete")
    }

    fn set_mark(&self) -> std::io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.mark())?;
        self.sync_folder()
    }

    /// Notes that an entry may be missing. If that cannot be noted, it says so in the log.
    fn disturb(&self) {
        self.disturbances.fetch_add(1, Ordering::SeqCst);
        let removed = match std::fs::remove_file(self.mark()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync_folder()),
        };
        if let Err(error) = removed {
            tracing::error!(%error, "the mark beside the file of idempotency keys cannot be removed");
        }
    }

    /// Makes what was made or removed outlive a power cut.
    fn sync_folder(&self) -> std::io::Result<()> {
        let folder = self.database.path().parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl File {
    pub fn open(path: &Path, max_keys: u64, now: Timestamp) -> Result<Self, OpenError> {
        let database = RedbFile::new(path.to_owned());
        database.open()?;
        let file = Opened { database, disturbances: AtomicU64::new(0) };
        file.database.run(|database| prepare(database, file.mark().exists(), now))?;
        file.set_mark()?;
        Ok(Self { file: Arc::new(file), max_keys })
    }

    pub fn disturbances(&self) -> u64 {
        self.file.disturbances.load(Ordering::SeqCst)
    }

    /// Does something with the file, where it may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        let run = move || {
            file.database.run(task).map_err(|error| {
                tracing::error!(%error, "the file of idempotency keys is in trouble");
                file.disturb();
            })
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(())) => Err(StoreError),
            Err(_panic) => {
                self.file.disturb();
                Err(StoreError)
            }
        }
    }

    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let key = key.clone();
        self.run(move |database| {
            let entries = database.begin_read()?.open_table(ENTRIES)?;
            let entry = entries.get((key.tenant.as_str(), key.hash.as_slice()))?;
            Ok(entry.map(|entry| Bytes::copy_from_slice(entry.value())))
        })
        .await
    }

    pub async fn swap(&self, swap: Swap<'_>) -> Result<Swapped, StoreError> {
        let Swap { key, old, new, now } = swap;
        let (key, max_keys) = (key.clone(), self.max_keys);
        self.run(move |database| {
            let begun = database.begin_write()?;
            let swapped = {
                let mut entries = begun.open_table(ENTRIES)?;
                let mut counts = begun.open_table(COUNTS)?;
                swap_in(&mut entries, &mut counts, max_keys, &Swap { key: &key, old, new, now })?
            };
            if swapped == Swapped::Yes {
                begun.commit()?;
            } else {
                begun.abort()?;
            }
            Ok(swapped)
        })
        .await
    }

    /// Since when every entry is in the file; with `raise`, from `now` on.
    pub async fn complete_since(
        &self,
        now: Timestamp,
        raise: bool,
    ) -> Result<Timestamp, StoreError> {
        let file = Arc::clone(&self.file);
        let since = self.run(move |database| {
            if !raise {
                let times = database.begin_read()?.open_table(TIMES)?;
                return Ok(times.get(COMPLETE_SINCE)?.map_or(i64::MAX, |time| time.value()));
            }
            let before = file.disturbances.load(Ordering::SeqCst);
            let begun = database.begin_write()?;
            begun.open_table(TIMES)?.insert(COMPLETE_SINCE, now.as_millisecond())?;
            begun.commit()?;
            // What was missing is noted in the file itself now.
            file.set_mark().map_err(redb::Error::Io)?;
            if file.disturbances.load(Ordering::SeqCst) != before {
                file.disturb();
            }
            Ok(now.as_millisecond())
        });
        Ok(Timestamp::from_millisecond(since.await?).unwrap_or(Timestamp::MAX))
    }

    pub async fn sweep(&self, now: Timestamp) {
        let swept = self.run(move |database| {
            let begun = database.begin_write()?;
            {
                let mut entries = begun.open_table(ENTRIES)?;
                let mut counts = begun.open_table(COUNTS)?;
                let tenants: Vec<String> = counts
                    .iter()?
                    .map(|count| count.map(|(tenant, _)| tenant.value().to_owned()))
                    .collect::<Result<_, _>>()?;
                for tenant in tenants {
                    remove_expired(&mut entries, &mut counts, &tenant, now)?;
                }
            }
            begun.commit()?;
            Ok(())
        });
        drop(swept.await);
    }
}

/// Makes the tables, and forgets what an older version kept. Entries of before `now` may be missing unless it
/// `is_complete`.
fn prepare(database: &Database, is_complete: bool, now: Timestamp) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    {
        begun.open_table(ENTRIES)?;
        begun.open_table(COUNTS)?;
        let mut times = begun.open_table(TIMES)?;
        if !is_complete || times.get(COMPLETE_SINCE)?.is_none() {
            times.insert(COMPLETE_SINCE, now.as_millisecond())?;
        }
        match begun.delete_table(ANSWERS) {
            Ok(_) | Err(TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    begun.commit()?;
    Ok(())
}

type Entries<'a> = Table<'a, (&'static str, &'static [u8]), &'static [u8]>;
type Counts<'a> = Table<'a, &'static str, u64>;

fn swap_in(
    entries: &mut Entries<'_>,
    counts: &mut Counts<'_>,
    max_keys: u64,
    swap: &Swap<'_>,
) -> Result<Swapped, redb::Error> {
    let tenant = swap.key.tenant.as_str();
    let place = (tenant, swap.key.hash.as_slice());
    let current = entries.get(place)?.map(|entry| entry.value().to_vec());
    if current.as_deref() != swap.old.as_deref() {
        return Ok(Swapped::No);
    }
    let mut count = counts.get(tenant)?.map_or(0, |count| count.value());
    if current.is_none() && swap.new.is_some() && count >= max_keys {
        let (left, first) = remove_expired(entries, counts, tenant, swap.now)?;
        if left >= max_keys {
            return Ok(Swapped::Full { until: first.unwrap_or(swap.now) });
        }
        count = left;
    }
    match (&swap.new, current) {
        (Some(new), current) => {
            entries.insert(place, &new[..])?;
            counts.insert(tenant, count + u64::from(current.is_none()))?;
        }
        (None, Some(_)) => {
            entries.remove(place)?;
            counts.insert(tenant, count.saturating_sub(1))?;
        }
        (None, None) => {}
    }
    Ok(Swapped::Yes)
}

/// Removes a tenant's entries that are over. Returns how many are left, and when the first of them ends.
fn remove_expired(
    entries: &mut Entries<'_>,
    counts: &mut Counts<'_>,
    tenant: &str,
    now: Timestamp,
) -> Result<(u64, Option<Timestamp>), redb::Error> {
    let (mut left, mut first) = (0, None::<Timestamp>);
    let of_tenant = (tenant, [].as_slice())..=(tenant, [u8::MAX; 33].as_slice());
    entries.retain_in(of_tenant, |_, entry| {
        let Some(expires) = expiry(entry).filter(|expires| *expires > now) else { return false };
        left += 1;
        first = Some(first.map_or(expires, |first| first.min(expires)));
        true
    })?;
    if left == 0 {
        counts.remove(tenant)?;
    } else {
        counts.insert(tenant, left)?;
    }
    Ok((left, first))
}
