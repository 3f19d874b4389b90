//! What is known of each Move account's health.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::breaker::{Breaker, BreakerSettings, Condition};
use super::retry::{Budget, RetrySettings};
use crate::model::{Account, TenantId};

/// How one account is doing.
#[derive(Debug)]
pub struct Health {
    /// Whether calls go through.
    pub breaker: Breaker,
    /// The further attempts it has left.
    pub budget: Budget,
}

/// The accounts that were called so far: those of policies, so there are only so many.
#[derive(Debug)]
pub struct Accounts {
    breaker: BreakerSettings,
    retries: RetrySettings,
    known: Mutex<HashMap<Option<TenantId>, Arc<Health>>>,
}

impl Accounts {
    /// Knows none yet.
    #[must_use]
    pub fn new(breaker: BreakerSettings, retries: RetrySettings) -> Self {
        Self { breaker, retries, known: Mutex::default() }
    }

    /// The health of an account; a good one, if it was never called.
    #[must_use]
    pub fn of(&self, account: &Account) -> Arc<Health> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(health) = known.get(&account.owner) {
            return Arc::clone(health);
        }
        let health = Arc::new(Health {
            breaker: Breaker::new(self.breaker),
            budget: Budget::new(self.retries.budget),
        });
        known.insert(account.owner.clone(), Arc::clone(&health));
        health
    }

    /// Forgets accounts that no policy names any more.
    pub fn forget_others(&self, accounts: &[Arc<Account>]) {
        let owners: HashSet<_> = accounts.iter().map(|account| &account.owner).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|owner, _| owners.contains(owner));
    }

    /// What the breaker of each account does, in the order of their names; the account that tenants
    /// share is called `shared`.
    #[must_use]
    pub fn conditions(&self) -> Vec<(String, Condition)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |owner: &Option<TenantId>| {
            owner.as_ref().map_or_else(|| "shared".to_owned(), ToString::to_string)
        };
        let mut all: Vec<_> =
            known.iter().map(|(owner, health)| (name(owner), health.breaker.condition())).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }
}
