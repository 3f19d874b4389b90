//! `getJob`

use crate::model::{Caller, JobId, RequestContext, Selection, Trail};
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
        request: &RequestContext,
        trail: &Trail,
        id: &JobId,
        wanted: &Selection,
    ) -> Result<Answer<OwnedJob>, Error> {
        trail.note(|notes| notes.job = Some(id.clone()));
        let Reply { value, errors } = self.read(request, trail, id, &needs::of_job(wanted)).await?;
        match value {
            Some(job) => Ok(Answer { value: self.owned(&request.caller, id, job)?, errors }),
            None => Err(self.refusal(request, trail, id, errors).await?),
        }
    }

    pub(super) async fn read(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &JobId,
        needed: &Selection,
    ) -> Result<Reply<Job>, upstream::Error> {
        self.upstream.call(request, trail, &Call::get_job(id, needed)).await
    }

    /// Errors without a job: a missing job, or Move's complaint about one that exists (a failed
    /// job may come so). The complaint is for the owner alone; where the owner was never checked
    /// before, only a second call can tell.
    pub(super) async fn refusal(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &JobId,
        errors: Vec<FieldError>,
    ) -> Result<Error, Error> {
        let caller = &request.caller;
        if errors.iter().any(FieldError::is_not_found) {
            return Ok(Error::JobNotFound);
        }
        if self.proven.contains_key(&(caller.tenant.id.clone(), id.clone())) {
            return Ok(Error::Refused(errors));
        }
        let reply = self.read(request, trail, id, &needs::of_ownership()).await?;
        match reply.value {
            Some(job) => self.owned(caller, id, job).map(|_| Error::Refused(errors)),
            // Without the owner's name a complaint that tells of the job is nobody's to read.
            None if errors.iter().any(|error| error.data.is_some()) => Ok(Error::JobNotFound),
            None => Err(upstream::Error::NotAnAnswer("an error about no job").into()),
        }
    }

    /// Checks that the job is the one asked for and the caller's.
    pub(super) fn owned(&self, caller: &Caller, id: &JobId, job: Job) -> Result<OwnedJob, Error> {
        if job.id.get().is_none_or(|answered| answered.as_str() != id.as_str()) {
            return Err(upstream::Error::NotAnAnswer("about another job").into());
        }
        let owned = OwnedJob::verify(&caller.tenant, job).ok_or(Error::JobNotFound)?;
        self.proven.insert((caller.tenant.id.clone(), id.clone()), ());
        Ok(owned)
    }
}
