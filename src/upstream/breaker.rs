//! The circuit breaker of one account: while Move is down, calls fail at once instead of waiting.
//!
//! Closed, it counts. Open, it lets nothing through. Half-open, one call at a time is let through to
//! see how Move is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures within `window` open it, if they are half of all calls at least: one caller
    /// in a hundred who meets an error is no outage.
    pub failures: u32,
    /// The time in which failures are counted together.
    pub window: Duration,
    /// How long it stays open before a call is let through again.
    pub open_for: Duration,
}

/// What a breaker does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Calls go through.
    Closed,
    /// One call at a time goes through, to see how Move is.
    HalfOpen,
    /// No call goes through.
    Open,
}

impl Condition {
    /// As `/readyz` shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// The breaker of one account.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: Instant },
    Probing,
}

/// The right to make one call. Dropped without a word, as when its caller went away, it counts as
/// neither success nor failure.
#[derive(Debug)]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    is_settled: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: Mutex::new(State::Closed(Window::new(Instant::now()))) }
    }

    /// Lets a call through, or says for how long it will not.
    ///
    /// # Errors
    /// The time after which to ask again.
    pub fn enter(&self) -> Result<Pass<'_>, Duration> {
        let mut state = self.state();
        let is_probe = match *state {
            State::Closed(_) => false,
            State::Open { until } if until <= Instant::now() => {
                *state = State::Probing;
                true
            }
            State::Open { until } => return Err(until - Instant::now()),
            State::Probing => return Err(Duration::from_secs(1)),
        };
        Ok(Pass { breaker: self, is_probe, is_settled: false })
    }

    /// What it does at the moment.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match *self.state() {
            State::Closed(_) => Condition::Closed,
            State::Open { until } if until > Instant::now() => Condition::Open,
            State::Open { .. } | State::Probing => Condition::HalfOpen,
        }
    }

    fn open(&self) -> State {
        State::Open { until: Instant::now() + self.settings.open_for }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Tells how the call ended.
    pub fn settle(mut self, is_healthy: bool) {
        self.is_settled = true;
        let breaker = self.breaker;
        let mut state = breaker.state();
        match &mut *state {
            State::Probing if self.is_probe => {
                *state = if is_healthy {
                    State::Closed(Window::new(Instant::now()))
                } else {
                    breaker.open()
                };
            }
            State::Closed(window) => {
                let counts = window.count(Instant::now(), breaker.settings.window, is_healthy);
                if counts.failed >= breaker.settings.failures && counts.failed * 2 >= counts.calls {
                    *state = breaker.open();
                }
            }
            // A call from before it opened says nothing new.
            State::Open { .. } | State::Probing => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.is_settled {
            // The next call is the probe then.
            *self.breaker.state() = State::Open { until: Instant::now() };
        }
    }
}

/// In how many parts a window is counted: it slides by one of them at a time.
const PARTS: u32 = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    calls: u32,
    failed: u32,
}

/// The calls of the last while.
#[derive(Debug)]
struct Window {
    began: Instant,
    /// The part that is counted into, since `began`.
    part: u32,
    parts: [Counts; PARTS as usize],
}

impl Window {
    fn new(began: Instant) -> Self {
        Self { began, part: 0, parts: Default::default() }
    }

    /// Counts a call; gives all that the window holds.
    fn count(&mut self, now: Instant, length: Duration, is_healthy: bool) -> Counts {
        let passed = now.saturating_duration_since(self.began).as_nanos();
        let part = passed / (length / PARTS).as_nanos().max(1);
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        // What is as old as the window makes room.
        for old in (self.part..part).take(PARTS as usize) {
            self.parts[((old + 1) % PARTS) as usize] = Counts::default();
        }
        if part.saturating_sub(self.part) >= PARTS {
            self.parts = Default::default();
        }
        self.part = part;
        let current = &mut self.parts[(part % PARTS) as usize];
        current.calls += 1;
        current.failed += u32::from(!is_healthy);
        self.parts.iter().fold(Counts::default(), |sum, part| Counts {
            calls: sum.calls + part.calls,
            failed: sum.failed + part.failed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings {
        failures: 3,
        window: Duration::from_secs(10),
        open_for: Duration::from_secs(5),
    };

    fn call(breaker: &Breaker, is_healthy: bool) {
        breaker.enter().expect("it lets calls through").settle(is_healthy);
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_enough_failures_and_closes_when_a_probe_succeeds() {
        let breaker = Breaker::new(SETTINGS);
        for _ in 0..3 {
            assert_eq!(breaker.condition(), Condition::Closed);
            call(&breaker, false);
        }
        assert_eq!(breaker.condition(), Condition::Open);
        assert_eq!(breaker.enter().expect_err("it is open"), Duration::from_secs(5));
        pass(5).await;
        assert_eq!(breaker.condition(), Condition::HalfOpen);
        let probe = breaker.enter().expect("a probe");
        assert!(breaker.enter().is_err(), "one at a time");
        probe.settle(false);
        assert_eq!(breaker.condition(), Condition::Open);
        pass(5).await;
        call(&breaker, true);
        assert_eq!(breaker.condition(), Condition::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_further_apart_than_the_window_do_not_open_it() {
        let breaker = Breaker::new(SETTINGS);
        for _ in 0..20 {
            call(&breaker, false);
            pass(6).await;
        }
        assert_eq!(breaker.condition(), Condition::Closed);
        for _ in 0..2 {
            call(&breaker, false);
        }
        assert_eq!(breaker.condition(), Condition::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_among_many_successes_do_not_open_it() {
        let breaker = Breaker::new(SETTINGS);
        for n in 0..300 {
            call(&breaker, n % 3 != 0);
        }
        assert_eq!(breaker.condition(), Condition::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_caller_went_away_leaves_its_place_to_the_next() {
        let breaker = Breaker::new(SETTINGS);
        for _ in 0..3 {
            call(&breaker, false);
        }
        pass(5).await;
        drop(breaker.enter().expect("a probe"));
        call(&breaker, true);
        assert_eq!(breaker.condition(), Condition::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_from_before_does_not_close_it() {
        let breaker = Breaker::new(SETTINGS);
        let late = breaker.enter().expect("it is closed");
        for _ in 0..3 {
            call(&breaker, false);
        }
        late.settle(true);
        assert_eq!(breaker.condition(), Condition::Open);
    }
}
