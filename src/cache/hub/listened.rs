//! All that somebody listens to, and the turns of the questions to Move about it.

use std::collections::HashMap;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Pace;
use crate::cache::feed::Feed;
use crate::cache::waiting::{Need, Waiting};
use crate::cache::{Key, Sightings};
use crate::model::{AccountId, Caller, Progress, TenantId};

/// All that somebody listens to.
#[derive(Debug, Default)]
pub(super) struct Listened {
    pub jobs: HashMap<Key, Watched>,
    pub feeds: HashMap<TenantId, Feed>,
}

/// A job that somebody listens to, by itself or with all of its tenant's.
#[derive(Debug)]
pub(super) struct Watched {
    pub changes: watch::Sender<u64>,
    /// Its listeners: in the name of one of them Move is asked.
    pub callers: Vec<Waiting>,
    /// True if somebody listens to all of its tenant's.
    pub is_fed: bool,
    pub sightings: Sightings,
    pub turn: Turn,
}

/// The state of the question to Move about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It comes when its pace says so.
    Later,
    /// It comes as soon as it may: something may have happened.
    Now,
    /// It is on its way.
    Asking,
}

impl Listened {
    /// Has Move be asked for a job of those that somebody follows. Returns true if it was not yet.
    pub fn feed(&mut self, key: &Key, progress: &Progress) -> bool {
        if let Some(job) = self.jobs.get_mut(key) {
            job.is_fed = true;
            return false;
        }
        let mut job = Watched { is_fed: true, ..Watched::new() };
        job.sightings.note(progress, Instant::now());
        self.jobs.insert(key.clone(), job);
        true
    }

    /// Nobody follows the job any more, or it is over.
    pub fn unfeed(&mut self, key: &Key) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.is_fed = false;
            if job.callers.is_empty() {
                self.jobs.remove(key);
            }
        }
    }

    /// Has Move be asked at once for all of a tenant's jobs that are known not to be over.
    pub fn watch_again(&mut self, tenant: &TenantId) {
        let Some(feed) = self.feeds.get(tenant) else { return };
        let unfinished: Vec<_> =
            feed.unfinished().map(|(id, progress)| (id.clone(), progress.clone())).collect();
        for (id, progress) in unfinished {
            let key = Key::new(tenant.clone(), id);
            self.feed(&key, &progress);
            if let Some(job) = self.jobs.get_mut(&key) {
                job.make_due();
            }
        }
    }
}

impl Watched {
    pub fn new() -> Self {
        Self {
            changes: watch::Sender::new(0),
            callers: Vec::new(),
            is_fed: false,
            sightings: Sightings::begin(Instant::now()),
            turn: Turn::Later,
        }
    }

    pub fn make_due(&mut self) {
        if self.turn == Turn::Later {
            self.turn = Turn::Now;
        }
    }

    /// Notes a sighting, and tells of it if it is news.
    pub fn note(&mut self, progress: &Progress) {
        // Who asks at the moment is answered by its own sighting.
        if self.turn == Turn::Now {
            self.turn = Turn::Later;
        }
        if self.sightings.note(progress, Instant::now()) {
            self.tell();
        }
    }

    /// A page of Move's shows it. Returns true if that is news, which is not noted: a page may be older than what was read
    /// since.
    pub fn listed(&mut self, progress: &Progress) -> bool {
        let known = &self.sightings.progress;
        if progress.differs_from(known) {
            return !progress.is_before(known);
        }
        self.note(progress);
        false
    }

    /// Takes over what a reader knows. That many know the same says nothing of how the job moves.
    pub fn know(&mut self, progress: &Progress) {
        let known = &self.sightings.progress;
        if *known == Progress::default() || progress.differs_from(known) {
            self.note(progress);
        }
    }

    pub fn tell(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub fn due_at(&self, pace: Pace<'_>, account: &AccountId, need: Need) -> Option<Instant> {
        match self.turn {
            Turn::Later => Some(self.sightings.at + pace(&self.sightings, account, need)?),
            Turn::Now => Some(self.sightings.at),
            Turn::Asking => None,
        }
    }

    /// Returns in whose name Move is asked, and for what; `feed` is that of the tenant.
    pub fn asked_by<'a>(&'a self, feed: Option<&'a Feed>) -> Option<(&'a Caller, Need)> {
        let followers = feed.filter(|_| self.is_fed).map_or(&[][..], |feed| &feed.callers);
        let all = self.callers.iter().chain(followers);
        let need = all.clone().map(|waiting| waiting.need).max()?;
        all.map(|waiting| (&waiting.caller, need)).next()
    }
}
