//! One writer of a job at a time: an update reads what is stored, changes it and writes it back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::cache::Key;

/// The jobs that are being written by this process.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<HashMap<Key, Weak<Turn<()>>>>);

impl Writers {
    /// Waits until nobody else here writes the job.
    pub(super) async fn turn(&self, key: &Key) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
                turn
            } else {
                turns.retain(|_, turn| turn.strong_count() > 0);
                let turn = Arc::new(Turn::new(()));
                turns.insert(key.clone(), Arc::downgrade(&turn));
                turn
            }
        };
        turn.lock_owned().await
    }
}
