//! Exactly one job: what became of mutations that carry an `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header), remembered for as long as callers may send them
//! again.
//!
//! A mutation is entered as running before it is made, and its answer beside it afterwards. Whoever
//! finds an entry that says "running" and nobody who runs it, or "unknown", goes on with a mutation
//! that has to look first: the jobs upstream carry the mark that tells which key made them.

mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use store::{Store, Trouble};

use crate::model::{Clock, CreationMark, TenantId};
use crate::shared_state::SharedState;
use crate::telemetry::metrics;

pub use store::OpenError;

/// How often somebody looks whether the first is done.
const POLL: Duration = Duration::from_millis(50);

/// How long after its deadline a mutation may still be ending.
const LEEWAY: Duration = Duration::from_secs(5);

/// Longest answer that is remembered, in bytes; of longer ones only that they were given.
const MAX_ANSWER: usize = 256 * 1024;

/// How far back one looks for jobs where nothing is remembered.
const LOOK_BACK: Duration = Duration::from_hours(1);

/// A tenant's key, as its SHA-256: nobody else's and of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key that a tenant gave.
    #[must_use]
    pub fn of(tenant: &TenantId, key: &str) -> Self {
        let hash = Sha256::new().chain_update(tenant.as_str()).chain_update([0]).chain_update(key);
        Self(hash.finalize().into())
    }
}

/// What is remembered, and where.
#[derive(Debug)]
pub struct Idempotency {
    main: Store,
    /// This process's own memory, for as long as the main store is in trouble.
    spare: Store,
    keep: Duration,
    /// This process: what another one ran and did not end is nobody's.
    process: String,
    clock: Clock,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    /// Of the operation and its variables, in base64url.
    fingerprint: String,
    began: Timestamp,
    expires: Timestamp,
    state: State,
}

#[derive(Serialize, Deserialize)]
enum State {
    /// Until `lease`, unless it ends before.
    Running { process: String, lease: Timestamp },
    /// It may or may not have happened.
    Unknown,
    /// The answer's body.
    Answered(Box<RawValue>),
}

impl Entry {
    fn to_bytes(&self) -> Bytes {
        // Texts and times: nothing here can fail to become JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// What a mutation finds.
#[derive(Debug)]
pub enum Begun {
    /// Nothing: it is to be made, and the claim to be ended.
    Claimed(Claim),
    /// It was made before: the body of its answer.
    Answered(Bytes),
    /// The key was used before, with another operation or other variables.
    Conflict,
    /// The first is still running, and there is no more time to wait for it.
    Running,
}

/// The right to make a mutation.
#[derive(Debug)]
pub struct Claim {
    key: Key,
    in_spare: bool,
    fingerprint: String,
    began: Timestamp,
    expires: Timestamp,
    written: Bytes,
    /// For the jobs it creates.
    pub mark: CreationMark,
}

/// How a mutation ended.
#[derive(Debug)]
pub enum Outcome {
    /// All of it was done; the body of the answer.
    Done(Bytes),
    /// Nothing of it was done: it may be made again.
    Nothing,
    /// Some of it may have been done.
    Unknown,
}

impl Idempotency {
    /// Remembers in this process's memory alone.
    #[must_use]
    pub fn in_memory(keep: Duration, clock: Clock) -> Self {
        Self::new(Store::memory(keep), keep, clock)
    }

    /// Remembers in a file, which is this process's alone.
    ///
    /// # Errors
    /// When it cannot be made, or is another process's.
    pub fn in_file(path: &Path, keep: Duration, clock: Clock) -> Result<Self, OpenError> {
        Ok(Self::new(Store::file(path)?, keep, clock))
    }

    /// Remembers in Redis, for all replicas.
    #[must_use]
    pub fn shared(state: Arc<SharedState>, keep: Duration, clock: Clock) -> Self {
        Self::new(Store::redis(state), keep, clock)
    }

    fn new(main: Store, keep: Duration, clock: Clock) -> Self {
        let process = uuid::Uuid::new_v4().to_string();
        Self { main, spare: Store::memory(keep), keep, process, clock }
    }

    /// Enters a mutation that has until `deadline`, or finds that it was made before. Waits for one
    /// of the same key that is running.
    pub async fn begin(&self, key: Key, fingerprint: [u8; 32], deadline: Instant) -> Begun {
        let fingerprint = URL_SAFE_NO_PAD.encode(fingerprint);
        let begun = self.begin_in(&self.main, key, &fingerprint, deadline).await;
        let begun = if let Ok(begun) = begun {
            begun
        } else {
            metrics::idempotent_mutation("unremembered");
            let begun = self.begin_in(&self.spare, key, &fingerprint, deadline).await;
            begun.unwrap_or(Begun::Running)
        };
        metrics::idempotent_mutation(match &begun {
            Begun::Claimed(Claim { mark, .. }) if mark.look_since.is_some() => "looked_up",
            Begun::Claimed(_) => "first",
            Begun::Answered(_) => "replayed",
            Begun::Conflict | Begun::Running => "conflict",
        });
        begun
    }

    async fn begin_in(
        &self,
        store: &Store,
        key: Key,
        fingerprint: &String,
        deadline: Instant,
    ) -> Result<Begun, Trouble> {
        let in_spare = std::ptr::eq(store, &raw const self.spare);
        loop {
            let now = self.clock.now();
            let current = store.get(key).await?;
            let entry = current.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok());
            let look_since = match entry.filter(|entry: &Entry| entry.expires > now) {
                None => in_spare.then(|| now - LOOK_BACK),
                Some(entry) if entry.fingerprint != *fingerprint => return Ok(Begun::Conflict),
                Some(Entry { state: State::Answered(body), .. }) => {
                    return Ok(Begun::Answered(body.get().to_owned().into()));
                }
                Some(Entry { state: State::Running { process, lease }, .. })
                    if lease > now && (store.is_shared() || process == self.process) =>
                {
                    if Instant::now() + POLL >= deadline {
                        return Ok(Begun::Running);
                    }
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                Some(entry) => Some(entry.began),
            };
            let lease = now + deadline.saturating_duration_since(Instant::now()) + LEEWAY;
            let (began, expires) = (look_since.unwrap_or(now), now + self.keep);
            let running = Entry {
                fingerprint: fingerprint.clone(),
                began,
                expires,
                state: State::Running { process: self.process.clone(), lease },
            };
            let written = running.to_bytes();
            if store.swap(key, current, Some(written.clone()), self.keep).await? {
                let mark = CreationMark { key: key.0, look_since };
                let fingerprint = running.fingerprint;
                let claim = Claim { key, in_spare, fingerprint, began, expires, written, mark };
                return Ok(Begun::Claimed(claim));
            }
            // Somebody else was quicker: see what they entered.
        }
    }

    /// Enters how a mutation ended. Where that cannot be entered, the entry says that it is running
    /// until its lease is over, and then that it is unknown.
    pub async fn end(&self, claim: Claim, outcome: Outcome) {
        let Claim { key, in_spare, fingerprint, began, expires, written, .. } = claim;
        let answered = match outcome {
            Outcome::Nothing => None,
            Outcome::Done(body) if body.len() <= MAX_ANSWER => {
                serde_json::from_slice(&body).ok().map(State::Answered).or(Some(State::Unknown))
            }
            Outcome::Done(_) | Outcome::Unknown => Some(State::Unknown),
        };
        let ended = answered.map(|state| Entry { fingerprint, began, expires, state }.to_bytes());
        let store = if in_spare { &self.spare } else { &self.main };
        if !matches!(store.swap(key, Some(written), ended, self.keep).await, Ok(true)) {
            tracing::warn!("how a mutation ended is not remembered: a retry will look for its job");
        }
    }

    /// Forgets what is past its time, where the store does not do that by itself.
    pub async fn sweep(&self) {
        let now = self.clock.now();
        let is_over = move |bytes: &[u8]| {
            serde_json::from_slice(bytes).map_or(true, |entry: Entry| entry.expires <= now)
        };
        self.main.sweep(is_over).await;
    }
}
