//! Those who listen, each until it is dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use super::Hub;
use crate::cache::feed::{TOGETHER, cursor_of, log_place_of};
use crate::cache::feed_place::FeedPlace;
use crate::cache::log_place::LogPlace;
use crate::cache::{FeedChange, FeedStep, Key};
use crate::model::{Caller, EntityId, Progress, TenantId};

/// Somebody who listens to a job, until this is dropped.
#[derive(Debug)]
pub struct Listener {
    pub(super) hub: Arc<Hub>,
    pub(super) key: Key,
    pub(super) id: u64,
    pub(super) changes: watch::Receiver<u64>,
}

/// Somebody who listens to all jobs of a tenant, until this is dropped.
#[derive(Debug)]
pub struct FeedListener {
    pub(super) hub: Arc<Hub>,
    pub(super) tenant: TenantId,
    pub(super) id: u64,
    /// The place of what it was given last.
    pub(super) place: FeedPlace,
    /// True if the place to go on from is not known.
    pub(super) has_missed: bool,
    /// The jobs that changed before it began to listen, and are told first.
    pub(super) backlog: VecDeque<(EntityId, LogPlace)>,
    pub(super) changes: watch::Receiver<u64>,
}

impl Listener {
    /// The job.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Resolves when the job may have changed since this resolved last, or since the listening began.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The hub holds the sender for as long as somebody listens.
            std::future::pending::<()>().await;
        }
    }

    /// Tells the hub what its reader knows, which may come from a cache that was filled before it listened: what
    /// differs from it later is news.
    pub fn knows(&self, progress: &Progress) {
        self.hub.known(&self.key, progress);
    }

    /// Goes on in the name of a caller who was judged anew.
    pub fn judged_anew(&self, caller: &Caller) {
        if let Some(job) = self.hub.listened().jobs.get_mut(&self.key)
            && let Some(own) = job.callers.iter_mut().find(|own| own.id == self.id)
        {
            own.caller.clone_from(caller);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listened = self.hub.listened();
        if let Some(job) = listened.jobs.get_mut(&self.key) {
            job.callers.retain(|own| own.id != self.id);
            if job.callers.is_empty() && !job.is_fed {
                listened.jobs.remove(&self.key);
            }
        }
        self.hub.count(&listened);
    }
}

impl FeedListener {
    /// Gives what this is to hear next. May be dropped and called again.
    pub async fn next(&mut self) -> FeedStep {
        loop {
            self.changes.mark_unchanged();
            if let Some(step) = self.step() {
                return step;
            }
            if self.changes.changed().await.is_err() {
                // The hub holds the sender for as long as somebody listens.
                std::future::pending::<()>().await;
            }
        }
    }

    fn step(&mut self) -> Option<FeedStep> {
        let mut listened = self.hub.listened();
        let feed = listened.feeds.get_mut(&self.tenant)?;
        if std::mem::take(&mut self.has_missed) {
            self.backlog.clear();
            return Some(feed.resync(&mut self.place));
        }
        if !self.backlog.is_empty() {
            let next = self.backlog.drain(..self.backlog.len().min(TOGETHER));
            let (place, is_write) = (self.place.start(), true);
            let changes = next.map(|(job, behind)| FeedChange {
                job,
                cursor: cursor_of(behind),
                place,
                is_write,
            });
            return Some(FeedStep::Changed(changes.collect()));
        }
        feed.step(&mut self.place)
    }

    /// Returns the place in Redis that a cursor names, if this feed does not know the cursor.
    #[must_use]
    pub fn place_elsewhere(&self, cursor: &str) -> Option<LogPlace> {
        log_place_of(cursor).filter(|_| self.has_missed)
    }

    /// Goes on with what changed before it began to listen: nothing is missing.
    pub fn go_on_with(&mut self, changes: Vec<(EntityId, LogPlace)>) {
        self.has_missed = false;
        self.backlog = changes.into();
    }

    /// Has this hear next that changes are missing.
    pub const fn miss(&mut self) {
        self.has_missed = true;
    }

    /// Takes over how far jobs had come when it began: as they are by then, its reader lists them.
    pub fn begin_with(&mut self, jobs: &[(EntityId, Progress)]) {
        if let Some(feed) = self.hub.listened().feeds.get(&self.tenant) {
            feed.begin_with(&mut self.place, jobs);
        }
    }

    /// Notes that a job is told as it was read: how far it has come, and all that is selected of it, hashed. Returns false
    /// if it is not to be: it is certainly earlier than what somebody was told, or this was told the same before.
    pub fn tell(&mut self, change: &FeedChange, progress: &Progress, digest: u64) -> bool {
        let mut listened = self.hub.listened();
        let feed = listened.feeds.get_mut(&self.tenant);
        let may_be = feed.is_none_or(|feed| feed.may_tell(&change.job, progress));
        may_be && self.place.tell(change, progress, digest)
    }

    /// Goes on in the name of a caller who was judged anew.
    pub fn judged_anew(&self, caller: &Caller) {
        if let Some(feed) = self.hub.listened().feeds.get_mut(&self.tenant)
            && let Some(own) = feed.callers.iter_mut().find(|own| own.id == self.id)
        {
            own.caller.clone_from(caller);
        }
    }
}

impl Drop for FeedListener {
    fn drop(&mut self) {
        let mut listened = self.hub.listened();
        let Some(feed) = listened.feeds.get_mut(&self.tenant) else { return };
        feed.leave(self.id);
        if feed.callers.is_empty() {
            listened.jobs.retain(|key, job| {
                job.is_fed &= key.tenant != self.tenant;
                job.is_fed || !job.callers.is_empty()
            });
        }
        self.hub.count(&listened);
    }
}
