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
    /// The time in which one unit comes back.
    interval: Nanos,
    /// The time in which all of them do.
    capacity: Nanos,
    /// The moment at which it is full again, since `made`: the theoretical arrival time.
    full_at: Mutex<Nanos>,
}

/// A time in nanoseconds: no product of an interval and a burst is too long for it.
type Nanos = u128;

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
        let interval = rate.interval().as_nanos();
        Self {
            name: name.into(),
            scope,
            rate,
            policy: format!("\"{name}\";q={};w={window}", rate.burst).into(),
            made: Instant::now(),
            interval,
            capacity: interval * Nanos::from(rate.burst.get()),
            full_at: Mutex::default(),
        }
    }

    /// Takes units out of each of these buckets, or none out of any.
    ///
    /// # Errors
    /// When they are not in the first of those that lack them, or never can be in one.
    pub fn take_all(
        buckets: &[(Arc<Self>, NonZeroU32)],
    ) -> Result<Vec<(Arc<Self>, Remaining)>, LimitError> {
        if let Some((bucket, units)) = buckets.iter().find(|(own, units)| *units > own.rate.burst) {
            return Err(bucket.never_enough(units.get()));
        }
        let mut levels = Vec::with_capacity(buckets.len());
        for (at, (bucket, units)) in buckets.iter().enumerate() {
            match bucket.take(*units) {
                Ok(level) => levels.push((Arc::clone(bucket), level)),
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
        let now = self.made.elapsed().as_nanos();
        let mut full_at = self.full_at();
        let before = full_at.saturating_sub(now);
        let after = before + self.cost(units);
        if after <= self.capacity {
            *full_at = now + after;
            Ok(self.remaining(after))
        } else {
            Err(self.refusal(duration(after - self.capacity), self.remaining(before)))
        }
    }

    /// Undoes a [`take`](Self::take).
    fn give_back(&self, units: NonZeroU32) {
        let mut full_at = self.full_at();
        *full_at = full_at.saturating_sub(self.cost(units));
    }

    /// Takes more units out of it, also such as are not in it yet, or gives some back.
    pub(super) fn settle(&self, units: i64) -> Remaining {
        let now = self.made.elapsed().as_nanos();
        let mut full_at = self.full_at();
        let time = self.interval * Nanos::from(units.unsigned_abs());
        let before = full_at.saturating_sub(now);
        let after = if units < 0 { before.saturating_sub(time) } else { before + time };
        *full_at = now + after;
        self.remaining(after)
    }

    fn cost(&self, units: NonZeroU32) -> Nanos {
        self.interval * Nanos::from(units.get())
    }

    fn full_at(&self) -> MutexGuard<'_, Nanos> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a caller reads when the bucket has not enough.
    pub(super) fn refusal(&self, wait: Duration, level: Remaining) -> LimitError {
        let name = self.name.clone();
        let (rate, policy) = (self.rate.in_units().into(), self.policy.clone());
        LimitError::Rate { name, rate, wait, level, policy }
    }

    pub(super) fn never_enough(&self, cost: u32) -> LimitError {
        LimitError::NeverEnough { name: self.name.clone(), cost, burst: self.rate.burst.get() }
    }

    /// Returns the level of a bucket that is full in so long.
    pub(super) fn level(&self, reset_after: Duration) -> Remaining {
        self.remaining(reset_after.as_nanos())
    }

    fn remaining(&self, reset_after: Nanos) -> Remaining {
        let used = u32::try_from(reset_after.div_ceil(self.interval.max(1))).unwrap_or(u32::MAX);
        let remaining = self.rate.burst.get().saturating_sub(used);
        Remaining { remaining, reset_after: duration(reset_after) }
    }
}

fn duration(time: Nanos) -> Duration {
    u64::try_from(time).map_or(Duration::MAX, Duration::from_nanos)
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
        let all = Bucket::take_all(&[(Arc::clone(bucket), count(units))]);
        all.map(|levels| levels[0].1)
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
        assert_eq!(
            refused.to_string(),
            "The limit of queries (2 units/s) is used up. Come back in 1 s."
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(take(&bucket, 3).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_takes_centuries_to_fill_is_no_endless_one() {
        let bucket = bucket("queries", rate(1, 3_600, u32::MAX));
        assert!(take(&bucket, u32::MAX - 1).is_ok());
        assert_eq!(take(&bucket, 1).map(|level| level.remaining), Ok(0));
        assert!(matches!(take(&bucket, 1), Err(LimitError::Rate { .. })));
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
