//! The events that came in and are still to be looked into, and the ids of those that came before.
//!
//! Both are one decision: whoever was told that an event was taken sends it no more.

mod file;
mod memory;
mod redis;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::notice::Notice;
use crate::redb_file::OpenError;
use crate::shared_state::SharedState;
use file::File;
use memory::Memory;
use redis::Redis;

/// The time for which an event's id is remembered. Svix sends for 28 hours; a person may have it sent again later.
const REMEMBERED: Duration = Duration::from_hours(24 * 8);

/// The most ids that are remembered, and the most events that may wait.
const MOST: u64 = 100_000;

/// The store gives no answer; which part of it was in trouble is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store of events gives no answer")]
pub struct StoreError;

/// The fate of an event that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    New,
    /// It came before.
    Seen,
}

/// The place of an event in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Its number in this process's file or memory.
    Number(u64),
    /// Its id in a stream of Redis.
    Stream(String),
}

/// An event that this process looks into, until this is dropped.
#[derive(Debug)]
pub struct Taken {
    /// The event.
    pub notice: Notice,
    /// Its place.
    pub place: Place,
    hands: Hands,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.hands.lock().remove(&self.place);
    }
}

/// The places of the events that this process looks into.
#[derive(Debug, Clone, Default)]
struct Hands(Arc<Mutex<BTreeSet<Place>>>);

impl Hands {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event, unless it is taken.
    fn take(&self, place: Place, notice: Notice) -> Option<Taken> {
        let is_free = self.lock().insert(place.clone());
        is_free.then(|| Taken { notice, place, hands: self.clone() })
    }
}

/// A store and what is in hand of it.
#[derive(Debug)]
pub struct Store {
    kind: Kind,
    hands: Hands,
}

#[derive(Debug)]
enum Kind {
    /// This process's memory, which ends with it.
    Memory(Memory),
    /// A file of this process's own.
    File(File),
    /// Redis, for all replicas.
    Redis(Redis),
}

impl Store {
    /// Keeps events in memory.
    #[must_use]
    pub fn memory() -> Self {
        Self { kind: Kind::Memory(Memory::default()), hands: Hands::default() }
    }

    /// Keeps events in a file, each on disk before it counts.
    ///
    /// # Errors
    /// When the file cannot be opened, or another process has it.
    pub fn file(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { kind: Kind::File(File::open(path)?), hands: Hands::default() })
    }

    /// Keeps events in Redis.
    #[must_use]
    pub fn redis(state: Arc<SharedState>) -> Self {
        Self { kind: Kind::Redis(Redis::new(state)), hands: Hands::default() }
    }

    /// Stores an event and its id together, unless the id is known.
    ///
    /// # Errors
    /// When neither is stored for certain, or too many wait already: it must come again.
    pub async fn put(&self, notice: &Notice, now: Timestamp) -> Result<Put, StoreError> {
        match &self.kind {
            Kind::Memory(memory) => memory.put(notice, now),
            Kind::File(file) => file.put(notice, now).await,
            Kind::Redis(redis) => redis.put(notice).await,
        }
    }

    /// Takes up to `most` events that nobody looks into. One that cannot be read is removed.
    ///
    /// # Errors
    /// When the store gives no answer.
    pub async fn take(&self, most: usize) -> Result<Vec<Taken>, StoreError> {
        let skip = || self.hands.lock().clone();
        let found = match &self.kind {
            Kind::Memory(memory) => memory.next(most, &skip()),
            Kind::File(file) => file.next(most, skip()).await?,
            Kind::Redis(redis) => redis.next(most).await?,
        };
        let mut taken = Vec::new();
        for (place, text) in found {
            match Notice::from_stored(&text) {
                Some(notice) => taken.extend(self.hands.take(place, notice)),
                None => self.remove(&place).await?,
            }
        }
        Ok(taken)
    }

    /// Keeps other replicas from taking what this process has in hand. To be called every [`Store::HOLD_EVERY`].
    pub async fn hold(&self) {
        if let Kind::Redis(redis) = &self.kind {
            let places = self.hands.lock().clone();
            redis.hold(&places).await;
        }
    }

    /// The interval at which what is in hand is held.
    pub const HOLD_EVERY: Duration = Duration::from_secs(5);

    /// Removes an event that was looked into.
    ///
    /// # Errors
    /// When the store gives no answer: it will be looked into again.
    pub async fn done(&self, taken: &Taken) -> Result<(), StoreError> {
        self.remove(&taken.place).await
    }

    async fn remove(&self, place: &Place) -> Result<(), StoreError> {
        match (&self.kind, place) {
            (Kind::Memory(memory), Place::Number(number)) => memory.remove(*number),
            (Kind::File(file), Place::Number(number)) => return file.remove(*number).await,
            (Kind::Redis(redis), Place::Stream(id)) => return redis.remove(id).await,
            // A store takes back its own places alone.
            (Kind::Memory(_) | Kind::File(_), Place::Stream(_))
            | (Kind::Redis(_), Place::Number(_)) => {}
        }
        Ok(())
    }

    /// Returns the number of events that wait or are looked into.
    ///
    /// # Errors
    /// When the store gives no answer.
    pub async fn waiting(&self) -> Result<u64, StoreError> {
        match &self.kind {
            Kind::Memory(memory) => Ok(memory.waiting()),
            Kind::File(file) => file.waiting().await,
            Kind::Redis(redis) => redis.waiting().await,
        }
    }
}

/// The name of an event among those that were seen: ids are each account's own.
fn name(notice: &Notice) -> String {
    format!("{} {}", notice.account_name(), notice.event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AccountId;
    use crate::webhooks::verify::EventId;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn notice(event: &str) -> Notice {
        let event = EventId::parse(event).expect("an id");
        let body = br#"{"detail": {"job_id": "1"}}"#;
        Notice::read(&AccountId::Shared, &event, body, NOW).expect("an event")
    }

    async fn behaves(store: &Store) {
        assert_eq!(store.put(&notice("a"), NOW).await, Ok(Put::New));
        assert_eq!(store.put(&notice("a"), NOW).await, Ok(Put::Seen));
        assert_eq!(store.put(&notice("b"), NOW).await, Ok(Put::New));
        assert_eq!(store.waiting().await, Ok(2));
        let one = store.take(1).await.expect("an answer");
        assert_eq!(one.iter().map(|taken| &*taken.notice.event).collect::<Vec<_>>(), ["a"]);
        let rest = store.take(9).await.expect("an answer");
        assert_eq!(rest.iter().map(|taken| &*taken.notice.event).collect::<Vec<_>>(), ["b"]);
        assert!(store.take(9).await.expect("an answer").is_empty(), "both are in hand");
        store.done(&one[0]).await.expect("an answer");
        drop((one, rest));
        let again = store.take(9).await.expect("an answer");
        assert_eq!(again.iter().map(|taken| &*taken.notice.event).collect::<Vec<_>>(), ["b"]);
        store.done(&again[0]).await.expect("an answer");
        assert_eq!(store.waiting().await, Ok(0));
        assert_eq!(store.put(&notice("a"), NOW).await, Ok(Put::Seen), "also when it is done");
        let later = NOW + REMEMBERED;
        assert_eq!(store.put(&notice("c"), later).await, Ok(Put::New));
        assert_eq!(store.put(&notice("a"), later).await, Ok(Put::New), "it was long ago");
    }

    #[tokio::test]
    async fn an_event_is_stored_once_taken_once_and_there_until_it_is_done() {
        behaves(&Store::memory()).await;
        let folder = tempfile::tempdir().expect("a folder");
        behaves(&Store::file(&folder.path().join("events.redb")).expect("a file")).await;
    }

    #[tokio::test]
    async fn what_was_in_hand_when_a_process_ended_is_there_for_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/events.redb");
        let store = Store::file(&path).expect("a file");
        assert_eq!(store.put(&notice("a"), NOW).await, Ok(Put::New));
        let taken = store.take(9).await.expect("an answer");
        assert!(Store::file(&path).is_err(), "it is open already");
        drop((taken, store));
        let store = Store::file(&path).expect("a file");
        assert_eq!(store.put(&notice("a"), NOW).await, Ok(Put::Seen));
        assert_eq!(store.take(9).await.expect("an answer").len(), 1);
    }
}
