//! Reads of one thing: `getJob` and its like, `client`, and the catalogue.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Entry, Key, Lifetime, Phase, Terms};
use crate::model::{
    CacheStatus, EntityId, EntityKind, Freshness, RequestContext, Selection, Trail,
};
use crate::upstream::{self, ErrorKind, FieldError, PathSegment};

use super::fetch::{CachedEntity, FetchResult, Fetched};
use super::needs::{self, Needed};
use super::{Answer, Error, Jobs, Owned, Seat, Wanted};

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
        let key = Key::new(request.caller.tenant.id.clone(), id.clone());
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

    /// Returns the entry of an entity, if it covers what is needed.
    pub(super) fn known(
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
            CachedEntity::Owned(owned) => {
                // A whole answer made of what is not current is never given again.
                if self.versions.is_current(&entry.version) {
                    let Lifetime { fetched, fresh_until: until, .. } = entry.lifetime;
                    let version = entry.version.clone();
                    trail.note(|notes| notes.freshness.push(Freshness { fetched, until, version }));
                }
                Ok(Answer { value: Arc::clone(owned), errors: Vec::new() })
            }
        }
    }

    /// Waits for a fetch that brings what is needed: one that is under way, or a new one.
    pub(super) async fn ask(
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
    pub(super) fn terms(&self, request: &RequestContext, key: &Key) -> Terms {
        Terms { tenant: Arc::clone(&request.caller.tenant), version: self.versions.of(key) }
    }
}

/// Returns true if an error of Move's is about something that is selected.
pub(super) fn concerns(error: &FieldError, selection: &Selection) -> bool {
    selection.reaches(error.path.iter().filter_map(|segment| match segment {
        PathSegment::Field(name) => Some(name.as_str()),
        PathSegment::Index(_) => None,
    }))
}
