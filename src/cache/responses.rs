//! Whole answers: the same question of the same tenant gets the stored bytes.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;
use jiff::Timestamp;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use super::{CacheSize, Versions};
use crate::model::{EntityId, MediaType, RequestMethod, RootField, RootFields, TenantId, Version};

/// The key of a whole answer: the question to the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseKey {
    /// Who asked: nothing is shared across tenants.
    pub tenant: TenantId,
    /// The method: an answer to a GET says how long it may be kept.
    pub method: RequestMethod,
    /// The media type of the answer.
    pub media_type: MediaType,
    /// The request: a body, or a GET's parameters.
    pub text: Bytes,
}

/// By who asked for which text: hardly any text comes by two methods, or for two media types.
impl Hash for ResponseKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tenant.hash(state);
        self.text.hash(state);
    }
}

/// An answer that may be given again.
#[derive(Debug)]
pub struct CachedResponse {
    /// Its bytes.
    pub body: Bytes,
    /// Its strong validator, once somebody asked for it.
    pub etag: OnceLock<Box<str>>,
    /// The moment at which the oldest part of it was fetched.
    pub fetched: Timestamp,
    /// Until when it is fresh.
    pub fresh_until: Timestamp,
    /// The versions of the entities in it.
    pub versions: Box<[Version]>,
    /// Its root fields of the Jobs API.
    pub roots: Box<[Root]>,
    /// The root fields that a caller must be allowed to get it.
    pub needs: RootFields,
    /// True if it tells of the schema.
    pub introspects: bool,
}

/// The time from which on an answer is remembered that is asked for again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptFrom {
    /// The first.
    FirstTime,
    /// The second: until then what is known of its entities makes it anew.
    SecondTime,
}

/// A root field of a stored answer.
#[derive(Debug)]
pub struct Root {
    /// The key in the answer.
    pub response_key: Arc<str>,
    /// The root field.
    pub field: RootField,
    /// The entity that was read.
    pub entity: Option<EntityId>,
}

impl CachedResponse {
    /// Its validator (RFC 9110, section 8.8.3), as a header has it. Only a GET needs it. It is weak: the
    /// same answer may be sent as it is or in gzip.
    pub fn etag(&self) -> &str {
        self.etag.get_or_init(|| {
            let hash = Sha256::digest(&self.body);
            // Half of it is far more than two versions of one answer need to differ.
            let half = hash.first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
            format!("W/\"{half:032x}\"").into()
        })
    }

    /// Returns the time since the oldest part of it was fetched.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.fetched)).unwrap_or_default()
    }

    /// Returns the time for which it stays fresh.
    #[must_use]
    pub fn max_age(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.fresh_until.duration_since(now)).unwrap_or_default()
    }
}

/// A cache of whole answers, bounded by bytes. It lives as long as the rules by which its answers
/// were made: a reload begins with an empty one.
#[derive(Debug)]
pub struct ResponseCache {
    stored: Cache<ResponseKey, Arc<CachedResponse>, RandomState>,
    versions: Arc<Versions>,
    max_bytes: u64,
    /// Hashes of questions that were asked once.
    asked: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// The size of an entry without its texts, in bytes.
const OVERHEAD: usize = 500;

/// The number of questions asked once that are kept in mind.
const ASKED: usize = 16_384;

impl ResponseCache {
    /// An empty cache that holds at most so many bytes.
    #[must_use]
    pub fn new(max_bytes: u64, versions: Arc<Versions>) -> Self {
        let stored = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|question: &ResponseKey, answer: &Arc<CachedResponse>| {
                let bytes = question.text.len() + answer.body.len() + OVERHEAD;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(RandomState::new());
        let asked = std::iter::repeat_with(AtomicU64::default).take(ASKED).collect();
        Self { stored, versions, max_bytes, asked, hasher: RandomState::new() }
    }

    /// The answer to a question, if it is fresh and of nothing in it anything newer is known.
    #[must_use]
    pub fn get(&self, question: &ResponseKey, now: Timestamp) -> Option<Arc<CachedResponse>> {
        let answer = self.stored.get(question)?;
        let is_good = now < answer.fresh_until
            && answer.versions.iter().all(|version| self.versions.is_current(version));
        is_good.then_some(answer)
    }

    /// Returns true if the answer to a question is worth its memory, and keeps the question in mind. Where others would
    /// have to make room, only one that was asked before is: what nobody repeats is not worth the work.
    #[must_use]
    pub fn is_worth_keeping(&self, question: &ResponseKey, from: Option<KeptFrom>) -> bool {
        let is_full = || self.stored.weighted_size() / 9 * 10 > self.max_bytes;
        from.is_some_and(|from| {
            self.was_asked(question) || (from == KeptFrom::FirstTime && !is_full())
        })
    }

    /// Remembers an answer.
    pub fn put(&self, question: ResponseKey, answer: Arc<CachedResponse>) {
        // What came in is part of a connection's buffer, which is larger than it.
        let text = Bytes::copy_from_slice(&question.text);
        self.stored.insert(ResponseKey { text, ..question }, answer);
    }

    fn was_asked(&self, question: &ResponseKey) -> bool {
        let hash = self.hasher.hash_one(question).max(1);
        let place = &self.asked[usize::try_from(hash).unwrap_or(0) % ASKED];
        place.swap(hash, Ordering::Relaxed) == hash
    }

    /// Returns the number of answers and their approximate size in bytes.
    #[must_use]
    pub fn size(&self) -> CacheSize {
        CacheSize { entries: self.stored.entry_count(), bytes: self.stored.weighted_size() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_from_the_first_or_the_second_time_that_it_is_asked_for() {
        let answers = ResponseCache::new(1 << 20, Arc::default());
        let now = Timestamp::UNIX_EPOCH;
        for (text, from, times) in [("a", KeptFrom::FirstTime, 1), ("b", KeptFrom::SecondTime, 2)] {
            let tenant = TenantId::parse("acme").expect("a name");
            let (method, media_type) = (RequestMethod::Post, MediaType::Json);
            let question = ResponseKey { tenant, method, media_type, text: Bytes::from(text) };
            for time in 1..=2 {
                let answer = CachedResponse {
                    body: Bytes::new(),
                    etag: OnceLock::new(),
                    fetched: now,
                    fresh_until: Timestamp::MAX,
                    versions: [].into(),
                    roots: [].into(),
                    needs: RootFields::ALL,
                    introspects: false,
                };
                if answers.is_worth_keeping(&question, Some(from)) {
                    answers.put(question.clone(), Arc::new(answer));
                }
                assert_eq!(answers.get(&question, now).is_some(), time >= times, "{text} {time}");
            }
        }
    }
}
