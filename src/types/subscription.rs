//! What can be followed: the root fields of `Subscription`.

use async_graphql::{ID, Result, Subscription as Defined};
use futures_util::stream::{Empty, empty};

use super::Job;

/// What can be followed.
#[derive(Debug)]
pub struct Subscription;

#[Defined]
#[expect(unused_variables, reason = "arguments are defined here, not read")]
impl Subscription {
    /// One job of the caller's own: as it is now, and again each time it changes, until it is FINISHED or FAILED.
    #[graphql(name = "jobUpdated")]
    async fn job_updated(&self, job_id: ID) -> Empty<Result<Job>> {
        empty()
    }
}
