//! Who waits for which job. A listener is told that its job may have changed, and reads it again: what it is told is
//! a state and no message, so that a slow one misses nothing and costs no more than a quick one.
//!
//! A job is in here for as long as somebody listens; nobody else pays more for it than a look at one number.

mod listened;
mod listener;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use listened::{Listened, Turn, Watched};
pub use listener::{FeedListener, Listener};

use super::feed::Feed;
use super::feed_place::FeedPlace;
use super::log_place::{LogPlace, OpenedLog};
use super::waiting::{Need, Waiting};
use super::{Key, Sightings};
use crate::model::{AccountId, Caller, EntityId, EntityKind, Progress, Tenant, TenantId};

/// The jobs that somebody listens to.
#[derive(Debug, Default)]
pub struct Hub {
    listened: Mutex<Listened>,
    /// The number of jobs that Move is asked for.
    count: AtomicUsize,
    /// True if anybody listens, or may come again.
    is_listened: AtomicBool,
    next_id: AtomicU64,
    /// Tells whoever asks Move that something may be due sooner than it thought.
    stirred: Notify,
}

/// A job that Move is to be asked for, in the name of a caller who listens to it.
#[derive(Debug, Clone)]
pub struct Due {
    /// The job.
    pub key: Key,
    /// One of its listeners.
    pub caller: Caller,
}

/// A tenant of which somebody follows all jobs, or did lately.
#[derive(Debug, Clone)]
pub struct FollowedTenant {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// True if somebody does.
    pub is_followed: bool,
}

/// The time until Move is asked for a job again, by what is needed of it; `None` if it need not be.
pub type Pace<'a> = &'a dyn Fn(&Sightings, &AccountId, Need) -> Option<Duration>;

impl Hub {
    /// Listens to a job from now on: whatever changes after this is told.
    pub fn listen(self: &Arc<Self>, key: Key, caller: Caller, need: Need) -> Listener {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut listened = self.listened();
        let job = listened.jobs.entry(key.clone()).or_insert_with(Watched::new);
        job.callers.push(Waiting { id, caller, need });
        let changes = job.changes.subscribe();
        self.count(&listened);
        drop(listened);
        self.stirred.notify_one();
        Listener { hub: Arc::clone(self), key, id, changes }
    }

    /// Listens to all jobs of a caller's tenant: from where a cursor says, else from now on (in microseconds since 1970).
    /// `opened` is what Redis knows of them.
    pub fn follow(
        self: &Arc<Self>,
        caller: Caller,
        need: Need,
        after: Option<&str>,
        opened: Option<&OpenedLog>,
        now: i64,
    ) -> FeedListener {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let tenant = caller.tenant.id.clone();
        let mut listened = self.listened();
        listened.feeds.retain(|_, feed| !feed.is_forgotten());
        let feed = listened.feeds.entry(tenant.clone()).or_insert_with(|| {
            let begins = opened.and_then(|opened| opened.begins).unwrap_or(now);
            Feed::new(Arc::clone(&caller.tenant), begins, opened.map(|opened| opened.end))
        });
        if let Some(opened) = opened {
            feed.know(&opened.known);
        }
        let known = after.map(|cursor| feed.place_of(cursor));
        let at = known.flatten().unwrap_or_else(|| feed.end());
        let place = FeedPlace::new(at, feed.known(), need);
        let is_first = feed.callers.is_empty();
        let changes = feed.enter(Waiting { id, caller, need });
        if is_first {
            // Nobody asked for them meanwhile.
            listened.watch_again(&tenant);
        }
        self.count(&listened);
        drop(listened);
        self.stirred.notify_one();
        let has_missed = known == Some(None);
        let backlog = VecDeque::new();
        FeedListener { hub: Arc::clone(self), tenant, id, place, has_missed, backlog, changes }
    }

    /// A job may have changed: whoever listens reads it again.
    pub fn changed(&self, tenant: &TenantId, job: &EntityId) {
        if !self.is_listened() || job.kind() != EntityKind::Job {
            return;
        }
        let key = Key::new(tenant.clone(), job.clone());
        let mut listened = self.listened();
        if let Some(job) = listened.jobs.get_mut(&key) {
            job.tell();
        }
        if let Some(feed) = listened.feeds.get_mut(tenant) {
            feed.changed(job);
        }
    }

    /// A job was asked for and is not there for the tenant.
    pub fn gone(&self, key: &Key) {
        if !self.is_listened() {
            return;
        }
        let mut listened = self.listened();
        if let Some(job) = listened.jobs.get_mut(key) {
            job.tell();
        }
        if let Some(feed) = listened.feeds.get_mut(&key.tenant) {
            feed.gone(&key.id);
            listened.unfeed(key);
            self.count(&listened);
        }
    }

    /// All jobs of a tenant may have changed: Move is asked for them as soon as its budget allows.
    pub fn tenant_may_have_changed(&self, tenant: &TenantId) {
        self.may_have_changed(|own| own == tenant);
    }

    /// All jobs may have changed, as after a connection that was lost: Move is asked for them as soon as its budget
    /// allows.
    pub fn all_may_have_changed(&self) {
        self.may_have_changed(|_| true);
    }

    fn may_have_changed(&self, is_meant: impl Fn(&TenantId) -> bool) {
        if !self.is_listened() {
            return;
        }
        let mut listened = self.listened();
        for (_, job) in listened.jobs.iter_mut().filter(|(key, _)| is_meant(&key.tenant)) {
            job.make_due();
        }
        for (_, feed) in listened.feeds.iter_mut().filter(|(tenant, _)| is_meant(tenant)) {
            feed.missed();
        }
        drop(listened);
        self.stirred.notify_one();
    }

    /// A job was read, here or by another replica, and this was told of it. Its listeners read it again if that
    /// differs from what was told before.
    pub fn seen(&self, key: &Key, progress: &Progress) {
        if !self.is_listened() {
            return;
        }
        let mut listened = self.listened();
        if let Some(job) = listened.jobs.get_mut(key) {
            job.note(progress);
        }
        if let Some(feed) = listened.feeds.get_mut(&key.tenant) {
            feed.seen(&key.id, progress);
            self.feed(listened, key, progress);
        }
    }

    /// A page of Move's shows a job that was created at a moment (in microseconds since 1970), as far as it tells. Returns
    /// true if that is news to anybody: then all that is known of it is to be forgotten, and [`Hub::seen`] told.
    #[must_use]
    pub fn listed(&self, key: &Key, progress: &Progress, created: Option<i64>) -> bool {
        if !self.is_listened() {
            return false;
        }
        let mut listened = self.listened();
        let is_news = listened.jobs.get_mut(key).is_some_and(|job| job.listed(progress));
        let Some(feed) = listened.feeds.get_mut(&key.tenant) else { return is_news };
        if feed.listed(&key.id, progress, created) {
            return true;
        }
        self.feed(listened, key, progress);
        is_news
    }

    /// Returns the tenants of which somebody follows all jobs, or may go on with that.
    #[must_use]
    pub fn followed(&self) -> Vec<FollowedTenant> {
        let feeds = &self.listened().feeds;
        let followed = feeds.values().map(|feed| FollowedTenant {
            tenant: Arc::clone(feed.tenant()),
            is_followed: !feed.callers.is_empty(),
        });
        followed.collect()
    }

    /// The reader of a listener knows this, which may come from a cache.
    fn known(&self, key: &Key, progress: &Progress) {
        if let Some(job) = self.listened().jobs.get_mut(key) {
            job.know(progress);
        }
    }

    /// Everything that a tenant is told of up to a place in Redis is noted, but for what is noted next.
    pub fn hear(&self, tenant: &TenantId, place: LogPlace) {
        if self.is_listened()
            && let Some(feed) = self.listened().feeds.get_mut(tenant)
        {
            feed.hear(place);
        }
    }

    /// Returns the jobs of a tenant's feed that are not over, and how far they have come.
    #[must_use]
    pub fn unfinished(&self, tenant: &TenantId) -> Vec<(EntityId, Progress)> {
        let listened = self.listened();
        let jobs = listened.feeds.get(tenant).into_iter().flat_map(Feed::unfinished);
        jobs.map(|(id, progress)| (id.clone(), progress.clone())).collect()
    }

    /// Move told of a job, which is about to be read.
    pub fn expect(&self, key: &Key) {
        if self.is_listened()
            && key.id.kind() == EntityKind::Job
            && let Some(feed) = self.listened().feeds.get_mut(&key.tenant)
        {
            feed.expect(&key.id);
        }
    }

    /// Has Move be asked for a job of a feed for as long as it is not over and somebody follows it.
    fn feed(&self, mut listened: MutexGuard<'_, Listened>, key: &Key, progress: &Progress) {
        let is_followed =
            listened.feeds.get(&key.tenant).is_some_and(|feed| !feed.callers.is_empty());
        if !is_followed || progress.is_over() {
            listened.unfeed(key);
        } else if listened.feed(key, progress) {
            self.stirred.notify_one();
        }
        self.count(&listened);
    }

    /// Returns true if anybody listens to anything, or may come again to hear what happened meanwhile.
    #[must_use]
    pub fn is_listened(&self) -> bool {
        self.is_listened.load(Ordering::SeqCst)
    }

    /// Returns the number of jobs that Move is asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Returns true if Move is asked for no job.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn count(&self, listened: &Listened) {
        self.count.store(listened.jobs.len(), Ordering::SeqCst);
        let is_listened = !listened.jobs.is_empty() || !listened.feeds.is_empty();
        self.is_listened.store(is_listened, Ordering::SeqCst);
    }

    /// Takes the jobs out that are due, the one that has waited longest first and no more than `most` of an
    /// account, but none of an account that is `busy`. Each stays out until [`Hub::asked`].
    pub fn take_due(
        &self,
        pace: Pace<'_>,
        most: usize,
        busy: impl Fn(&AccountId) -> bool,
    ) -> HashMap<AccountId, Vec<Due>> {
        let now = Instant::now();
        let mut listened = self.listened();
        let Listened { jobs, feeds } = &mut *listened;
        let mut due: Vec<(Instant, &Key, &mut Watched, Caller)> = Vec::new();
        for (key, job) in jobs.iter_mut() {
            if let Some((caller, need)) = job.asked_by(feeds.get(&key.tenant))
                && !busy(&caller.tenant.account.id)
                && let Some(at) = job.due_at(pace, &caller.tenant.account.id, need)
                && at <= now
            {
                let caller = caller.clone();
                due.push((at, key, job, caller));
            }
        }
        due.sort_by_key(|(at, ..)| *at);
        let mut taken: HashMap<AccountId, Vec<Due>> = HashMap::new();
        for (_, key, job, caller) in due {
            let own = taken.entry(caller.tenant.account.id.clone()).or_default();
            if own.len() < most {
                own.push(Due { key: key.clone(), caller });
                job.turn = Turn::Asking;
            }
        }
        taken
    }

    /// Returns the moment at which the next job is due.
    #[must_use]
    pub fn next_due(&self, pace: Pace<'_>) -> Option<Instant> {
        let listened = self.listened();
        let due = listened.jobs.iter().filter_map(|(key, job)| {
            let (caller, need) = job.asked_by(listened.feeds.get(&key.tenant))?;
            job.due_at(pace, &caller.tenant.account.id, need)
        });
        due.min()
    }

    /// The question about a job is answered, or was in vain: the next one comes at its pace.
    pub fn asked(&self, key: &Key) {
        if let Some(job) = self.listened().jobs.get_mut(key) {
            job.turn = Turn::Later;
            // In vain counts too: who fails is not asked without a pause.
            job.sightings.at = Instant::now();
        }
    }

    /// Resolves when something may be due sooner than it was.
    pub async fn stirred(&self) {
        self.stirred.notified().await;
    }

    fn listened(&self) -> MutexGuard<'_, Listened> {
        self.listened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::auth::what_if;
    use crate::jobs::fixture::tenant;

    fn caller(name: &str) -> Caller {
        what_if::of_tenant(&Arc::new(tenant(name)))
    }

    fn key(caller: &Caller, job: &str) -> Key {
        Key::new(caller.tenant.id.clone(), EntityId::job(job).expect("an id"))
    }

    fn listen(hub: &Arc<Hub>, name: &str, job: &str) -> Listener {
        let caller = caller(name);
        hub.listen(key(&caller, job), caller, Need::State)
    }

    fn running(percent: i32) -> Progress {
        Progress { state: Some("RUNNING".into()), percent: Some(percent) }
    }

    fn every_second(seen: &Sightings, _: &AccountId, _: Need) -> Option<Duration> {
        (!seen.progress.is_over()).then(|| Duration::from_secs(1))
    }

    #[tokio::test]
    async fn a_thousand_changes_are_told_once_to_whoever_was_slow_and_to_nobody_else() {
        let hub = Arc::<Hub>::default();
        let [mut own, mut foreign, mut other] =
            [("acme", "job-1"), ("globex", "job-1"), ("acme", "job-2")]
                .map(|(tenant, job)| listen(&hub, tenant, job));
        let Key { tenant, id, .. } = own.key().clone();
        for _ in 0..1_000 {
            hub.changed(&tenant, &id);
        }
        assert_eq!(own.changed().now_or_never(), Some(()));
        assert_eq!(own.changed().now_or_never(), None);
        assert_eq!(foreign.changed().now_or_never(), None);
        assert_eq!(other.changed().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_sighting_is_told_if_it_differs_from_the_one_before() {
        let hub = Arc::<Hub>::default();
        let mut listener = listen(&hub, "acme", "job-1");
        let key = listener.key().clone();
        let mut told = |progress| {
            hub.seen(&key, &progress);
            listener.changed().now_or_never().is_some()
        };
        assert_eq!(
            [10, 10, 20, 20].map(|percent| told(running(percent))),
            [false, false, true, false]
        );
        assert!(!told(Progress { state: Some("RUNNING".into()), percent: None }));
        assert!(told(Progress { state: Some("FINISHED".into()), percent: None }));
    }

    #[tokio::test]
    async fn what_differs_from_what_a_listener_read_from_a_cache_is_told() {
        let hub = Arc::<Hub>::default();
        let mut listener = listen(&hub, "acme", "job-1");
        listener.knows(&running(10));
        assert_eq!(listener.changed().now_or_never(), None);
        hub.seen(listener.key(), &Progress { state: Some("FINISHED".into()), percent: None });
        assert_eq!(listener.changed().now_or_never(), Some(()));
    }

    #[tokio::test]
    async fn that_many_know_the_same_is_no_sighting() {
        let hub = Arc::<Hub>::default();
        let reader = listen(&hub, "acme", "job-1");
        for _ in 0..200 {
            reader.knows(&running(10));
        }
        let all = hub.listened();
        assert_eq!(all.jobs[reader.key()].sightings.unmoved, 0);
        drop(all);
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_job_that_nobody_listens_to() {
        let hub = Arc::<Hub>::default();
        let (one, other) = (listen(&hub, "acme", "job-1"), listen(&hub, "acme", "job-1"));
        assert_eq!(hub.len(), 1);
        drop(one);
        assert_eq!((hub.len(), hub.is_listened()), (1, true));
        drop(other);
        assert_eq!((hub.listened().jobs.len(), hub.is_listened()), (0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_due_at_its_pace_and_at_once_when_everything_may_have_changed() {
        let hub = Arc::<Hub>::default();
        let listener = listen(&hub, "acme", "job-1");
        let due = || {
            let due = hub.take_due(&every_second, 25, |_| false);
            due.into_values().flatten().map(|due| due.key).collect::<Vec<_>>()
        };
        assert_eq!(due(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(due(), [listener.key().clone()]);
        assert_eq!((due(), hub.next_due(&every_second)), (vec![], None), "it is on its way");
        hub.asked(listener.key());
        assert_eq!(due(), []);
        hub.all_may_have_changed();
        assert_eq!(due(), [listener.key().clone()]);
        hub.asked(listener.key());
        hub.tenant_may_have_changed(&caller("globex").tenant.id);
        assert_eq!(due(), []);
    }
}
