//! Random histories of a key on a paused clock: tries with lost answers and failing looks, replicas that
//! are cut off and come back, restarts, a store that forgets. Whatever happens, Move makes one job for
//! each root field, and in the end the caller reads it. Where replicas go on alone while the store is in
//! trouble, tries at the same moment are left out: they do not know of each other.
//!
//! Move and the store are models; what a try does with its root fields is what `jobs` does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;

use super::store::{StoreError, Swap, Swapped};
use super::*;
use crate::model::Before;

/// The number of histories there are.
const HISTORIES: u64 = 5_000;

/// The time for which a caller waits before it sends a mutation again whose outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time for which the model of Redis takes to count a replica as silent, as the real one.
const SILENCE: Duration = Duration::from_secs(3);

const fn settings(on_trouble: OnTrouble) -> Settings {
    Settings { keep: Duration::from_hours(24), max_keys: 1_000, on_trouble }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SplitMix64: chance that can be had again.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The contents of Redis.
#[derive(Debug, Default)]
struct Held {
    entries: HashMap<Key, Bytes>,
    since: Option<Timestamp>,
    heard_of: HashMap<String, Instant>,
    /// True if it says that it evicts.
    evicts: bool,
}

impl Held {
    fn empty(&mut self) {
        *self = Self { evicts: self.evicts, ..Self::default() };
    }
}

/// A replica's connection to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Good,
    /// Every call in two fails, carried out or not.
    Slow,
    Cut,
}

/// A replica's end of the store.
#[derive(Debug)]
pub(super) struct Model {
    held: Arc<Mutex<Held>>,
    link: Arc<Mutex<Link>>,
    chance: Mutex<Chance>,
    failures: AtomicU64,
}

impl Model {
    pub fn disturbances(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    pub fn may_evict(&self) -> bool {
        locked(&self.held).evicts
    }

    async fn call<T>(&self, of: impl FnOnce(&mut Held) -> T) -> Result<T, StoreError> {
        let (fails, is_done) = {
            let mut chance = locked(&self.chance);
            match *locked(&self.link) {
                Link::Good => (false, true),
                Link::Slow => (chance.one_in(2), chance.one_in(2)),
                Link::Cut => (true, false),
            }
        };
        if fails {
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            tokio::task::yield_now().await;
        }
        let answer = (!fails || is_done).then(|| of(&mut locked(&self.held)));
        if fails {
            self.failures.fetch_add(1, Ordering::SeqCst);
        }
        answer.filter(|_| !fails).ok_or(StoreError)
    }

    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.call(|held| held.entries.get(key).cloned()).await
    }

    pub async fn swap(&self, swap: Swap<'_>) -> Result<Swapped, StoreError> {
        self.call(|held| {
            if held.entries.get(swap.key) != swap.old.as_ref() {
                return Swapped::No;
            }
            match swap.new {
                Some(new) => held.entries.insert(swap.key.clone(), new),
                None => held.entries.remove(swap.key),
            };
            Swapped::Yes
        })
        .await
    }

    pub async fn complete_since(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.call(|held| {
            let since = *held.since.get_or_insert(now);
            let is_silent = |at: &Instant| at.elapsed() > SILENCE;
            if held.heard_of.values().any(is_silent) { now } else { since }
        })
        .await
    }

    pub async fn note_gap(&self, now: Timestamp) -> Result<(), StoreError> {
        self.call(|held| held.since = held.since.max(Some(now))).await
    }

    pub async fn beat(&self, process: &str) {
        drop(self.call(|held| held.heard_of.insert(process.to_owned(), Instant::now())).await);
    }
}

/// Jobs by mark, and what goes wrong with the calls.
#[derive(Debug, Default)]
struct Move {
    jobs: BTreeMap<String, Vec<String>>,
    made: u32,
}

impl Move {
    fn create(&mut self, mark: &str) -> String {
        self.made += 1;
        let id = format!("job-{}", self.made);
        self.jobs.entry(mark.to_owned()).or_default().push(id.clone());
        id
    }
}

/// The fate of one try at Move.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Well,
    /// Refused at the root field, throttled, or the breaker is open.
    Refused,
    /// Not come to: its caller may not call it any more.
    Forbidden,
    /// Carried out, and the answer lost or without the job's id.
    AnswerLost,
    /// Lost on the way there.
    CallLost,
    /// The process ends in the middle, before the call or after it.
    Killed {
        carried_out: bool,
    },
}

/// An answer as its caller reads it.
#[derive(Debug, PartialEq, Eq)]
enum Reads {
    Jobs(Vec<Option<String>>),
    Unknown,
}

struct Replica {
    idempotency: Arc<Idempotency>,
    link: Arc<Mutex<Link>>,
}

/// The events, told if the test fails.
#[derive(Debug)]
struct Story {
    seed: u64,
    events: Vec<String>,
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}\n{}", self.seed, self.events.join("\n"));
        }
    }
}

struct World {
    story: Story,
    chance: Chance,
    clock: Clock,
    on_trouble: OnTrouble,
    held: Arc<Mutex<Held>>,
    upstream: Arc<Mutex<Move>>,
    replicas: Vec<Replica>,
}

const FIELDS: [&str; 2] = ["a", "b"];

impl World {
    fn start(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let on_trouble = if chance.one_in(2) { OnTrouble::Refuse } else { OnTrouble::Look };
        let mut world = Self {
            story: Story { seed, events: vec![format!("{on_trouble:?}")] },
            chance,
            on_trouble,
            clock: Clock::starting_at(Timestamp::UNIX_EPOCH + Duration::from_hours(1_000)),
            held: Arc::default(),
            upstream: Arc::default(),
            replicas: Vec::new(),
        };
        // Most stores have been there for longer than keys are kept.
        if !world.chance.one_in(4) {
            locked(&world.held).since = Some(Timestamp::UNIX_EPOCH);
        }
        for _ in 0..=world.chance.below(3) {
            let replica = world.replica(Arc::new(Mutex::new(Link::Good)));
            world.replicas.push(replica);
        }
        world
    }

    fn replica(&mut self, link: Arc<Mutex<Link>>) -> Replica {
        let model = Model {
            held: Arc::clone(&self.held),
            link: Arc::clone(&link),
            chance: Mutex::new(Chance(self.chance.next())),
            failures: AtomicU64::new(0),
        };
        let store = Store::Model(model);
        let idempotency =
            Idempotency::new(store, settings(self.on_trouble), Seal::Bare, self.clock);
        Replica { idempotency: Arc::new(idempotency), link }
    }

    fn restart(&mut self, at: usize) {
        let link = Arc::clone(&self.replicas[at].link);
        self.replicas[at] = self.replica(link);
    }

    /// Lets time pass, in which replicas recover.
    async fn pass(&self, time: Duration) {
        for part in [Duration::ZERO, time / 2, time / 2] {
            tokio::time::sleep(part).await;
            for replica in &self.replicas {
                replica.idempotency.recover().await;
            }
        }
    }

    fn fate(&mut self) -> Fate {
        match self.chance.below(9) {
            0 => Fate::Refused,
            8 => Fate::Forbidden,
            1 | 2 => Fate::AnswerLost,
            3 => Fate::CallLost,
            4 => Fate::Killed { carried_out: self.chance.one_in(2) },
            _ => Fate::Well,
        }
    }

    fn attempt(
        &mut self,
        at: usize,
        key: &Key,
        fates: [Fate; 2],
    ) -> impl Future<Output = Reads> + use<> {
        let look_fails = self.chance.one_in(3) && !matches!(fates, [Fate::Well, Fate::Well]);
        let takes = Duration::from_millis(self.chance.next() % 300);
        attempt(Try {
            idempotency: Arc::clone(&self.replicas[at].idempotency),
            upstream: Arc::clone(&self.upstream),
            key: key.clone(),
            fates,
            look_fails,
            takes,
        })
    }

    /// One thing that happens.
    async fn happens(&mut self, keys: &[Key], read: &mut HashMap<Key, Vec<String>>) {
        let at = self.chance.below(self.replicas.len());
        let event = self.chance.below(12);
        self.story.events.push(format!("event {event} at replica {at}"));
        match event {
            0 => *locked(&self.replicas[at].link) = Link::Cut,
            1 => *locked(&self.replicas[at].link) = Link::Slow,
            2 => self.replicas.iter().for_each(|replica| *locked(&replica.link) = Link::Cut),
            3 | 4 => self.replicas.iter().for_each(|replica| *locked(&replica.link) = Link::Good),
            5 => self.restart(at),
            // Redis is replaced by an empty one: every connection breaks.
            6 if self.chance.one_in(3) => locked(&self.held).empty(),
            7 if self.chance.one_in(3) => {
                let mut held = locked(&self.held);
                held.evicts = true;
                held.entries.clear();
            }
            _ => {
                let key = keys[self.chance.below(keys.len())].clone();
                let fates = [self.fate(), self.fate()];
                self.story.events.push(format!("{} at {at}: {fates:?}", key.text()));
                let first = self.attempt(at, &key, fates);
                let may_be_two = self.on_trouble == OnTrouble::Refuse || !is_split(&self.replicas);
                let reads = if self.chance.one_in(4) && may_be_two {
                    let other = self.chance.below(self.replicas.len());
                    let second = self.attempt(other, &key, [Fate::Well; 2]);
                    self.story.events.push(format!("and at {other} at once"));
                    let forgets = forget(&self.held, self.chance.one_in(4));
                    let (first, second, ()) = tokio::join!(first, second, forgets);
                    [first, second]
                } else {
                    [first.await, Reads::Unknown]
                };
                if fates.iter().any(|fate| matches!(fate, Fate::Killed { .. })) {
                    self.restart(at);
                }
                for reads in reads {
                    self.story.events.push(format!("{reads:?}"));
                    note(read, &key, reads);
                }
                // A caller that hears nothing waits before it comes again.
                self.pass(PATIENCE).await;
            }
        }
    }
}

/// Empties the store while tries are under way, if it `forgets`.
async fn forget(held: &Mutex<Held>, forgets: bool) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    if forgets {
        locked(held).empty();
    }
}

/// Returns true if some replicas reach the store and others do not, or did not and have yet to carry over what they
/// entered meanwhile: then tries at once are not of one mind.
fn is_split(replicas: &[Replica]) -> bool {
    let is_whole = |of: &Replica| *locked(&of.link) == Link::Good && of.idempotency.is_mended();
    !replicas.iter().all(is_whole)
}

/// Notes the jobs that a caller read: each time the same.
fn note(read: &mut HashMap<Key, Vec<String>>, key: &Key, reads: Reads) {
    let Reads::Jobs(jobs) = reads else { return };
    let Some(jobs) = jobs.into_iter().collect::<Option<Vec<_>>>() else { return };
    let known = read.entry(key.clone()).or_insert_with(|| jobs.clone());
    assert_eq!(*known, jobs, "a key was answered with other jobs");
}

struct Try {
    idempotency: Arc<Idempotency>,
    upstream: Arc<Mutex<Move>>,
    key: Key,
    fates: [Fate; 2],
    look_fails: bool,
    takes: Duration,
}

/// A mutation with two root fields, as the gateway makes it.
async fn attempt(given: Try) -> Reads {
    let deadline = Instant::now() + Duration::from_secs(15);
    let claim = match given.idempotency.begin(&given.key, [1; 32], deadline).await {
        Begun::Claimed(claim) => claim,
        Begun::Done(mutation) => {
            let jobs = FIELDS.map(|field| match mutation.before(field) {
                Before::Done(id) => Some(id),
                _ => None,
            });
            assert!(jobs.iter().all(Option::is_some), "done, and no job");
            return Reads::Jobs(jobs.into());
        }
        Begun::Running | Begun::Unavailable => return Reads::Unknown,
        Begun::Conflict | Begun::Full { .. } => panic!("neither conflict nor full"),
    };
    let mut effects = Vec::new();
    for (field, fate) in FIELDS.into_iter().zip(given.fates) {
        tokio::time::sleep(given.takes).await;
        match effect(&given, &claim, field, fate).await {
            Some(effect) => effects.push((field, effect)),
            // The process is gone, and with it the claim.
            None => return Reads::Unknown,
        }
    }
    let reads = effects.iter().map(|(_, effect)| match effect {
        Effect::Done(id) => Some(id.clone()),
        Effect::NotDone | Effect::Unknown => None,
    });
    let reads = Reads::Jobs(reads.collect());
    given.idempotency.end(*claim, effects).await;
    reads
}

/// Returns the effect of a root field; `None` if the process ends.
async fn effect(given: &Try, claim: &Claim, field: &str, fate: Fate) -> Option<Effect> {
    if matches!(fate, Fate::Forbidden) {
        return Some(Effect::NotDone);
    }
    let mark = claim.mutation.mark(field);
    match claim.mutation.before(field) {
        Before::Done(id) => return Some(Effect::Done(id)),
        Before::Unknown { .. } if given.look_fails => return Some(Effect::Unknown),
        Before::Unknown { .. } => {
            if let Some(made) = locked(&given.upstream).jobs.get(&mark) {
                return Some(Effect::Done(made[0].clone()));
            }
            tokio::time::sleep(given.takes).await;
        }
        Before::NotDone => {}
    }
    if !given.idempotency.stands(&claim.place).await {
        return Some(Effect::NotDone);
    }
    let mut upstream = locked(&given.upstream);
    match fate {
        Fate::Well => Some(Effect::Done(upstream.create(&mark))),
        Fate::Refused | Fate::Forbidden => Some(Effect::NotDone),
        Fate::AnswerLost => {
            upstream.create(&mark);
            Some(Effect::Unknown)
        }
        Fate::CallLost => Some(Effect::Unknown),
        Fate::Killed { carried_out } => {
            carried_out.then(|| upstream.create(&mark));
            None
        }
    }
}

async fn history(seed: u64) {
    let mut world = World::start(seed);
    let tenant = TenantId::parse("acme").expect("a name");
    let keys = [Key::of(&tenant, "k-1"), Key::of(&tenant, "k-2")];
    let mut read = HashMap::new();
    world.pass(Duration::ZERO).await;
    for _ in 0..4 + world.chance.below(8) {
        world.happens(&keys, &mut read).await;
        for (mark, jobs) in &locked(&world.upstream).jobs {
            assert_eq!(jobs.len(), 1, "seed {seed}: {mark} was made more than once");
        }
    }
    world.replicas.iter().for_each(|replica| *locked(&replica.link) = Link::Good);
    world.pass(Duration::from_mins(1)).await;
    for key in &keys {
        let at = world.chance.below(world.replicas.len());
        let reads = world.attempt(at, key, [Fate::Well; 2]).await;
        assert!(
            matches!(&reads, Reads::Jobs(jobs) if jobs.iter().all(Option::is_some)),
            "{reads:?}"
        );
        note(&mut read, key, reads);
    }
    let upstream = locked(&world.upstream);
    assert_eq!(upstream.jobs.len(), keys.len() * FIELDS.len(), "seed {seed}: a job is missing");
    for (mark, jobs) in &upstream.jobs {
        assert_eq!(jobs.len(), 1, "seed {seed}: {mark} was made more than once");
        assert!(read.values().flatten().any(|id| *id == jobs[0]), "seed {seed}: nobody reads it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_makes_one_job_whatever_happens_and_in_the_end_its_caller_reads_it() {
    for seed in 0..HISTORIES {
        history(seed).await;
    }
}
