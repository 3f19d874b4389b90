//! News of jobs that pages of Move's bring to those who follow all of a tenant's: of jobs that were made past this
//! gateway, and of those that have come further than anybody had asked for.

use futures_util::future::join_all;

use super::newest::{NEWEST, NotJoined, Reader};
use super::ownership::{self, Place, may_read_unclaimed};
use super::{Jobs, Owned, list, needs, pages, rows};
use crate::cache::Key;
use crate::index::Filed;
use crate::model::{Account, EntityId, EntityKind, Progress, Tenant, TenantId};
use crate::types::SortDirection;
use crate::upstream::{Call, EntityPage, ErrorKind, FieldError, Listing, Reply};

/// The age of a job, in microseconds, from which on it is not new, whoever never heard of it: as long as a change is
/// remembered.
const OLD: i64 = 24 * 3_600 * 1_000_000;

/// A job as a page shows it.
struct Shown {
    key: Key,
    progress: Progress,
    /// The moment of its creation, in microseconds since 1970.
    created: Option<i64>,
}

impl Jobs {
    /// Reads the newest jobs of an account, for those who follow all of a tenant's. If Move does not answer, it is asked
    /// again at the next time.
    pub async fn look_at_newest(&self, account: &Account) {
        let fingerprint = pages::fingerprint(account);
        let index = self.indexes.of(EntityKind::Job);
        if let Some(index) = index.filter(|index| index.complete_to(fingerprint).is_some()) {
            match self.join_newest(index, fingerprint, Reader::Keeper(account)).await {
                Err(NotJoined::Upstream(error)) if is_too_large(error.kind()) => {}
                _ => return,
            }
        }
        let mut size = NEWEST;
        loop {
            let order = Some(SortDirection::Desc);
            let listing = Listing { first: size, after: None, sort_direction: order, take: None };
            let lister = EntityKind::Job.lister().unwrap_or_default();
            let call = Call::list(lister, &listing, needs::of_index(EntityKind::Job));
            match self.ask_in_background::<EntityPage>(account, &call).await {
                Ok(Reply { value: Some(page), errors, .. }) => {
                    return self.notice_page(account, &page, &errors).await;
                }
                Err(error) if is_too_large(error.kind()) && size > 1 => size = list::smaller(size),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Takes note of the jobs on a page of an account's.
    pub(super) async fn notice_page(
        &self,
        account: &Account,
        page: &EntityPage,
        errors: &[FieldError],
    ) {
        let hub = self.versions.hub();
        if !hub.is_listened() {
            return;
        }
        let followed = hub.followed().into_iter().map(|followed| followed.tenant);
        let tenants: Vec<_> = followed.filter(|own| own.account.id == account.id).collect();
        let mut shown = Vec::new();
        for (index, job) in page.items().into_iter().flatten().enumerate() {
            let Some(job) = job else { continue };
            let Some(id) = job.id().and_then(|id| EntityId::job(&id).ok()) else { continue };
            let filed = ownership::filed(&job, errors, Place::Item(index));
            for tenant in tenants.iter().filter(|tenant| is_theirs(tenant, &filed)) {
                let key = Key::new(tenant.id.clone(), id.clone());
                shown.push(Shown {
                    key,
                    progress: job.job_progress(),
                    created: rows::created(&job),
                });
            }
        }
        self.notice(&shown).await;
    }

    /// Takes note of jobs of a tenant's that a listing shows.
    pub(super) async fn notice_listed(&self, tenant: &TenantId, jobs: &[Owned]) {
        if !self.versions.hub().is_listened() {
            return;
        }
        let shown = jobs.iter().filter_map(|job| {
            let id = EntityId::job(&job.entity().id()?).ok()?;
            let key = Key::new(tenant.clone(), id);
            Some(Shown { key, progress: job.progress(), created: rows::created(job.entity()) })
        });
        self.notice(&shown.collect::<Vec<_>>()).await;
    }

    /// Forgets what is known of jobs of which something newer is shown, and tells those who follow them.
    async fn notice(&self, shown: &[Shown]) {
        let mut news = Vec::new();
        let young = self.clock.now().as_microsecond().saturating_sub(OLD);
        for Shown { key, progress, created } in shown {
            let created = created.filter(|created| *created > young);
            if progress.state.is_some() && self.versions.hub().listed(key, progress, created) {
                self.versions.forget_seen(key, progress);
                news.push(key);
            }
        }
        if let Some(shared) = &self.shared {
            join_all(news.iter().map(|key| shared.forget(&key.tenant, Some(&key.id)))).await;
        }
    }
}

/// Returns true if a job that is filed like this, in a tenant's account, is the tenant's to see.
fn is_theirs(tenant: &Tenant, filed: &Filed) -> bool {
    match filed {
        Filed::Of(owner) => *owner == tenant.id,
        Filed::Nobody => !tenant.account.is_shared() || may_read_unclaimed(tenant, EntityKind::Job),
        Filed::Unknown | Filed::Unreadable => false,
    }
}

const fn is_too_large(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TooLarge(_))
}
