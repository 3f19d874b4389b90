//! `getJob`

use crate::model::{Caller, JobId, Selection};
use crate::types::Job;
use crate::upstream::{self, Call, FieldError, Reply};

use super::{Answer, Error, Jobs, OwnedJob, needs};

impl Jobs {
    /// One job of the caller's tenant.
    ///
    /// # Errors
    /// [`Error::JobNotFound`] for a job that is missing, foreign or nobody's; Move's own errors
    /// about a job only to its owner.
    pub async fn get(
        &self,
        caller: &Caller,
        id: &JobId,
        wanted: &Selection,
    ) -> Result<Answer<OwnedJob>, Error> {
        let Reply { value, errors } = self.read(caller, id, &needs::of_job(wanted)).await?;
        match value {
            Some(job) => Ok(Answer { value: owned(caller, id, job)?, errors }),
            None => Err(self.refusal(caller, id, errors).await?),
        }
    }

    pub(super) async fn read(
        &self,
        caller: &Caller,
        id: &JobId,
        needed: &Selection,
    ) -> Result<Reply<Job>, upstream::Error> {
        self.upstream.call(&caller.tenant.account, &Call::get_job(id, needed)).await
    }

    /// Errors without a job: a missing job, or Move's complaint about one that exists (a failed
    /// job may come so). The complaint is for the owner alone, and only a second call can tell.
    pub(super) async fn refusal(
        &self,
        caller: &Caller,
        id: &JobId,
        errors: Vec<FieldError>,
    ) -> Result<Error, Error> {
        if errors.iter().any(FieldError::is_not_found) {
            return Ok(Error::JobNotFound);
        }
        let reply = self.read(caller, id, &needs::of_ownership()).await?;
        match reply.value {
            Some(job) => owned(caller, id, job).map(|_| Error::Refused(errors)),
            // Without the owner's name a complaint that tells of the job is nobody's to read.
            None if errors.iter().any(|error| error.data.is_some()) => Ok(Error::JobNotFound),
            None => Err(upstream::Error::NotAnAnswer("an error about no job").into()),
        }
    }
}

/// Checks that the job is the one asked for and the caller's.
pub(super) fn owned(caller: &Caller, id: &JobId, job: Job) -> Result<OwnedJob, Error> {
    if job.id.get().is_none_or(|answered| answered.as_str() != id.as_str()) {
        return Err(upstream::Error::NotAnAnswer("about another job").into());
    }
    OwnedJob::verify(&caller.tenant, job).ok_or(Error::JobNotFound)
}
