//! After trouble with the main store: what was entered in the spare one meanwhile is carried over.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use jiff::Timestamp;

use super::entry::{self, Entry, Stored};
use super::store::{Memory, StoreError, Swap, Swapped};
use super::{Idempotency, Key};

impl Idempotency {
    /// After trouble with the main store, tells all replicas that entries may be missing in it, and
    /// carries over what was entered meanwhile. To be called every half second or so: a replica that
    /// is silent for longer counts as one that has entries of its own.
    pub async fn recover(&self) {
        self.main.learn().await;
        let seen = self.main.disturbances();
        if seen != self.mended.load(Ordering::SeqCst) {
            let now = self.clock.now();
            if self.main.note_gap(now).await.is_err() {
                return;
            }
            let mut is_carried = true;
            for (key, stored) in self.spare.as_memory().map(Memory::all).unwrap_or_default() {
                is_carried &= self.carry(&key, stored, now).await;
            }
            if is_carried && self.main.disturbances() == seen {
                self.mended.store(seen, Ordering::SeqCst);
            }
        }
        self.main.beat(&self.process).await;
    }

    /// Takes leave of the other replicas, when no mutation is under way any more.
    pub async fn leave(&self) {
        if self.is_mended() {
            self.main.leave(&self.process).await;
        }
    }

    /// Moves an entry from the spare store to the main one. Returns false if it is still needed there.
    async fn carry(&self, key: &Key, stored: Bytes, now: Timestamp) -> bool {
        let Some(_turn) = self.turns.take(key) else { return false };
        let carried = match entry::read(&self.seal, key, &stored, now) {
            Stored::Entry(entry) => self.merge_into_main(key, entry, now).await,
            Stored::Expired | Stored::Unreadable => Ok(true),
        };
        if !matches!(carried, Ok(true)) {
            return false;
        }
        let swap = Swap { key, old: Some(stored), new: None, now };
        matches!(self.spare.swap(swap).await, Ok(Swapped::Yes))
    }

    async fn merge_into_main(
        &self,
        key: &Key,
        own: Entry,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let old = self.main.get(key).await?;
        let stored = old.as_ref().map(|bytes| entry::read(&self.seal, key, bytes, now));
        let merged = match stored {
            Some(Stored::Entry(there)) => {
                if there.fingerprint != own.fingerprint {
                    return Ok(true);
                }
                if self.is_running_elsewhere(&self.main, &there, now) {
                    return Ok(false);
                }
                there.merged(own)
            }
            None | Some(Stored::Expired | Stored::Unreadable) => own.over(),
        };
        let new = Some(merged.seal(&self.seal, key).ok_or(StoreError)?);
        // A tenant without a place for it will have to look: the gap is noted.
        Ok(self.main.swap(Swap { key, old, new, now }).await? != Swapped::No)
    }
}
