//! Mutations that make something: jobs, takes, files and volumes.

use sha2::{Digest, Sha256};

use crate::index::JobRow;
use crate::model::{Before, Caller, EntityId, EntityKind, RequestContext, Trail};
use crate::upstream::{self, Call, Creation, Entity, FieldError};

use super::look::Tried;
use super::ownership::{Held, Place};
use super::sending::{begin, done, not_done};
use super::{Answer, Error, Jobs, Owned, Wanted};
use super::{arguments, envelope, pages, rows};

impl Jobs {
    /// Creates something of the caller's tenant: its metadata goes upstream in an envelope. What an
    /// earlier try of the same mutation made is given again.
    ///
    /// # Errors
    /// Bad arguments before anything is sent; [`Error::OutcomeUnknown`] when it may have been
    /// created, now or by an earlier try.
    pub async fn create(
        &self,
        request: &RequestContext,
        trail: &Trail,
        creation: Creation,
        wanted: &Wanted,
    ) -> Result<Answer<Owned>, Error> {
        let before = begin(request, trail);
        let created = match &before {
            Before::Done(id) => self.read_written(request, trail, id, wanted).await,
            _ => self.create_once(request, trail, creation, wanted, &before).await,
        };
        created.map_err(|error| error.of_effect(&trail.note(|notes| notes.effect.clone())))
    }

    async fn create_once(
        &self,
        request: &RequestContext,
        trail: &Trail,
        mut creation: Creation,
        wanted: &Wanted,
        before: &Before,
    ) -> Result<Answer<Owned>, Error> {
        let caller = &request.caller;
        let kind = creation.field.entity();
        let named = arguments::named(&creation)?;
        trail.note(|notes| notes.named.clone_from(&named));
        note_metadata(trail, creation.metadata.as_deref());
        arguments::metadata(caller, creation.metadata.as_deref())?;
        arguments::check(&creation)?;
        let mark = request.keyed.as_ref().map(|keyed| keyed.mark(&trail.response_key));
        let take = named.iter().find(|id| id.kind() == EntityKind::Take);
        if let (&Before::Unknown { since, is_certain }, Some(mark)) = (before, &mark) {
            let tried = Tried { since, is_certain };
            if let Some(id) = self.find_made(request, trail, kind, take, mark, tried).await? {
                self.made(request, trail, &id, None).await;
                return self.read_written(request, trail, id.as_str(), wanted).await;
            }
            not_done(trail);
        }
        self.check(request, trail, &named).await?;
        let tenant = &caller.tenant;
        // Move's Python client cannot read what has no metadata, so there is always a value: the
        // empty object that Move's clients send themselves.
        let value = creation.metadata.as_deref().unwrap_or("{}");
        let wrapped = envelope::wrap(tenant, &caller.credential, mark.as_deref(), value);
        creation.metadata = Some(wrapped);
        creation.field = self.upstream.creation_field(&tenant.account, creation.field);
        let call = Call::create(&creation, &wanted.written);
        let tried = Tried { since: self.clock.now(), is_certain: true };
        let reply = self.send(request, trail, &call).await?;
        if let Some(entity) = reply.value {
            let errors = reply.errors.clone();
            let answer = self.written(caller, kind, Held::ByNobody, entity, errors)?;
            let id = answer.value.entity().id().and_then(|id| EntityId::parse(kind, &id).ok());
            if let Some(id) = id {
                let row = rows::of_created(&id, answer.value.entity(), &tenant.id, take);
                self.made(request, trail, &id, row).await;
                return Ok(answer);
            }
        }
        // It was created, and a field of the answer failed that may not be null, or it does not say which
        // one it is: the mark tells.
        let found = match &mark {
            Some(mark) => self.find_made(request, trail, kind, take, mark, tried).await?,
            None => None,
        };
        let id = found.ok_or(Error::Refused(reply.errors))?;
        self.made(request, trail, &id, None).await;
        self.read_written(request, trail, id.as_str(), wanted).await
    }

    /// Notes what was created; the index learns of it, by its row if that is known.
    async fn made(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &EntityId,
        row: Option<JobRow>,
    ) {
        let tenant = &request.caller.tenant;
        if let Some(index) = self.indexes.of(id.kind()).filter(|_| tenant.account.is_shared()) {
            match row {
                Some(row) => index.see(pages::fingerprint(&tenant.account), row),
                None => index.doubt(id.as_str()),
            }
        }
        done(trail, id);
        self.proven.note(tenant, id);
        self.forget(&tenant.id, Some(id)).await;
    }

    /// A mutation's answer: what it wrote must say whose it is.
    pub(super) fn written(
        &self,
        caller: &Caller,
        kind: EntityKind,
        held: Held,
        entity: Entity,
        errors: Vec<FieldError>,
    ) -> Result<Answer<Owned>, Error> {
        // What is written is the tenant's: an answer that does not say so tells nothing of the outcome.
        let value = Owned::verify(&caller.tenant, kind, held, entity, &errors, Place::Root)
            .map_err(|_| upstream::Error::not_an_answer("about something of somebody else's"))?;
        self.hold_files(&caller.tenant, &value);
        Ok(Answer { value, errors })
    }
}

/// Notes the length and hash of a metadata text, for the record.
pub(super) fn note_metadata(trail: &Trail, text: Option<&str>) {
    if let Some(text) = text {
        let hash = Sha256::digest(text.as_bytes()).into();
        trail.note(|notes| notes.metadata = Some((text.len(), hash)));
    }
}
