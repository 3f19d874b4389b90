//! One try of a key at a time in this process, wherever its entry is kept.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Key;

/// The keys whose mutations are being entered or run.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashSet<Key>>>);

/// A key's turn, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    key: Key,
}

impl Turns {
    /// Takes the key's turn, if nobody has it.
    pub fn take(&self, key: &Key) -> Option<Turn> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(key.clone()).then(|| Turn { turns: self.clone(), key: key.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.key);
    }
}
