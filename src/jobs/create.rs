//! `createJob`, `createSingleCamJob`, `createMultiCamJob`

use sha2::{Digest, Sha256};

use crate::model::{Caller, JobId, RequestContext, Selection, TakeId, Trail};
use crate::types::{Job, Take};
use crate::upstream::{self, Call, FieldError, NewJob};

use super::envelope::{self, Reading};
use super::{Answer, Error, Jobs, OwnedJob, needs};

impl Jobs {
    /// Creates a job of the caller's tenant: its metadata goes upstream in an envelope.
    ///
    /// # Errors
    /// Bad arguments before anything is sent; [`Error::OutcomeUnknown`] when the call was sent and
    /// no answer came.
    pub async fn create(
        &self,
        request: &RequestContext,
        trail: &Trail,
        mut job: NewJob,
        wanted: &Selection,
    ) -> Result<Answer<OwnedJob>, Error> {
        let caller = &request.caller;
        trail.note(|notes| notes.take = Some(job.take.clone()));
        note_metadata(trail, job.metadata.as_deref());
        check_metadata_size(caller, job.metadata.as_deref())?;
        if caller.tenant.takes_owned {
            self.check_take(request, trail, &job.take).await?;
        }
        let tenant = &caller.tenant;
        // Move's Python client cannot read a job without metadata, so there is always a value: the
        // empty object that Move's clients send themselves.
        let value = job.metadata.as_deref().unwrap_or("{}");
        job.metadata = Some(envelope::wrap(tenant, &caller.credential, value));
        let field = self.upstream.creation_field(&tenant.account, trail.field);
        let call = Call::create_job(field, &job, &needs::of_job(wanted));
        self.intend(request, trail).await?;
        let reply =
            self.upstream.call::<Job>(request, trail, &call).await.map_err(Error::of_mutation)?;
        let answer = written(caller, reply.value, reply.errors)?;
        if let Some(id) = answer.value.job().id.get().and_then(|id| JobId::parse(id).ok()) {
            trail.note(|notes| notes.job = Some(id.clone()));
            self.proven.insert((tenant.id.clone(), id.clone()), ());
            self.forget(&tenant.id, Some(&id)).await;
        }
        Ok(answer)
    }

    /// With `takes.owned`, a take must carry the tenant's envelope.
    async fn check_take(
        &self,
        request: &RequestContext,
        trail: &Trail,
        take: &TakeId,
    ) -> Result<(), Error> {
        let call = Call::get_take(take, &needs::of_ownership());
        let reply = self.upstream.call::<Take>(request, trail, &call).await?;
        let stored = reply.value.and_then(|take| take.metadata);
        match envelope::read(stored.as_ref().map(|metadata| metadata.0.as_str())) {
            Reading::Envelope(envelope) if *envelope.owner() == request.caller.tenant.id => Ok(()),
            _ => Err(Error::TakeNotFound),
        }
    }
}

/// A mutation's answer: the job it wrote must say whose it is.
pub(super) fn written(
    caller: &Caller,
    job: Option<Job>,
    errors: Vec<FieldError>,
) -> Result<Answer<OwnedJob>, Error> {
    let job = job.ok_or_else(|| Error::Refused(errors.clone()))?;
    let value = OwnedJob::verify(&caller.tenant, job).ok_or({
        Error::OutcomeUnknown(upstream::Error::NotAnAnswer("about a job of somebody else's"))
    })?;
    Ok(Answer { value, errors })
}

/// Notes the length and hash of a metadata text, for the record.
pub(super) fn note_metadata(trail: &Trail, text: Option<&str>) {
    if let Some(text) = text {
        let hash = Sha256::digest(text.as_bytes()).into();
        trail.note(|notes| notes.metadata = Some((text.len(), hash)));
    }
}

/// The tenant's metadata may be as long as its policy says, in bytes of JSON text.
pub(super) fn check_metadata_size(caller: &Caller, text: Option<&str>) -> Result<(), Error> {
    let (max, got) = (caller.tenant.metadata.max_bytes, text.map_or(0, str::len));
    if got > max {
        let problem = format!("{got} bytes of JSON; at most {max} are taken");
        return Err(Error::argument("metadata", problem));
    }
    Ok(())
}
