//! The health of each Move account.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::breaker::{Breaker, BreakerReport, BreakerSettings};
use super::retry::{Budget, RetrySettings};
use crate::model::{Account, AccountId, TenantId};

/// The accounts and tenants that called so far: those of policies, so there are only so many.
#[derive(Debug)]
pub struct Accounts {
    breaker: BreakerSettings,
    retries: RetrySettings,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    breakers: HashMap<AccountId, Arc<Breaker>>,
    budgets: HashMap<TenantId, Arc<Budget>>,
}

impl Accounts {
    /// Knows none yet.
    #[must_use]
    pub fn new(breaker: BreakerSettings, retries: RetrySettings) -> Self {
        Self { breaker, retries, known: Mutex::default() }
    }

    /// Returns an account's breaker; a closed one, if it was never called.
    #[must_use]
    pub fn breaker(&self, account: &Account) -> Arc<Breaker> {
        let mut known = self.known();
        if let Some(breaker) = known.breakers.get(&account.id) {
            return Arc::clone(breaker);
        }
        let breaker = Arc::new(Breaker::new(account.id.clone(), self.breaker));
        known.breakers.insert(account.id.clone(), Arc::clone(&breaker));
        breaker
    }

    /// Returns the further attempts that a tenant has left: its own, so that a tenant whose calls fail
    /// leaves the others theirs.
    #[must_use]
    pub fn budget(&self, tenant: &TenantId) -> Arc<Budget> {
        let mut known = self.known();
        if let Some(budget) = known.budgets.get(tenant) {
            return Arc::clone(budget);
        }
        let budget = Arc::new(Budget::new(self.retries.budget));
        known.budgets.insert(tenant.clone(), Arc::clone(&budget));
        budget
    }

    /// Forgets accounts and tenants that no policy names any more, and who was silent for long.
    pub fn forget_others(&self, accounts: &[Arc<Account>], is_tenant: impl Fn(&TenantId) -> bool) {
        let ids: HashSet<_> = accounts.iter().map(|account| &account.id).collect();
        let mut known = self.known();
        known.breakers.retain(|id, _| ids.contains(id));
        known.budgets.retain(|tenant, _| is_tenant(tenant));
        known.breakers.values().for_each(|breaker| breaker.forget_silent());
    }

    /// Returns the state of each account's breaker, in the order of their names.
    #[must_use]
    pub fn reports(&self) -> Vec<BreakerReport> {
        let known = self.known();
        let mut all: Vec<_> =
            known.breakers.values().flat_map(|breaker| breaker.reports()).collect();
        all.sort();
        all
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
