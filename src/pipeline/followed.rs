//! The jobs that a stream tells of: one until it is over, or all of a tenant's as they change.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use super::RequestContext;
use super::judged::Judged;
use super::wait::is_passing;
use crate::cache::{FeedChange, FeedListener, FeedStep, Listener};
use crate::graphql::{Answer, Change, ChangeEvent};
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

/// The time after which what was read and not told yet, as its reader is slow, is read again.
const STALE: Duration = Duration::from_secs(1);

/// The size of events that wait for a slow reader, in bytes; what was read beyond it is read again.
const MOST_READY: usize = 256 << 10;

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
    /// The changes that are to be read, or were and are to be told of, in their order.
    changes: VecDeque<FeedChange>,
    /// The events of the first of them; nothing for one that is not to be told of.
    ready: VecDeque<Option<ChangeEvent>>,
    read_at: Instant,
    /// The number of times that the first of them was read in vain.
    tries: usize,
}

/// The next thing that happens to what is followed.
#[derive(Debug)]
pub enum FollowedStep {
    /// A job is to be read, or several.
    Read,
    /// A change is told.
    Tell(StreamPart),
    /// Changes before this cursor are missing.
    Resync(String),
}

/// A read.
#[derive(Debug)]
pub enum Observed {
    /// Of the one job: an answer, and how far the job has come.
    Job(Answer, Option<Progress>),
    /// Of jobs that changed: an event for each that is to be told of.
    Jobs(Vec<Option<ChangeEvent>>),
}

/// A read that is under way; nothing if it takes too long.
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
    pub fn jobs(listener: FeedListener, take: Option<EntityId>) -> Self {
        let (changes, ready) = Default::default();
        let read_at = Instant::now();
        Self::Jobs(FollowedJobs { listener, take, changes, ready, read_at, tries: 0 })
    }

    /// Returns true if nothing more will happen.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Job(job) => job.progress.is_over(),
            Self::Jobs(_) => false,
        }
    }

    /// Goes on in the name of a caller who was judged anew: what was read as by the rules before is read again.
    pub fn judged_anew(&mut self, caller: &Caller) {
        match self {
            Self::Job(job) => job.listener.judged_anew(caller),
            Self::Jobs(jobs) => {
                jobs.ready.clear();
                jobs.listener.judged_anew(caller);
            }
        }
    }

    /// Waits for the next thing that happens. May be dropped and called again.
    pub async fn next(&mut self) -> FollowedStep {
        match self {
            Self::Job(job) => {
                job.listener.changed().await;
                FollowedStep::Read
            }
            Self::Jobs(jobs) => jobs.next().await,
        }
    }

    /// Begins to read what is to be told of next.
    pub fn read(&self, judged: &Judged, context: RequestContext, time: Duration) -> Reading {
        let (rules, operation) = (Arc::clone(&judged.rules), Arc::clone(&judged.operation));
        match self {
            Self::Job(_) => Box::pin(async move {
                let reading = rules.gateways.observe(&context, &operation);
                let (answer, progress) = timeout(time, reading).await.ok()?;
                Some(Observed::Job(answer, progress))
            }),
            Self::Jobs(jobs) => {
                let (changes, pause) = (jobs.to_read(), jobs.pause());
                Box::pin(async move {
                    sleep(pause).await;
                    let context = RequestContext { deadline: Instant::now() + time, ..context };
                    let reading = rules.gateways.tell(&context, &operation, &changes);
                    Some(Observed::Jobs(timeout(time, reading).await.ok()?))
                })
            }
        }
    }

    /// Judges what was read. `is_first` if nothing was told yet.
    pub fn judge(&mut self, read: Option<Observed>, is_first: bool) -> ReadVerdict {
        match (self, read) {
            (Self::Job(job), Some(Observed::Job(answer, progress))) => {
                job.judge((answer, progress), is_first)
            }
            (Self::Jobs(jobs), Some(Observed::Jobs(read))) => jobs.judge(read),
            (Self::Jobs(jobs), _) => jobs.judge(Vec::new()),
            (Self::Job(_), _) => ReadVerdict::Nothing,
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

    async fn next(&mut self) -> FollowedStep {
        loop {
            if self.read_at.elapsed() > STALE {
                self.ready.clear();
            }
            if let Some(read) = self.ready.pop_front()
                && let Some(change) = self.changes.pop_front()
            {
                match read.and_then(|event| self.tell(&change, event)) {
                    Some(part) => return FollowedStep::Tell(part),
                    None => continue,
                }
            }
            if !self.changes.is_empty() {
                return FollowedStep::Read;
            }
            match self.listener.next().await {
                FeedStep::Changed(changes) => {
                    self.changes = changes.into();
                    self.tries = 0;
                    return FollowedStep::Read;
                }
                FeedStep::Resync(cursor) => return FollowedStep::Resync(cursor),
            }
        }
    }

    /// The changes that are to be read.
    fn to_read(&self) -> Vec<Change> {
        let change = |FeedChange { job, cursor, .. }: &FeedChange| Change {
            job: job.clone(),
            cursor: cursor.clone(),
            take: self.take.clone(),
        };
        self.changes.iter().map(change).collect()
    }

    /// Takes what was read, up to the first that is to be read again: nothing is told before it that comes behind it.
    fn judge(&mut self, read: Vec<Option<ChangeEvent>>) -> ReadVerdict {
        let has_failed =
            |event: &ChangeEvent| event.progress.is_none() && is_passing(&event.answer);
        let mut size = 0;
        let good = read.into_iter().take_while(|read| {
            let fits = size < MOST_READY;
            size += read.as_ref().map_or(0, |event| event.answer.body.len());
            fits && !read.as_ref().is_some_and(has_failed)
        });
        self.ready = good.collect();
        self.read_at = Instant::now();
        if !self.ready.is_empty() {
            self.tries = 0;
            return ReadVerdict::Nothing;
        }
        self.tries += 1;
        if self.tries <= AGAIN.len() {
            return ReadVerdict::Again;
        }
        self.changes.clear();
        self.listener.miss();
        ReadVerdict::Nothing
    }

    /// Returns the part that tells of a change; `None` if it is no news.
    fn tell(&mut self, change: &FeedChange, event: ChangeEvent) -> Option<StreamPart> {
        let ChangeEvent { answer, progress, digest } = event;
        // Where there is none, Move complains about the job: that is its caller's to know.
        let is_told = progress.is_none_or(|progress| self.listener.tell(change, &progress, digest));
        is_told.then_some(StreamPart::Answer(answer.body))
    }
}

/// The event that tells that changes are missing.
pub fn resync(request: RequestId, judged: &Judged, cursor: &str) -> StreamPart {
    let root = judged.operation.units.first();
    let key = root.map_or("", |unit| &*unit.response_key);
    StreamPart::Answer(Answer::resync(request, key, cursor).body)
}

#[cfg(test)]
mod tests;
