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
mod tests {
    use super::*;

    fn job(n: usize) -> EntityId {
        EntityId::job(&format!("job-{n}")).expect("an id")
    }

    fn running(percent: i32) -> Progress {
        Progress { state: Some("RUNNING".into()), percent: Some(percent) }
    }

    fn finished() -> Progress {
        Progress { state: Some("FINISHED".into()), percent: Some(100) }
    }

    /// The jobs behind a place.
    fn steps(feed: &mut Feed, place: &mut u64) -> Vec<Option<EntityId>> {
        let next = || match feed.step(place)? {
            FeedStep::Changed(job, _) => Some(Some(job)),
            FeedStep::Resync(_) => Some(None),
        };
        std::iter::from_fn(next).collect()
    }

    #[tokio::test]
    async fn each_job_that_changed_is_told_once_in_the_order_of_its_last_change() {
        let (mut feed, mut place) = (Feed::new(None), 0);
        for id in [1, 2, 3, 1] {
            feed.changed(&job(id));
        }
        assert_eq!(steps(&mut feed, &mut place), [2, 3, 1].map(|n| Some(job(n))));
        assert_eq!(steps(&mut feed, &mut place), []);
    }

    #[tokio::test]
    async fn a_sighting_is_a_change_if_it_tells_something_new() {
        let (mut feed, mut place) = (Feed::new(None), 0);
        assert!(!feed.listed(&job(1), &running(10)), "it may be an old one");
        let mut told = |id, progress: Progress| {
            feed.seen(&job(id), &progress);
            !steps(&mut feed, &mut place).is_empty()
        };
        assert!(!told(1, running(10)));
        assert!(told(1, running(20)));
        assert!(told(2, running(10)), "it may be a new one");
        assert!(!told(3, finished()));
        assert!(feed.listed(&job(1), &running(30)) && !feed.listed(&job(1), &running(30)));
        feed.expect(&job(4));
        feed.expect(&job(5));
        feed.gone(&job(5));
        feed.gone(&job(6));
        assert_eq!(steps(&mut feed, &mut place), []);
        feed.seen(&job(4), &finished());
        assert_eq!(steps(&mut feed, &mut place), [Some(job(4))]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_too_far_behind_or_comes_too_late_hears_that_changes_are_missing() {
        let (mut feed, mut place) = (Feed::new(None), 0);
        for id in 0..BEHIND {
            feed.changed(&job(id));
        }
        assert_eq!(steps(&mut feed, &mut place.clone()).len(), BEHIND);
        feed.changed(&job(BEHIND));
        assert_eq!(steps(&mut feed, &mut place), [None]);
        let cursor = feed.cursor(feed.end() - 1, None);
        assert_eq!(feed.place_of(&cursor), Some(feed.end() - 1));
        assert_eq!(feed.place_of(&feed.cursor(feed.end() + 1, None)), None);
        assert_eq!(feed.place_of(&Feed::new(None).cursor(1, None)), None);
        for bad in ["", "7", "x.1", "1.x", &format!("{cursor}0")] {
            assert_eq!(feed.place_of(bad), None, "{bad}");
        }
        tokio::time::advance(STAYS + Duration::from_secs(1)).await;
        let mut before = feed.place_of(&cursor).expect("its own");
        assert_eq!(steps(&mut feed, &mut before), [None]);
        assert_eq!(steps(&mut feed, &mut place), []);
        feed.missed();
        assert_eq!(steps(&mut feed, &mut place), [None]);
    }

    #[tokio::test]
    async fn a_cursor_names_the_place_in_redis_up_to_which_all_was_told_and_no_further() {
        let at = |number: u64| LogPlace::parse(&format!("7-{number}")).expect("a place");
        let (mut feed, mut place) = (Feed::new(Some(at(1))), 0);
        feed.know(&[(job(9), running(10))]);
        feed.seen(&job(9), &running(20));
        feed.hear(at(2));
        feed.changed(&job(2));
        feed.hear(at(4));
        feed.hear(at(3));
        let mut next = || match feed.step(&mut place) {
            Some(FeedStep::Changed(_, cursor)) => log_place_of(&cursor),
            other => panic!("{other:?}"),
        };
        assert_eq!([next(), next()], [Some(at(1)), Some(at(4))]);
        assert_eq!(log_place_of(&cursor_of(at(5))), Some(at(5)));
        assert_eq!(feed.place_of(&cursor_of(at(5))), None, "it is no place of this feed");
        feed.missed();
        assert_eq!(feed.heard, None, "nobody knows what lies between");
    }

    #[tokio::test]
    async fn what_is_known_is_bounded_and_never_lost_in_silence() {
        let (mut feed, mut place) = (Feed::new(None), 0);
        for id in 0..MOST {
            feed.listed(&job(id), &finished());
        }
        feed.changed(&job(1));
        feed.seen(&job(MOST), &running(1));
        assert_eq!(steps(&mut feed, &mut place), [1, MOST].map(|n| Some(job(n))));
        for id in 0..MOST {
            feed.listed(&job(MOST + id), &running(1));
        }
        assert!(feed.jobs.len() <= MOST);
        assert_eq!(steps(&mut feed, &mut place), [None]);
    }

    #[tokio::test]
    async fn an_earlier_state_than_one_that_was_told_is_not_told() {
        let mut feed = Feed::new(None);
        feed.changed(&job(1));
        let told = [running(50), running(40), finished(), running(99), finished()];
        let told = told.map(|progress| feed.may_tell(&job(1), &progress));
        assert_eq!(told, [true, false, true, false, true]);
    }
}
