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
mod order;
