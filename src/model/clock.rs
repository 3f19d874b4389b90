//! The time of day.

use jiff::Timestamp;
use tokio::time::Instant;

/// Tells the time of day: the system's, or one that moves with tokio's clock, so that a test that
/// pauses time pauses expiries too.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Option<(Timestamp, Instant)>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that shows `start` now and moves with tokio's.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self(Some((start, Instant::now())))
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.0 {
            None => Timestamp::now(),
            Some((start, since)) => start.saturating_add(since.elapsed()).unwrap_or(Timestamp::MAX),
        }
    }
}
