//! Who waits for which job. A listener is told that its job may have changed, and reads it again: what it is told is
//! a state and no message, so that a slow one misses nothing and costs no more than a quick one.
//!
//! A job is in here for as long as somebody listens; nobody else pays more for it than a look at one number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{Key, Sightings};
use crate::model::{AccountId, Caller, EntityId, Progress, TenantId};

/// The jobs that somebody listens to.
#[derive(Debug, Default)]
pub struct Hub {
    watched: Mutex<HashMap<Key, Watched>>,
    /// The number of those jobs.
    count: AtomicUsize,
    next_id: AtomicU64,
    /// Tells whoever asks Move that something may be due sooner than it thought.
    stirred: Notify,
}

/// A job that somebody listens to.
#[derive(Debug)]
struct Watched {
    changes: watch::Sender<u64>,
    /// Its listeners: in the name of one of them Move is asked.
    callers: Vec<(u64, Caller)>,
    sightings: Sightings,
    turn: Turn,
}

/// The state of the question to Move about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It comes when its pace says so.
    Later,
    /// It comes as soon as it may: something may have happened.
    Now,
    /// It is on its way.
    Asking,
}

/// A job that Move is to be asked for, in the name of a caller who listens to it.
#[derive(Debug, Clone)]
pub struct Due {
    /// The job.
    pub key: Key,
    /// One of its listeners.
    pub caller: Caller,
}

/// The time until Move is asked for a job again; `None` if it need not be.
pub type Pace = fn(&Sightings) -> Option<Duration>;

/// Somebody who listens to a job, until this is dropped.
#[derive(Debug)]
pub struct Listener {
    hub: Arc<Hub>,
    key: Key,
    id: u64,
    changes: watch::Receiver<u64>,
}

impl Hub {
    /// Listens to a job from now on: whatever changes after this is told.
    pub fn listen(self: &Arc<Self>, key: Key, caller: Caller) -> Listener {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut watched = self.watched();
        let job = watched.entry(key.clone()).or_insert_with(|| Watched {
            changes: watch::Sender::new(0),
            callers: Vec::new(),
            sightings: Sightings::begin(Instant::now()),
            turn: Turn::Later,
        });
        job.callers.push((id, caller));
        let changes = job.changes.subscribe();
        self.count.store(watched.len(), Ordering::SeqCst);
        drop(watched);
        self.stirred.notify_one();
        Listener { hub: Arc::clone(self), key, id, changes }
    }

    /// A job may have changed: whoever listens reads it again.
    pub fn changed(&self, tenant: &TenantId, job: &EntityId) {
        if self.is_listened() {
            let key = Key { tenant: tenant.clone(), id: job.clone() };
            if let Some(job) = self.watched().get_mut(&key) {
                job.tell();
            }
        }
    }

    /// All jobs of a tenant may have changed: Move is asked for them as soon as its budget allows.
    pub fn tenant_may_have_changed(&self, tenant: &TenantId) {
        self.make_due(|key| key.tenant == *tenant);
    }

    /// All jobs may have changed, as after a connection that was lost: Move is asked for them as soon as its budget
    /// allows.
    pub fn all_may_have_changed(&self) {
        self.make_due(|_| true);
    }

    fn make_due(&self, is_meant: impl Fn(&Key) -> bool) {
        if !self.is_listened() {
            return;
        }
        for (_, job) in self.watched().iter_mut().filter(|(key, _)| is_meant(key)) {
            if job.turn == Turn::Later {
                job.turn = Turn::Now;
            }
        }
        self.stirred.notify_one();
    }

    /// A job was read, here or by another replica, and this was told of it. Its listeners read it again if that
    /// differs from what was told before.
    pub fn seen(&self, key: &Key, progress: &Progress) {
        if !self.is_listened() {
            return;
        }
        let mut watched = self.watched();
        let Some(job) = watched.get_mut(key) else { return };
        // Who asks at the moment is answered by its own sighting.
        if job.turn == Turn::Now {
            job.turn = Turn::Later;
        }
        if job.sightings.note(progress, Instant::now()) {
            job.tell();
        }
    }

    /// Returns true if anybody listens to anything.
    #[must_use]
    pub fn is_listened(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Returns the number of jobs that somebody listens to.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Returns true if nobody listens to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the jobs out that are due, the one that has waited longest first and no more than `most` of an
    /// account, but none of an account that is `busy`. Each stays out until [`Hub::asked`].
    pub fn take_due(
        &self,
        pace: Pace,
        most: usize,
        busy: impl Fn(&AccountId) -> bool,
    ) -> HashMap<AccountId, Vec<Due>> {
        let now = Instant::now();
        let mut watched = self.watched();
        let mut due: Vec<(Instant, &Key, &mut Watched)> = Vec::new();
        for (key, job) in watched.iter_mut() {
            if let Some(at) = job.due_at(pace).filter(|at| *at <= now)
                && job.callers.first().is_some_and(|(_, by)| !busy(&by.tenant.account.id))
            {
                due.push((at, key, job));
            }
        }
        due.sort_by_key(|(at, ..)| *at);
        let mut taken: HashMap<AccountId, Vec<Due>> = HashMap::new();
        for (_, key, job) in due {
            let Some((_, caller)) = job.callers.first() else { continue };
            let own = taken.entry(caller.tenant.account.id.clone()).or_default();
            if own.len() < most {
                own.push(Due { key: key.clone(), caller: caller.clone() });
                job.turn = Turn::Asking;
            }
        }
        taken
    }

    /// Returns the moment at which the next job is due.
    #[must_use]
    pub fn next_due(&self, pace: Pace) -> Option<Instant> {
        self.watched().values().filter_map(|job| job.due_at(pace)).min()
    }

    /// The question about a job is answered, or was in vain: the next one comes at its pace.
    pub fn asked(&self, key: &Key) {
        if let Some(job) = self.watched().get_mut(key) {
            job.turn = Turn::Later;
            // In vain counts too: who fails is not asked without a pause.
            job.sightings.at = Instant::now();
        }
    }

    /// Resolves when something may be due sooner than it was.
    pub async fn stirred(&self) {
        self.stirred.notified().await;
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<Key, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn tell(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn due_at(&self, pace: Pace) -> Option<Instant> {
        match self.turn {
            Turn::Later => Some(self.sightings.at + pace(&self.sightings)?),
            Turn::Now => Some(self.sightings.at),
            Turn::Asking => None,
        }
    }
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
        self.hub.seen(&self.key, progress);
    }

    /// Goes on in the name of a caller who was judged anew.
    pub fn judged_anew(&self, caller: &Caller) {
        if let Some(job) = self.hub.watched().get_mut(&self.key)
            && let Some((_, own)) = job.callers.iter_mut().find(|(id, _)| *id == self.id)
        {
            own.clone_from(caller);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut watched = self.hub.watched();
        if let Some(job) = watched.get_mut(&self.key) {
            job.callers.retain(|(id, _)| *id != self.id);
            if job.callers.is_empty() {
                watched.remove(&self.key);
            }
        }
        self.hub.count.store(watched.len(), Ordering::SeqCst);
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
        Key { tenant: caller.tenant.id.clone(), id: EntityId::job(job).expect("an id") }
    }

    fn listen(hub: &Arc<Hub>, name: &str, job: &str) -> Listener {
        let caller = caller(name);
        hub.listen(key(&caller, job), caller)
    }

    fn running(percent: i32) -> Progress {
        Progress { state: Some("RUNNING".into()), percent: Some(percent) }
    }

    fn every_second(seen: &Sightings) -> Option<Duration> {
        (!seen.progress.is_over()).then(|| Duration::from_secs(1))
    }

    #[tokio::test]
    async fn a_thousand_changes_are_told_once_to_whoever_was_slow_and_to_nobody_else() {
        let hub = Arc::<Hub>::default();
        let [mut own, mut foreign, mut other] =
            [("acme", "job-1"), ("globex", "job-1"), ("acme", "job-2")]
                .map(|(tenant, job)| listen(&hub, tenant, job));
        let Key { tenant, id } = own.key().clone();
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
    async fn nothing_is_left_of_a_job_that_nobody_listens_to() {
        let hub = Arc::<Hub>::default();
        let (one, other) = (listen(&hub, "acme", "job-1"), listen(&hub, "acme", "job-1"));
        assert_eq!(hub.len(), 1);
        drop(one);
        assert_eq!((hub.len(), hub.is_listened()), (1, true));
        drop(other);
        assert_eq!((hub.watched().len(), hub.is_listened()), (0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_due_at_its_pace_and_at_once_when_everything_may_have_changed() {
        let hub = Arc::<Hub>::default();
        let listener = listen(&hub, "acme", "job-1");
        let due = || {
            let due = hub.take_due(every_second, 25, |_| false);
            due.into_values().flatten().map(|due| due.key).collect::<Vec<_>>()
        };
        assert_eq!(due(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(due(), [listener.key().clone()]);
        assert_eq!((due(), hub.next_due(every_second)), (vec![], None), "it is on its way");
        hub.asked(listener.key());
        assert_eq!(due(), []);
        hub.all_may_have_changed();
        assert_eq!(due(), [listener.key().clone()]);
        hub.asked(listener.key());
        hub.tenant_may_have_changed(&caller("globex").tenant.id);
        assert_eq!(due(), []);
    }
}
