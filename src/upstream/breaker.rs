//! The circuit breaker of one account: while Move is down, calls fail at once instead of waiting.
//!
//! Closed, it counts. Open, it lets nothing through. Half-open, one call at a time is let through to
//! see how Move is.
//!
//! An account that tenants share is judged by what several of them met. Failures that one tenant
//! alone meets, as with metadata that Move chokes on, open that tenant's own circuit.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::ErrorKind;
use super::window::{Counts, Window};
use crate::model::{AccountId, TenantId};
use crate::settings;
use crate::settings::forms::{Count, PositiveTime};

settings! {
    /// The conditions under which a breaker opens.
    #[derive(Copy)]
    pub struct BreakerSettings: Default {
        /// Failures within the window that open the breaker, if they are half of all calls at least.
        failures: Count<u32> = 20,
        /// The time in which failures count.
        window: PositiveTime = Duration::from_secs(10),
        /// The time in which no call is made before one tries.
        open_for: PositiveTime = Duration::from_secs(5),
    }
}

impl BreakerSettings {
    fn open(&self, now: Instant) -> Circuit {
        Circuit::Open { until: now + self.open_for }
    }
}

/// The state of a breaker, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// One call at a time goes through, to see how Move is.
    HalfOpen,
    /// No call goes through.
    Open,
}

impl BreakerState {
    /// Returns its name in `/readyz`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// The state of an account's breaker, or of one tenant's part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BreakerReport {
    /// The account.
    pub account: AccountId,
    /// The tenant, if only its calls are meant.
    pub tenant: Option<TenantId>,
    /// The state.
    pub state: BreakerState,
}

/// As `/readyz` shows it.
impl fmt::Display for BreakerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.account)?;
        if let Some(tenant) = &self.tenant {
            write!(f, ", tenant {tenant}")?;
        }
        write!(f, ": {}", self.state.as_str())
    }
}

/// Who calls: a tenant, or the gateway itself.
pub type Party = Option<TenantId>;

/// The breaker of one account.
#[derive(Debug)]
pub struct Breaker {
    account: AccountId,
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// For all parties.
    whole: Circuit,
    /// Whose probe failed last: it is for others to try now.
    failed_probe: Option<Party>,
    /// Those who called within the window, or whose circuit is not closed.
    parties: HashMap<Party, Member>,
}

#[derive(Debug)]
struct Member {
    circuit: Circuit,
    window: Window,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Circuit {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    Probing,
}

impl Circuit {
    /// Returns for how long it lets nothing through.
    fn blocked_for(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Closed => None,
            Self::Open { until } => {
                until.checked_duration_since(now).filter(|wait| !wait.is_zero())
            }
            Self::Probing => Some(Duration::from_secs(1)),
        }
    }

    /// Lets a call through; returns true if it is the probe.
    fn enter(&mut self) -> bool {
        let is_probe = matches!(self, Self::Open { .. });
        if is_probe {
            *self = Self::Probing;
        }
        is_probe
    }

    fn state(self, now: Instant) -> BreakerState {
        match self {
            Self::Closed => BreakerState::Closed,
            Self::Open { until } if until > now => BreakerState::Open,
            Self::Open { .. } | Self::Probing => BreakerState::HalfOpen,
        }
    }
}

/// The right to make one call. Dropped without a word, as when its caller went away, it counts as
/// neither success nor failure.
#[derive(Debug)]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    party: Party,
    probes_whole: bool,
    probes_member: bool,
    is_settled: bool,
}

/// A circuit that opened or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Opened,
    Closed,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(account: AccountId, settings: BreakerSettings) -> Self {
        Self { account, settings, state: Mutex::default() }
    }

    /// Lets a call through, or says for how long it will not.
    ///
    /// # Errors
    /// The time after which to ask again.
    pub fn enter(&self, party: Party) -> Result<Pass<'_>, Duration> {
        let now = Instant::now();
        let mut state = self.state();
        let State { whole, parties, .. } = &mut *state;
        let mut member = parties.get_mut(&party);
        let own = member.as_ref().and_then(|member| member.circuit.blocked_for(now));
        if let Some(wait) = whole.blocked_for(now).max(own) {
            return Err(wait);
        }
        let probes_whole = whole.enter();
        let probes_member = member.as_mut().is_some_and(|member| member.circuit.enter());
        Ok(Pass { breaker: self, party, probes_whole, probes_member, is_settled: false })
    }

    /// Returns the state of the account, and of each tenant whose own circuit is not closed.
    #[must_use]
    pub fn reports(&self) -> Vec<BreakerReport> {
        let now = Instant::now();
        let state = self.state();
        let report = |tenant, state| BreakerReport { account: self.account.clone(), tenant, state };
        let whole = state.whole.state(now);
        let members = state.parties.iter();
        let members = members.map(|(party, member)| (party, member.circuit.state(now)));
        if self.account != AccountId::Shared {
            // Its one tenant's state is the account's.
            let worst = members.map(|(_, state)| state).chain([whole]).max();
            return vec![report(None, worst.unwrap_or(whole))];
        }
        let troubled = members
            .filter(|(party, state)| party.is_some() && *state != BreakerState::Closed)
            .map(|(party, state)| report(party.clone(), state));
        [report(None, whole)].into_iter().chain(troubled).collect()
    }

    /// Forgets parties that have not called for a while.
    pub fn forget_silent(&self) {
        let now = Instant::now();
        self.state().parties.retain(|_, member| {
            member.circuit != Circuit::Closed || member.window.counts(now).calls > 0
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, tenant: Option<&TenantId>, turn: Turn, cause: Option<ErrorKind>) {
        let (account, tenant) = (&self.account, tenant.map(tracing::field::display));
        match turn {
            Turn::Opened => {
                let cause = cause.map(tracing::field::display);
                let open_for_ms = u64::try_from(self.settings.open_for.as_millis()).ok();
                tracing::warn!(%account, tenant, cause, open_for_ms, "the circuit breaker opens");
            }
            Turn::Closed => tracing::info!(%account, tenant, "the circuit breaker closes"),
        }
    }
}

impl State {
    /// Takes in how a call ended for its party; returns the turn of the party's own circuit.
    fn settle_party(&mut self, pass: &Pass<'_>, is_failure: bool, now: Instant) -> Option<Turn> {
        let settings = pass.breaker.settings;
        let new = || Member { circuit: Circuit::Closed, window: Window::new(settings.window) };
        let member = self.parties.entry(pass.party.clone()).or_insert_with(new);
        member.window.count(now, is_failure);
        match member.circuit {
            Circuit::Probing if pass.probes_member && is_failure => {
                member.circuit = settings.open(now);
                None
            }
            Circuit::Probing if pass.probes_member => {
                *member = new();
                Some(Turn::Closed)
            }
            Circuit::Closed if is_failure => {
                let counts = member.window.counts(now);
                (counts.failed >= settings.failures && counts.are_mostly_failed()).then(|| {
                    member.circuit = settings.open(now);
                    Turn::Opened
                })
            }
            // A call from before it opened says nothing new.
            Circuit::Closed | Circuit::Open { .. } | Circuit::Probing => None,
        }
    }

    /// Takes in how a call ended for all; returns the turn of the whole.
    fn settle_whole(&mut self, pass: &Pass<'_>, is_failure: bool, now: Instant) -> Option<Turn> {
        let settings = pass.breaker.settings;
        match self.whole {
            Circuit::Probing if pass.probes_whole && is_failure => {
                if self.failed_probe.as_ref().is_some_and(|who| *who != pass.party) {
                    self.failed_probe = None;
                    self.whole = settings.open(now);
                } else {
                    // It may be this party's calls that Move fails on: the next probe is another's.
                    if let Some(member) = self.parties.get_mut(&pass.party) {
                        member.circuit = settings.open(now);
                    }
                    self.failed_probe = Some(pass.party.clone());
                    self.whole = Circuit::Open { until: now };
                }
                None
            }
            Circuit::Probing if pass.probes_whole => {
                *self = Self::default();
                Some(Turn::Closed)
            }
            Circuit::Closed if is_failure => self.trips(settings.failures, now).then(|| {
                self.whole = settings.open(now);
                Turn::Opened
            }),
            Circuit::Closed | Circuit::Open { .. } | Circuit::Probing => None,
        }
    }

    /// Returns true if the parties together met so many failures; no more than half of them are
    /// counted of any one.
    fn trips(&mut self, failures: u32, now: Instant) -> bool {
        let share = failures.div_ceil(2);
        let (mut all, mut counted, mut failing) = (Counts::default(), 0_u32, 0_u32);
        for member in self.parties.values_mut() {
            let counts = member.window.counts(now);
            all.calls = all.calls.saturating_add(counts.calls);
            all.failed = all.failed.saturating_add(counts.failed);
            counted = counted.saturating_add(counts.failed.min(share));
            failing += u32::from(counts.failed > 0);
        }
        failing >= 2 && counted >= failures && all.are_mostly_failed()
    }
}

impl Pass<'_> {
    /// Tells how the call ended; `failure` if Move is to blame.
    pub fn settle(mut self, failure: Option<ErrorKind>) {
        self.is_settled = true;
        let (now, is_failure) = (Instant::now(), failure.is_some());
        let (of_party, of_whole) = {
            let mut state = self.breaker.state();
            (state.settle_party(&self, is_failure, now), state.settle_whole(&self, is_failure, now))
        };
        if let Some(turn) = of_party {
            self.breaker.log(self.party.as_ref(), turn, failure);
        }
        if let Some(turn) = of_whole {
            self.breaker.log(None, turn, failure);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_settled || !(self.probes_whole || self.probes_member) {
            return;
        }
        // The next call is the probe then.
        let open = Circuit::Open { until: Instant::now() };
        let mut state = self.breaker.state();
        if self.probes_whole {
            state.whole = open;
        }
        if let Some(member) = state.parties.get_mut(&self.party).filter(|_| self.probes_member) {
            member.circuit = open;
        }
    }
}

#[cfg(test)]
mod tests;
