//! `generateShareCode`

use std::borrow::Cow;

use super::sending::{begin, done};
use super::{Answer, Error, Jobs, needs};
use crate::model::{EntityId, RequestContext, Selection, Trail};
use crate::upstream::{Call, Entity};

impl Jobs {
    /// Makes a link by which anybody can read a file of the tenant's. With an `Idempotency-Key` every try makes
    /// one: a code is kept nowhere, so that it could be given again.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a file that is not the tenant's; [`Error::OutcomeUnknown`] when a link may have
    /// been made that nobody knows.
    pub async fn share(
        &self,
        request: &RequestContext,
        trail: &Trail,
        file: &EntityId,
        wanted: &Selection,
    ) -> Result<Answer<Entity>, Error> {
        trail.note(|notes| notes.entity = Some(file.clone()));
        let _ = begin(request, trail);
        let shared = self.share_once(request, trail, file, wanted).await;
        shared.map_err(|error| error.of_effect(&trail.note(|notes| notes.effect.clone())))
    }

    async fn share_once(
        &self,
        request: &RequestContext,
        trail: &Trail,
        file: &EntityId,
        wanted: &Selection,
    ) -> Result<Answer<Entity>, Error> {
        self.check(request, trail, std::slice::from_ref(file)).await?;
        let mut needed = needs::of_plain(wanted);
        // For the record.
        needed.field("expires");
        let reply = self.send(request, trail, &Call::share(file, &needed)).await?;
        let Some(code) = reply.value else { return Err(Error::Refused(reply.errors)) };
        done(trail, file);
        let expires = code.json().root().text_of("expires");
        // Move might say the code itself in its place, which belongs in no record.
        let is_time = |text: &Cow<'_, str>| text.parse::<jiff::Timestamp>().is_ok();
        let expires = expires.filter(is_time).map(|text| text.into_owned().into());
        trail.note(|notes| notes.expires = expires);
        Ok(Answer { value: code, errors: reply.errors })
    }
}
