//! A stream's place among the changes of a tenant's jobs, and what it told of them: it tells of no job as it told it
//! last.

use std::collections::HashMap;

use super::fed_job::FedJob;
use super::waiting::Need;
use crate::model::{EntityId, Progress};

/// The number of jobs that a stream remembers, at least, as it told them; at most it is twice that.
const REMEMBERED: usize = 1_000;

/// A stream's place among the changes, and what it told.
#[derive(Debug)]
pub(super) struct FeedPlace {
    /// The last change that was looked at.
    pub at: u64,
    /// The place at which it began.
    start: u64,
    /// The number of jobs that the feed had come to know by then.
    known: u64,
    /// The part of jobs that its reader selects.
    need: Need,
    told: HashMap<EntityId, AsTold>,
    /// The jobs that were told before those.
    told_before: HashMap<EntityId, AsTold>,
}

/// A job as a stream told it last, or as its reader has it from elsewhere.
#[derive(Debug)]
struct AsTold {
    /// The place of the change.
    place: u64,
    progress: Progress,
    /// All that its reader selects, hashed; `None` if it was not told.
    digest: Option<u64>,
}

impl AsTold {
    /// Returns true if the job has come no further since, as far as that is read.
    fn is_still(&self, need: Need, progress: &Progress) -> bool {
        let Progress { state, percent } = &self.progress;
        *state == progress.state && (need == Need::State || *percent == progress.percent)
    }
}

/// A change that a stream is to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedChange {
    /// The job.
    pub job: EntityId,
    /// The cursor that goes on behind it.
    pub cursor: String,
    /// Its place.
    pub(super) place: u64,
    /// True if the job was made or written, so that more than its progress may be new.
    pub(super) is_write: bool,
}

impl FeedPlace {
    /// The place behind a change, in a feed that has come to know so many jobs.
    pub fn new(at: u64, known: u64, need: Need) -> Self {
        let (told, told_before) = Default::default();
        Self { at, start: at, known, need, told, told_before }
    }

    /// Goes to a place behind changes that are missing.
    pub fn restart(&mut self, at: u64) {
        *self = Self::new(at, self.known, self.need);
    }

    /// The place at which it began.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Takes over how far a job had come at the beginning, if the feed did not know it before.
    pub fn begin_with(&mut self, id: &EntityId, job: &FedJob, progress: &Progress) {
        if job.number >= self.known {
            let (place, progress) = (self.start, progress.clone());
            self.remember(id, AsTold { place, progress, digest: None });
        }
    }

    /// Returns true if a job that changed at a place is to be told.
    pub fn is_news(&self, id: &EntityId, job: &FedJob, at: u64) -> bool {
        self.is_write(id, job)
            || match self.told_of(id) {
                Some(told) => !told.is_still(self.need, &job.progress),
                None if self.need == Need::State => job.moved > self.start,
                None => at > self.start,
            }
    }

    /// Returns true if a job was made or written since it was told, so that more than its progress may be new.
    pub fn is_write(&self, id: &EntityId, job: &FedJob) -> bool {
        match self.told_of(id) {
            Some(told) => job.written > told.place,
            None => job.written.max(job.made) > self.start,
        }
    }

    /// Notes that a job is told as it was read. Returns false if it was told so before: then it is not.
    pub fn tell(&mut self, change: &FeedChange, progress: &Progress, digest: u64) -> bool {
        let is_repeat = self.told_of(&change.job).is_some_and(|told| match told.digest {
            Some(before) => before == digest,
            None => !change.is_write && told.is_still(self.need, progress),
        });
        let (place, progress) = (change.place, progress.clone());
        self.remember(&change.job, AsTold { place, progress, digest: Some(digest) });
        !is_repeat
    }

    fn told_of(&self, job: &EntityId) -> Option<&AsTold> {
        self.told.get(job).or_else(|| self.told_before.get(job))
    }

    fn remember(&mut self, job: &EntityId, told: AsTold) {
        if self.told.len() >= REMEMBERED && !self.told.contains_key(job) {
            self.told_before = std::mem::take(&mut self.told);
        }
        self.told.insert(job.clone(), told);
    }
}
