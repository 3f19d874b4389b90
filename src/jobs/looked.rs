//! Looks at the jobs that the index names: each as it is now, from the cache, the index or Move.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::fetch::{self, CachedEntity};
use super::get::concerns;
use super::list::ListCall;
use super::needs::{self, Needed};
use super::ownership::{Held, Place};
use super::{Error, Owned, Seat};
use crate::cache::{Entry, Key, Phase};
use crate::index::{FoundPlace, KnownJob};
use crate::json::JsonRef;
use crate::model::{CacheStatus, EntityId, RequestContext};
use crate::upstream::{Entity, FieldError};

/// A job that was looked at.
pub(super) enum Looked {
    /// It is the tenant's.
    Own(Box<LookedAt>),
    /// It is not there, or another's.
    NotTheirs,
    /// Nobody can tell whose it is.
    OwnerUnknown,
    /// Move has no answer about it, for this reason.
    NoAnswer(Error),
}

/// A job of the tenant's that was looked at.
pub(super) struct LookedAt {
    /// The job.
    pub(super) job: Owned,
    /// Move's errors below it.
    pub(super) errors: Vec<FieldError>,
}

impl Looked {
    fn own(job: &Owned, errors: Vec<FieldError>) -> Self {
        Self::Own(Box::new(LookedAt { job: job.clone(), errors }))
    }
}

impl ListCall<'_> {
    /// Looks at jobs, all at once: what goes up to Move goes up together. All of these fields are known of each then.
    pub(super) async fn look_at_all(&self, found: &[FoundPlace], needed: &Needed) -> Vec<Looked> {
        let seat = self.jobs.together(self.request);
        let looks = found.iter().map(|found| self.look(found, needed, seat.clone()));
        let looks: Vec<_> = looks.collect();
        // What goes up together waits for every seat.
        drop(seat);
        join_all(looks).await
    }

    async fn look(&self, found: &FoundPlace, needed: &Needed, seat: Seat) -> Looked {
        let Ok(id) = EntityId::parse(self.kind, &found.place.id) else {
            return Looked::NotTheirs;
        };
        let request = self.request;
        let key = Key { tenant: request.caller.tenant.id.clone(), id };
        let known =
            if request.fresh { None } else { self.jobs.known(request, &key, &needed.selection) };
        let now = self.jobs.clock.now();
        let known = known.filter(|entry| entry.lifetime.phase(now) == Phase::Fresh);
        let known = known.filter(|entry| !is_behind(entry, found));
        match known.as_ref().map(|entry| &entry.value) {
            Some(CachedEntity::Owned(job)) => return Looked::own(job, Vec::new()),
            // It may be there since: a page of Move's would have it.
            Some(CachedEntity::NotFound) => return self.ask_anew(&key, needed, seat).await,
            None => {}
        }
        if let Some(job) = self.as_stored(found, needed, now) {
            return Looked::own(&job, Vec::new());
        }
        match self.ask(request, &key, needed, seat).await {
            (looked, status) if status != CacheStatus::Miss && may_be_behind(&looked, found) => {
                let seat = self.jobs.together(request);
                self.ask_anew(&key, needed, seat).await
            }
            (looked, _) => looked,
        }
    }

    /// Asks Move itself, whatever others know.
    async fn ask_anew(&self, key: &Key, needed: &Needed, seat: Seat) -> Looked {
        let request = RequestContext { fresh: true, ..self.request.clone() };
        self.ask(&request, key, needed, seat).await.0
    }

    async fn ask(
        &self,
        request: &RequestContext,
        key: &Key,
        needed: &Needed,
        seat: Seat,
    ) -> (Looked, CacheStatus) {
        let (coalesced, asked) = self.jobs.ask(request, self.trail, key, needed, Some(seat)).await;
        let status = coalesced.or(asked.as_ref().ok().map(|fetched| fetched.status));
        let looked = match asked {
            Ok(fetched) => match &fetched.entry.value {
                CachedEntity::Owned(job) => {
                    let wanted = needs::of_entity(self.wanted.kind, &self.wanted.selection);
                    let errors = fetched.errors.iter();
                    let errors = errors.filter(|error| concerns(error, &wanted)).cloned();
                    Looked::own(job, errors.collect())
                }
                CachedEntity::NotFound => Looked::NotTheirs,
            },
            Err(Error::NotFound(_)) => Looked::NotTheirs,
            Err(Error::OwnerUnknown) => Looked::OwnerUnknown,
            Err(error) => Looked::NoAnswer(error),
        };
        (looked, status.unwrap_or(CacheStatus::Miss))
    }

    /// Gives a job as the index has it, if that is all that is wanted, and fresh by the tenant's policy.
    fn as_stored(&self, found: &FoundPlace, needed: &Needed, now: Timestamp) -> Option<Owned> {
        let (known, tenant) = (found.known.as_ref()?, &self.request.caller.tenant);
        let seen = Timestamp::from_microsecond(known.seen).ok()?;
        let (indexes, kind) = (&self.jobs.indexes, self.kind);
        let is_trusted = indexes.of(kind).is_some_and(|index| index.trusts(known.seen));
        let covers = indexes.fields(kind).is_some_and(|own| own.covers(&needed.selection));
        if self.request.fresh || found.is_unknown || !is_trusted || !covers {
            return None;
        }
        let (held, entity) = (Held::ByNobody, Entity::parse(&known.text)?);
        let own = Owned::verify(tenant, kind, held, entity, &[], Place::Root).ok()?;
        let own = CachedEntity::Owned(Arc::new(own));
        let phase = fetch::lifetime(&tenant.cache, kind, &own, seen).phase(now);
        match own {
            CachedEntity::Owned(own) if phase == Phase::Fresh => Arc::into_inner(own),
            CachedEntity::Owned(_) | CachedEntity::NotFound => None,
        }
    }
}

/// Returns true if an entry of the cache is older than what the index has of the job, and other than that. An earlier
/// listing may have told what the index has.
fn is_behind(entry: &Entry<CachedEntity>, found: &FoundPlace) -> bool {
    let fetched = entry.lifetime.fetched.as_microsecond();
    let known = found.known.as_ref().filter(|known| known.seen > fetched);
    match (&entry.value, known) {
        (CachedEntity::Owned(job), Some(known)) => differs(job, known),
        (CachedEntity::Owned(_) | CachedEntity::NotFound, _) => false,
    }
}

/// Returns true if what somebody else asked for may be older than what the index has.
fn may_be_behind(looked: &Looked, found: &FoundPlace) -> bool {
    match (looked, &found.known) {
        (Looked::NotTheirs, _) => true,
        (Looked::Own(own), Some(known)) => differs(&own.job, known),
        (Looked::Own(_) | Looked::OwnerUnknown | Looked::NoAnswer(_), _) => false,
    }
}

/// Returns true if a job is not as the index has it, in what both know.
fn differs(job: &Owned, known: &KnownJob) -> bool {
    let Some(row) = Entity::parse(&known.text) else { return true };
    let (one, other) = (job.json(), row.json().root());
    let is_other = |one: JsonRef<'_>, other: JsonRef<'_>, name| {
        one.get(name).zip(other.get(name)).is_some_and(|(one, other)| one.raw() != other.raw())
    };
    let progress = one.get("progress").zip(other.get("progress"));
    ["state", "name", "metadata"].into_iter().any(|name| is_other(one, other, name))
        || progress.is_some_and(|(one, other)| is_other(one, other, "percentageComplete"))
}
