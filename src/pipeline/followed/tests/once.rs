//! The events of those who follow all jobs, where nothing is lost or delayed: one for every change, in order, and none
//! besides.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use super::super::*;
use super::order::answer;
use crate::auth::what_if;
use crate::cache::{Hub, Key, Need};
use crate::jobs::fixture::tenant;

/// The jobs that there are at the beginning.
const JOBS: usize = 30;

/// The moment at which streams begin, in microseconds since 1970.
const BEGIN: i64 = 1_000;

/// The way in which the gateway comes to see a job.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Read,
    Page,
    Event,
}

/// Something that happens to a job.
#[derive(Debug, Clone)]
enum Step {
    /// It comes so much further, perhaps to its end.
    Moves(usize, i32, Seen),
    /// It is written.
    Written(usize),
    /// It is made past the gateway.
    Made,
    /// It is as it was.
    Stays(usize, Seen),
    /// All come further at once.
    AllMove(Seen),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seen = || prop_oneof![Just(Seen::Read), Just(Seen::Page), Just(Seen::Event)];
    let step = prop_oneof![
        (0..JOBS, 1..60, seen()).prop_map(|(job, by, seen)| Step::Moves(job, by, seen)),
        (0..JOBS).prop_map(Step::Written),
        Just(Step::Made),
        (0..JOBS, seen()).prop_map(|(job, seen)| Step::Stays(job, seen)),
        seen().prop_map(Step::AllMove),
    ];
    prop::collection::vec(step, 1..25)
}

/// A job at Move.
struct Truth {
    percent: i32,
    text: u32,
    created: i64,
}

impl Truth {
    fn progress(&self) -> Progress {
        let state = if self.percent < 100 { "RUNNING" } else { "FINISHED" };
        Progress { state: Some(state.into()), percent: Some(self.percent) }
    }
}

/// Move, and the gateway before it.
struct World {
    hub: Arc<Hub>,
    caller: Caller,
    jobs: RefCell<Vec<Truth>>,
}

fn id(job: usize) -> EntityId {
    EntityId::job(&format!("job-{job}")).expect("an id")
}

impl World {
    fn key(&self, job: usize) -> Key {
        Key::new(self.caller.tenant.id.clone(), id(job))
    }

    /// The gateway comes to see a job.
    fn show(&self, job: usize, seen: Seen) {
        let (key, jobs) = (self.key(job), self.jobs.borrow());
        let Truth { created, .. } = jobs[job];
        let progress = jobs[job].progress();
        match seen {
            Seen::Page if !self.hub.listed(&key, &progress, Some(created)) => return,
            Seen::Event => self.hub.expect(&key),
            Seen::Read | Seen::Page => {}
        }
        self.hub.seen(&key, &progress);
    }

    /// An event as a stream of that need has it.
    fn text(&self, job: usize, need: Need) -> String {
        let job_now = &self.jobs.borrow()[job];
        let Progress { state, percent } = job_now.progress();
        let percent = percent.filter(|_| need == Need::Progress);
        format!("{job} {state:?} {percent:?} {}", job_now.text)
    }

    /// Reads a job, as a stream does.
    fn read(&self, change: &Change, need: Need) -> Option<ChangeEvent> {
        let job = change.job.as_str().strip_prefix("job-")?.parse().ok()?;
        self.show(job, Seen::Read);
        let (text, progress) = (self.text(job, need), self.jobs.borrow()[job].progress());
        let mut digest = DefaultHasher::new();
        text.hash(&mut digest);
        let digest = digest.finish();
        Some(ChangeEvent { answer: answer(text), progress: Some(progress), digest })
    }

    /// Opens a stream, as a subscription does.
    fn open(&self, need: Need) -> Followed {
        let mut listener = self.hub.follow(self.caller.clone(), need, None, None, BEGIN);
        let jobs = 0..self.jobs.borrow().len();
        let survey = jobs.map(|job| {
            self.show(job, if job % 2 == 0 { Seen::Read } else { Seen::Page });
            self.show(job, Seen::Page);
            (id(job), self.jobs.borrow()[job].progress())
        });
        let survey: Vec<_> = survey.collect();
        listener.begin_with(&survey);
        Followed::jobs(listener, None)
    }
}

/// Follows a stream as its own loop does, and notes what it is told.
async fn listen(
    world: Rc<World>,
    mut followed: Followed,
    need: Need,
    told: Rc<RefCell<Vec<String>>>,
) {
    loop {
        match followed.next().await {
            FollowedStep::Tell(StreamPart::Answer(body)) => {
                told.borrow_mut().push(String::from_utf8(body.to_vec()).expect("text"));
            }
            FollowedStep::Read => {
                let Followed::Jobs(jobs) = &followed else { panic!("it follows all") };
                let changes = jobs.to_read();
                assert!(changes.len() <= 25, "as many as one document asks for");
                sleep(Duration::from_millis(200)).await;
                let events = changes.iter().map(|change| world.read(change, need)).collect();
                let verdict = followed.judge(Some(Observed::Jobs(events)), false);
                assert!(matches!(verdict, ReadVerdict::Nothing), "{verdict:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Lets a step happen. Returns the jobs that are not as they were.
fn happen(world: &World, step: &Step) -> Vec<usize> {
    let all = world.jobs.borrow().len();
    let moves = |job: usize, by: i32, seen: Seen| {
        let before = world.jobs.borrow()[job].percent;
        world.jobs.borrow_mut()[job].percent = (before + by).min(100);
        world.show(job, seen);
        job
    };
    match *step {
        Step::Moves(job, by, seen) => vec![moves(job, by, seen)],
        Step::AllMove(seen) => (0..all).map(|job| moves(job, 1, seen)).collect(),
        Step::Written(job) => {
            world.jobs.borrow_mut()[job].text += 1;
            world.hub.changed(&world.caller.tenant.id, &id(job));
            vec![job]
        }
        Step::Made => {
            world.jobs.borrow_mut().push(Truth { percent: 0, text: 0, created: BEGIN + 1 });
            world.show(all, Seen::Page);
            vec![all]
        }
        Step::Stays(job, seen) => {
            world.show(job, seen);
            Vec::new()
        }
    }
}

async fn simulate(steps: Vec<Step>) {
    let jobs = (0..JOBS).map(|_| Truth { percent: 0, text: 0, created: 0 }).collect();
    let caller = what_if::of_tenant(&Arc::new(tenant("acme")));
    let world = Rc::new(World { hub: Arc::default(), caller, jobs: RefCell::new(jobs) });
    let mut streams = Vec::new();
    for need in [Need::Progress, Need::State, Need::Progress] {
        let told = Rc::<RefCell<Vec<String>>>::default();
        spawn_local(listen(Rc::clone(&world), world.open(need), need, Rc::clone(&told)));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(told.borrow().len(), 0, "nothing has changed yet");
        streams.push((need, told));
    }
    let mut expected = vec![Vec::new(); streams.len()];
    let texts = |need| (0..world.jobs.borrow().len()).map(|job| world.text(job, need)).collect();
    for step in &steps {
        let before: Vec<Vec<String>> = streams.iter().map(|(need, _)| texts(*need)).collect();
        for job in happen(&world, step) {
            for (at, (need, _)) in streams.iter().enumerate() {
                let now = world.text(job, *need);
                if before[at].get(job) != Some(&now) {
                    expected[at].push(now);
                }
            }
        }
        sleep(Duration::from_secs(5)).await;
    }
    for ((_, told), expected) in streams.iter().zip(&expected) {
        assert_eq!(*told.borrow(), *expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn each_change_is_told_once_and_in_order_and_what_did_not_change_is_not(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let local = LocalSet::new();
        runtime.expect("a runtime").block_on(local.run_until(simulate(steps)));
    }
}
