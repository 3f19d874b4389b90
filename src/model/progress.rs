//! The progress of a job.

use serde::{Deserialize, Serialize};

/// A job's state and how far it has come, as far as Move told them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The state, as Move writes it.
    pub state: Option<Box<str>>,
    /// The part that is done, from 0 to 100.
    pub percent: Option<i32>,
}

impl Progress {
    /// Returns true if nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_deref(), Some("FINISHED" | "FAILED"))
    }

    /// Returns true if both tell of something, and not the same.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        self.state_differs_from(other) || differ(self.percent.as_ref(), other.percent.as_ref())
    }

    /// Returns true if both tell of a state, and not the same.
    #[must_use]
    pub fn state_differs_from(&self, other: &Self) -> bool {
        differ(self.state.as_ref(), other.state.as_ref())
    }

    /// Returns true if this is certainly an earlier moment of the same job: Move's readers may be behind its writers.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        match (self.rank(), other.rank()) {
            (Some(own), Some(others)) if own != others => own < others,
            _ => self.percent.zip(other.percent).is_some_and(|(own, others)| own < others),
        }
    }

    /// Takes over what the other one tells.
    pub fn update(&mut self, newer: &Self) {
        if newer.state.is_some() {
            self.state.clone_from(&newer.state);
        }
        self.percent = newer.percent.or(self.percent);
    }

    /// The place of the state in a job's life; `None` for one that is not known.
    fn rank(&self) -> Option<u8> {
        match self.state.as_deref()? {
            "NOT_STARTED" => Some(0),
            "STARTED" => Some(1),
            "RUNNING" => Some(2),
            "FINISHED" | "FAILED" => Some(3),
            _ => None,
        }
    }
}

fn differ<T: PartialEq>(own: Option<T>, other: Option<T>) -> bool {
    own.zip(other).is_some_and(|(own, other)| own != other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(state: &str, percent: impl Into<Option<i32>>) -> Progress {
        Progress { state: Some(state.into()), percent: percent.into() }
    }

    #[test]
    fn states_have_an_order_and_within_one_the_percentage_has() {
        let life = [
            progress("NOT_STARTED", 0),
            progress("STARTED", None),
            progress("RUNNING", 10),
            progress("RUNNING", 40),
            progress("FINISHED", 100),
        ];
        for (place, earlier) in life.iter().enumerate() {
            for later in &life[place + 1..] {
                assert!(earlier.is_before(later) && !later.is_before(earlier), "{earlier:?}");
                assert!(earlier.differs_from(later));
            }
            assert!(!earlier.is_before(earlier) && !earlier.differs_from(earlier));
        }
        assert!(!progress("FAILED", None).is_before(&progress("FINISHED", 100)));
        assert!(!progress("PAUSED", 5).is_before(&progress("RUNNING", None)));
    }

    #[test]
    fn what_is_not_told_is_no_difference() {
        let mut seen = progress("RUNNING", 10);
        let untold = Progress { state: None, percent: Some(10) };
        assert!(!untold.differs_from(&seen));
        seen.update(&Progress { state: None, percent: Some(20) });
        assert_eq!(seen, progress("RUNNING", 20));
    }
}
