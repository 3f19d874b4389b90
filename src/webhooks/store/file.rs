//! Events in a file that is this process's alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::{MOST, Place, Put, REMEMBERED, StoreError, name};
use crate::redb_file::{OpenError, RedbFile};
use crate::webhooks::notice::Notice;

/// Events by their number, in the order in which they came.
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// The moment at which an event was seen first, in milliseconds since 1970.
const SEEN: TableDefinition<'_, &str, i64> = TableDefinition::new("seen");

/// The same in the order of time.
const AGES: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("ages");

/// The most ids that one event makes forgotten. Two are enough for the table to shrink.
const FORGOTTEN_AT_ONCE: usize = 8;

/// A file: each event is on disk before it counts.
#[derive(Debug, Clone)]
pub(super) struct File(Arc<RedbFile>);

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = RedbFile::new(path.to_owned());
        file.open()?;
        file.run(|database| {
            let begun = database.begin_write()?;
            begun.open_table(EVENTS)?;
            begun.open_table(SEEN)?;
            begun.open_table(AGES)?;
            begun.commit()?;
            Ok(())
        })?;
        Ok(Self(Arc::new(file)))
    }

    /// Does something with the file, where it may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.0);
        let ran = tokio::task::spawn_blocking(move || file.run(task)).await;
        let done = ran.map_err(|_panic| StoreError)?;
        done.map_err(|error| {
            tracing::error!(%error, "the file of events is in trouble");
            StoreError
        })
    }

    pub(super) async fn put(&self, notice: &Notice, now: Timestamp) -> Result<Put, StoreError> {
        let (name, text) = (name(notice), notice.to_stored());
        let stored = self.run(move |database| {
            let begun = database.begin_write()?;
            let stored = put_in(&begun, &name, &text, now)?;
            if stored == Some(Put::New) {
                begun.commit()?;
            } else {
                begun.abort()?;
            }
            Ok(stored)
        });
        stored.await?.ok_or(StoreError)
    }

    pub(super) async fn next(
        &self,
        most: usize,
        skip: BTreeSet<Place>,
    ) -> Result<Vec<(Place, Vec<u8>)>, StoreError> {
        self.run(move |database| {
            let events = database.begin_read()?.open_table(EVENTS)?;
            let mut found = Vec::new();
            for event in events.iter()? {
                if found.len() == most {
                    break;
                }
                let (number, text) = event?;
                let place = Place::Number(number.value());
                if !skip.contains(&place) {
                    found.push((place, text.value().to_vec()));
                }
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn remove(&self, number: u64) -> Result<(), StoreError> {
        self.run(move |database| {
            let begun = database.begin_write()?;
            begun.open_table(EVENTS)?.remove(number)?;
            begun.commit()?;
            Ok(())
        })
        .await
    }

    pub(super) async fn waiting(&self) -> Result<u64, StoreError> {
        self.run(|database| Ok(database.begin_read()?.open_table(EVENTS)?.len()?)).await
    }
}

/// Stores an event and its id; `None` if too many wait.
fn put_in(
    begun: &WriteTransaction,
    name: &str,
    text: &[u8],
    now: Timestamp,
) -> Result<Option<Put>, redb::Error> {
    let mut seen = begun.open_table(SEEN)?;
    let mut ages = begun.open_table(AGES)?;
    let mut events = begun.open_table(EVENTS)?;
    let remembered = i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX);
    let over = now.as_millisecond().saturating_sub(remembered);
    for _ in 0..FORGOTTEN_AT_ONCE {
        let is_full = seen.len()? >= MOST;
        let oldest = ages.first()?.map(|(age, _)| (age.value().0, age.value().1.to_owned()));
        let Some((at, oldest)) = oldest else { break };
        if at > over && !is_full {
            break;
        }
        ages.remove((at, &*oldest))?;
        seen.remove(&*oldest)?;
    }
    if seen.get(name)?.is_some() {
        return Ok(Some(Put::Seen));
    }
    if events.len()? >= MOST {
        return Ok(None);
    }
    let at = now.as_millisecond();
    seen.insert(name, at)?;
    ages.insert((at, name), ())?;
    let last = events.last()?.map(|(number, _)| number.value());
    events.insert(last.map_or(0, |last| last + 1), text)?;
    Ok(Some(Put::New))
}
