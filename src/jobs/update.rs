//! `updateJob`

use tokio::time::timeout_at;

use crate::cache::Key;
use crate::model::{Before, CredentialId, JobId, RequestContext, Tenant, Trail};
use crate::upstream::{self, Call, ErrorKind, JobDocument, Reply};

use super::create::{check_metadata_size, note_metadata, written};
use super::envelope::{self, Envelope, Metadata, Write};
use super::look::CLOCKS;
use super::sending::{begin, done, not_done};
use super::{Answer, Error, Jobs, OwnedJob, Wanted, needs};

/// The arguments of an update; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// JSON text: the tenant's own value.
    pub metadata: Option<String>,
    /// The job's name.
    pub name: Option<String>,
}

impl Jobs {
    /// Reads the job, verifies its owner, merges the tenant's metadata into what is stored, and
    /// writes. What an earlier try of the same mutation wrote is not written again.
    ///
    /// # Errors
    /// Those of [`Jobs::get`] and [`Jobs::create`]; a job whose owner is unknown is not written.
    /// [`Error::ReadOnly`] for a job that the tenant
    /// may only read.
    pub async fn update(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &JobId,
        update: Update,
        wanted: &Wanted,
    ) -> Result<Answer<OwnedJob>, Error> {
        trail.note(|notes| notes.job = Some(id.clone()));
        let before = begin(request, trail);
        let updated = match &before {
            Before::Done(id) => self.read_written(request, trail, id, wanted).await,
            _ => self.update_once(request, trail, id, update, wanted, &before).await,
        };
        updated.map_err(|error| error.of_effect(&trail.note(|notes| notes.effect.clone())))
    }

    async fn update_once(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &JobId,
        update: Update,
        wanted: &Wanted,
        before: &Before,
    ) -> Result<Answer<OwnedJob>, Error> {
        let caller = &request.caller;
        let tenant = &caller.tenant;
        note_metadata(trail, update.metadata.as_deref());
        check_metadata_size(caller, update.metadata.as_deref())?;
        let key = Key { tenant: tenant.id.clone(), job: id.clone() };
        let turn = timeout_at(request.deadline, self.writers.turn(&key));
        let _turn = turn.await.map_err(|_| upstream::Error::from(ErrorKind::DeadlineExceeded))?;
        let Reply { value, errors, .. } =
            self.read(request, trail, id, &JobDocument::new(&needs::of_ownership())).await?;
        let job = match value {
            Some(job) => self.owned(caller, id, job, &errors),
            None => Err(self.refusal(request, trail, id, errors).await),
        };
        // Neither did an earlier try write to a job that is not the tenant's.
        if let Err(Error::JobNotFound) = job {
            not_done(trail);
        }
        let job = job?;
        if !job.is_writable() {
            return Err(Error::ReadOnly);
        }
        let mark = request.keyed.as_ref().map(|keyed| keyed.mark(&trail.response_key));
        let held = job.stored();
        let envelope = match envelope::read(held.as_deref()) {
            Metadata::Envelope(envelope) => Some(envelope),
            Metadata::Unmanaged | Metadata::Malformed => None,
        };
        let is_written =
            mark.as_ref().zip(envelope.as_ref()).is_some_and(|(mark, own)| own.has_write(mark));
        if is_written {
            done(trail, id);
            self.forget(&tenant.id, Some(id)).await;
            return self.read_written(request, trail, id, wanted).await;
        }
        if let (Before::Unknown { since, is_certain: true }, Some(envelope)) = (before, &envelope)
            && !envelope.remembers_since(*since - CLOCKS)
        {
            return Err(upstream::Error::not_an_answer("about a job of many updates").into());
        }
        not_done(trail);
        let write = mark.map(|mark| Write(mark, self.clock.now().as_second()));
        let value = update.metadata.as_deref();
        let metadata = stored(tenant, &caller.credential, envelope.as_ref(), value, write);
        let (metadata, name) = (metadata.as_deref(), update.name.as_deref());
        let call = Call::update_job(id, metadata, name, &wanted.written);
        let reply = self.send(request, trail, &call).await;
        // Also where no answer came: it may have been written.
        self.forget(&tenant.id, Some(id)).await;
        let reply = reply?;
        let Some(job) = reply.value else {
            // It was written, and a field of the answer failed that may not be null.
            done(trail, id);
            return self.read_written(request, trail, id, wanted).await;
        };
        let answer = written(caller, job, reply.errors)?;
        done(trail, id);
        Ok(answer)
    }
}

/// The metadata to store: with the tenant's new value, if there is one, and with the update's mark. A
/// job without a record gets one only together with a value.
fn stored(
    tenant: &Tenant,
    by: &CredentialId,
    held: Option<&Envelope<'_>>,
    value: Option<&str>,
    write: Option<Write>,
) -> Option<String> {
    match (held, value, write) {
        (Some(envelope), value, Some(write)) => Some(envelope.with_write(tenant, value, write)),
        (Some(envelope), Some(value), None) => Some(envelope.with_value(tenant, value)),
        (None, Some(value), write) => {
            let wrapped = envelope::wrap(tenant, by, None, value);
            match (envelope::read(Some(&wrapped)), write) {
                (Metadata::Envelope(envelope), Some(write)) => {
                    Some(envelope.with_write(tenant, None, write))
                }
                _ => Some(wrapped),
            }
        }
        (_, None, _) => None,
    }
}
