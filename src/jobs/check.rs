//! The tenant's right to what a mutation's arguments name.

use crate::model::{EntityId, RequestContext, Tenant, Trail};
use crate::upstream::{Batch, Call, Entity, FieldError, Reply};

use super::envelope;
use super::ownership::{Held, Owner, Place, may_read_unclaimed};
use super::{Error, Jobs, needs};

/// The standing of an id with a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It may be used.
    Usable,
    /// It is missing, another tenant's or nobody's.
    NotFound,
    /// Move did not tell whose it is.
    Unknown,
}

impl Jobs {
    /// Checks that the tenant may use everything that these ids name, in one call; what was seen to be the
    /// tenant's before is not asked for.
    ///
    /// # Errors
    /// [`Error::NotFound`] if anything of it is missing, another tenant's or (unless policy says otherwise)
    /// nobody's: one answer for all three, whichever it is.
    pub(super) async fn check(
        &self,
        request: &RequestContext,
        trail: &Trail,
        ids: &[EntityId],
    ) -> Result<(), Error> {
        let tenant = &request.caller.tenant;
        let mut asked: Vec<&EntityId> = Vec::new();
        for id in ids {
            if !asked.contains(&id) && !self.is_proven(tenant, id) {
                asked.push(id);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let ownership = needs::of_ownership();
        let questions: Vec<_> = asked.iter().map(|id| (*id, &ownership)).collect();
        let call = Call::batch(&questions);
        let Reply { value, errors, .. } =
            self.upstream.call::<Batch>(request, trail, &call).await?;
        let mut worst = Verdict::Usable;
        for (index, id) in asked.into_iter().enumerate() {
            let entity = value.as_ref().and_then(|batch| batch.entity(index));
            let errors: Vec<_> = Batch::errors_of(&errors, index).collect();
            let verdict = self.verdict(tenant, id, entity.as_ref(), &errors);
            worst = match (worst, verdict) {
                (Verdict::NotFound, _) | (_, Verdict::NotFound) => Verdict::NotFound,
                (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
                (Verdict::Usable, Verdict::Usable) => Verdict::Usable,
            };
        }
        match worst {
            Verdict::Usable => Ok(()),
            Verdict::NotFound => Err(Error::NotFound(kinds_of(ids))),
            Verdict::Unknown => Err(Error::OwnerUnknown),
        }
    }

    fn verdict(
        &self,
        tenant: &Tenant,
        id: &EntityId,
        entity: Option<&Entity>,
        errors: &[FieldError],
    ) -> Verdict {
        if errors.iter().any(|error| error.path.is_empty() && error.is_not_found()) {
            return Verdict::NotFound;
        }
        let Some(entity) = entity.filter(|entity| entity.id().as_deref() == Some(id.as_str()))
        else {
            return Verdict::Unknown;
        };
        let stored = entity.metadata();
        let reading = envelope::read(stored.as_deref());
        match Owner::of(tenant, stored.as_deref(), &reading, errors, Place::Root) {
            Owner::Tenant => {
                self.prove(tenant, id);
                Verdict::Usable
            }
            Owner::Nobody if self.held(tenant, id) == Held::ByOwn => Verdict::Usable,
            Owner::Nobody if may_read_unclaimed(tenant, id.kind()) => Verdict::Usable,
            Owner::Another | Owner::Nobody => Verdict::NotFound,
            Owner::Unknown => Verdict::Unknown,
        }
    }
}

/// The kinds of the ids, in words: the same whichever of them is missing.
fn kinds_of(ids: &[EntityId]) -> &'static str {
    let are_all = |kind| ids.iter().all(|id| id.kind() == kind);
    match ids.first().map(EntityId::kind) {
        Some(kind) if are_all(kind) => kind.name(),
        _ => "file or volume",
    }
}
