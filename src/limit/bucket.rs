//! One rate with a burst.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{LimitError, seconds};
use crate::model::Rate;

/// Whose units a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketScope {
    /// A tenant's, for all its credentials together.
    Tenant,
    /// One credential's.
    Credential,
}

/// A bucket: GCRA (ITU-T I.371, annex A) with a rate, and units that may be spent at once.
#[derive(Debug)]
pub struct Bucket {
    /// The name of what it limits, as callers read it.
    pub name: Box<str>,
    /// Whose it is.
    pub scope: BucketScope,
    /// The rate at which it fills, and its size.
    pub rate: Rate,
    /// Its item of the `RateLimit-Policy` field
    /// (draft-ietf-httpapi-ratelimit-headers-10, section 2).
    pub policy: Box<str>,
    made: Instant,
    /// The moment at which it is full again, since `made`: the theoretical arrival time.
    full_at: Mutex<Duration>,
}

/// The content of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// Units that may be spent at once now.
    pub remaining: u32,
    /// The time until it is full.
    pub reset_after: Duration,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(name: &str, scope: BucketScope, rate: Rate) -> Self {
        let window = seconds(rate.interval() * rate.burst.get());
        Self {
            name: name.into(),
            scope,
            rate,
            policy: format!("\"{name}\";q={};w={window}", rate.burst).into(),
            made: Instant::now(),
            full_at: Mutex::default(),
        }
    }

    /// Takes units out of each of these buckets, or none out of any.
    ///
    /// # Errors
    /// When they are not in the first of those that lack them, or never can be in one.
    pub fn take_all(buckets: &[(Arc<Self>, NonZeroU32)]) -> Result<Vec<Remaining>, LimitError> {
        if let Some((bucket, units)) = buckets.iter().find(|(own, units)| *units > own.rate.burst) {
            return Err(bucket.never_enough(units.get()));
        }
        let mut levels = Vec::with_capacity(buckets.len());
        for (at, (bucket, units)) in buckets.iter().enumerate() {
            match bucket.take(*units) {
                Ok(level) => levels.push(level),
                Err(refused) => {
                    buckets[..at].iter().for_each(|(taken, units)| taken.give_back(*units));
                    return Err(refused);
                }
            }
        }
        Ok(levels)
    }

    /// Takes units out of it, if they are in it.
    fn take(&self, units: NonZeroU32) -> Result<Remaining, LimitError> {
        let now = self.made.elapsed();
        let mut full_at = self.full_at();
        let reset_after = full_at.saturating_sub(now);
        let after = reset_after + self.rate.interval() * units.get();
        let wait = after.saturating_sub(self.rate.interval() * self.rate.burst.get());
        if wait.is_zero() {
            *full_at = now + after;
            Ok(self.level(after))
        } else {
            Err(self.refusal(wait, self.level(reset_after)))
        }
    }

    /// Undoes a [`take`](Self::take).
    fn give_back(&self, units: NonZeroU32) {
        let mut full_at = self.full_at();
        *full_at = full_at.saturating_sub(self.rate.interval() * units.get());
    }

    fn full_at(&self) -> MutexGuard<'_, Duration> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a caller reads when the bucket has not enough.
    pub(super) fn refusal(&self, wait: Duration, level: Remaining) -> LimitError {
        let name = self.name.clone();
        let (rate, policy) = (self.rate.to_string().into(), self.policy.clone());
        LimitError::Rate { name, rate, wait, level, policy }
    }

    pub(super) fn never_enough(&self, cost: u32) -> LimitError {
        LimitError::NeverEnough { name: self.name.clone(), cost, burst: self.rate.burst.get() }
    }

    /// Returns the level of a bucket that is full in so long.
    pub(super) fn level(&self, reset_after: Duration) -> Remaining {
        let used = reset_after.as_nanos().div_ceil(self.rate.interval().as_nanos().max(1));
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        Remaining { remaining: self.rate.burst.get().saturating_sub(used), reset_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// GCRA as its definition has it (ITU-T I.371, annex A), in nanoseconds.
    struct Reference {
        interval: u128,
        burst: u128,
        arrival: u128,
    }

    impl Reference {
        fn take(&mut self, now: u128, units: u128) -> bool {
            let arrival = self.arrival.max(now) + units * self.interval;
            let fits = arrival <= now + self.burst * self.interval;
            if fits {
                self.arrival = arrival;
            }
            fits
        }
    }

    fn rate(units: u32, seconds: u64, burst: u32) -> Rate {
        let [units, burst] = [units, burst].map(count);
        Rate { units, per: Duration::from_secs(seconds), burst }
    }

    fn count(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not zero")
    }

    fn bucket(name: &str, rate: Rate) -> Arc<Bucket> {
        Arc::new(Bucket::new(name, BucketScope::Tenant, rate))
    }

    fn take(bucket: &Arc<Bucket>, units: u32) -> Result<Remaining, LimitError> {
        Bucket::take_all(&[(Arc::clone(bucket), count(units))]).map(|levels| levels[0])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_bucket_admits_what_the_definition_admits(
            units in 1_u32..1_000, per in 1_u64..100, burst in 1_u32..500,
            asks in proptest::collection::vec((0_u64..3_000, 1_u32..40), 1..100),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true)
                .enable_time().build().expect("a runtime");
            runtime.block_on(async {
                let rate = rate(units, per, burst);
                let bucket = bucket("queries", rate);
                let (began, interval) = (Instant::now(), rate.interval().as_nanos());
                let mut reference = Reference { interval, burst: burst.into(), arrival: 0 };
                for (pause, cost) in asks {
                    tokio::time::advance(Duration::from_millis(pause)).await;
                    let now = began.elapsed().as_nanos();
                    match take(&bucket, cost) {
                        Ok(level) => {
                            prop_assert!(reference.take(now, cost.into()));
                            prop_assert!(level.remaining <= burst - cost);
                        }
                        Err(LimitError::NeverEnough { .. }) => prop_assert!(cost > burst),
                        Err(refused) => {
                            prop_assert!(!reference.take(now, cost.into()));
                            // It is admitted when the wait is over, and no earlier.
                            let wait = refused.wait().expect("a wait");
                            let then = now + wait.as_nanos();
                            let room = reference.arrival.max(then) + u128::from(cost) * interval;
                            prop_assert!(room <= then + u128::from(burst) * interval + 1);
                        }
                    }
                }
                Ok(())
            })?;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_says_what_is_left_and_when_to_come_back() {
        let bucket = bucket("queries", rate(2, 1, 4));
        assert_eq!(&*bucket.policy, "\"queries\";q=4;w=2");
        let reset_after = Duration::from_millis(1500);
        assert_eq!(take(&bucket, 3), Ok(Remaining { remaining: 1, reset_after }));
        let refused = take(&bucket, 3).expect_err("used up");
        assert_eq!(refused.wait(), Some(Duration::from_secs(1)));
        assert_eq!(refused.to_string(), "The limit of queries (2/s) is used up. Come back in 1 s.");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(take(&bucket, 3).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_one_bucket_refuses_takes_nothing_from_the_others() {
        let [wide, narrow] = [100, 1].map(|burst| bucket("queries", rate(1, 60, burst)));
        let both = [(Arc::clone(&wide), count(10)), (Arc::clone(&narrow), count(1))];
        assert!(Bucket::take_all(&both).is_ok());
        for _ in 0..100 {
            assert!(matches!(Bucket::take_all(&both), Err(LimitError::Rate { .. })));
        }
        assert_eq!(take(&wide, 1).map(|level| level.remaining), Ok(89));
        let too_much = [(Arc::clone(&wide), count(10)), (narrow, count(2))];
        assert!(matches!(Bucket::take_all(&too_much), Err(LimitError::NeverEnough { .. })));
        assert_eq!(take(&wide, 1).map(|level| level.remaining), Ok(88));
    }
}
