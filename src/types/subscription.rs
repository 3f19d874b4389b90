//! What can be followed: the root fields of `Subscription`.

use async_graphql::{ID, Result, SimpleObject, Subscription as Defined};
use futures_util::stream::{Empty, empty};

use super::Job;

/// What can be followed.
#[derive(Debug)]
pub struct Subscription;

/// A job that changed, or that was made.
#[derive(Debug, SimpleObject)]
pub struct JobEvent {
    /// The place of this event: `after` goes on behind it.
    pub cursor: String,
    /// The job as it is now.
    pub job: Job,
}

#[Defined]
#[expect(unused_variables, reason = "arguments are defined here, not read")]
impl Subscription {
    /// One job of the caller's own: as it is now, and again each time it changes, until it is FINISHED or FAILED.
    #[graphql(name = "jobUpdated")]
    async fn job_updated(&self, job_id: ID) -> Empty<Result<Job>> {
        empty()
    }

    /// Each of the caller's own jobs that changes or is made, as it is by then; with `takeId` those of one take. `after`
    /// is the cursor of an event, behind which this goes on. An error with the code RESYNC says that some
    /// were missed. Whoever keeps a list of jobs reads it anew, and the stream goes on.
    #[graphql(name = "jobsUpdated")]
    async fn jobs_updated(
        &self,
        take_id: Option<String>,
        after: Option<String>,
    ) -> Empty<Result<JobEvent>> {
        empty()
    }
}
