//! The second tier: what one replica fetched is known to all, and what one writes, all forget.
//!
//! An entry holds a stamp (three counters in Redis: the entity's, its tenant's, everybody's); it is good as
//! long as the stamp stands. Every write counts, and every read of Move's that is told: so no replica
//! tells of one what is older than what another one told. Entries are sealed
//! with a key of the gateway's: Redis learns no metadata and no URL, and nobody who can write to it
//! can make the gateway believe anything.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use futures_util::StreamExt;
use jiff::Timestamp;
use redis::aio::PubSub;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::log_place::LogPlace;
use super::{Key, Versions, feed_log};
use crate::model::{EntityId, EntityKind, Progress, Selection, TenantId};
use crate::shared_state::{PATIENCE, PREFIX, REST, SharedState};

/// The bytes of a nonce, which stands before the sealed text.
const NONCE: usize = 24;

/// Longest time an entry stays, whatever policy says; counters stay longer.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// The time for which the counter of an entity stays that nobody asks for any more: longer than its entry.
const COUNTER_STAYS: Duration = Duration::from_hours(24 * 8);

/// The number of words, that something was forgotten, which may be under way.
const ACKS_AT_ONCE: usize = 64;

/// The number of reads that could not be told and are remembered one by one.
const MAX_UNTOLD: usize = 256;

/// An entity as all replicas know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedEntry {
    /// The moment at which upstream began to be asked.
    pub fetched: Timestamp,
    /// The rules by which it was judged: with others it says nothing.
    pub rules: [u8; 32],
    /// The fields that were asked for.
    pub selection: Arc<Selection>,
    /// The entity as Move sent it, JSON text; `None` if it is not the tenant's to see.
    // In Redis under the name that replicas of older versions know.
    #[serde(rename = "job")]
    pub entity: Option<String>,
}

/// The counters of an entity before it is fetched. Without one nothing is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp([u64; 3]);

#[derive(Serialize, Deserialize)]
struct Sealed {
    stamp: Stamp,
    entry: SharedEntry,
}

/// The tier in Redis.
pub struct SharedTier {
    state: Arc<SharedState>,
    cipher: XChaCha20Poly1305,
    replica: String,
    /// True if a write could not be told: then nothing in Redis is believed until it could.
    owes: AtomicBool,
    /// Entities whose reads could not be told, and how far the jobs among them had come: nothing in Redis is believed of
    /// them until it could.
    untold: Mutex<HashMap<Key, Option<Progress>>>,
    next_message: AtomicU64,
    /// Writes that wait for the others to have forgotten, by message.
    waiting: Mutex<HashMap<u64, Arc<Semaphore>>>,
}

/// A write that is to be told to the others: owed unless it was, also where whoever tells it is dropped
/// half way.
struct Debt<'a> {
    owes: &'a AtomicBool,
    is_paid: bool,
}

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        if !self.is_paid {
            self.owes.store(true, Ordering::SeqCst);
        }
    }
}

/// A write that waits for the others, for as long as this lives.
struct Waiting<'a> {
    tier: &'a SharedTier,
    id: u64,
}

impl<'a> Waiting<'a> {
    fn begin(tier: &'a SharedTier, id: u64, forgotten: &Arc<Semaphore>) -> Self {
        tier.waiting().insert(id, Arc::clone(forgotten));
        Self { tier, id }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.tier.waiting().remove(&self.id);
    }
}

impl fmt::Debug for SharedTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTier").field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// An entry and the three counters, as Redis has them.
type Values = (Option<Vec<u8>>, Option<u64>, Option<u64>, Option<u64>);

/// A message to all replicas that an entity, all of a tenant's, or everything is to be forgotten.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Message {
    from: String,
    id: u64,
    tenant: Option<String>,
    /// Its kind and its id.
    #[serde(default)]
    entity: Option<(EntityKind, String)>,
    /// The progress of the job, if it was read and not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Progress>,
    /// Its place among the changes of the tenant's jobs, which Redis adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

fn forget_channel() -> String {
    format!("{PREFIX}forget")
}

fn ack_channel(replica: &str) -> String {
    format!("{PREFIX}forgotten:{replica}")
}

fn entry_key(key: &Key) -> String {
    format!("{PREFIX}{}:{}:{}", key.id.kind(), key.tenant, key.id)
}

fn counter_of_entity(key: &Key) -> String {
    format!("{PREFIX}writes:{}:{}", key.tenant, key.id)
}

pub(super) fn counter_of_tenant(tenant: &TenantId) -> String {
    format!("{PREFIX}writes:{tenant}")
}

pub(super) fn counter_of_all() -> String {
    format!("{PREFIX}writes")
}

impl SharedTier {
    /// Returns true if Redis answered last time, or was not asked yet.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.state.is_well()
    }

    /// A tier whose entries are sealed with a key made of `secret`, the same on every replica.
    #[must_use]
    pub fn new(state: Arc<SharedState>, secret: &[u8; 32]) -> Self {
        let key =
            Sha256::new().chain_update(b"jobs-gateway cache v1").chain_update(secret).finalize();
        Self {
            state,
            cipher: XChaCha20Poly1305::new(&key),
            replica: uuid::Uuid::new_v4().to_string(),
            owes: AtomicBool::new(false),
            untold: Mutex::default(),
            next_message: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Returns the Redis that it is in.
    pub(super) const fn state(&self) -> &Arc<SharedState> {
        &self.state
    }

    /// Returns an entity's entry and its stamp now; no stamp if Redis is in trouble.
    pub async fn get(&self, key: &Key) -> (Option<SharedEntry>, Option<Stamp>) {
        if self.owes.load(Ordering::SeqCst) || self.untold().contains_key(key) {
            return (None, None);
        }
        let keys = [
            entry_key(key),
            counter_of_entity(key),
            counter_of_tenant(&key.tenant),
            counter_of_all(),
        ];
        // One by one, for the keys of an MGET would have to be in one slot of a Redis Cluster. A write in
        // between changes a counter: then the entry is not believed, or what is fetched is not.
        let mut pipeline = redis::pipe();
        for key in &keys {
            pipeline.get(key);
        }
        let ask = async |redis: &mut _| pipeline.query_async(redis).await;
        let Some((sealed, entity, tenant, all)) = self.state.run::<Values>(ask).await else {
            return (None, None);
        };
        let stamp = Stamp([entity, tenant, all].map(Option::unwrap_or_default));
        let entry = sealed
            .and_then(|sealed| self.open(&keys[0], &sealed))
            .filter(|sealed| sealed.stamp == stamp)
            .map(|sealed| sealed.entry);
        (entry, Some(stamp))
    }

    /// Tells all replicas that an entity was read from Move after its stamp was taken, and waits (20 ms at
    /// most) until they have forgotten what they knew, which is older. What was read is stored for as
    /// long as it is of use, if it may be; `seen` is what others may tell of a job. Gives false if something else was told or written since the
    /// stamp was taken: nobody knows then what is newer, and nothing is kept.
    pub async fn land(
        &self,
        key: &Key,
        stamp: Option<Stamp>,
        known: Option<(SharedEntry, Duration)>,
        seen: Option<Progress>,
    ) -> bool {
        let (entry, counter) = (entry_key(key), counter_of_entity(key));
        let landed = stamp.map(|Stamp([entity, tenant, all])| Stamp([entity + 1, tenant, all]));
        let sealed = landed.clone().zip(known).and_then(|(stamp, (known, stays))| {
            let stays = u64::try_from(stays.min(LONGEST).as_millis()).ok().filter(|ms| *ms > 0)?;
            Some((self.seal(&entry, &Sealed { stamp, entry: known })?, stays))
        });
        let mut pipeline = redis::pipe();
        pipeline.incr(&counter, 1);
        pipeline.expire(&counter, COUNTER_STAYS.as_secs().cast_signed()).ignore();
        match sealed {
            Some((sealed, stays)) => pipeline.pset_ex(&entry, sealed, stays).ignore(),
            None => pipeline.del(&entry).ignore(),
        };
        let told = self.tell(pipeline, Some(&key.tenant), Some(&key.id), seen.clone()).await;
        if let Some([count, ..]) = told.as_deref() {
            return landed.is_none_or(|landed| landed.0[0] == *count);
        }
        let mut untold = self.untold();
        if untold.len() < MAX_UNTOLD {
            untold.insert(key.clone(), seen);
        } else {
            self.owes.store(true, Ordering::SeqCst);
        }
        // Whoever is alone goes on with what it knows itself.
        true
    }

    /// Makes all replicas forget an entity of a tenant's, or all of them, and waits (20 ms at most) until
    /// they have.
    pub async fn forget(&self, tenant: &TenantId, id: Option<&EntityId>) {
        self.void(tenant, id, None).await;
    }

    /// Makes the other replicas forget what they know of something that a listing tells, which shows a job to be so
    /// far, and waits (20 ms at most) until they have.
    pub async fn listed(&self, key: &Key, seen: Progress) {
        self.void(&key.tenant, Some(&key.id), Some(seen)).await;
    }

    async fn void(&self, tenant: &TenantId, id: Option<&EntityId>, seen: Option<Progress>) {
        // No transaction, whose keys would have to be in one slot of a Redis Cluster: once the counter is
        // counted, the rest is of no consequence.
        let mut pipeline = redis::pipe();
        if let Some(id) = id {
            let key = Key::new(tenant.clone(), id.clone());
            let counter = counter_of_entity(&key);
            pipeline.incr(&counter, 1).ignore();
            pipeline.expire(&counter, COUNTER_STAYS.as_secs().cast_signed()).ignore();
            pipeline.del(entry_key(&key)).ignore();
        } else {
            pipeline.incr(counter_of_tenant(tenant), 1).ignore();
        }
        let mut debt = Debt { owes: &self.owes, is_paid: false };
        debt.is_paid = self.tell(pipeline, Some(tenant), id, seen).await.is_some();
    }

    /// Publishes at the end of a pipeline, and waits for every other replica's word. Gives the numbers
    /// that came back.
    async fn tell(
        &self,
        mut pipeline: redis::Pipeline,
        tenant: Option<&TenantId>,
        entity: Option<&EntityId>,
        seen: Option<Progress>,
    ) -> Option<Vec<u64>> {
        let (id, message) = self.message(tenant, entity, seen.clone());
        match tenant.zip(entity).filter(|(_, entity)| feed_log::is_told(entity, seen.as_ref())) {
            Some((tenant, job)) => {
                let told = (forget_channel(), message);
                feed_log::tell(&mut pipeline, tenant, job, seen.as_ref(), told);
            }
            None => drop(pipeline.publish(forget_channel(), message)),
        }
        let forgotten = Arc::new(Semaphore::new(0));
        let _waiting = Waiting::begin(self, id, &forgotten);
        let told = self
            .state
            .run(async |redis: &mut _| pipeline.query_async::<Vec<u64>>(redis).await)
            .await;
        if let Some([.., receivers]) = told.as_deref() {
            // Every replica answers, this one too.
            let receivers = u32::try_from(*receivers).unwrap_or(u32::MAX);
            let _ = timeout(PATIENCE, forgotten.acquire_many(receivers)).await;
        }
        told
    }

    #[expect(clippy::expect_used, reason = "texts and numbers are always JSON")]
    fn message(
        &self,
        tenant: Option<&TenantId>,
        entity: Option<&EntityId>,
        seen: Option<Progress>,
    ) -> (u64, String) {
        let id = self.next_message.fetch_add(1, Ordering::Relaxed);
        let tenant = tenant.map(ToString::to_string);
        let entity = entity.map(|id| (id.kind(), id.to_string()));
        let from = self.replica.clone();
        let message = Message { from, id, tenant, entity, seen, place: None };
        (id, serde_json::to_string(&message).expect("it is JSON"))
    }

    /// The name of this replica.
    pub(super) fn replica(&self) -> &str {
        &self.replica
    }

    fn untold(&self) -> MutexGuard<'_, HashMap<Key, Option<Progress>>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Semaphore>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what other replicas write, until the task is aborted. Whenever the connection was
    /// lost, messages may have been too: then everything is forgotten.
    pub async fn follow(&self, versions: &Versions) {
        let (forget, ack) = (forget_channel(), ack_channel(&self.replica));
        let mut moves = self.state.moves();
        loop {
            moves.mark_unchanged();
            let Some(mut messages) = self.state.subscribe(&[&forget, &ack]).await else {
                continue;
            };
            versions.forget_all();
            // Side by side: a Redis that is slow to answer must not keep a message waiting.
            tokio::select! {
                () = self.heed_all(&mut messages, versions, &ack) => {}
                () = self.beat(&forget) => {}
                // Messages come from the server that is written to.
                _ = moves.changed() => {}
            }
        }
    }

    /// Heeds messages until the connection is lost. What is to be forgotten is forgotten in their order;
    /// the words that it was are sent side by side.
    async fn heed_all(&self, messages: &mut PubSub, versions: &Versions, ack: &str) {
        let heeding =
            messages.on_message().for_each_concurrent(ACKS_AT_ONCE, |message| async move {
                if message.get_channel_name() == ack {
                    let id = message.get_payload::<u64>().unwrap_or(u64::MAX);
                    if let Some(waiting) = self.waiting().get(&id) {
                        waiting.add_permits(1);
                    }
                } else if let Ok(text) = message.get_payload::<String>() {
                    self.heed(&text, versions).await;
                }
            });
        heeding.await;
    }

    /// Looks after Redis every [`REST`], for ever.
    async fn beat(&self, forget: &str) {
        let mut ticks = tokio::time::interval(REST);
        loop {
            ticks.tick().await;
            self.state.probe().await;
            self.pay().await;
            self.state.count_replicas(forget).await;
        }
    }

    /// Tells what could not be told while Redis was away: which entities were read; to forget everything,
    /// if something was written.
    async fn pay(&self) {
        let untold = self.untold().clone();
        if !untold.is_empty() {
            let mut pipeline = redis::pipe();
            for (key, seen) in &untold {
                let (_, message) = self.message(Some(&key.tenant), Some(&key.id), seen.clone());
                pipeline.incr(counter_of_entity(key), 1).ignore().del(entry_key(key)).ignore();
                if feed_log::is_told(&key.id, seen.as_ref()) {
                    let told = (forget_channel(), message);
                    feed_log::tell(&mut pipeline, &key.tenant, &key.id, seen.as_ref(), told);
                } else {
                    pipeline.publish(forget_channel(), message);
                }
                pipeline.ignore();
            }
            let ask = async |redis: &mut _| pipeline.query_async::<()>(redis).await;
            if self.state.run(ask).await.is_some() {
                self.untold().retain(|key, seen| untold.get(key) != Some(seen));
            }
        }
        if self.owes.load(Ordering::SeqCst) {
            let mut pipeline = redis::pipe();
            let (_, message) = self.message(None, None, None);
            pipeline.incr(counter_of_all(), 1).ignore();
            pipeline.publish(forget_channel(), message).ignore();
            let ask = async |redis: &mut _| pipeline.query_async::<()>(redis).await;
            if self.state.run(ask).await.is_some() {
                self.owes.store(false, Ordering::SeqCst);
            }
        }
    }

    async fn heed(&self, text: &str, versions: &Versions) {
        let Ok(message) = serde_json::from_str::<Message>(text) else { return };
        let tenant = message.tenant.as_deref().and_then(|text| TenantId::parse(text).ok());
        let id = message.entity.and_then(|(kind, text)| EntityId::parse(kind, &text).ok());
        if let (Some(tenant), Some(place)) =
            (&tenant, message.place.as_deref().and_then(LogPlace::parse))
        {
            versions.hub().hear(tenant, place);
        }
        match (tenant, id) {
            // What this replica wrote or read itself, it has counted already.
            (Some(_), Some(_)) if message.from == self.replica => {}
            (Some(tenant), Some(id)) => {
                let key = Key::new(tenant, id);
                if message.place.is_some() {
                    // It is a change by what all replicas know, also where this one does not know the job.
                    versions.hub().expect(&key);
                }
                match &message.seen {
                    Some(progress) => versions.forget_seen(&key, progress),
                    None => versions.forget_entity(&key),
                }
            }
            (Some(tenant), None) => versions.forget_tenant(&tenant),
            (None, _) => versions.forget_all(),
        }
        let channel = ack_channel(&message.from);
        let ask = async |redis: &mut _| {
            redis::cmd("PUBLISH").arg(channel).arg(message.id).query_async(redis).await
        };
        let _told: Option<u32> = self.state.run(ask).await;
    }

    fn seal(&self, name: &str, sealed: &Sealed) -> Option<Vec<u8>> {
        let text = serde_json::to_vec(sealed).ok()?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload { msg: &text, aad: name.as_bytes() };
        let body = self.cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some([nonce.as_slice(), &body].concat())
    }

    /// Opens an entry. One that does not open (another key, another version, somebody's tampering) is not there.
    fn open(&self, name: &str, sealed: &[u8]) -> Option<Sealed> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: body, aad: name.as_bytes() };
        let text = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        serde_json::from_slice(&text).ok()
    }
}
