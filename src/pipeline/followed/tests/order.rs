//! The order of what listeners are told, whatever is delayed, lost or told twice on the way: the hub and the streams are
//! the real ones, Move and what lies between are not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ahash::RandomState;
use proptest::prelude::*;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::super::*;
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
        let seen = self.truth(self.began.elapsed().saturating_sub(Duration::from_millis(behind)));
        sleep(Duration::from_millis(takes)).await;
        self.hub.seen(&self.key, &seen);
        seen
    }
}

/// Follows a stream as its own loop does, and notes what it is told.
async fn listen(upstream: Rc<Move>, mut followed: Followed, told: Rc<RefCell<Vec<Progress>>>) {
    let mut reads = matches!(followed, Followed::Job(_));
    let note = |part: StreamPart| match part {
        StreamPart::Answer(body) => {
            told.borrow_mut().push(serde_json::from_slice(&body).expect("a progress"));
        }
        other => panic!("{other:?}"),
    };
    while !followed.is_over() {
        if !reads {
            match followed.next().await {
                FollowedStep::Read => {}
                FollowedStep::Tell(part) => {
                    note(part);
                    continue;
                }
                FollowedStep::Resync(_) => panic!("nothing is missing"),
            }
        }
        reads = false;
        let progress = upstream.read().await;
        let answer = answer(serde_json::to_string(&progress).expect("JSON"));
        let digest = RandomState::with_seeds(1, 2, 3, 4).hash_one(&answer.body);
        let observed = match &followed {
            Followed::Job(_) => Observed::Job(answer, Some(progress)),
            Followed::Jobs(_) => {
                Observed::Jobs(vec![Some(ChangeEvent { answer, progress: Some(progress), digest })])
            }
        };
        let is_first = told.borrow().is_empty();
        match followed.judge(Some(observed), is_first) {
            ReadVerdict::Tell(part) => note(part),
            ReadVerdict::Failed(_) | ReadVerdict::Finished | ReadVerdict::Nothing => {}
            ReadVerdict::Again => panic!("it was read"),
        }
    }
}

pub(super) fn answer(body: String) -> Answer {
    Answer {
        body: body.into(),
        failures: Vec::new(),
        retry_after: None,
        completeness: Completeness::SomeValues,
    }
}

/// Asks for what is due, as the poller does.
async fn poll(upstream: Rc<Move>) {
    loop {
        let pace = |seen: &crate::cache::Sightings, _: &_, _| {
            (!seen.progress.is_over()).then(|| Duration::from_secs(5))
        };
        for Due { key, .. } in upstream.hub.take_due(&pace, 25, |_| false).into_values().flatten() {
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
    let key = Key::new(caller.tenant.id.clone(), job);
    let (hub, began) = (Arc::<Hub>::default(), Instant::now());
    let upstream = Rc::new(Move { run, began, reads: Cell::new(0), hub, key });
    let Move { hub, key, .. } = &*upstream;
    let mut all = Vec::new();
    for follows_all in [false, false, true, true] {
        let followed = if follows_all {
            let mut listener = hub.follow(caller.clone(), Need::Progress, None, None, 0);
            let first = upstream.truth(Duration::ZERO);
            hub.seen(key, &first);
            listener.begin_with(&[(key.id.clone(), first)]);
            Followed::jobs(listener, None)
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
