//! The progress of the walk through an account that fills an index.

use serde::{Deserialize, Serialize};

/// The state of the walk, which lies in the file beside the rows and changes together with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkProgress {
    /// The id of the client whose jobs these are, as Move has it.
    pub client: Option<String>,
    /// Move's cursor of the page to read next; the first, if it is `None`.
    pub next: Option<String>,
    /// The creation of the last job that the walk has read, in microseconds since 1970; `None` at its beginning.
    pub read_to: Option<i64>,
    /// Move's cursor of the last page of the last walk.
    pub tail: Option<String>,
    /// The moment up to which every job that was created is in the index, in microseconds since 1970; `None` until a
    /// walk has come to the end.
    pub complete_to: Option<i64>,
}

/// A page that the walk has read.
#[derive(Debug, Clone)]
pub struct WalkStep {
    /// Move's cursor that it was read by.
    pub from: Option<String>,
    /// Move's cursor of the next one; `None` if it is the last.
    pub next: Option<String>,
    /// The creation of the last job on it.
    pub read_to: Option<i64>,
}

impl WalkProgress {
    /// Takes a step that was made by a moment, unless the walk was sent elsewhere meanwhile. Returns true if that is
    /// its end.
    pub(super) fn take(&mut self, step: WalkStep, now: i64) -> bool {
        let WalkStep { from, next, read_to } = step;
        if self.next != from {
            return false;
        }
        let read_to = read_to.or(self.read_to);
        let is_end = next.is_none();
        if is_end {
            // The account may have no job at all. A job of the future would hide that others are missing before it.
            let end = read_to.unwrap_or(i64::MIN).min(now);
            self.complete_to = Some(self.complete_to.map_or(end, |known| known.max(end)));
            (self.tail, self.next, self.read_to) = (from, None, None);
        } else {
            (self.next, self.read_to) = (next, read_to);
        }
        is_end
    }

    /// Jobs are missing at the end: the walk goes on from where the last one ended.
    pub(super) fn fall_behind(&mut self) {
        self.complete_to = None;
        self.next.clone_from(&self.tail);
        self.read_to = None;
    }

    /// The walk begins anew; what is complete stays so.
    pub(super) fn begin_again(&mut self) {
        (self.next, self.tail, self.read_to) = (None, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(from: Option<&str>, next: Option<&str>, read_to: i64) -> WalkStep {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        WalkStep { from: owned(from), next: owned(next), read_to: Some(read_to) }
    }

    #[test]
    fn nothing_is_complete_before_the_walk_is_at_its_end_and_a_gap_sends_it_to_its_last_page() {
        let mut progress = WalkProgress::default();
        progress.take(step(None, Some("b"), 10), 25);
        assert_eq!(progress.complete_to, None);
        progress.take(step(None, Some("c"), 10), 25);
        assert_eq!(progress.next.as_deref(), Some("b"), "a step from elsewhere is none");
        progress.take(step(Some("b"), None, 20), 25);
        assert_eq!(progress.complete_to, Some(20));
        progress.fall_behind();
        assert_eq!((progress.complete_to, progress.next.as_deref()), (None, Some("b")));
        progress.take(step(None, Some("x"), 5), 25);
        assert_eq!(progress.next.as_deref(), Some("b"), "nor is one that was under way");
        progress.take(step(Some("b"), None, 30), 25);
        assert_eq!(progress.complete_to, Some(25), "no later than now");
    }
}
