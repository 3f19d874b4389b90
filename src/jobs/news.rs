//! News of something: Move is asked anew, for the tenant whose it is.

use tokio::time::Instant;

use super::envelope::{self, Metadata};
use super::fetch::{CachedEntity, Fetched};
use super::needs::{self, Needed};
use super::{Error, Jobs, ListArguments, Wanted};
use crate::cache::{FeedListener, Key, Need};
use crate::model::{
    Account, Caller, EntityId, EntityKind, Progress, RequestContext, Selection, TenantId, Trail,
};
use crate::upstream::{self, Call, Entity, EntityDocument, FieldError, Reply};

/// Whose something is, as far as its metadata tells without asking a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The record names this tenant.
    Tenant(TenantId),
    /// There is no record.
    Nobody,
    /// Nobody can tell.
    Unknown,
    /// There is no such thing.
    Missing,
}

impl Jobs {
    /// Asks Move for something of the tenant's, whatever is cached. All that is known of it, on every replica, is
    /// what Move answers now: what was known before is void. Returns its progress; `None` if it is missing, another
    /// tenant's or nobody's.
    ///
    /// # Errors
    /// When Move does not answer, or does not tell whose it is.
    pub async fn renew(
        &self,
        request: &RequestContext,
        trail: &Trail,
        id: &EntityId,
    ) -> Result<Option<Progress>, Error> {
        trail.note(|notes| notes.entity = Some(id.clone()));
        let key = Key::new(request.caller.tenant.id.clone(), id.clone());
        self.versions.hub().expect(&key);
        if let Some(shared) = self.shared.as_ref().filter(|_| id.kind() == EntityKind::Job) {
            shared.know(&key.tenant, &[(key.id.clone(), Progress::default())]).await;
        }
        let needed = Needed::new(id.kind(), of_state(id.kind()));
        let terms = self.terms(request, &key);
        let fetched = self.fetch(request, trail, &key, needed, terms, None).await;
        let fetched = fetched.ok_or_else(|| upstream::Error::not_an_answer("not one to handle"))?;
        let entry = match fetched {
            Ok(Fetched { entry, .. }) => entry,
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(match &entry.value {
            CachedEntity::NotFound => None,
            CachedEntity::Owned(owned) => Some(progress_of(id.kind(), owned.entity())),
        })
    }

    /// Reads the tenant's newest jobs, so that whoever follows them knows what there is, and returns how far each has come.
    /// Of a take that the tenant may not use there are none, as of a missing one.
    ///
    /// # Errors
    /// When Move does not answer.
    pub async fn survey(
        &self,
        request: &RequestContext,
        trail: &Trail,
        take: Option<&EntityId>,
    ) -> Result<Vec<(EntityId, Progress)>, Error> {
        let arguments =
            ListArguments { first: Some(100), take: take.cloned(), ..ListArguments::default() };
        let wanted = Wanted::of(EntityKind::Job, needs::of_row(EntityKind::Job));
        let page = self.list(request, trail, EntityKind::Job, arguments, Some(&wanted)).await?;
        if let Some(shared) = &self.shared {
            let tenant = &request.caller.tenant.id;
            shared.know(tenant, &self.versions.hub().unfinished(tenant)).await;
        }
        let jobs = page
            .value
            .items
            .iter()
            .filter_map(|job| Some((EntityId::job(&job.entity().id()?).ok()?, job.progress())));
        Ok(jobs.collect())
    }

    /// Listens to all jobs of a caller's tenant: from where a cursor of any replica says, else from now on.
    pub async fn follow(&self, caller: Caller, need: Need, after: Option<&str>) -> FeedListener {
        let (hub, tenant) = (self.versions.hub(), caller.tenant.id.clone());
        // Move may write no more than the second in which a job was created.
        let now = self.clock.now().as_second().saturating_mul(1_000_000);
        let Some(shared) = &self.shared else { return hub.follow(caller, need, after, None, now) };
        // Before it listens, so that it hears whatever comes behind the end of now.
        let opened = shared.open_feed(&tenant, now).await;
        let mut listener = hub.follow(caller, need, after, opened.as_ref(), now);
        let place = after.and_then(|cursor| listener.place_elsewhere(cursor));
        // And this afterwards, so that nothing lies between it and what is heard.
        if let Some(place) = place.filter(|_| opened.is_some())
            && let Some(changes) = shared.changes_behind(&tenant, place).await
        {
            listener.go_on_with(changes);
        }
        listener
    }

    /// Asks an account whose something is. Whoever is told must ask for it as that tenant.
    ///
    /// # Errors
    /// When Move does not answer.
    pub async fn whose(&self, account: &Account, id: &EntityId) -> Result<Whose, Error> {
        let document = EntityDocument::new(id.kind(), &needs::of_ownership());
        let (call, deadline) = (Call::get(id, &document), Instant::now() + self.fetch_time);
        let Reply { value, errors, .. } =
            self.upstream.ask::<Entity>(account, &call, deadline).await?;
        let Some(entity) = value else {
            let is_missing = errors.iter().any(FieldError::is_not_found);
            return Ok(if is_missing { Whose::Missing } else { Whose::Unknown });
        };
        if entity.id().as_deref() != Some(id.as_str()) {
            return Ok(Whose::Unknown);
        }
        let stored = entity.metadata();
        Ok(match envelope::read(stored.as_deref()) {
            Metadata::Envelope(envelope) => Whose::Tenant(envelope.owner().clone()),
            Metadata::Unmanaged if errors.is_empty() => Whose::Nobody,
            Metadata::Unmanaged | Metadata::Malformed => Whose::Unknown,
        })
    }
}

/// The fields that tell a state and an owner.
fn of_state(kind: EntityKind) -> Selection {
    let mut needed = needs::of_ownership();
    match kind {
        EntityKind::Volume => needed.field("progress").field("state"),
        _ => needed.field("state"),
    };
    needed
}

/// The progress of what Move works on: jobs and volumes.
fn progress_of(kind: EntityKind, entity: &Entity) -> Progress {
    match kind {
        EntityKind::Volume => {
            Progress { state: entity.progress().map(|state| (*state).into()), percent: None }
        }
        _ => entity.job_progress(),
    }
}
