//! Calls and failures of the last while.

use std::time::Duration;

use tokio::time::Instant;

/// In how many parts a window is counted: it slides by one of them at a time.
const PARTS: u32 = 10;

/// So many calls, and so many of them failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All calls.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
}

impl Counts {
    /// Returns true if at least half of the calls failed: one caller in a hundred who meets an error is
    /// no outage.
    #[must_use]
    pub const fn are_mostly_failed(self) -> bool {
        self.failed.saturating_mul(2) >= self.calls
    }
}

/// A sliding window.
#[derive(Debug)]
pub struct Window {
    began: Instant,
    length: Duration,
    /// The part that is counted into, since `began`.
    part: u32,
    parts: [Counts; PARTS as usize],
}

impl Window {
    /// Makes an empty window.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self { began: Instant::now(), length, part: 0, parts: Default::default() }
    }

    /// Counts a call.
    pub fn count(&mut self, now: Instant, is_failure: bool) {
        self.slide(now);
        let current = &mut self.parts[(self.part % PARTS) as usize];
        current.calls = current.calls.saturating_add(1);
        current.failed = current.failed.saturating_add(u32::from(is_failure));
    }

    /// Returns what the window holds now.
    #[must_use]
    pub fn counts(&mut self, now: Instant) -> Counts {
        self.slide(now);
        self.parts.iter().fold(Counts::default(), |sum, part| Counts {
            calls: sum.calls.saturating_add(part.calls),
            failed: sum.failed.saturating_add(part.failed),
        })
    }

    /// Forgets what is as old as the window.
    fn slide(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_nanos();
        let part = passed / (self.length / PARTS).as_nanos().max(1);
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        for old in (self.part..part).take(PARTS as usize) {
            self.parts[((old + 1) % PARTS) as usize] = Counts::default();
        }
        self.part = part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_window_forgets_what_is_older_than_it() {
        let mut window = Window::new(Duration::from_secs(10));
        for n in 0..20 {
            window.count(Instant::now(), n % 2 == 0);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let counts = window.counts(Instant::now());
        assert!((9..=10).contains(&counts.calls), "{counts:?}");
        assert!(counts.are_mostly_failed() || counts.failed == 4, "{counts:?}");
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(window.counts(Instant::now()), Counts::default());
    }
}
