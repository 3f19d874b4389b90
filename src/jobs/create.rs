//! `createJob`, `createSingleCamJob`, `createMultiCamJob`

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::model::{Caller, JobId, RequestContext, TakeId, Trail};
use crate::types::SortDirection;
use crate::upstream::{self, Call, FieldError, Job, JobsPage, Listing, NewJob, Reply};

use super::envelope::{self, Reading};
use super::ownership::Place;
use super::{Answer, Error, Jobs, OwnedJob, Wanted, list, needs};

/// How many jobs are looked at in one call, and in how many calls, when a mutation is made again.
const LOOK_AT: i32 = 100;
const MAX_LOOKS: usize = 20;

/// How far Move's clock may be from this machine's.
const CLOCKS: Duration = Duration::from_mins(5);

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
        wanted: &Wanted,
    ) -> Result<Answer<OwnedJob>, Error> {
        let caller = &request.caller;
        trail.note(|notes| notes.take = Some(job.take.clone()));
        note_metadata(trail, job.metadata.as_deref());
        check_metadata_size(caller, job.metadata.as_deref())?;
        self.check_take(request, trail, &job.take).await?;
        let tenant = &caller.tenant;
        // Move's Python client cannot read a job without metadata, so there is always a value: the
        // empty object that Move's clients send themselves.
        let value = job.metadata.as_deref().unwrap_or("{}");
        let mark = request.mark.as_ref().map(|mark| mark.of(&trail.response_key));
        if let (Some(mark), Some(since)) =
            (&mark, request.mark.as_ref().and_then(|mark| mark.look_since))
            && let Some(made) =
                self.find_made(request, trail, &job.take, mark, since, wanted).await?
        {
            return Ok(made);
        }
        job.metadata = Some(envelope::wrap(tenant, &caller.credential, mark.as_deref(), value));
        let field = self.upstream.creation_field(&tenant.account, trail.field);
        let call = Call::create_job(field, &job, &wanted.written);
        self.intend(request, trail).await?;
        let reply =
            self.upstream.call::<Job>(request, trail, &call).await.map_err(Error::of_mutation)?;
        let answer = written(caller, reply.value, reply.errors)?;
        if let Some(id) = answer.value.job().id().and_then(|id| JobId::parse(&id).ok()) {
            trail.note(|notes| notes.job = Some(id.clone()));
            self.prove(tenant, &id);
            self.forget(&tenant.id, Some(&id)).await;
        }
        Ok(answer)
    }

    /// The job that a mutation of this mark made when it was sent before. Looks through the jobs of
    /// the take from the newest back to `since`.
    async fn find_made(
        &self,
        request: &RequestContext,
        trail: &Trail,
        take: &TakeId,
        mark: &str,
        since: Timestamp,
        wanted: &Wanted,
    ) -> Result<Option<Answer<OwnedJob>>, Error> {
        let tenant = &request.caller.tenant;
        let mut after = None;
        for _ in 0..MAX_LOOKS {
            let newest_first = Some(SortDirection::Desc);
            let (first, take) = (LOOK_AT, Some(take));
            let listing =
                Listing { first, after: after.as_deref(), sort_direction: newest_first, take };
            let call = Call::list_jobs(&listing, needs::of_marks());
            let Reply { value, errors, .. } =
                self.upstream.call::<JobsPage>(request, trail, &call).await?;
            let page = value.ok_or_else(|| list::refused(errors))?;
            let mut is_past = false;
            for job in page.items().into_iter().flatten().flatten() {
                let stored = job.metadata();
                let is_it = match envelope::read(stored.as_deref()) {
                    Reading::Envelope(envelope) => {
                        *envelope.owner() == tenant.id && envelope.mark() == Some(mark)
                    }
                    _ => false,
                };
                if is_it && let Some(id) = job.id().and_then(|id| JobId::parse(&id).ok()) {
                    trail.note(|notes| notes.job = Some(id.clone()));
                    let Reply { value, errors, .. } =
                        self.read(request, trail, &id, &wanted.needed.document).await?;
                    return written(&request.caller, value, errors).map(Some);
                }
                is_past |= job.created().is_some_and(|created| {
                    created.parse::<Timestamp>().is_ok_and(|created| created < since - CLOCKS)
                });
            }
            after = page.after().filter(|cursor| cursor != "null").map(Cow::into_owned);
            if is_past || after.is_none() {
                return Ok(None);
            }
        }
        // Too many jobs since then to be certain.
        Err(Error::OutcomeUnknown(upstream::ErrorKind::Timeout.into()))
    }
}

/// A mutation's answer: the job it wrote must say whose it is.
pub(super) fn written(
    caller: &Caller,
    job: Option<Job>,
    errors: Vec<FieldError>,
) -> Result<Answer<OwnedJob>, Error> {
    let job = job.ok_or_else(|| Error::Refused(errors.clone()))?;
    // What is written is the tenant's: an answer that does not say so tells nothing of the outcome.
    let value = OwnedJob::verify(&caller.tenant, job, &errors, Place::Root).map_err(|_| {
        Error::OutcomeUnknown(upstream::Error::not_an_answer("about a job of somebody else's"))
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
