//! One Move account: its client, takes and jobs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// A job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Submitted.
    NotStarted,
    /// Sent to a server.
    Started,
    /// Running there.
    Running,
    /// Some output exists.
    Finished,
    /// No output came of it.
    Failed,
}

impl State {
    /// As Move writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::Started => "STARTED",
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
        }
    }
}

/// A job as it is stored.
#[derive(Debug, Clone)]
pub struct Job {
    /// `job-<uuid4>`
    pub id: String,
    /// When it was created.
    pub created: Timestamp,
    /// JSON text, to the letter; `None` is null.
    pub metadata: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its take.
    pub take: String,
    /// The state it stays in; `None` for one that moves with time.
    pub pinned: Option<State>,
    /// Whether it ends as FAILED in place of FINISHED.
    pub fails: bool,
    /// `JobInputs`, as JSON.
    pub inputs: Value,
    /// The rig's name.
    pub rig: Option<String>,
    /// The formats of its outputs, in lower case.
    pub outputs: Vec<String>,
}

impl Job {
    /// A job on the single-camera take of the seed, with a random id.
    #[must_use]
    pub fn new(created: Timestamp) -> Self {
        Self {
            id: format!("job-{}", uuid::Uuid::new_v4()),
            created,
            metadata: None,
            name: None,
            take: super::seed::SINGLECAM_TAKE.to_owned(),
            pinned: None,
            fails: false,
            inputs: Value::Null,
            rig: None,
            outputs: vec!["mp4".to_owned(), "fbx".to_owned()],
        }
    }

    /// Its state at a time, and how much of it is done, from 0 to 100. It spends `step` in each
    /// state but the last.
    #[must_use]
    pub fn state(&self, now: Timestamp, step: Duration) -> (State, i32) {
        let elapsed = now.duration_since(self.created).as_millis().max(0);
        let step = i128::try_from(step.as_millis()).unwrap_or(i128::MAX).max(1);
        let state = self.pinned.unwrap_or(match elapsed / step {
            0 => State::NotStarted,
            1 => State::Started,
            2 => State::Running,
            _ if self.fails => State::Failed,
            _ => State::Finished,
        });
        let percentage = match state {
            State::NotStarted | State::Started => 0,
            State::Running | State::Failed => {
                // Never 100: that is for what is finished.
                let running = elapsed.saturating_sub(step.saturating_mul(2));
                i32::try_from(running.saturating_mul(100) / step).unwrap_or(i32::MAX).clamp(0, 99)
            }
            State::Finished => 100,
        };
        (state, percentage)
    }
}

/// The order of a listing: by time of creation, then of insertion.
type Place = (Timestamp, u64);

/// A page of a listing, and the job after which the next one begins.
pub struct Page {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The last of them, if there are more.
    pub next: Option<Job>,
}

/// One account.
#[derive(Debug)]
pub struct Account {
    /// `Client`, as JSON.
    pub client: Arc<Value>,
    takes: HashMap<String, Arc<Value>>,
    jobs: BTreeMap<Place, Job>,
    places: HashMap<String, Place>,
    inserted: u64,
}

impl Account {
    /// An account with this client and nothing else.
    #[must_use]
    pub fn new(client: Value) -> Self {
        Self {
            client: Arc::new(client),
            takes: HashMap::new(),
            jobs: BTreeMap::new(),
            places: HashMap::new(),
            inserted: 0,
        }
    }

    /// Its jobs, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// Adds a take, as JSON with its `id`.
    pub fn add_take(&mut self, take: Value) {
        let id = take["id"].as_str().unwrap_or_default().to_owned();
        self.takes.insert(id, Arc::new(take));
    }

    /// A take by its id.
    #[must_use]
    pub fn take(&self, id: &str) -> Option<Arc<Value>> {
        self.takes.get(id).cloned()
    }

    /// Adds a job; one with the same id goes.
    pub fn insert(&mut self, job: Job) {
        if let Some(place) = self.places.remove(&job.id) {
            self.jobs.remove(&place);
        }
        self.inserted += 1;
        let place = (job.created, self.inserted);
        self.places.insert(job.id.clone(), place);
        self.jobs.insert(place, job);
    }

    /// A job by its id.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.get(self.places.get(id)?)
    }

    /// A job by its id, to change.
    pub fn job_mut(&mut self, id: &str) -> Option<&mut Job> {
        self.jobs.get_mut(self.places.get(id)?)
    }

    /// Pins a job's state.
    pub fn set_state(&mut self, id: &str, state: State) {
        if let Some(job) = self.job_mut(id) {
            job.pinned = Some(state);
        }
    }

    /// The page of at most `first` jobs behind the job `after`; `None` if there is no such job.
    #[must_use]
    pub fn page(
        &self,
        first: usize,
        after: Option<&str>,
        ascending: bool,
        take: Option<&str>,
    ) -> Option<Page> {
        let start =
            after.map(|id| self.places.get(id).copied()).map_or(Some(None), |p| p.map(Some))?;
        let of_take = |job: &&Job| take.is_none_or(|take| job.take == take);
        let mut jobs: Vec<Job> = match (ascending, start) {
            (true, None) => self.jobs.values().filter(of_take).take(first + 1).cloned().collect(),
            (true, Some(place)) => {
                use std::ops::Bound::{Excluded, Unbounded};
                let behind = self.jobs.range((Excluded(place), Unbounded)).map(|(_, job)| job);
                behind.filter(of_take).take(first + 1).cloned().collect()
            }
            (false, None) => {
                self.jobs.values().rev().filter(of_take).take(first + 1).cloned().collect()
            }
            (false, Some(place)) => {
                let behind = self.jobs.range(..place).rev().map(|(_, job)| job);
                behind.filter(of_take).take(first + 1).cloned().collect()
            }
        };
        let has_more = jobs.len() > first;
        jobs.truncate(first);
        let next = jobs.last().filter(|_| has_more).cloned();
        Some(Page { jobs, next })
    }
}
