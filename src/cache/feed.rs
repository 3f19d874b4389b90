//! The changes of a tenant's jobs, for those who follow all of them.
//!
//! It is a log of which job changed, and of nothing else: a job that changes again moves to its end. So whoever is
//! slow, or comes again, hears of each job once, as it is by then, and holds nothing but a place in it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::fed_job::FedJob;
use super::feed_place::{FeedChange, FeedPlace};
use super::log_place::LogPlace;
use super::waiting::Waiting;
use crate::model::{EntityId, Progress, Tenant};

/// The most jobs that are known, and that changes are remembered of.
pub(super) const MOST: usize = 10_000;

/// The time for which a change is remembered, and a feed that nobody listens to.
pub(super) const STAYS: Duration = Duration::from_hours(24);

/// The number of jobs that a listener may still have to hear of; with more it hears that it missed some.
pub(super) const BEHIND: usize = 1_000;

/// The most changes that are told together: so many jobs Move is asked for in one document.
pub(super) const TOGETHER: usize = 25;

/// The changes of one tenant's jobs.
#[derive(Debug)]
pub(super) struct Feed {
    /// Tells its cursors from those of other feeds, and of other processes.
    id: u64,
    /// The moment at which it began, in microseconds since 1970: whatever was created before is not new.
    begins: i64,
    /// Its tenant, as it was when somebody began to listen last.
    tenant: Arc<Tenant>,
    jobs: HashMap<EntityId, FedJob>,
    /// The number of jobs that it has come to know.
    known: u64,
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

/// The next thing that somebody who listens is to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedStep {
    /// These jobs changed, in this order.
    Changed(Vec<FeedChange>),
    /// Changes before this cursor are missing.
    Resync(String),
}

impl Feed {
    /// A tenant's feed without a change, which begins at a moment (in microseconds since 1970) and hears of all that comes
    /// behind a place in Redis.
    pub fn new(tenant: Arc<Tenant>, begins: i64, heard: Option<LogPlace>) -> Self {
        Self {
            // The keys of the standard library's hashes are random.
            id: RandomState::new().hash_one(0),
            begins,
            tenant,
            jobs: HashMap::new(),
            known: 0,
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
        self.tenant = Arc::clone(&waiting.caller.tenant);
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

    /// Its tenant, as it was when somebody began to listen last.
    pub const fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// Returns the number of jobs that it has come to know.
    pub const fn known(&self) -> u64 {
        self.known
    }

    /// Takes over how far jobs had come that somebody begins with.
    pub fn begin_with(&self, place: &mut FeedPlace, jobs: &[(EntityId, Progress)]) {
        for (id, progress) in jobs {
            if let Some(job) = self.jobs.get(id) {
                place.begin_with(id, job, progress);
            }
        }
    }

    /// Gives what is to be told of what comes behind a place, and moves it on; `None` if nothing is.
    pub fn step(&mut self, place: &mut FeedPlace) -> Option<FeedStep> {
        self.trim();
        let behind = self.log.range(place.at + 1..);
        if place.at < self.floor || behind.clone().nth(BEHIND).is_some() {
            return Some(self.resync(place));
        }
        let mut changes = Vec::new();
        for (at, logged) in behind {
            place.at = *at;
            let (id, known) = (&logged.job, self.jobs.get(&logged.job));
            if known.is_none_or(|job| place.is_news(id, job, *at)) {
                let is_write = known.is_none_or(|job| place.is_write(id, job));
                // At the end nothing that was heard is still to be told.
                let heard = if *at == self.end() { self.heard } else { logged.heard };
                let (job, cursor, place) = (id.clone(), self.cursor(*at, heard), *at);
                changes.push(FeedChange { job, cursor, place, is_write });
            }
            if changes.len() == TOGETHER {
                break;
            }
        }
        (!changes.is_empty()).then_some(FeedStep::Changed(changes))
    }

    /// Moves a place to the end, as changes before it are missing.
    pub fn resync(&self, place: &mut FeedPlace) -> FeedStep {
        place.restart(self.end());
        FeedStep::Resync(self.cursor(place.at, self.heard))
    }

    fn cursor(&self, place: u64, heard: Option<LogPlace>) -> String {
        let heard = heard.map(|heard| format!(".{heard}")).unwrap_or_default();
        format!("{:016x}.{place}{heard}", self.id)
    }

    /// Everything up to a place in Redis is in here, or is about to be: what it names is noted next.
    pub fn hear(&mut self, place: LogPlace) {
        self.heard = self.heard.max(Some(place));
    }

    /// A job was read by itself, which is a change if it is not as it was. Of one that nobody knew that cannot be told:
    /// it may be an old one.
    pub fn seen(&mut self, id: &EntityId, progress: &Progress) {
        let job = self.job(id);
        let is_made = std::mem::take(&mut job.is_news);
        let (has_moved, differs) =
            (progress.state_differs_from(&job.progress), progress.differs_from(&job.progress));
        job.progress.update(progress);
        if !is_made && !differs {
            return;
        }
        let place = self.log(id);
        let job = self.job(id);
        if is_made {
            job.made = place;
        }
        if has_moved {
            job.moved = place;
        }
    }

    /// A page of Move's shows a job that was created at a moment (in microseconds since 1970), as far as it tells. Returns
    /// true if that is news: it was made since this feed began, or has come further than was known. It is told when
    /// [`Feed::seen`] has it.
    pub fn listed(&mut self, id: &EntityId, progress: &Progress, created: Option<i64>) -> bool {
        let is_known = self.jobs.contains_key(id);
        let is_new = created.is_some_and(|created| created >= self.begins);
        if !is_known && !is_new && progress.is_over() {
            // Nothing more happens to it.
            return false;
        }
        let job = self.job(id);
        if created.is_some() && !std::mem::replace(&mut job.is_dated, true) {
            job.is_news |= is_new && job.place.is_none();
        }
        if job.is_news {
            return true;
        }
        // A page may be older than what was read since.
        if is_known && progress.differs_from(&job.progress) {
            return !progress.is_before(&job.progress);
        }
        job.progress.update(progress);
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

    /// A job was written or made, or may have been.
    pub fn changed(&mut self, id: &EntityId) {
        let place = self.log(id);
        self.job(id).written = place;
    }

    /// Moves a job to the end of the log. Returns its place there.
    fn log(&mut self, id: &EntityId) -> u64 {
        let place = self.end() + 1;
        if let Some(before) = self.job(id).place.replace(place) {
            self.log.remove(&before);
        }
        let logged = Logged { job: id.clone(), at: Instant::now(), heard: self.heard };
        self.log.insert(place, logged);
        self.trim();
        self.last.send_replace(place);
        place
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
        let known = &mut self.known;
        self.jobs.entry(id.clone()).or_insert_with(|| {
            *known += 1;
            FedJob { number: *known - 1, ..FedJob::default() }
        })
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

#[cfg(test)]
mod tests;
