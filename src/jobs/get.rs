//! Reads of one thing: `getJob` and its like, `client`, and the catalogue.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Entry, Key, Lifetime, Phase, Terms};
use crate::model::{
    CacheStatus, Caller, EntityId, EntityKind, Freshness, RequestContext, Selection, Tenant, Trail,
};
use crate::upstream::{self, Entity, EntityDocument, ErrorKind, FieldError, PathSegment, Reply};

use super::fetch::{CachedEntity, FetchResult, Fetched};
use super::needs::{self, Needed};
use super::ownership::{self, Claim, Held, NotShown, Place};
use super::{Answer, Error, Jobs, Owned, Proof, Seat, Wanted};

/// The rest of an id that nothing has: Move's are random UUIDs, which this is not.
const NOBODYS: &str = "00000000-0000-0000-0000-000000000000";

impl Jobs {
    /// One entity of the caller's tenant: from the cache where what is known covers what is wanted,
    /// else from Move, one call for all who ask at once; with a `seat`, together with what else its
    /// request reads.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what is missing, foreign or nobody's; Move's own errors about an
    /// entity only to its owner.
    pub async fn get(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &EntityId,
        wanted: &Wanted,
        seat: Option<Seat>,
    ) -> Result<Answer<Arc<Owned>>, Error> {
        trail.note(|notes| notes.entity = Some(id.clone()));
        let key = Key { tenant: request.caller.tenant.id.clone(), id: id.clone() };
        let needed = &wanted.needed;
        let now = self.clock.now();
        let known = if request.fresh { None } else { self.known(request, &key, &needed.selection) };
        match known {
            Some(entry) if entry.lifetime.phase(now) == Phase::Fresh => {
                self.answer(trail, CacheStatus::Hit, id.kind(), &entry)
            }
            Some(entry) if entry.lifetime.phase(now) == Phase::Revalidate => {
                self.refresh(request, trail, &key, needed.clone(), seat);
                self.answer(trail, CacheStatus::Stale, id.kind(), &entry)
            }
            _ => match self.ask(request, trail, &key, needed, seat).await {
                (coalesced, Ok(Fetched { entry, errors, status })) => {
                    let answer =
                        self.answer(trail, coalesced.unwrap_or(status), id.kind(), &entry)?;
                    if errors.is_empty() {
                        return Ok(answer);
                    }
                    // Who joined another's fetch may want less than it brought.
                    let asked = needs::of_entity(wanted.kind, &wanted.selection);
                    let errors = errors.iter().filter(|error| concerns(error, &asked)).cloned();
                    let errors: Vec<_> = errors.collect();
                    if !errors.is_empty() {
                        trail.note(|notes| notes.freshness.clear());
                    }
                    Ok(Answer { errors, ..answer })
                }
                (_, Err(Error::Upstream(error))) => {
                    match self.known(request, &key, &needed.selection) {
                        Some(entry)
                            if !request.fresh && entry.lifetime.covers_error(self.clock.now()) =>
                        {
                            self.answer(trail, CacheStatus::Stale, id.kind(), &entry)
                        }
                        _ => Err(Error::Upstream(error)),
                    }
                }
                (_, Err(error)) => Err(error),
            },
        }
    }

    /// Returns the entry of a job, if it covers what is needed.
    fn known(
        &self,
        request: &RequestContext,
        key: &Key,
        needed: &Selection,
    ) -> Option<Arc<Entry<CachedEntity>>> {
        let entry = self.cache.get(key, &request.caller.tenant)?;
        let covers =
            matches!(entry.value, CachedEntity::NotFound) || entry.selection.covers(needed);
        covers.then_some(entry)
    }

    /// Gives what is known, and notes where it came from.
    fn answer(
        &self,
        trail: &Trail,
        status: CacheStatus,
        kind: EntityKind,
        entry: &Entry<CachedEntity>,
    ) -> Result<Answer<Arc<Owned>>, Error> {
        let age = match status {
            CacheStatus::Hit | CacheStatus::Stale => entry.lifetime.age(self.clock.now()),
            CacheStatus::Coalesced | CacheStatus::Miss => Duration::ZERO,
        };
        trail.note_cache(status, age);
        match &entry.value {
            CachedEntity::NotFound => Err(Error::NotFound(kind.name())),
            CachedEntity::Owned(job) => {
                // A whole answer made of what is not current is never given again.
                if self.versions.is_current(&entry.version) {
                    let Lifetime { fetched, fresh_until: until, .. } = entry.lifetime;
                    let version = entry.version.clone();
                    trail.note(|notes| notes.freshness.push(Freshness { fetched, until, version }));
                }
                Ok(Answer { value: Arc::clone(job), errors: Vec::new() })
            }
        }
    }

    /// Waits for a fetch that brings what is needed: one that is under way, or a new one.
    async fn ask(
        &self,
        request: &RequestContext,
        trail: &Trail,
        key: &Key,
        needed: &Needed,
        mut seat: Option<Seat>,
    ) -> (Option<CacheStatus>, FetchResult) {
        let terms = self.terms(request, key);
        if !request.fresh
            && let Some(flying) = self.in_flight.join(key, &needed.selection, &terms)
        {
            // What goes up together does not wait for it.
            seat = None;
            if let Some(fetched) = flying.await
                // It began before, so its time may be over and this caller's not.
                && !matches!(&fetched, Err(Error::Upstream(error)) if error.kind() == ErrorKind::DeadlineExceeded)
            {
                return (Some(CacheStatus::Coalesced), fetched);
            }
        }
        let fetched = self.fetch(request, trail, key, needed.clone(), terms, seat).await;
        let panicked = || Err(upstream::Error::not_an_answer("not one that can be handled").into());
        (None, fetched.unwrap_or_else(panicked))
    }

    /// Fetches in the background, unless somebody does already.
    fn refresh(
        &self,
        request: &RequestContext,
        trail: &Trail,
        key: &Key,
        needed: Needed,
        seat: Option<Seat>,
    ) {
        let terms = self.terms(request, key);
        if !self.in_flight.is_flying(key, &needed.selection, &terms) {
            let trail = Trail::unread(trail.field);
            // Somebody has to wait for it.
            tokio::spawn(self.fetch(request, &trail, key, needed, terms, seat));
        }
    }

    /// The terms of a fetch that begins now.
    fn terms(&self, request: &RequestContext, key: &Key) -> Terms {
        Terms { tenant: Arc::clone(&request.caller.tenant), version: self.versions.of(key) }
    }

    /// Tells what errors without a job mean: a missing job, or Move's complaint about one that
    /// exists (a failed job may come so). The complaint is for the owner alone; where the owner was
    /// never seen before, a second call may tell. If it does not, the job is to this tenant what a
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
        if self.is_proven(&caller.tenant, id) {
            return Error::Refused(errors);
        }
        let document = EntityDocument::new(id.kind(), &needs::of_ownership());
        match self.read(request, trail, id, &document).await {
            Err(error) => return error.into(),
            Ok(Reply { value: Some(job), errors: beside, .. }) => {
                return match self.owned(caller, id, job, &beside) {
                    Ok(_) => Error::Refused(errors),
                    Err(error) => error,
                };
            }
            Ok(Reply { errors, .. }) if errors.iter().any(FieldError::is_not_found) => {
                return Error::NotFound(id.kind().name());
            }
            Ok(_) => {}
        }
        let nobodys = EntityId::parse(id.kind(), &format!("{}-{NOBODYS}", id.kind()));
        let Ok(nobody) = nobodys else { return Error::NotFound(id.kind().name()) };
        match self.read(request, trail, &nobody, &document).await {
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
            self.prove(tenant, id);
        }
        self.hold_files(tenant, &owned);
        Ok(owned)
    }

    /// The standing of a file: seen in something of the tenant's, or not.
    pub(super) fn held(&self, tenant: &Tenant, id: &EntityId) -> Held {
        let is_held = id.kind() == EntityKind::File && self.held.contains_key(&proof(tenant, id));
        if is_held { Held::ByOwn } else { Held::ByNobody }
    }

    /// Remembers the files that something of the tenant's holds.
    pub(super) fn hold_files(&self, tenant: &Tenant, owned: &Owned) {
        if owned.claim() != Claim::Own {
            return;
        }
        for id in owned.entity().file_ids() {
            if let Ok(id) = EntityId::parse(EntityKind::File, &id) {
                let proof = proof(tenant, &id);
                if !self.held.contains_key(&proof) {
                    self.held.insert(proof, ());
                }
            }
        }
    }

    /// Returns true if something was seen to be the tenant's.
    pub(super) fn is_proven(&self, tenant: &Tenant, id: &EntityId) -> bool {
        self.proven.contains_key(&proof(tenant, id))
    }

    /// Remembers that something was seen to be the tenant's.
    pub(super) fn prove(&self, tenant: &Tenant, id: &EntityId) {
        let proof = proof(tenant, id);
        if !self.proven.contains_key(&proof) {
            self.proven.insert(proof, ());
        }
    }
}

fn proof(tenant: &Tenant, id: &EntityId) -> Proof {
    (tenant.id.clone(), tenant.account.id.clone(), id.clone())
}

/// Returns true if an error of Move's is about something that is selected.
fn concerns(error: &FieldError, selection: &Selection) -> bool {
    selection.reaches(error.path.iter().filter_map(|segment| match segment {
        PathSegment::Field(name) => Some(name.as_str()),
        PathSegment::Index(_) => None,
    }))
}
