//! The record of one root field: a trail, as in audit trail, that is noted while it is answered.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Effect, EntityId, RootField, Subscription, UpstreamSpan};

/// One root field of a request on its way: resolvers, cache and upstream note on it what they
/// learn, and the record tells it at the end. Clones share their notes.
#[derive(Debug, Clone)]
pub struct Trail {
    /// The key in the answer: the alias, or the field's name.
    pub response_key: Arc<str>,
    /// The root field that it is to policy.
    pub field: RootField,
    /// The name of the operation: the root field's own, or a subscription's.
    pub operation: &'static str,
    notes: Arc<Mutex<Notes>>,
}

/// The facts about one root field.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// The entity that was asked for, created or changed.
    pub entity: Option<EntityId>,
    /// Its effect at Move, if it is a mutation.
    pub effect: Effect,
    /// The other entities that its arguments name, such as the take of a job.
    pub named: Vec<EntityId>,
    /// The end of a link that was made, as Move writes it.
    pub expires: Option<Box<str>>,
    /// The metadata that the caller gave: its length in bytes and its SHA-256, never its text.
    pub metadata: Option<(usize, [u8; 32])>,
    /// The cache's part in it.
    pub cache: Option<CacheStatus>,
    /// The age of the answer, if it came from the cache.
    pub age: Duration,
    /// The time for which what was read stays fresh, for each entity that was read; empty if it may not be
    /// kept.
    pub freshness: Vec<Freshness>,
    /// The moment at which its work began.
    pub began: Option<Instant>,
    /// The moment at which it ended.
    pub ended: Option<Instant>,
    /// The calls to Move, where its trace is kept.
    pub calls: Vec<UpstreamSpan>,
    /// The number of calls that went to Move.
    pub upstream_calls: u32,
    /// The rows of the index that were looked through.
    pub index_rows: usize,
    /// The time they took together.
    pub upstream_time: Duration,
    /// Move's id of the last of them.
    pub upstream_request_id: Option<Box<str>>,
}

/// A state of what is known of an entity; see `cache::Versions`.
#[derive(Debug, Clone)]
pub struct Version {
    /// The counter of the entity, which all who hold a version of it share.
    pub entity: Arc<AtomicU64>,
    /// The value of that counter.
    pub count: u64,
    /// The counter of its tenant.
    pub tenant: u32,
    /// The sum of the tenant's counter and everybody's.
    pub others: u64,
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entity, &other.entity)
            && (self.count, self.tenant, self.others) == (other.count, other.tenant, other.others)
    }
}

impl Eq for Version {}

/// Until when what was read of one entity may be given again, as long as its version stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The moment at which it was fetched.
    pub fetched: Timestamp,
    /// Until when it is fresh.
    pub until: Timestamp,
    /// The version that was fetched.
    pub version: Version,
}

/// The cache's part in a read, from best to worst: a request with several reads is as good as
/// its worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CacheStatus {
    /// A fresh answer.
    Hit,
    /// An answer past its time, which policy lets be given while upstream is asked or fails.
    Stale,
    /// Somebody was asking the same already.
    Coalesced,
    /// Nothing: upstream was asked.
    Miss,
}

impl CacheStatus {
    /// All of them, from best to worst.
    pub const ALL: [Self; 4] = [Self::Hit, Self::Stale, Self::Coalesced, Self::Miss];

    /// As `X-Cache`, metrics and audit show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Stale => "STALE",
            Self::Coalesced => "COALESCED",
            Self::Miss => "MISS",
        }
    }
}

impl Trail {
    /// The trail of a root field; nothing is known yet.
    #[must_use]
    pub fn new(response_key: impl Into<Arc<str>>, field: RootField) -> Self {
        let (response_key, operation) = (response_key.into(), field.name());
        Self { response_key, field, operation, notes: Arc::default() }
    }

    /// The trail of a subscription.
    #[must_use]
    pub fn following(response_key: impl Into<Arc<str>>, followed: Subscription) -> Self {
        Self { operation: followed.name(), ..Self::new(response_key, followed.read()) }
    }

    /// A trail that nobody reads: of work that goes on when its request is answered.
    #[must_use]
    pub fn unread(field: RootField) -> Self {
        Self::new("", field)
    }

    /// Returns true if somebody reads it.
    #[must_use]
    pub fn is_read(&self) -> bool {
        !self.response_key.is_empty()
    }

    /// Notes something. Nothing slow belongs into `note`.
    pub fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        // A panic while noting leaves notes that are still worth telling.
        note(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that its work begins.
    pub fn begin(&self) {
        self.note(|notes| *notes.began.get_or_insert_with(Instant::now));
    }

    /// Notes that its work is done.
    pub fn end(&self) {
        self.note(|notes| notes.ended = Some(Instant::now()));
    }

    /// Notes where the cache's answer came from and how old it is.
    pub fn note_cache(&self, status: CacheStatus, age: Duration) {
        self.note(|notes| {
            notes.cache = notes.cache.max(Some(status));
            notes.age = notes.age.max(age);
        });
    }
}
