//! The changes of a tenant's jobs, for those who follow all of them.
//!
//! It is a log of which job changed, and of nothing else: a job that changes again moves to its end. So whoever is
//! slow, or comes again, hears of each job once, as it is by then, and holds nothing but a place in it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::log_place::LogPlace;
use super::waiting::Waiting;
use crate::model::{EntityId, Progress};

/// The most jobs that are known, and that changes are remembered of.
pub(super) const MOST: usize = 10_000;

/// The time for which a change is remembered, and a feed that nobody listens to.
pub(super) const STAYS: Duration = Duration::from_hours(24);

/// The number of jobs that a listener may still have to hear of; with more it hears that it missed some.
pub(super) const BEHIND: usize = 1_000;

/// The changes of one tenant's jobs.
#[derive(Debug)]
pub(super) struct Feed {
    /// Tells its cursors from those of other feeds, and of other processes.
    id: u64,
    jobs: HashMap<EntityId, FedJob>,
    /// The jobs that changed, by the order of their last change.
    log: BTreeMap<u64, Logged>,
    /// The place in Redis up to which everything is in here.
    heard: Option<LogPlace>,
    /// The place of the last change, told to those who listen.
    last: watch::Sender<u64>,
    /// The place up to which changes are missing from the log.
    floor: u64,
    /// Those who listen.
    pub callers: Vec<Waiting>,
    /// The moment at which somebody listened last.
    left: Instant,
}

/// A change.
#[derive(Debug)]
struct Logged {
    job: EntityId,
    at: Instant,
    /// The place in Redis up to which everything was known by then.
    heard: Option<LogPlace>,
}

/// A job, as far as a feed knows it.
#[derive(Debug, Default)]
struct FedJob {
    /// The newest of what was told of it.
    progress: Progress,
    /// As far as it was ever told to those who listen.
    furthest: Progress,
    /// Its place in the log.
    place: Option<u64>,
    /// True if its next sighting is a change, whatever it shows.
    is_news: bool,
}

/// The next thing that somebody who listens is to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedStep {
    /// This job changed; the cursor goes on behind it.
    Changed(EntityId, String),
    /// Changes before this cursor are missing.
    Resync(String),
}

impl Feed {
    /// A feed without a change, which hears of all that comes behind a place in Redis.
    pub fn new(heard: Option<LogPlace>) -> Self {
        Self {
            // The keys of the standard library's hashes are random.
            id: RandomState::new().hash_one(0),
            jobs: HashMap::new(),
            log: BTreeMap::new(),
            heard,
            last: watch::Sender::new(0),
            floor: 0,
            callers: Vec::new(),
            left: Instant::now(),
        }
    }

    /// Returns true if nobody has listened for so long that it may go.
    pub fn is_forgotten(&self) -> bool {
        self.callers.is_empty() && self.left.elapsed() > STAYS
    }

    /// Begins to listen; the changes are counted by what is returned.
    pub fn enter(&mut self, waiting: Waiting) -> watch::Receiver<u64> {
        self.callers.push(waiting);
        self.last.subscribe()
    }

    /// Ends to listen.
    pub fn leave(&mut self, id: u64) {
        self.callers.retain(|own| own.id != id);
        self.left = Instant::now();
    }

    /// Returns the place of the last change.
    pub fn end(&self) -> u64 {
        *self.last.borrow()
    }

    /// Returns the place that a cursor names; `None` if this feed does not know it.
    pub fn place_of(&self, cursor: &str) -> Option<u64> {
        let mut parts = cursor.splitn(3, '.');
        let (id, place) = (parts.next()?, parts.next()?);
        let place = place.parse().ok()?;
        let is_own = u64::from_str_radix(id, 16).ok()? == self.id;
        (is_own && place <= self.end()).then_some(place)
    }

    /// Gives what comes behind a place, and moves it on; `None` if nothing does.
    pub fn step(&mut self, place: &mut u64) -> Option<FeedStep> {
        self.trim();
        let behind = self.log.range(*place + 1..);
        if *place < self.floor || behind.clone().nth(BEHIND).is_some() {
            return Some(self.resync(place));
        }
        let (next, logged) = behind.clone().next()?;
        *place = *next;
        // At the end nothing that was heard is still to be told.
        let heard = if *next == self.end() { self.heard } else { logged.heard };
        Some(FeedStep::Changed(logged.job.clone(), self.cursor(*next, heard)))
    }

    /// Moves a place to the end, as changes before it are missing.
    pub fn resync(&self, place: &mut u64) -> FeedStep {
        *place = self.end();
        FeedStep::Resync(self.cursor(*place, self.heard))
    }

    fn cursor(&self, place: u64, heard: Option<LogPlace>) -> String {
        let heard = heard.map(|heard| format!(".{heard}")).unwrap_or_default();
        format!("{:016x}.{place}{heard}", self.id)
    }

    /// Everything up to a place in Redis is in here, or is about to be: what it names is noted next.
    pub fn hear(&mut self, place: LogPlace) {
        self.heard = self.heard.max(Some(place));
    }

    /// A job was read by itself, which is a change if it is not as it was.
    pub fn seen(&mut self, id: &EntityId, progress: &Progress) {
        let is_change = if let Some(job) = self.jobs.get_mut(id) {
            job.note(progress)
        } else {
            self.job(id).progress.update(progress);
            // Somebody may look at what ended long ago.
            !progress.is_over()
        };
        if is_change {
            self.changed(id);
        }
    }

    /// A job was read in a listing, which shows old ones too. Returns true if it is not as it was: what is known of it
    /// is old then, and whoever forgets that tells of the change.
    pub fn listed(&mut self, id: &EntityId, progress: &Progress) -> bool {
        if let Some(job) = self.jobs.get_mut(id) {
            return job.note(progress);
        }
        self.job(id).progress.update(progress);
        false
    }

    /// Takes over how far jobs have come that are not in here.
    pub fn know(&mut self, jobs: &[(EntityId, Progress)]) {
        for (id, progress) in jobs {
            if !self.jobs.contains_key(id) {
                self.job(id).progress.update(progress);
            }
        }
    }

    /// A job is about to be seen that changed for certain: Move told of it, or another replica.
    pub fn expect(&mut self, id: &EntityId) {
        if !self.jobs.contains_key(id) {
            self.job(id).is_news = true;
        }
    }

    /// A job was asked for and is not there.
    pub fn gone(&mut self, id: &EntityId) {
        match self.jobs.get(id) {
            Some(job) if job.is_news => drop(self.jobs.remove(id)),
            Some(_) => self.changed(id),
            None => {}
        }
    }

    /// A job changed, or was made.
    pub fn changed(&mut self, id: &EntityId) {
        let place = self.end() + 1;
        if let Some(before) = self.job(id).place.replace(place) {
            self.log.remove(&before);
        }
        let logged = Logged { job: id.clone(), at: Instant::now(), heard: self.heard };
        self.log.insert(place, logged);
        self.trim();
        self.last.send_replace(place);
    }

    /// Changes were missed: all who listen, and all who come again, hear that.
    pub fn missed(&mut self) {
        let place = self.end() + 1;
        self.log.clear();
        self.jobs.values_mut().for_each(|job| job.place = None);
        self.floor = place;
        self.heard = None;
        self.last.send_replace(place);
    }

    /// Returns true if a job may be told as it is in here: a state that is certainly earlier than one that was told is
    /// not.
    pub fn may_tell(&mut self, id: &EntityId, progress: &Progress) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return true };
        let is_earlier = progress.is_before(&job.furthest);
        if !is_earlier {
            job.furthest.update(progress);
        }
        !is_earlier
    }

    /// Returns the jobs that are not over, and how far they have come.
    pub fn unfinished(&self) -> impl Iterator<Item = (&EntityId, &Progress)> {
        let own = self.jobs.iter().map(|(id, job)| (id, &job.progress));
        own.filter(|(_, progress)| progress.state.is_some() && !progress.is_over())
    }

    /// A job; room is made for it where there is none.
    fn job(&mut self, id: &EntityId) -> &mut FedJob {
        if self.jobs.len() >= MOST && !self.jobs.contains_key(id) {
            self.jobs.retain(|_, job| job.place.is_some() || !job.progress.is_over());
            if self.jobs.len() >= MOST {
                self.jobs.clear();
                self.missed();
            }
        }
        self.jobs.entry(id.clone()).or_default()
    }

    /// Forgets the oldest changes.
    fn trim(&mut self) {
        while let Some(oldest) = self.log.first_entry()
            && oldest.get().at.elapsed() > STAYS
        {
            let (place, logged) = oldest.remove_entry();
            self.floor = place;
            if let Some(job) = self.jobs.get_mut(&logged.job) {
                job.place = None;
            }
        }
    }
}

/// Returns the cursor that goes on behind a place in Redis, whatever feed there is.
pub(super) fn cursor_of(place: LogPlace) -> String {
    format!("{:016x}.0.{place}", 0)
}

/// Returns the place in Redis that a cursor names, if it does.
pub(super) fn log_place_of(cursor: &str) -> Option<LogPlace> {
    LogPlace::parse(cursor.splitn(3, '.').nth(2)?)
}

impl FedJob {
    /// Notes what is told of it. Returns true if it differs, or was waited for.
    fn note(&mut self, progress: &Progress) -> bool {
        let is_news = std::mem::take(&mut self.is_news);
        let differs = progress.differs_from(&self.progress);
        self.progress.update(progress);
        is_news || differs
    }
}

#[cfg(test)]
mod tests;
