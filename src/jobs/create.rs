//! `createJob`, `createSingleCamJob`, `createMultiCamJob`

use sha2::{Digest, Sha256};

use crate::model::{Before, Caller, JobId, RequestContext, Trail};
use crate::upstream::{self, Call, FieldError, Job, NewJob};

use super::envelope;
use super::look::Tried;
use super::ownership::Place;
use super::sending::{begin, done, not_done};
use super::{Answer, Error, Jobs, OwnedJob, Wanted};

impl Jobs {
    /// Creates a job of the caller's tenant: its metadata goes upstream in an envelope. What an
    /// earlier try of the same mutation made is given again.
    ///
    /// # Errors
    /// Bad arguments before anything is sent; [`Error::OutcomeUnknown`] when the job may have been
    /// created, now or by an earlier try.
    pub async fn create(
        &self,
        request: &RequestContext,
        trail: &Trail,
        job: NewJob,
        wanted: &Wanted,
    ) -> Result<Answer<OwnedJob>, Error> {
        let before = begin(request, trail);
        let created = match &before {
            Before::Done(id) => self.read_written(request, trail, id, wanted).await,
            _ => self.create_once(request, trail, job, wanted, &before).await,
        };
        created.map_err(|error| error.of_effect(&trail.note(|notes| notes.effect.clone())))
    }

    async fn create_once(
        &self,
        request: &RequestContext,
        trail: &Trail,
        mut job: NewJob,
        wanted: &Wanted,
        before: &Before,
    ) -> Result<Answer<OwnedJob>, Error> {
        let caller = &request.caller;
        trail.note(|notes| notes.take = Some(job.take.clone()));
        note_metadata(trail, job.metadata.as_deref());
        check_metadata_size(caller, job.metadata.as_deref())?;
        let mark = request.keyed.as_ref().map(|keyed| keyed.mark(&trail.response_key));
        if let (&Before::Unknown { since, is_certain }, Some(mark)) = (before, &mark) {
            let tried = Tried { since, is_certain };
            if let Some(id) = self.find_made(request, trail, &job.take, mark, tried).await? {
                self.made(request, trail, &id).await;
                return self.read_written(request, trail, &id, wanted).await;
            }
            not_done(trail);
        }
        self.check_take(request, trail, &job.take).await?;
        let tenant = &caller.tenant;
        // Move's Python client cannot read a job without metadata, so there is always a value: the
        // empty object that Move's clients send themselves.
        let value = job.metadata.as_deref().unwrap_or("{}");
        job.metadata = Some(envelope::wrap(tenant, &caller.credential, mark.as_deref(), value));
        let field = self.upstream.creation_field(&tenant.account, trail.field);
        let call = Call::create_job(field, &job, &wanted.written);
        let tried = Tried { since: self.clock.now(), is_certain: true };
        let reply = self.send(request, trail, &call).await?;
        if let Some(job) = reply.value {
            let answer = written(caller, job, reply.errors)?;
            if let Some(id) = answer.value.job().id().and_then(|id| JobId::parse(&id).ok()) {
                self.made(request, trail, &id).await;
            }
            return Ok(answer);
        }
        // It was created, and a field of the answer failed that may not be null: the mark tells which
        // job it is.
        let found = match &mark {
            Some(mark) => self.find_made(request, trail, &job.take, mark, tried).await?,
            None => None,
        };
        let id = found.ok_or(Error::Refused(reply.errors))?;
        self.made(request, trail, &id).await;
        self.read_written(request, trail, &id, wanted).await
    }

    /// Notes the job that was created.
    async fn made(&self, request: &RequestContext, trail: &Trail, id: &JobId) {
        let tenant = &request.caller.tenant;
        done(trail, id);
        self.prove(tenant, id);
        self.forget(&tenant.id, Some(id)).await;
    }
}

/// A mutation's answer: the job it wrote must say whose it is.
pub(super) fn written(
    caller: &Caller,
    job: Job,
    errors: Vec<FieldError>,
) -> Result<Answer<OwnedJob>, Error> {
    // What is written is the tenant's: an answer that does not say so tells nothing of the outcome.
    let value = OwnedJob::verify(&caller.tenant, job, &errors, Place::Root)
        .map_err(|_| upstream::Error::not_an_answer("about a job of somebody else's"))?;
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
