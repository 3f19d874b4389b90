//! Whose is it? The one place that decides, for jobs, takes, files and volumes.

use std::borrow::Cow;
use std::sync::Arc;

use crate::index::Filed;
use crate::json::{self, JsonRef};
use crate::model::{EntityId, EntityKind, Progress, Tenant, UnclaimedJobs, UnclaimedTakes};
use crate::telemetry::metrics;
use crate::upstream::{Entity, FieldError, PathSegment};

use super::envelope::{self, Metadata};
use super::present;

/// Whose an entity is to a tenant, as far as its metadata tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The tenant's: the record names it, or there is none in the tenant's own Move account.
    Tenant,
    /// Another tenant's.
    Another,
    /// Nobody's: the metadata is JSON and holds no record.
    Nobody,
    /// It cannot be told: Move did not give the metadata, or there is no reading it. It may be
    /// another tenant's, so nobody sees it, nobody changes it, and nobody reads that it is not there.
    Unknown,
}

/// The place of an error, seen from an entity's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorAt {
    /// At something above it, such as the entity itself.
    Above,
    /// At the metadata.
    Metadata,
}

/// An entity in one of Move's answers.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// The root field's value.
    Root,
    /// An item of a page, by its index.
    Item(usize),
}

impl Place {
    /// Returns the place that an error's path leads to, if it is at this entity's metadata or above it.
    fn error_at(self, path: &[PathSegment]) -> Option<ErrorAt> {
        let mut steps = path.iter();
        let is_field = |step: &PathSegment, name: &str| match step {
            PathSegment::Field(field) => field == name,
            PathSegment::Index(_) => false,
        };
        if let Self::Item(index) = self {
            match steps.next() {
                None => return Some(ErrorAt::Above),
                Some(step) if is_field(step, "items") => {}
                Some(_) => return None,
            }
            match steps.next() {
                None => return Some(ErrorAt::Above),
                Some(PathSegment::Index(at)) if *at == index => {}
                Some(_) => return None,
            }
        }
        match steps.next() {
            None => Some(ErrorAt::Above),
            Some(step) if is_field(step, "metadata") => Some(ErrorAt::Metadata),
            Some(_) => None,
        }
    }
}

impl Place {
    /// Returns true if an error's path leads to the entity, to what it stands in or to anything in it.
    #[must_use]
    pub fn holds(self, path: &[PathSegment]) -> bool {
        match (self, path) {
            (Self::Item(own), [PathSegment::Field(items), PathSegment::Index(index), ..]) => {
                items != "items" || *index == own
            }
            (Self::Root | Self::Item(_), _) => true,
        }
    }
}

impl Owner {
    /// Tells whose something is whose metadata stands at `place` of an answer with these errors.
    #[must_use]
    pub fn of(
        tenant: &Tenant,
        stored: Option<&str>,
        reading: &Metadata<'_>,
        errors: &[FieldError],
        place: Place,
    ) -> Self {
        match reading {
            Metadata::Envelope(envelope) if *envelope.owner() == tenant.id => Self::Tenant,
            Metadata::Envelope(_) => Self::Another,
            Metadata::Malformed => Self::Unknown,
            Metadata::Unmanaged => {
                let mut errors = errors.iter().filter_map(|error| place.error_at(&error.path));
                let is_doubtful = errors.any(|at| stored.is_none() || at == ErrorAt::Metadata);
                match (is_doubtful, tenant.account.is_shared()) {
                    (true, _) => Self::Unknown,
                    (false, true) => Self::Nobody,
                    (false, false) => Self::Tenant,
                }
            }
        }
    }
}

/// Tells under whose name a job of the index is filed that stood at `place` of an answer with these errors.
#[must_use]
pub fn filed(entity: &Entity, errors: &[FieldError], place: Place) -> Filed {
    let stored = entity.metadata();
    match envelope::read(stored.as_deref()) {
        Metadata::Envelope(envelope) => Filed::Of(envelope.owner().clone()),
        Metadata::Malformed => Filed::Unknown,
        Metadata::Unmanaged => {
            let is_doubtful = errors.iter().any(|error| place.error_at(&error.path).is_some());
            if is_doubtful { Filed::Unknown } else { Filed::Nobody }
        }
    }
}

/// An entity that the tenant may see: the proof that its owner was checked. It is written as the tenant
/// sees it, which is not what Move sent: see [`present`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    kind: EntityKind,
    /// The tenant's own metadata, as a JSON string.
    shown: Option<Arc<str>>,
    claim: Claim,
    entity: Entity,
}

/// Why the tenant may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the tenant's.
    Own,
    /// It is a file that something of the tenant's holds: Move wrote its metadata.
    Held,
    /// It is nobody's, and the policy lets the tenant read such.
    ReadOnly,
}

/// The standing of a file: seen in something of the tenant's, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It was.
    ByOwn,
    /// It was not, or it is no file.
    ByNobody,
}

/// Why a tenant may not see something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotShown {
    /// It is another tenant's or nobody's: to this tenant it does not exist.
    NotTheirs,
    /// Nobody can tell whose it is.
    OwnerUnknown,
}

impl Owned {
    /// Checks an entity that Move sent at `place` of an answer with these errors. Its metadata must
    /// have been asked for.
    ///
    /// # Errors
    /// If it is not for this tenant's eyes.
    pub fn verify(
        tenant: &Tenant,
        kind: EntityKind,
        held: Held,
        entity: Entity,
        errors: &[FieldError],
        place: Place,
    ) -> Result<Self, NotShown> {
        if !kind.has_owner() {
            return Ok(Self { kind, shown: None, claim: Claim::ReadOnly, entity });
        }
        let stored = entity.metadata();
        let reading = envelope::read(stored.as_deref());
        let may_read = may_read_unclaimed(tenant, kind);
        let claim = match Owner::of(tenant, stored.as_deref(), &reading, errors, place) {
            Owner::Tenant => Claim::Own,
            Owner::Nobody if held == Held::ByOwn => Claim::Held,
            Owner::Nobody if may_read => Claim::ReadOnly,
            Owner::Nobody | Owner::Another => return Err(NotShown::NotTheirs),
            Owner::Unknown => return Err(NotShown::OwnerUnknown),
        };
        let shown = present::metadata(tenant, stored.as_deref(), &reading);
        let shown = shown.map(|text| json::quoted(text).into());
        Ok(Self { kind, shown, claim, entity })
    }

    /// The entity without the rest of the answer that it came in.
    pub(super) fn alone(self) -> Self {
        Self { entity: self.entity.alone(), ..self }
    }

    /// The progress of a job, as far as Move was asked for it.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.entity.job_progress()
    }

    /// The entity as Move sent it.
    #[must_use]
    pub(super) const fn entity(&self) -> &Entity {
        &self.entity
    }

    /// The entity as Move sent it, to be written as [`present`] says.
    #[must_use]
    pub fn json(&self) -> JsonRef<'_> {
        self.entity.json().root()
    }

    /// Approximate size in memory, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.entity.json().weight() + self.shown.as_ref().map_or(0, |shown| shown.len())
    }

    /// The tenant's own metadata, as a JSON string.
    #[must_use]
    pub fn shown_metadata(&self) -> Option<&str> {
        self.shown.as_deref()
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EntityKind {
        self.kind
    }

    /// Why the tenant may see it, and so what it may do with it.
    pub(super) const fn claim(&self) -> Claim {
        self.claim
    }

    /// Its metadata as stored upstream.
    pub(super) fn stored(&self) -> Option<Cow<'_, str>> {
        self.entity.metadata()
    }
}

/// Returns true if policy lets the tenant see what nobody owns.
pub(super) fn may_read_unclaimed(tenant: &Tenant, kind: EntityKind) -> bool {
    match kind {
        EntityKind::Job => tenant.metadata.unclaimed_jobs == UnclaimedJobs::Read,
        EntityKind::Take => tenant.unclaimed_takes == UnclaimedTakes::Use,
        // Of the account, and everybody's in it.
        EntityKind::Client | EntityKind::Rigs | EntityKind::CameraSettings => true,
        EntityKind::File | EntityKind::Volume => false,
    }
}

/// Tells operators of an answer to a query of Move's with `count` entities of which nobody can tell whose
/// they are; `id` is one of them.
pub(super) fn report_unknown(field: &'static str, count: usize, id: Option<&EntityId>) {
    let id = id.map_or("(not an id)", EntityId::as_str);
    tracing::warn!(operation = field, count, job = id, "metadata does not tell whose it is");
    metrics::unknown_owners(field, count);
}

#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::expect_used, reason = "the texts are constants")]
pub mod fixture;

#[cfg(test)]
mod tests;
