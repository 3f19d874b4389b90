//! Retries: the calls that are made again, their pauses and their budget.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::ErrorKind;
use crate::model::Kind;
use crate::settings;
use crate::settings::forms::{Percent, Whole};

settings! {
    /// Calls that are made again.
    #[derive(Copy)]
    pub struct RetrySettings: Default {
        /// Times that a query which failed is sent again at most; see [reliability](reliability.md).
        max: Whole<u32> = 2,
        /// Retries, in percent of all calls of a tenant.
        budget: Percent = 20,
    }
}

/// The pauses before each further attempt: 50 ms, doubled each time, and as much again by chance,
/// so that callers who failed together do not come back together.
pub fn pauses(settings: RetrySettings) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_max_times(settings.max as usize)
        .with_jitter()
        .build()
}

/// Returns true if a call that failed so may be made again and could succeed then. A mutation only if it
/// was never sent.
#[must_use]
pub const fn is_worthwhile(kind: Kind, error: ErrorKind) -> bool {
    match (kind, error) {
        (_, ErrorKind::Unreachable) => true,
        (Kind::Mutation, _) => false,
        (Kind::Query | Kind::Subscription, error) => matches!(
            error,
            ErrorKind::Interrupted
                | ErrorKind::Timeout
                | ErrorKind::Throttled
                | ErrorKind::Status(502..=504)
        ),
    }
}

/// The unit in which attempts are earned and paid for: hundredths of an attempt.
const ATTEMPT: u32 = 100;

/// The number of attempts that can be saved up; also what there is at first.
const SAVINGS: u32 = 10 * ATTEMPT;

/// The attempts that a tenant has left: without a bound, retries would make an outage worse.
#[derive(Debug)]
pub struct Budget {
    percent: u32,
    saved: AtomicU32,
}

impl Budget {
    /// A budget of so many further attempts for a hundred calls.
    #[must_use]
    pub const fn new(percent: u32) -> Self {
        Self { percent, saved: AtomicU32::new(SAVINGS) }
    }

    /// A call was made for the first time.
    pub fn earn(&self) {
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
            Some((saved + self.percent).min(SAVINGS))
        });
    }

    /// Takes one further attempt out, if there is one.
    #[must_use]
    pub fn spend(&self) -> bool {
        let left = |saved: u32| saved.checked_sub(ATTEMPT);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_allows_its_share_of_calls_and_no_more() {
        let budget = Budget::new(20);
        let mut retried = 0;
        for _ in 0..1_000 {
            budget.earn();
            // Every call fails, and every failure would like to be tried again twice.
            retried += u32::from(budget.spend()) + u32::from(budget.spend());
        }
        assert!((200..=210).contains(&retried), "{retried}");
    }

    #[test]
    fn pauses_double_and_vary_by_chance() {
        let pauses: Vec<_> = pauses(RetrySettings { max: 3, budget: 20 }).collect();
        assert_eq!(pauses.len(), 3);
        for (pause, least) in pauses.iter().zip([50, 100, 200]) {
            let least = Duration::from_millis(least);
            assert!((least..=2 * least).contains(pause), "{pause:?}");
        }
    }
}
