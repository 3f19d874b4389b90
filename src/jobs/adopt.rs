//! `jobs-gateway adopt`: what nobody's envelope is on becomes a tenant's.

use std::borrow::Cow;

use tokio::time::Instant;

use super::create::note_metadata;
use super::envelope;
use super::list::refused;
use super::ownership::{Held, Owner, Place};
use super::sending::{begin, done};
use super::{Error, Jobs, needs};
use crate::model::{EntityId, EntityKind, RequestContext, RootField, Selection, Tenant, Trail};
use crate::upstream::{
    self, After, Call, Entity, EntityDocument, EntityPage, FieldError, Listing, Reply, of_kind,
};

/// The kinds that hold files.
const HOLDERS: [EntityKind; 3] = [EntityKind::Job, EntityKind::Take, EntityKind::Volume];

/// The most holders that are read in one call.
const PAGE: i32 = 100;

/// The standing of something with a tenant that would have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is nobody's. Its metadata is JSON text, if it has any.
    Nobodys(Option<String>),
    /// It is the tenant's.
    Own,
    /// It is another tenant's.
    Anothers,
    /// Nobody can tell whose it is.
    Unknown,
    /// There is no such thing.
    Missing,
}

impl Jobs {
    /// Tells whose something is, as far as its own metadata says.
    ///
    /// # Errors
    /// When Move does not answer, or with something else.
    pub async fn standing(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &EntityId,
    ) -> Result<Standing, Error> {
        let document = EntityDocument::new(id.kind(), &needs::of_ownership());
        let Reply { value, errors, .. } = self.read(request, trail, id, &document).await?;
        let Some(entity) = value else {
            let is_missing = errors.iter().any(FieldError::is_not_found);
            return if is_missing { Ok(Standing::Missing) } else { Err(Error::Refused(errors)) };
        };
        if entity.id().as_deref() != Some(id.as_str()) {
            return Err(upstream::Error::not_an_answer("about something else").into());
        }
        Ok(match owner(&request.caller.tenant, &entity, &errors, Place::Root) {
            Owner::Tenant => Standing::Own,
            Owner::Another => Standing::Anothers,
            Owner::Unknown => Standing::Unknown,
            Owner::Nobody => Standing::Nobodys(entity.metadata().map(Cow::into_owned)),
        })
    }

    /// Writes the tenant's envelope into what is nobody's; the metadata that is there becomes the tenant's own
    /// value. Whatever else it is stays as it is.
    ///
    /// # Errors
    /// Those of [`Jobs::standing`]; [`Error::OutcomeUnknown`] when it may have been written.
    pub async fn adopt(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &EntityId,
    ) -> Result<Standing, Error> {
        trail.note(|notes| notes.entity = Some(id.clone()));
        let _ = begin(request, trail);
        let turn = self.turn(request, id).await?;
        let adopted = self.adopt_in_turn(request, trail, id).await;
        turn.end().await;
        adopted.map_err(|error| error.of_effect(&trail.note(|notes| notes.effect.clone())))
    }

    async fn adopt_in_turn(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &EntityId,
    ) -> Result<Standing, Error> {
        // Once more: it may have become somebody's since the operator was asked.
        let stored = match self.standing(request, trail, id).await? {
            Standing::Nobodys(stored) => stored,
            standing => return Ok(standing),
        };
        let (caller, value) = (&request.caller, stored.as_deref().unwrap_or("{}"));
        note_metadata(trail, Some(value));
        let wrapped = envelope::wrap(&caller.tenant, &caller.credential, None, value);
        let call = Call::update(trail.field, id, Some(&wrapped), None, needs::of_ownership());
        let reply = self.send(request, trail, &call).await?;
        let entity = reply.value.ok_or(Error::Refused(Vec::new()))?;
        self.written(caller, id.kind(), Held::ByNobody, entity, reply.errors)?;
        done(trail, id);
        Ok(Standing::Own)
    }

    /// Picks those of these files that something of another tenant's holds, or something of which nobody can tell
    /// whose it is: Move writes no envelope into the files it makes. Looks through everything in the account.
    ///
    /// # Errors
    /// When a page cannot be had.
    pub async fn held_by_others(
        &self,
        request: &RequestContext,
        trail: &Trail,
        files: &[EntityId],
    ) -> Result<Vec<EntityId>, Error> {
        let mut found = Vec::new();
        for kind in HOLDERS.into_iter().filter(|_| !files.is_empty()) {
            let mut after = None;
            loop {
                let deadline = Instant::now() + self.fetch_time;
                let request = RequestContext { deadline, ..request.clone() };
                let (page, errors) = self.holders(&request, trail, kind, after.as_deref()).await?;
                for (place, item) in page.items().into_iter().flatten().enumerate() {
                    let Some(item) = item else { continue };
                    let place = Place::Item(place);
                    match owner(&request.caller.tenant, &item, &errors, place) {
                        Owner::Tenant | Owner::Nobody => {}
                        Owner::Another | Owner::Unknown => {
                            let held = item.file_ids();
                            let is_held =
                                |id: &&EntityId| held.iter().any(|own| **own == *id.as_str());
                            found.extend(files.iter().filter(is_held).cloned());
                        }
                    }
                }
                match page.after() {
                    After::Cursor(next) => after = Some(next.into_owned()),
                    After::Last => break,
                    After::Lost => return Err(refused(errors)),
                }
            }
        }
        Ok(found)
    }

    /// Reads a page of what holds files.
    async fn holders(
        &self,
        request: &RequestContext,
        trail: &Trail,
        kind: EntityKind,
        after: Option<&str>,
    ) -> Result<(EntityPage, Vec<FieldError>), Error> {
        let listing = Listing { first: PAGE, after, sort_direction: None, take: None };
        let mut needed = needs::of_ownership();
        let lists: &[&str] = match kind {
            EntityKind::Take => &["sources", "additionalFiles"],
            EntityKind::Volume => &["sources", "outputs"],
            _ => &["outputs"],
        };
        for list in lists {
            needed.field(list).field("file").field("id");
        }
        if kind == EntityKind::Take {
            needed.field("videoFile").field("id");
        }
        let mut page = Selection::of_leaves(["after"]);
        page.field("items").merge(&of_kind(kind, &needed));
        let call = Call::list(kind.lister().unwrap_or_default(), &listing, page);
        let Reply { value, errors, .. } =
            self.upstream.call::<EntityPage>(request, trail, &call).await?;
        match value {
            Some(page) if page.items().is_some() => Ok((page, errors)),
            _ => Err(refused(errors)),
        }
    }
}

fn owner(tenant: &Tenant, entity: &Entity, errors: &[FieldError], place: Place) -> Owner {
    let stored = entity.metadata();
    let reading = envelope::read(stored.as_deref());
    Owner::of(tenant, stored.as_deref(), &reading, errors, place)
}

/// The mutation that writes an envelope into what is there already; none where Move has none.
#[must_use]
pub const fn adopter(kind: EntityKind) -> Option<RootField> {
    match kind {
        EntityKind::Job => Some(RootField::UpdateJob),
        EntityKind::Take => Some(RootField::UpdateTake),
        EntityKind::File => Some(RootField::UpdateFile),
        EntityKind::Volume | EntityKind::Client | EntityKind::Rigs | EntityKind::CameraSettings => {
            None
        }
    }
}
