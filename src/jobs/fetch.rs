//! Fetches: one question to Move for all who ask at once, and what is kept of its answer.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cache::{Entry, Key, Lifetime, Phase, SharedEntry, SharedTier, Stamp, State, Terms};
use crate::index::Filed;
use crate::model::{
    CachePolicy, CacheStatus, Caller, EntityId, EntityKind, Progress, RequestContext, Selection,
    Tenant, Trail, Version,
};
use crate::upstream::{self, Call, Entity, EntityDocument, FieldError, Reply};

use super::needs::Needed;
use super::ownership::{self, Place};
use super::{Error, Jobs, Owned, Seat, pages, rows};

/// The time for which the catalogue stays fresh.
const CATALOGUE_FRESH: Duration = Duration::from_mins(10);

/// The time for which the account stays fresh.
const CLIENT_FRESH: Duration = Duration::from_hours(1);

/// The knowledge of an entity.
#[derive(Debug, Clone)]
pub(super) enum CachedEntity {
    /// The entity as its tenant sees it.
    Owned(Arc<Owned>),
    /// It is missing, foreign or nobody's.
    NotFound,
}

impl CachedEntity {
    fn owned(&self) -> Option<&Owned> {
        match self {
            Self::Owned(owned) => Some(owned),
            Self::NotFound => None,
        }
    }

    /// Approximate size in memory, in bytes.
    fn weight(&self) -> usize {
        self.owned().map_or(0, Owned::weight)
    }
}

/// The result of a fetch.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    /// The knowledge now.
    pub entry: Arc<Entry<CachedEntity>>,
    /// Errors of some of its fields.
    pub errors: Arc<[FieldError]>,
    /// True if Move was asked for it or another replica had been.
    pub status: CacheStatus,
}

/// The end of a fetch.
pub(super) type FetchResult = Result<Fetched, Error>;

impl Jobs {
    /// Starts a fetch of what is needed and of what was known before, so that callers with
    /// different selections do not take turns in replacing each other's entry.
    pub(super) fn fetch(
        &self,
        request: &RequestContext,
        trail: &Trail,
        key: &Key,
        needed: Needed,
        terms: Terms,
        seat: Option<Seat>,
    ) -> impl Future<Output = Option<FetchResult>> + use<> {
        let needed = match self.cache.last_selection(key) {
            Some(last) if !needed.selection.covers(&last) => {
                let both = Selection::clone(&needed.selection).union(&last);
                Needed::new(key.id.kind(), both)
            }
            _ => needed,
        };
        // Others may join, who have more time.
        let deadline = tokio::time::Instant::now() + self.fetch_time;
        let request = RequestContext { deadline, ..request.clone() };
        let (jobs, trail, fetched) = (self.clone(), trail.clone(), key.clone());
        let (selection, version) = (Arc::clone(&needed.selection), terms.version.clone());
        // On the heap: it is moved several times before it runs, and it is large.
        let fetch = Box::pin(async move {
            let end = jobs.fetch_entity(request, trail, &fetched, needed, version, seat).await;
            if let Ok(Fetched { entry, .. }) = &end {
                jobs.tell_listeners(&fetched, &entry.value);
            }
            end
        });
        self.in_flight.start(key, selection, terms, fetch)
    }

    async fn fetch_entity(
        &self,
        request: RequestContext,
        trail: Trail,
        key: &Key,
        needed: Needed,
        version: Version,
        seat: Option<Seat>,
    ) -> FetchResult {
        let tenant = &request.caller.tenant;
        let selection = Arc::clone(&needed.selection);
        let stamp = match &self.shared {
            None => None,
            Some(shared) => {
                let known = self.known_elsewhere(shared, &request, key, &selection, &version);
                match Box::pin(known).await {
                    ControlFlow::Break(fetched) => return Ok(fetched),
                    ControlFlow::Continue(stamp) => stamp,
                }
            }
        };
        let id = &key.id;
        let asked_at = self.clock.now();
        let together = match seat {
            Some(seat) => seat.ask(id, &selection, &trail).await,
            None => None,
        };
        let Reply { value, errors, .. } = match together {
            Some(reply) => reply?,
            None => self.read(&request, &trail, id, &needed.document).await?,
        };
        let as_sent = value
            .as_ref()
            .filter(|_| stamp.is_some())
            .map(|entity| entity.json().root().raw().to_owned());
        self.show_to_index(tenant, id, (asked_at, &version), value.as_ref(), &errors);
        let found = match value {
            Some(entity) => self.owned(&request.caller, id, entity, &errors),
            None => Err(Box::pin(self.refusal(&request, &trail, id, errors.clone())).await),
        };
        let (value, errors) = match found {
            Ok(owned) => (CachedEntity::Owned(Arc::new(owned)), errors),
            Err(Error::NotFound(_)) => (CachedEntity::NotFound, Vec::new()),
            Err(error) => return Err(error),
        };
        let (lifetime, now) =
            (lifetime(&tenant.cache, key.id.kind(), value.owned(), asked_at), self.clock.now());
        // What came with errors is told to those who wait and not remembered.
        let is_kept = errors.is_empty();
        let is_newest = match &self.shared {
            None => true,
            Some(shared) => {
                let known = is_kept.then(|| {
                    let entity = match (&value, as_sent) {
                        (CachedEntity::Owned(_), Some(text)) => Some(text),
                        _ => None,
                    };
                    let (rules, selection) = (rules_of(tenant), Arc::clone(&selection));
                    let stays =
                        Duration::try_from(lifetime.end().duration_since(now)).unwrap_or_default();
                    (SharedEntry { fetched: asked_at, rules, selection, entity }, stays)
                });
                Box::pin(shared.land(key, stamp, known, progress_of(key, &value))).await
            }
        };
        let version = self.versions.land(&version).filter(|_| is_newest).unwrap_or(version);
        let (tenant, weight) = (Arc::clone(tenant), value.weight());
        let entry = Arc::new(Entry { value, selection, tenant, lifetime, version, weight });
        if is_kept {
            self.cache.put(key.clone(), Arc::clone(&entry), now);
        }
        Ok(Fetched { entry, errors: errors.into(), status: CacheStatus::Miss })
    }

    /// Has its index learn of what Move was asked for at a moment: at once if the answer tells its place, else when
    /// whoever keeps the index finds that it is not filed. What the index knew of it before is older.
    fn show_to_index(
        &self,
        tenant: &Tenant,
        id: &EntityId,
        (asked_at, version): (jiff::Timestamp, &Version),
        job: Option<&Entity>,
        errors: &[FieldError],
    ) {
        let kind = id.kind();
        let Some(index) = self.indexes.of(kind).filter(|index| index.is_open()) else { return };
        if !tenant.account.is_shared() {
            return;
        }
        let row = job.and_then(|job| rows::of_one(kind, job, errors, Place::Root, asked_at));
        let row = row.filter(|_| errors.is_empty());
        // If it was written or told since, nobody knows which is newer.
        let has_news = row.as_ref().is_some_and(|row| row.known.is_some());
        let is_newest = has_news && self.versions.is_current(version);
        let seen = is_newest.then(|| asked_at.as_microsecond());
        index.told(id.as_str(), seen, self.clock.now().as_microsecond());
        let Some(job) = job else { return };
        if let Some(row) = row {
            return index.see(pages::fingerprint(&tenant.account), row);
        }
        let owner = match ownership::filed(job, errors, Place::Root) {
            Filed::Of(tenant) => Some(tenant),
            Filed::Nobody | Filed::Unknown | Filed::Unreadable => None,
        };
        self.versions.touched().note(id, owner.as_ref());
    }

    /// Tells those who listen to a job what is known of it now.
    fn tell_listeners(&self, key: &Key, known: &CachedEntity) {
        let hub = self.versions.hub();
        if hub.is_listened() {
            match progress_of(key, known) {
                Some(progress) => hub.seen(key, &progress),
                None => hub.gone(key),
            }
        }
    }

    /// Looks for what another replica fetched. If it does not do, returns the stamp under which what is fetched now
    /// will be known to all.
    async fn known_elsewhere(
        &self,
        shared: &SharedTier,
        request: &RequestContext,
        key: &Key,
        selection: &Selection,
        version: &Version,
    ) -> ControlFlow<Fetched, Option<Stamp>> {
        let (entry, stamp) = shared.get(key).await;
        let entry = entry
            .filter(|entry| !request.fresh && entry.selection.covers(selection))
            .and_then(|entry| self.take_over(&request.caller, key, entry, version));
        match entry {
            Some(entry) if entry.lifetime.phase(self.clock.now()) == Phase::Fresh => {
                let (errors, status) = ([].into(), CacheStatus::Hit);
                ControlFlow::Break(Fetched { entry, errors, status })
            }
            _ => ControlFlow::Continue(stamp),
        }
    }

    /// Takes over what another replica fetched: judged by this replica's policies, as if Move had
    /// sent it. What was judged by other rules is not taken.
    fn take_over(
        &self,
        caller: &Caller,
        key: &Key,
        known: SharedEntry,
        version: &Version,
    ) -> Option<Arc<Entry<CachedEntity>>> {
        let SharedEntry { fetched, rules, selection, entity } = known;
        if rules != rules_of(&caller.tenant) {
            return None;
        }
        let value = match entity {
            None => CachedEntity::NotFound,
            Some(text) => {
                let entity = Entity::parse(&text)?;
                CachedEntity::Owned(Arc::new(self.owned(caller, &key.id, entity, &[]).ok()?))
            }
        };
        let (tenant, weight) = (Arc::clone(&caller.tenant), value.weight());
        let (lifetime, now) =
            (lifetime(&tenant.cache, key.id.kind(), value.owned(), fetched), self.clock.now());
        // What is told now makes older answers void; what is not fresh is asked for first.
        let is_told = lifetime.phase(now) == Phase::Fresh;
        let landed = if is_told { self.versions.land(version) } else { None };
        let version = landed.unwrap_or_else(|| version.clone());
        let entry = Arc::new(Entry { value, selection, tenant, lifetime, version, weight });
        self.cache.put(key.clone(), Arc::clone(&entry), now);
        Some(entry)
    }

    /// Asks Move for one entity.
    pub(super) async fn read(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &EntityId,
        document: &EntityDocument,
    ) -> Result<Reply<Entity>, upstream::Error> {
        self.upstream.call(request, trail, &Call::get(id, document)).await
    }
}

/// Returns the progress of a job; `None` for what is no job, or is not there.
fn progress_of(key: &Key, known: &CachedEntity) -> Option<Progress> {
    match known {
        CachedEntity::Owned(owned) if key.id.kind() == EntityKind::Job => Some(owned.progress()),
        CachedEntity::Owned(_) | CachedEntity::NotFound => None,
    }
}

/// Gives the time for which a policy lets be given what was fetched at a moment.
pub(super) fn lifetime(
    policy: &CachePolicy,
    kind: EntityKind,
    known: Option<&Owned>,
    asked_at: jiff::Timestamp,
) -> Lifetime {
    let Some(owned) = known else {
        // A file becomes the tenant's when what holds it is read.
        let ended = CachePolicy { not_found: Duration::ZERO, ..policy.clone() };
        let policy = if kind == EntityKind::File { &ended } else { policy };
        return Lifetime::of(policy, State::NotFound, std::iter::empty(), asked_at);
    };
    let entity = owned.entity();
    let ends = |state: Option<Cow<'_, str>>| match state.as_deref() {
        Some("FINISHED" | "FAILED") => State::Finished,
        _ => State::Unfinished,
    };
    let of_account = |fresh| {
        let policy = CachePolicy { finished: fresh, ..policy.clone() };
        Lifetime::of(&policy, State::Finished, std::iter::empty(), asked_at)
    };
    let state = match kind {
        EntityKind::Job => ends(entity.state()),
        EntityKind::Volume => ends(entity.progress()),
        EntityKind::Take | EntityKind::File => State::Finished,
        EntityKind::Client => return of_account(CLIENT_FRESH),
        EntityKind::Rigs | EntityKind::CameraSettings => return of_account(CATALOGUE_FRESH),
    };
    Lifetime::of(policy, state, entity.signed_urls().iter().map(|url| &**url), asked_at)
}

/// The rules by which another replica judged what it shares, as far as they decide what was asked and
/// whose it is: the account, and what becomes of jobs and takes that nobody owns.
fn rules_of(tenant: &Tenant) -> [u8; 32] {
    let key = Sha256::digest(tenant.account.api_key.expose());
    Sha256::new()
        .chain_update(format!("{} {}\n", tenant.account.id, tenant.account.url))
        .chain_update(key)
        .chain_update(format!("{:?} {:?}", tenant.metadata.unclaimed_jobs, tenant.unclaimed_takes))
        .finalize()
        .into()
}
