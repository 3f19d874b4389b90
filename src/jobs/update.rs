//! Mutations that change something: jobs, takes and files.

use crate::model::{Before, CredentialId, EntityId, RequestContext, RootField, Tenant, Trail};
use crate::upstream::{self, Call, EntityDocument, Reply};

use super::create::note_metadata;
use super::envelope::{self, Envelope, Metadata, Write};
use super::look::CLOCKS;
use super::ownership::Claim;
use super::sending::{begin, done, not_done};
use super::writers::Turn;
use super::{Answer, Error, Jobs, Owned, Wanted, arguments, needs};

/// The arguments of an update; what is `None` stays as it is.
#[derive(Debug, Clone)]
pub struct Update {
    /// The mutation.
    pub field: RootField,
    /// The entity to change.
    pub id: EntityId,
    /// JSON text: the tenant's own value.
    pub metadata: Option<String>,
    /// Its name.
    pub name: Option<String>,
}

impl Jobs {
    /// Reads the entity, verifies its owner, merges the tenant's metadata into what is stored, and
    /// writes. What an earlier try of the same mutation wrote is not written again.
    ///
    /// # Errors
    /// Those of [`Jobs::get`] and [`Jobs::create`]; what has an unknown owner is not written.
    /// [`Error::ReadOnly`] for what the tenant may only read.
    pub async fn update(
        &self,
        request: &RequestContext,
        trail: &Trail,
        update: Update,
        wanted: &Wanted,
    ) -> Result<Answer<Owned>, Error> {
        trail.note(|notes| notes.entity = Some(update.id.clone()));
        let before = begin(request, trail);
        let updated = match &before {
            Before::Done(id) => self.read_written(request, trail, id, wanted).await,
            _ => self.update_once(request, trail, update, wanted, &before).await,
        };
        updated.map_err(|error| error.of_effect(&trail.note(|notes| notes.effect.clone())))
    }

    async fn update_once(
        &self,
        request: &RequestContext,
        trail: &Trail,
        update: Update,
        wanted: &Wanted,
        before: &Before,
    ) -> Result<Answer<Owned>, Error> {
        note_metadata(trail, update.metadata.as_deref());
        arguments::metadata(&request.caller, update.metadata.as_deref())?;
        let turn = self.turn(request, &update.id).await?;
        let updated = self.update_in_turn(request, trail, (update, before), wanted, &turn).await;
        turn.end().await;
        updated
    }

    async fn update_in_turn(
        &self,
        request: &RequestContext,
        trail: &Trail,
        (update, before): (Update, &Before),
        wanted: &Wanted,
        turn: &Turn,
    ) -> Result<Answer<Owned>, Error> {
        let caller = &request.caller;
        let (tenant, id) = (&caller.tenant, &update.id);
        let Reply { value, errors, .. } = self
            .read(request, trail, id, &EntityDocument::new(id.kind(), &needs::of_ownership()))
            .await?;
        let held = match value {
            Some(entity) => self.owned(caller, id, entity, &errors),
            None => Err(self.refusal(request, trail, id, errors).await),
        };
        // Neither did an earlier try write to what is not the tenant's.
        if let Err(Error::NotFound(_)) = held {
            not_done(trail);
        }
        let held = held?;
        match held.claim() {
            Claim::Own => {}
            Claim::Held if update.metadata.is_none() => {}
            Claim::Held => return Err(Error::NotOwnMetadata),
            Claim::ReadOnly => return Err(Error::ReadOnly(id.kind())),
        }
        let mark = request.keyed.as_ref().map(|keyed| keyed.mark(&trail.response_key));
        let stored_text = held.stored();
        let envelope = match envelope::read(stored_text.as_deref()) {
            Metadata::Envelope(envelope) => Some(envelope),
            Metadata::Unmanaged | Metadata::Malformed => None,
        };
        let is_written =
            mark.as_ref().zip(envelope.as_ref()).is_some_and(|(mark, own)| own.has_write(mark));
        if is_written {
            done(trail, id);
            self.forget(&tenant.id, Some(id)).await;
            return self.read_written(request, trail, id.as_str(), wanted).await;
        }
        if let (Before::Unknown { since, is_certain: true }, Some(envelope)) = (before, &envelope)
            && !envelope.remembers_since(*since - CLOCKS)
        {
            return Err(upstream::Error::not_an_answer("about something of many updates").into());
        }
        not_done(trail);
        let value = update.metadata.as_deref();
        // A mark is written together with the metadata that was read: not for a name alone where somebody
        // else may be writing it.
        let mark = mark.filter(|_| value.is_some() || turn.is_alone());
        let write = mark.map(|mark| Write(mark, self.clock.now().as_second()));
        let metadata = stored(tenant, &caller.credential, envelope.as_ref(), value, write);
        let (metadata, name) = (metadata.as_deref(), update.name.as_deref());
        let call = Call::update(update.field, id, metadata, name, &wanted.written);
        if let Some(index) = self.indexes.of(id.kind()) {
            index.writing(id.as_str(), self.clock.now().as_microsecond()).await;
        }
        let reply = self.send(request, trail, &call).await;
        // Also where no answer came: it may have been written.
        self.forget(&tenant.id, Some(id)).await;
        let reply = reply?;
        let Some(entity) = reply.value else {
            // It was written, and a field of the answer failed that may not be null.
            done(trail, id);
            return self.read_written(request, trail, id.as_str(), wanted).await;
        };
        let answer =
            self.written(caller, id.kind(), self.held(tenant, id), entity, reply.errors)?;
        done(trail, id);
        Ok(answer)
    }
}

/// The metadata to store: with the tenant's new value, if there is one, and with the update's mark. What
/// has no record gets one only together with a value.
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
