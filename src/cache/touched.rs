//! The jobs, takes and volumes that were written, here or by another replica, or read, for whoever keeps account of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{EntityId, EntityKind, TenantId};

/// The most that are remembered.
const MOST: usize = 1_000;

/// Ids, and whose they are as far as that was told.
pub type TouchedJobs = BTreeMap<EntityId, Option<TenantId>>;

/// Those of which something was told since they were taken last. None are remembered before they were taken once.
#[derive(Debug, Default)]
pub struct Touched(Mutex<Option<TouchedJobs>>);

impl Touched {
    /// Something of this tenant's, or of nobody knows whose, was written, or may have been, or was read.
    pub fn note(&self, id: &EntityId, owner: Option<&TenantId>) {
        if id.kind().lister().is_some()
            && let Some(jobs) = &mut *self.jobs()
            && jobs.len() < MOST
        {
            jobs.insert(id.clone(), owner.cloned());
        }
    }

    /// Takes those of a kind.
    pub fn take(&self, kind: EntityKind) -> TouchedJobs {
        let mut all = self.jobs();
        let is_other = |id: &EntityId| id.kind() != kind;
        let (others, taken) =
            all.take().unwrap_or_default().into_iter().partition(|(id, _)| is_other(id));
        *all = Some(others);
        taken
    }

    fn jobs(&self) -> MutexGuard<'_, Option<TouchedJobs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
