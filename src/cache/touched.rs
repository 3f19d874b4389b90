//! The jobs that were written, here or by another replica, or read, for whoever keeps account of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{EntityId, EntityKind};

/// The most jobs that are remembered.
const MOST: usize = 1_000;

/// Jobs of which something was told since they were taken last. None are remembered before they were taken once.
#[derive(Debug, Default)]
pub struct Touched(Mutex<Option<BTreeSet<EntityId>>>);

impl Touched {
    /// A job was written, or may have been, or was read.
    pub fn note(&self, id: &EntityId) {
        if id.kind() == EntityKind::Job
            && let Some(jobs) = &mut *self.jobs()
            && jobs.len() < MOST
        {
            jobs.insert(id.clone());
        }
    }

    /// Takes them.
    pub fn take(&self) -> Vec<EntityId> {
        self.jobs().replace(BTreeSet::new()).unwrap_or_default().into_iter().collect()
    }

    fn jobs(&self) -> MutexGuard<'_, Option<BTreeSet<EntityId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
