//! Events in this process's memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{MOST, Place, Put, REMEMBERED, StoreError, name};
use crate::webhooks::notice::Notice;

/// This process's memory.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    events: BTreeMap<u64, Vec<u8>>,
    seen: HashMap<String, Timestamp>,
    /// Those that were seen, oldest first.
    ages: VecDeque<String>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, notice: &Notice, now: Timestamp) -> Result<Put, StoreError> {
        let mut state = self.state();
        let state = &mut *state;
        while let Some(oldest) = state.ages.front() {
            let is_over = state.seen.get(oldest).is_none_or(|at| now >= *at + REMEMBERED);
            if !is_over && (state.ages.len() as u64) < MOST {
                break;
            }
            state.seen.remove(oldest);
            state.ages.pop_front();
        }
        let name = name(notice);
        if state.seen.contains_key(&name) {
            return Ok(Put::Seen);
        }
        if state.events.len() as u64 >= MOST {
            return Err(StoreError);
        }
        state.ages.push_back(name.clone());
        state.seen.insert(name, now);
        state.events.insert(state.next, notice.to_stored());
        state.next += 1;
        Ok(Put::New)
    }

    pub(super) fn next(&self, most: usize, skip: &BTreeSet<Place>) -> Vec<(Place, Vec<u8>)> {
        let state = self.state();
        let events = state.events.iter().map(|(number, text)| (Place::Number(*number), text));
        let free = events.filter(|(place, _)| !skip.contains(place));
        free.take(most).map(|(place, text)| (place, text.clone())).collect()
    }

    pub(super) fn remove(&self, number: u64) {
        self.state().events.remove(&number);
    }

    pub(super) fn waiting(&self) -> u64 {
        self.state().events.len() as u64
    }
}
