//! Entries in a file that is this process's alone.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};

use super::{StoreError, Swap, Swapped};
use crate::idempotency::Key;
use crate::idempotency::entry::expiry;

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

/// Why the file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another gateway has it open: each needs a file of its own")]
    Taken,
    /// It or its folder cannot be made or read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is no database.
    #[error(transparent)]
    Database(#[from] redb::Error),
}

/// A file: one write at a time, each on disk before it counts.
#[derive(Debug)]
pub(in crate::idempotency) struct File {
    database: Arc<Database>,
    max_keys: u64,
    disturbances: AtomicU64,
}

impl File {
    pub fn open(path: &Path, max_keys: u64, now: Timestamp) -> Result<Self, OpenError> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).mode(0o600).open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        drop(file);
        let database = Database::create(path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => OpenError::Taken,
            error => OpenError::Database(error.into()),
        })?;
        prepare(&database, now)?;
        Ok(Self { database: Arc::new(database), max_keys, disturbances: AtomicU64::new(0) })
    }

    pub fn disturbances(&self) -> u64 {
        self.disturbances.load(Ordering::SeqCst)
    }

    /// Does something with the file, where it may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = Arc::clone(&self.database);
        let done = tokio::task::spawn_blocking(move || task(&database)).await;
        if let Ok(Ok(done)) = done {
            return Ok(done);
        }
        if let Ok(Err(error)) = done {
            tracing::error!(%error, "the file of idempotency keys is in trouble");
        }
        self.disturbances.fetch_add(1, Ordering::SeqCst);
        Err(StoreError)
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
        let since = self.run(move |database| {
            if !raise {
                let times = database.begin_read()?.open_table(TIMES)?;
                return Ok(times.get(COMPLETE_SINCE)?.map_or(i64::MAX, |time| time.value()));
            }
            let begun = database.begin_write()?;
            begun.open_table(TIMES)?.insert(COMPLETE_SINCE, now.as_millisecond())?;
            begun.commit()?;
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

/// Makes the tables, and forgets what an older version kept.
fn prepare(database: &Database, now: Timestamp) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    {
        begun.open_table(ENTRIES)?;
        begun.open_table(COUNTS)?;
        let mut times = begun.open_table(TIMES)?;
        if times.get(COMPLETE_SINCE)?.is_none() {
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
