//! The jobs that a stream tells of: one until it is over, or all of a tenant's as they change.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::RequestContext;
use super::judged::Judged;
use super::wait::is_passing;
use crate::cache::{FeedListener, FeedStep, Listener};
use crate::graphql::{Answer, Change};
use crate::http::stream::StreamPart;
use crate::model::{Caller, EntityId, Progress, RequestId};

/// The pauses after which a job that changed is read again while Move is in trouble. After the last one its stream
/// says that a change is missing.
const AGAIN: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// The jobs that a stream tells of.
#[derive(Debug)]
pub enum Followed {
    /// One.
    Job(FollowedJob),
    /// All of the tenant's.
    Jobs(FollowedJobs),
}

/// A job that is followed until it is over.
#[derive(Debug)]
pub struct FollowedJob {
    listener: Listener,
    /// The answer that was told last.
    told: Bytes,
    progress: Progress,
}

/// A tenant's jobs that are followed.
#[derive(Debug)]
pub struct FollowedJobs {
    listener: FeedListener,
    /// The take whose jobs alone are told of.
    take: Option<EntityId>,
    /// The change that is to be told of next.
    change: Option<Change>,
    /// The number of times it was read in vain.
    tries: usize,
}

/// The next thing that happens to what is followed.
#[derive(Debug)]
pub enum FollowedStep {
    /// A job is to be read.
    Read,
    /// Changes before this cursor are missing.
    Resync(String),
}

/// A read: an answer, and how far the job has come; nothing if it is not to be told of.
type Observed = Option<(Answer, Option<Progress>)>;

/// A job that is being read; nothing if that takes too long.
pub type Reading = BoxFuture<'static, Option<Observed>>;

/// The fate of something that was read.
#[derive(Debug)]
pub enum ReadVerdict {
    /// It is told.
    Tell(StreamPart),
    /// It is told, and the stream ends: the job cannot be read any more.
    Failed(Answer),
    /// It is no news, and the stream ends: the job is over.
    Finished,
    /// It is no news.
    Nothing,
    /// It is read again.
    Again,
}

impl Followed {
    /// Follows one job.
    pub fn job(listener: Listener) -> Self {
        let (told, progress) = (Bytes::new(), Progress::default());
        Self::Job(FollowedJob { listener, told, progress })
    }

    /// Follows all of a tenant's, or those of one take.
    pub const fn jobs(listener: FeedListener, take: Option<EntityId>) -> Self {
        Self::Jobs(FollowedJobs { listener, take, change: None, tries: 0 })
    }

    /// Returns true if nothing more will happen.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Job(job) => job.progress.is_over(),
            Self::Jobs(_) => false,
        }
    }

    /// Goes on in the name of a caller who was judged anew.
    pub fn judged_anew(&self, caller: &Caller) {
        match self {
            Self::Job(job) => job.listener.judged_anew(caller),
            Self::Jobs(jobs) => jobs.listener.judged_anew(caller),
        }
    }

    /// Waits for the next thing that happens. May be dropped and called again.
    pub async fn next(&mut self) -> FollowedStep {
        match self {
            Self::Job(job) => {
                job.listener.changed().await;
                FollowedStep::Read
            }
            Self::Jobs(jobs) => match jobs.listener.next().await {
                FeedStep::Changed(job, cursor) => {
                    jobs.change = Some(Change { job, cursor, take: jobs.take.clone() });
                    jobs.tries = 0;
                    FollowedStep::Read
                }
                FeedStep::Resync(cursor) => FollowedStep::Resync(cursor),
            },
        }
    }

    /// Begins to read what is to be told of next.
    pub fn read(&self, judged: &Judged, context: RequestContext, time: Duration) -> Reading {
        let (rules, operation) = (Arc::clone(&judged.rules), Arc::clone(&judged.operation));
        match self {
            Self::Job(_) => Box::pin(async move {
                let reading = rules.gateways.observe(&context, &operation);
                timeout(time, reading).await.ok().map(Some)
            }),
            Self::Jobs(jobs) => {
                let (change, pause) = (jobs.change.clone(), jobs.pause());
                Box::pin(async move {
                    sleep(pause).await;
                    let change = change?;
                    let deadline = tokio::time::Instant::now() + time;
                    let context = RequestContext { deadline, ..context };
                    timeout(time, rules.gateways.tell(&context, &operation, &change)).await.ok()
                })
            }
        }
    }

    /// Judges what was read. `is_first` if nothing was told yet.
    pub fn judge(&mut self, read: Option<Observed>, is_first: bool) -> ReadVerdict {
        match self {
            Self::Job(job) => match read.flatten() {
                Some(read) => job.judge(read, is_first),
                None => ReadVerdict::Nothing,
            },
            Self::Jobs(jobs) => jobs.judge(read),
        }
    }
}

impl FollowedJob {
    fn judge(
        &mut self,
        (answer, progress): (Answer, Option<Progress>),
        is_first: bool,
    ) -> ReadVerdict {
        let Some(progress) = progress else {
            // Move's trouble passes; the job is read again when it is told of.
            if !is_first && is_passing(&answer) {
                return ReadVerdict::Nothing;
            }
            return ReadVerdict::Failed(answer);
        };
        if progress.is_before(&self.progress) {
            return ReadVerdict::Nothing;
        }
        self.listener.knows(&progress);
        self.progress.update(&progress);
        if answer.body != self.told {
            self.told = answer.body.clone();
            return ReadVerdict::Tell(StreamPart::Answer(answer.body));
        }
        // Its caller may select nothing that differs, and still waits for the end.
        if self.progress.is_over() {
            return ReadVerdict::Finished;
        }
        ReadVerdict::Nothing
    }
}

impl FollowedJobs {
    /// The pause before the next read.
    fn pause(&self) -> Duration {
        let last = self.tries.checked_sub(1);
        last.and_then(|last| AGAIN.get(last)).copied().unwrap_or_default()
    }

    fn judge(&mut self, read: Option<Observed>) -> ReadVerdict {
        let Some(change) = &self.change else { return ReadVerdict::Nothing };
        match read {
            Some(None) => ReadVerdict::Nothing,
            Some(Some((answer, Some(progress)))) => {
                if self.listener.may_tell(&change.job, &progress) {
                    ReadVerdict::Tell(StreamPart::Answer(answer.body))
                } else {
                    // What is newer comes behind it.
                    ReadVerdict::Nothing
                }
            }
            // Move complains about the job: that is its caller's to know.
            Some(Some((answer, None))) if !is_passing(&answer) => {
                ReadVerdict::Tell(StreamPart::Answer(answer.body))
            }
            Some(Some(_)) | None => {
                self.tries += 1;
                if self.tries <= AGAIN.len() {
                    return ReadVerdict::Again;
                }
                self.listener.miss();
                ReadVerdict::Nothing
            }
        }
    }
}

/// The event that tells that changes are missing.
pub fn resync(request: RequestId, judged: &Judged, cursor: &str) -> StreamPart {
    let root = judged.operation.units.first();
    let key = root.map_or("", |unit| &*unit.response_key);
    StreamPart::Answer(Answer::resync(request, key, cursor).body)
}

#[cfg(test)]
mod order {
    //! The order of what listeners are told, whatever is delayed, lost or told twice on the way: the hub and the streams are
    //! the real ones, Move and what lies between are not.

    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::task::{LocalSet, spawn_local};
    use tokio::time::{Instant, sleep, timeout};

    use super::*;
    use crate::auth::what_if;
    use crate::cache::{Due, Hub, Key, Need};
    use crate::graphql::Completeness;
    use crate::jobs::fixture::tenant;
    use crate::model::{Caller, EntityId};

    /// One run: the life of a job at Move, what its events meet, and the delays of reads.
    #[derive(Debug, Clone)]
    struct Run {
        /// The times between the changes, in milliseconds, and the percentage after each.
        life: Vec<(u64, i32)>,
        is_failed: bool,
        /// The delays of each event's copies, in milliseconds; none for one that is lost.
        events: Vec<Vec<u64>>,
        /// For each read how far behind the truth Move's answer is, and how long it takes.
        reads: Vec<(u64, u64)>,
    }

    fn runs() -> impl Strategy<Value = Run> {
        let life = prop::collection::vec((1..4_000_u64, 0..100_i32), 1..8);
        let events = prop::collection::vec(prop::collection::vec(0..9_000_u64, 0..3), 1..8);
        let reads = prop::collection::vec((0..5_000_u64, 0..4_000_u64), 1..20);
        (life, any::<bool>(), events, reads).prop_map(|(life, is_failed, events, reads)| Run {
            life,
            is_failed,
            events,
            reads,
        })
    }

    /// Move, as readers see it.
    struct Move {
        run: Run,
        began: Instant,
        /// The number of reads so far.
        reads: Cell<usize>,
        hub: Arc<Hub>,
        key: Key,
    }

    impl Move {
        /// The moments of the job's life, and how it is from each on.
        fn moments(&self) -> Vec<(Duration, Progress)> {
            let progress = |state: &str, percent| Progress { state: Some(state.into()), percent };
            let mut moments = vec![(Duration::ZERO, progress("NOT_STARTED", Some(0)))];
            let (mut at, mut done) = (Duration::ZERO, 0);
            for (pause, percent) in &self.run.life {
                at += Duration::from_millis(*pause);
                done = done.max(*percent);
                moments.push((at, progress("RUNNING", Some(done))));
            }
            let end = if self.run.is_failed { "FAILED" } else { "FINISHED" };
            moments.push((at + Duration::from_secs(1), progress(end, Some(100))));
            moments
        }

        fn truth(&self, at: Duration) -> Progress {
            let moments = self.moments();
            let last = moments.iter().rev().find(|(from, _)| *from <= at);
            last.map(|(_, progress)| progress.clone()).expect("it begins with one")
        }

        /// Reads the job. What lands is told to the hub, as every fetch is.
        async fn read(&self) -> Progress {
            let read = self.reads.replace(self.reads.get() + 1);
            let (behind, takes) = self.run.reads[read % self.run.reads.len()];
            let seen =
                self.truth(self.began.elapsed().saturating_sub(Duration::from_millis(behind)));
            sleep(Duration::from_millis(takes)).await;
            self.hub.seen(&self.key, &seen);
            seen
        }
    }

    /// Follows a stream as its own loop does, and notes what it is told.
    async fn listen(upstream: Rc<Move>, mut followed: Followed, told: Rc<RefCell<Vec<Progress>>>) {
        let mut reads = matches!(followed, Followed::Job(_));
        while !followed.is_over() {
            if !reads && let FollowedStep::Resync(_) = followed.next().await {
                panic!("nothing is missing");
            }
            reads = false;
            let progress = upstream.read().await;
            let answer = Answer {
                body: format!("{progress:?}").into(),
                failures: Vec::new(),
                retry_after: None,
                completeness: Completeness::SomeValues,
            };
            let is_first = told.borrow().is_empty();
            match followed.judge(Some(Some((answer, Some(progress.clone())))), is_first) {
                ReadVerdict::Tell(_) => told.borrow_mut().push(progress),
                ReadVerdict::Failed(_) | ReadVerdict::Finished | ReadVerdict::Nothing => {}
                ReadVerdict::Again => panic!("it was read"),
            }
        }
    }

    /// Asks for what is due, as the poller does.
    async fn poll(upstream: Rc<Move>) {
        loop {
            let pace = |seen: &crate::cache::Sightings, _: &_, _| {
                (!seen.progress.is_over()).then(|| Duration::from_secs(5))
            };
            for Due { key, .. } in
                upstream.hub.take_due(&pace, 25, |_| false).into_values().flatten()
            {
                let upstream = Rc::clone(&upstream);
                spawn_local(async move {
                    upstream.read().await;
                    upstream.hub.asked(&key);
                });
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Sends the events of the job's changes, as far as they are not lost.
    fn send(upstream: &Rc<Move>) {
        for ((at, _), delays) in upstream.moments().into_iter().zip(&upstream.run.events) {
            for delay in delays {
                let (upstream, delay) = (Rc::clone(upstream), Duration::from_millis(*delay));
                spawn_local(async move {
                    sleep(at + delay).await;
                    upstream.hub.expect(&upstream.key);
                    upstream.read().await;
                });
            }
        }
    }

    async fn simulate(run: Run) {
        let caller: Caller = what_if::of_tenant(&Arc::new(tenant("acme")));
        let job = EntityId::job("job-1").expect("an id");
        let key = Key { tenant: caller.tenant.id.clone(), id: job };
        let (hub, began) = (Arc::<Hub>::default(), Instant::now());
        let upstream = Rc::new(Move { run, began, reads: Cell::new(0), hub, key });
        let Move { hub, key, .. } = &*upstream;
        let mut all = Vec::new();
        for follows_all in [false, false, true, true] {
            let followed = if follows_all {
                Followed::jobs(hub.follow(caller.clone(), Need::State, None, None), None)
            } else {
                Followed::job(hub.listen(key.clone(), caller.clone(), Need::Progress))
            };
            let told = Rc::default();
            spawn_local(listen(Rc::clone(&upstream), followed, Rc::clone(&told)));
            all.push(told);
        }
        spawn_local(poll(Rc::clone(&upstream)));
        send(&upstream);
        let end = upstream.moments().last().cloned().expect("an end");
        sleep(end.0 + Duration::from_mins(2)).await;
        for told in all {
            let told = told.borrow();
            assert!(!told.windows(2).any(|two| two[1].is_before(&two[0])), "{told:?}");
            assert_eq!(told.last(), Some(&end.1), "the last is the truth");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 200, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn every_listeners_sequence_only_goes_forward_and_ends_with_the_truth(run in runs()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let simulated = async move {
                let local = LocalSet::new();
                local.run_until(timeout(Duration::from_hours(1), simulate(run))).await
            };
            prop_assert!(runtime.expect("a runtime").block_on(simulated).is_ok());
        }
    }
}
