//! One rate with a burst.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::{Refused, seconds};
use crate::model::Rate;

/// A bucket: GCRA with a rate, and units that may be spent at once.
#[derive(Debug)]
pub struct Bucket {
    /// What it limits, as callers read it.
    pub name: Box<str>,
    /// How fast it fills and how much it holds.
    pub rate: Rate,
    /// Its item of the `RateLimit-Policy` field
    /// (draft-ietf-httpapi-ratelimit-headers-10, section 2).
    pub policy: Box<str>,
    state: RateLimiter<NotKeyed, InMemoryState, TokioClock, StateInformationMiddleware>,
}

/// What is in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Units that may be spent at once now.
    pub remaining: u32,
    /// How long until it is full.
    pub full_in: Duration,
}

/// tokio's clock, so that a test that pauses time pauses limits.
#[derive(Debug, Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(name: &str, rate: Rate) -> Self {
        let quota = Quota::with_period(rate.interval())
            .unwrap_or_else(|| Quota::per_second(rate.units))
            .allow_burst(rate.burst);
        let window = seconds(rate.interval() * rate.burst.get());
        Self {
            name: name.into(),
            rate,
            policy: format!("\"{name}\";q={};w={window}", rate.burst).into(),
            state: RateLimiter::direct_with_clock(quota, TokioClock(Instant::now()))
                .with_middleware(),
        }
    }

    /// Takes units out of it, if they are in it.
    ///
    /// # Errors
    /// When they are not, or never can be.
    pub fn take(&self, units: NonZeroU32) -> Result<Level, Refused> {
        match self.state.check_n(units) {
            Ok(Ok(snapshot)) => Ok(self.level(snapshot.remaining_burst_capacity())),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(TokioClock::now(self.state.clock()));
                Err(self.refusal(wait, self.level(0)))
            }
            Err(_) => Err(self.never_enough(units.get())),
        }
    }

    /// What a caller reads when the bucket has not enough.
    pub(super) fn refusal(&self, wait: Duration, level: Level) -> Refused {
        let name = self.name.clone();
        let (rate, policy) = (self.rate.to_string().into(), self.policy.clone());
        Refused::Rate { name, rate, wait, level, policy }
    }

    pub(super) fn never_enough(&self, cost: u32) -> Refused {
        Refused::NeverEnough { name: self.name.clone(), cost, burst: self.rate.burst.get() }
    }

    fn level(&self, remaining: u32) -> Level {
        let missing = self.rate.burst.get().saturating_sub(remaining);
        Level { remaining, full_in: self.rate.interval() * missing }
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
        let [units, burst] = [units, burst].map(|n| NonZeroU32::new(n).expect("not zero"));
        Rate { units, per: Duration::from_secs(seconds), burst }
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
                let bucket = Bucket::new("queries", rate);
                let (began, interval) = (Instant::now(), rate.interval().as_nanos());
                let mut reference = Reference { interval, burst: burst.into(), arrival: 0 };
                for (pause, cost) in asks {
                    tokio::time::advance(Duration::from_millis(pause)).await;
                    let units = NonZeroU32::new(cost).expect("not zero");
                    let now = began.elapsed().as_nanos();
                    match bucket.take(units) {
                        Ok(level) => {
                            prop_assert!(reference.take(now, cost.into()));
                            prop_assert!(level.remaining <= burst - cost);
                        }
                        Err(Refused::NeverEnough { .. }) => prop_assert!(cost > burst),
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
        let bucket = Bucket::new("queries", rate(2, 1, 4));
        assert_eq!(&*bucket.policy, "\"queries\";q=4;w=2");
        let three = NonZeroU32::new(3).expect("not zero");
        assert_eq!(
            bucket.take(three),
            Ok(Level { remaining: 1, full_in: Duration::from_millis(1500) })
        );
        let refused = bucket.take(three).expect_err("used up");
        assert_eq!(refused.wait(), Some(Duration::from_secs(1)));
        assert_eq!(refused.to_string(), "The limit of queries (2/s) is used up. Come back in 1 s.");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(bucket.take(three).is_ok());
    }
}
