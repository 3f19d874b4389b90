//! `updateJob`

use crate::model::{JobId, RequestContext, Trail};
use crate::upstream::{Call, Job, JobDocument, Reply};

use super::create::{check_metadata_size, note_metadata, written};
use super::envelope::{self, Reading};
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
    /// writes.
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
        let caller = &request.caller;
        trail.note(|notes| notes.job = Some(id.clone()));
        note_metadata(trail, update.metadata.as_deref());
        check_metadata_size(caller, update.metadata.as_deref())?;
        let Reply { value, errors, .. } =
            self.read(request, trail, id, &JobDocument::of(&needs::of_ownership())).await?;
        let job = match value {
            Some(job) => self.owned(caller, id, job, &errors)?,
            None => return Err(self.refusal(request, trail, id, errors).await),
        };
        if !job.is_writable() {
            return Err(Error::ReadOnly);
        }
        let stored = job.stored();
        let metadata = update.metadata.map(|value| match envelope::read(stored.as_deref()) {
            Reading::Envelope(envelope) => envelope.with_value(&caller.tenant, &value),
            Reading::Plain | Reading::Broken => {
                envelope::wrap(&caller.tenant, &caller.credential, None, &value)
            }
        });
        let (metadata, name) = (metadata.as_deref(), update.name.as_deref());
        let call = Call::update_job(id, metadata, name, &wanted.written);
        self.intend(request, trail).await?;
        let reply = self.upstream.call::<Job>(request, trail, &call).await;
        // Also where no answer came: it may have been written.
        self.forget(&caller.tenant.id, Some(id)).await;
        let reply = reply.map_err(Error::of_mutation)?;
        written(caller, reply.value, reply.errors)
    }
}
