//! The standing of an id with a tenant: what Move sent is checked against what was asked for, and what was seen to
//! be the tenant's is remembered.

use crate::model::{Caller, EntityId, EntityKind, RequestContext, Tenant, Trail};
use crate::upstream::{self, Entity, EntityDocument, FieldError, Reply};

use super::ownership::{self, Claim, Held, NotShown, Place};
use super::{Error, Jobs, Owned, TenantsFile, needs};

/// The rest of an id that nothing has: Move's are random UUIDs, which this is not.
const NOBODYS: &str = "00000000-0000-0000-0000-000000000000";

impl Jobs {
    /// Tells what errors without an entity mean: a missing one, or Move's complaint about one that
    /// exists (a failed job may come so). The complaint is for the owner alone; where the owner was
    /// never seen before, a second call may tell. If it does not, the entity is to this tenant what a
    /// missing one is: whether Move answers about those, a third call tells.
    pub(super) async fn refusal(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &EntityId,
        errors: Vec<FieldError>,
    ) -> Error {
        let caller = &request.caller;
        if !id.kind().has_owner() {
            return Error::Refused(errors);
        }
        if errors.iter().any(FieldError::is_not_found) {
            return Error::NotFound(id.kind().name());
        }
        if self.proven.knows(&caller.tenant, id) {
            return Error::Refused(errors);
        }
        let document = EntityDocument::new(id.kind(), &needs::of_ownership());
        match self.read(request, trail, id, &document).await {
            Err(error) => return error.into(),
            Ok(Reply { value: Some(entity), errors: beside, .. }) => {
                return match self.owned(caller, id, entity, &beside) {
                    Ok(_) => Error::Refused(errors),
                    Err(error) => error,
                };
            }
            Ok(Reply { errors, .. }) if errors.iter().any(FieldError::is_not_found) => {
                return Error::NotFound(id.kind().name());
            }
            Ok(_) => {}
        }
        let Some(nobodys) = nobodys(id.kind()) else { return Error::NotFound(id.kind().name()) };
        match self.read(request, trail, &nobodys, &document).await {
            Err(error) => error.into(),
            Ok(Reply { errors, .. }) if errors.iter().any(FieldError::is_not_found) => {
                Error::NotFound(id.kind().name())
            }
            Ok(_) => upstream::Error::not_an_answer("an error about nothing").into(),
        }
    }

    /// Checks that the entity of an answer with these errors is the one asked for and the caller's.
    pub(super) fn owned(
        &self,
        caller: &Caller,
        id: &EntityId,
        entity: Entity,
        errors: &[FieldError],
    ) -> Result<Owned, Error> {
        let is_other = || entity.id().is_none_or(|answered| *answered != *id.as_str());
        if id.kind().has_owner() && is_other() {
            return Err(upstream::Error::not_an_answer("about something else").into());
        }
        let tenant = &caller.tenant;
        let held = self.held(tenant, id);
        let verified = Owned::verify(tenant, id.kind(), held, entity, errors, Place::Root);
        let owned = verified.map_err(|reason| match reason {
            NotShown::NotTheirs => Error::NotFound(id.kind().name()),
            NotShown::OwnerUnknown => {
                ownership::report_unknown(id.kind().getter(), 1, Some(id));
                Error::OwnerUnknown
            }
        })?;
        if owned.claim() == Claim::Own {
            self.proven.note(tenant, id);
        }
        self.hold_files(tenant, &owned);
        Ok(owned)
    }

    /// The standing of a file: seen in something of the tenant's, or not.
    pub(super) fn held(&self, tenant: &Tenant, id: &EntityId) -> Held {
        let is_held = id.kind() == EntityKind::File && self.held.contains_key(&file_of(tenant, id));
        if is_held { Held::ByOwn } else { Held::ByNobody }
    }

    /// Remembers the files that something of the tenant's holds.
    pub(super) fn hold_files(&self, tenant: &Tenant, owned: &Owned) {
        if owned.claim() != Claim::Own {
            return;
        }
        for id in owned.entity().file_ids() {
            if let Ok(id) = EntityId::parse(EntityKind::File, &id) {
                let file = file_of(tenant, &id);
                if !self.held.contains_key(&file) {
                    self.held.insert(file, ());
                }
            }
        }
    }
}

/// An id that nothing has.
pub(super) fn nobodys(kind: EntityKind) -> Option<EntityId> {
    EntityId::parse(kind, &format!("{kind}-{NOBODYS}")).ok()
}

fn file_of(tenant: &Tenant, id: &EntityId) -> TenantsFile {
    (tenant.id.clone(), tenant.account.id.clone(), id.clone())
}
