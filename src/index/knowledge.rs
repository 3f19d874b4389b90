//! The knowledge of jobs in an index: what Move said of them, as long as nothing was written since.

use std::collections::HashMap;

use super::KnownJob;

/// The time after which no page is under way any more that began before, in microseconds.
const LONGEST_CALL: i64 = 600_000_000;

/// The jobs that were written a moment ago, each with the moment, in microseconds since 1970: a page that began to be
/// asked for before that tells nothing of them.
#[derive(Debug, Default, Clone)]
pub struct Rewritten(HashMap<String, i64>);

impl Rewritten {
    /// Notes that a job was written before a moment.
    pub fn add(&mut self, id: &str, at: i64) {
        self.0.retain(|_, known| *known >= at.saturating_sub(LONGEST_CALL));
        let known = self.0.entry(id.to_owned()).or_insert(at);
        *known = at.max(*known);
    }

    /// Gives their ids.
    pub fn ids(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Drops what is known of a job if it is older than the job.
    pub fn judge(&self, id: &str, known: Option<KnownJob>) -> Option<KnownJob> {
        known.filter(|known| self.is_good(id, known.seen))
    }

    /// Returns true if a job was not written since it was seen.
    pub fn is_good(&self, id: &str, seen: i64) -> bool {
        self.0.get(id).is_none_or(|written| seen > *written)
    }
}
