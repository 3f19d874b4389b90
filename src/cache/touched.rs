//! The jobs that were written, here or by another replica, or read, for whoever keeps account of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{EntityId, EntityKind, TenantId};

/// The most jobs that are remembered.
const MOST: usize = 1_000;

/// Jobs, and whose they are as far as that was told.
pub type TouchedJobs = BTreeMap<EntityId, Option<TenantId>>;

/// Jobs of which something was told since they were taken last. None are remembered before they were taken once.
#[derive(Debug, Default)]
pub struct Touched(Mutex<Option<TouchedJobs>>);

impl Touched {
    /// A job of this tenant's, or of nobody knows whose, was written, or may have been, or was read.
    pub fn note(&self, id: &EntityId, owner: Option<&TenantId>) {
        if id.kind() == EntityKind::Job
            && let Some(jobs) = &mut *self.jobs()
            && jobs.len() < MOST
        {
            jobs.insert(id.clone(), owner.cloned());
        }
    }

    /// Takes them.
    pub fn take(&self) -> TouchedJobs {
        self.jobs().replace(TouchedJobs::new()).unwrap_or_default()
    }

    fn jobs(&self) -> MutexGuard<'_, Option<TouchedJobs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
