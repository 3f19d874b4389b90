//! Exactly one job: what became of mutations that carry an `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header), remembered for as long as callers may send them
//! again.
//!
//! A mutation is entered as running before it is made, and which jobs it made or changed afterwards.
//! Whoever finds an entry that is not certain, or none where one may be missing, goes on with a
//! mutation that has to look first: what it writes upstream carries a mark of its key. A mutation that
//! was done is answered by reading its jobs again.
//!
//! Entries may be missing that were made before the store began, or while it was in trouble. The store
//! itself knows since when it is complete, so that every replica looks back far enough.

mod entry;
mod recovery;
#[cfg(test)]
mod simulation;
mod store;
mod turns;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use entry::{After, Entry, State, Stored};
use store::{Bounds, Store, StoreError, Swap, Swapped};
use turns::{Turn, Turns};

use crate::model::{Clock, Effect, KeyedMutation, Look, OnTrouble, TenantId};
use crate::redb_file::OpenError;
use crate::seal::Seal;
use crate::shared_state::SharedState;
use crate::telemetry::metrics;

/// The interval at which somebody looks whether the first is done.
const POLL: Duration = Duration::from_millis(50);

/// The time for which a mutation waits for the main store to be well again where it refuses at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time after its deadline for which a mutation may still be ending.
const LEEWAY: Duration = Duration::from_secs(5);

/// The number of keys of one tenant this process's memory holds: some megabytes.
const MAX_IN_MEMORY: u64 = 20_000;

/// A tenant's key: the tenant, and a SHA-256 that is nobody else's and of one length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    tenant: TenantId,
    hash: [u8; 32],
}

impl Key {
    /// The key that a tenant gave.
    #[must_use]
    pub fn of(tenant: &TenantId, key: &str) -> Self {
        let hash = Sha256::new().chain_update(tenant.as_str()).chain_update([0]).chain_update(key);
        Self { tenant: tenant.clone(), hash: hash.finalize().into() }
    }

    /// The hash, in base64url.
    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.hash)
    }

    fn name(&self) -> String {
        format!("{}:{}", self.tenant, self.text())
    }
}

/// The bounds of what is remembered, and what is done where nothing can be.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// For how long.
    pub keep: Duration,
    /// Keys of one tenant at once.
    pub max_keys: u64,
    /// The fate of a mutation while the store is in trouble.
    pub on_trouble: OnTrouble,
}

/// The memory of mutations that carry a key.
#[derive(Debug)]
pub struct Idempotency {
    main: Store,
    /// This process's own memory, for as long as the main store is in trouble.
    spare: Store,
    /// Up to which of the main store's disturbances everybody knows that entries may be missing.
    mended: AtomicU64,
    turns: Turns,
    keep: Duration,
    on_trouble: OnTrouble,
    seal: Seal,
    /// This process: what another one ran and did not end is nobody's.
    process: String,
    clock: Clock,
}

/// The finding of a mutation that is about to begin.
#[derive(Debug)]
pub enum Begun {
    /// It is to be made, and the claim to be ended.
    Claimed(Box<Claim>),
    /// All of it was done before: its jobs are to be read.
    Done(KeyedMutation),
    /// The key was used before, with another operation or other variables.
    Conflict,
    /// The first is still running, and there is no more time to wait for it.
    Running,
    /// The tenant has as many keys as it may, until then at least.
    Full {
        /// The moment at which the first of them is forgotten.
        until: Timestamp,
    },
    /// The key cannot be entered, and that is what a mutation needs here ([`OnTrouble::Refuse`]).
    Unavailable,
}

/// The right to make a mutation.
#[derive(Debug)]
pub struct Claim {
    /// The mutation, and what earlier tries did.
    pub mutation: KeyedMutation,
    /// The place where it is entered.
    pub place: Place,
    entry: Entry,
    _turn: Turn,
}

/// The place of an entry, and what was written there.
#[derive(Debug, Clone)]
pub struct Place {
    key: Key,
    in_spare: bool,
    written: Bytes,
}

/// A mutation that is to be entered.
struct Lookup<'a> {
    key: &'a Key,
    fingerprint: String,
    deadline: Instant,
}

/// The decision that an entry allows.
enum Found {
    Begun(Begun),
    Claimed(Entered),
}

/// An entry that was written, or sent to be.
struct Entered {
    mutation: KeyedMutation,
    entry: Entry,
    written: Bytes,
}

impl Idempotency {
    /// Remembers in this process's memory alone.
    #[must_use]
    pub fn in_memory(settings: Settings, seal: Seal, clock: Clock) -> Self {
        Self::new(Store::memory(small(settings), clock.now()), settings, seal, clock)
    }

    /// Remembers in a file, which is this process's alone.
    ///
    /// # Errors
    /// When it cannot be made, or is another process's.
    pub fn in_file(
        path: &Path,
        settings: Settings,
        seal: Seal,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let store = Store::file(path, bounds(settings), clock.now())?;
        Ok(Self::new(store, settings, seal, clock))
    }

    /// Remembers in Redis, for all replicas.
    #[must_use]
    pub fn shared(state: Arc<SharedState>, settings: Settings, seal: Seal, clock: Clock) -> Self {
        Self::new(Store::redis(state, bounds(settings)), settings, seal, clock)
    }

    fn new(main: Store, settings: Settings, seal: Seal, clock: Clock) -> Self {
        Self {
            main,
            spare: Store::memory(small(settings), clock.now()),
            mended: AtomicU64::new(0),
            turns: Turns::default(),
            keep: settings.keep,
            on_trouble: settings.on_trouble,
            seal,
            process: uuid::Uuid::new_v4().to_string(),
            clock,
        }
    }

    /// Enters a mutation that has until `deadline`, or finds that it was made before. Waits for one
    /// of the same key that is running.
    pub async fn begin(&self, key: &Key, fingerprint: [u8; 32], deadline: Instant) -> Begun {
        let fingerprint = URL_SAFE_NO_PAD.encode(fingerprint);
        let begun = self.enter(&Lookup { key, fingerprint, deadline }).await;
        metrics::idempotent_mutation(match &begun {
            Begun::Claimed(claim) if claim.mutation.looks() => "looked_up",
            Begun::Claimed(_) => "first",
            Begun::Done(_) => "replayed",
            Begun::Conflict | Begun::Running => "conflict",
            Begun::Full { .. } => "refused",
            Begun::Unavailable => "unavailable",
        });
        begun
    }

    async fn enter(&self, asked: &Lookup<'_>) -> Begun {
        let turn = loop {
            if let Some(turn) = self.turns.take(asked.key) {
                break turn;
            }
            if !wait(asked.deadline).await {
                return Begun::Running;
            }
        };
        // What was entered while the main store was in trouble goes on there until it is carried over.
        let mut in_spare = matches!(self.spare.get(asked.key).await, Ok(Some(_)));
        let mut found = Err(StoreError);
        if !in_spare {
            found = self.find_in_main(asked).await;
            if found.is_err() {
                if self.on_trouble == OnTrouble::Refuse {
                    return Begun::Unavailable;
                }
                metrics::idempotent_mutation("unremembered");
                in_spare = true;
            }
        }
        if in_spare {
            found = self.find(&self.spare, asked, &mut None).await;
        }
        match found {
            Ok(Found::Begun(begun)) => begun,
            Ok(Found::Claimed(Entered { mutation, entry, written })) => {
                let place = Place { key: asked.key.clone(), in_spare, written };
                let claim = Claim { mutation, place, entry, _turn: turn };
                Begun::Claimed(Box::new(claim))
            }
            // This process's memory always answers.
            Err(StoreError) => Begun::Running,
        }
    }

    async fn find_in_main(&self, asked: &Lookup<'_>) -> Result<Found, StoreError> {
        let patience = Instant::now() + PATIENCE;
        let mut sent = None;
        loop {
            let found = self.find(&self.main, asked, &mut sent).await;
            if found.is_ok() || Instant::now() >= patience || !wait(asked.deadline).await {
                return found;
            }
        }
    }

    /// Enters a mutation, or finds what became of it. What was sent to be written and not answered stays
    /// in `sent`: the next time it may be what stands there.
    async fn find(
        &self,
        store: &Store,
        asked: &Lookup<'_>,
        sent: &mut Option<Entered>,
    ) -> Result<Found, StoreError> {
        let Lookup { key, fingerprint, deadline } = asked;
        loop {
            let now = self.clock.now();
            let current = store.get(key).await?;
            if let Some(own) = sent.take_if(|own| current.as_ref() == Some(&own.written)) {
                return Ok(Found::Claimed(own));
            }
            let stored = current.as_ref().map(|bytes| entry::read(&self.seal, key, bytes, now));
            let (began, mutation) = match stored {
                None | Some(Stored::Expired) => {
                    let looks = !self.is_complete(store, now).await?;
                    self.forgotten(key, looks, now)
                }
                Some(Stored::Unreadable) => self.forgotten(key, true, now),
                Some(Stored::Entry(entry)) if entry.fingerprint != *fingerprint => {
                    return Ok(Found::Begun(Begun::Conflict));
                }
                Some(Stored::Entry(entry)) => match entry.state {
                    State::Done => return Ok(Found::Begun(Begun::Done(entry.mutation(key)))),
                    State::Running { .. } if self.is_running_elsewhere(store, &entry, now) => {
                        if !wait(*deadline).await {
                            return Ok(Found::Begun(Begun::Running));
                        }
                        continue;
                    }
                    State::Running { .. } | State::Open => {
                        // What was refused here may have been done where a later try was entered.
                        let is_certain =
                            !entry.has_refusals() || self.is_complete(store, now).await?;
                        let entry = if is_certain { entry } else { entry.without_refusals() };
                        (entry.began, entry.mutation(key))
                    }
                },
            };
            let lease = now + deadline.saturating_duration_since(Instant::now()) + LEEWAY;
            let entry = Entry {
                fingerprint: fingerprint.clone(),
                began,
                expires: now + self.keep,
                state: State::Running { process: self.process.clone(), lease },
                was_sent: mutation.was_tried(),
                fields: mutation.done(),
            };
            let written = entry.seal(&self.seal, key).ok_or(StoreError)?;
            let swap = Swap { key, old: current, new: Some(written.clone()), now };
            *sent = Some(Entered { mutation, entry, written });
            match store.swap(swap).await? {
                Swapped::Yes => return sent.take().map(Found::Claimed).ok_or(StoreError),
                Swapped::Full { until } => return Ok(Found::Begun(Begun::Full { until })),
                // Somebody else was quicker: see what they entered.
                Swapped::No => {}
            }
        }
    }

    /// A mutation of which nothing is remembered; `looks` if something may have been.
    fn forgotten(&self, key: &Key, looks: bool, now: Timestamp) -> (Timestamp, KeyedMutation) {
        let earliest = now - self.keep;
        let look = looks.then_some(Look::Forgotten(earliest));
        let began = if looks { earliest } else { now };
        (began, KeyedMutation::new(key.hash, look, BTreeMap::new()))
    }

    /// Returns true if a key that is not in the store was not used within the time that keys are kept.
    async fn is_complete(&self, store: &Store, now: Timestamp) -> Result<bool, StoreError> {
        let is_spare = std::ptr::eq(store, &raw const self.spare);
        if is_spare || !self.is_mended() || store.may_evict() {
            return Ok(false);
        }
        Ok(store.complete_since(now).await? <= now - self.keep)
    }

    /// Returns true if the main store was in no trouble since everybody was last told that entries may be missing in it.
    fn is_mended(&self) -> bool {
        self.main.disturbances() == self.mended.load(Ordering::SeqCst)
    }

    /// Returns true if another process is at it. In this one a key has one turn at a time.
    fn is_running_elsewhere(&self, store: &Store, entry: &Entry, now: Timestamp) -> bool {
        matches!(&entry.state, State::Running { process, lease }
            if store.is_shared() && *process != self.process && *lease > now)
    }

    /// Returns true if an entry still stands where it was written: no other try has begun since. In a store that
    /// lost it, another replica may have entered the key. One that does not answer leaves that open, and
    /// [`OnTrouble`] decides.
    pub async fn stands(&self, place: &Place) -> bool {
        if place.in_spare || !self.main.is_shared() {
            return true;
        }
        let patience = Instant::now() + PATIENCE;
        let stands = loop {
            match self.main.get(&place.key).await {
                Ok(current) => break current.as_ref() == Some(&place.written),
                Err(StoreError) if self.on_trouble == OnTrouble::Look => break true,
                Err(StoreError) if !wait(patience).await => break false,
                Err(StoreError) => {}
            }
        };
        if !stands {
            metrics::idempotent_mutation("unavailable");
        }
        stands
    }

    /// Enters what became of each root field. Where that cannot be entered, the entry says that it is
    /// running until its lease is over, and a retry looks.
    pub async fn end<'a>(
        &self,
        claim: Claim,
        effects: impl IntoIterator<Item = (&'a str, Effect)>,
    ) {
        let Claim { mutation, place: Place { key, in_spare, written }, entry, _turn } = claim;
        let new = match entry::after(&mutation, effects) {
            After::Nothing => None,
            After::Over { state, was_sent, fields } => {
                let ended = Entry { state, was_sent, fields, ..entry };
                match ended.seal(&self.seal, &key) {
                    Some(ended) => Some(ended),
                    None => return,
                }
            }
        };
        let store = if in_spare { &self.spare } else { &self.main };
        let swap = Swap { key: &key, old: Some(written), new, now: self.clock.now() };
        if !matches!(store.swap(swap).await, Ok(Swapped::Yes)) {
            tracing::warn!("how a mutation ended is not remembered: a retry will look for its job");
        }
    }

    /// Forgets what is past its time, where the store does not do that by itself.
    pub async fn sweep(&self) {
        let now = self.clock.now();
        self.main.sweep(now).await;
        self.spare.sweep(now).await;
    }
}

/// Waits a little, if there is time.
async fn wait(deadline: Instant) -> bool {
    if Instant::now() + POLL >= deadline {
        return false;
    }
    tokio::time::sleep(POLL).await;
    true
}

const fn bounds(settings: Settings) -> Bounds {
    Bounds { keep: settings.keep, max_keys: settings.max_keys }
}

fn small(settings: Settings) -> Bounds {
    Bounds { max_keys: settings.max_keys.min(MAX_IN_MEMORY), ..bounds(settings) }
}
