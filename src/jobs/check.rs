//! The tenant's right to what a mutation's arguments name.

use crate::model::{EntityId, RequestContext, Tenant, Trail};
use crate::upstream::{Batch, Call, Entity, FieldError, Reply};

use super::envelope;
use super::ownership::{Held, Owner, Place, may_read_unclaimed};
use super::standing::nobodys;
use super::{Error, Jobs, needs};

/// The standing of an id with a tenant, from best to worst: several ids are as good as the worst of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It may be used.
    Usable,
    /// Move did not tell whose it is.
    Unknown,
    /// Move complains in its place.
    Complaint,
    /// It is missing, another tenant's or nobody's.
    NotFound,
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
            if !asked.contains(&id) && !self.proven.knows(tenant, id) {
                asked.push(id);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let mut verdict = self.worst_of(request, trail, &asked).await?;
        if verdict == Verdict::Complaint {
            verdict = self.beyond_complaint(request, trail, &asked).await?;
        }
        match verdict {
            Verdict::Usable => Ok(()),
            Verdict::NotFound => Err(Error::NotFound(kinds_of(ids))),
            Verdict::Complaint | Verdict::Unknown => Err(Error::OwnerUnknown),
        }
    }

    /// Asks once more about ids of which Move complained, and then about one that nothing has. Where Move says that
    /// this is missing, it does its work, and what it complains of is to this tenant what a missing one is: else the
    /// complaint would tell that there is something. Reads do the same: see `refusal`.
    async fn beyond_complaint(
        &self,
        request: &RequestContext,
        trail: &Trail,
        asked: &[&EntityId],
    ) -> Result<Verdict, Error> {
        let again = self.worst_of(request, trail, asked).await?;
        let nobodys = asked.first().and_then(|id| nobodys(id.kind()));
        let Some(nobodys) = nobodys.filter(|_| again == Verdict::Complaint) else {
            return Ok(again);
        };
        self.worst_of(request, trail, &[&nobodys]).await
    }

    /// Asks Move whose these are, in one call, and returns the worst of what it says.
    async fn worst_of(
        &self,
        request: &RequestContext,
        trail: &Trail,
        asked: &[&EntityId],
    ) -> Result<Verdict, Error> {
        let ownership = needs::of_ownership();
        let questions: Vec<_> = asked.iter().map(|id| (*id, &ownership)).collect();
        let call = Call::batch(&questions);
        let Reply { value, errors, .. } =
            self.upstream.call::<Batch>(request, trail, &call).await?;
        let verdicts = asked.iter().enumerate().map(|(index, id)| {
            let entity = value.as_ref().and_then(|batch| batch.entity(index));
            let errors: Vec<_> = Batch::errors_of(&errors, index).collect();
            self.verdict(&request.caller.tenant, id, entity.as_ref(), &errors)
        });
        Ok(verdicts.max().unwrap_or(Verdict::Usable))
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
        let Some(entity) = entity else {
            return if errors.is_empty() { Verdict::Unknown } else { Verdict::Complaint };
        };
        if entity.id().as_deref() != Some(id.as_str()) {
            return Verdict::Unknown;
        }
        let stored = entity.metadata();
        let reading = envelope::read(stored.as_deref());
        match Owner::of(tenant, stored.as_deref(), &reading, errors, Place::Root) {
            Owner::Tenant => {
                self.proven.note(tenant, id);
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
