//! The difference between two states of the policies.

use std::collections::BTreeSet;
use std::fmt;

use super::Snapshot;
use super::figures::{self, Figures};
use crate::model::RootField;

/// The number of names a log line holds.
const SHOWN: usize = 20;

/// Tenants and keys that came and went.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tenants that are new.
    pub tenants_added: Names,
    /// Tenants that are gone.
    pub tenants_removed: Names,
    /// Keys that are new, as `tenant/id`; a key whose hash was replaced is new and gone.
    pub keys_added: Names,
    /// Keys that are gone.
    pub keys_removed: Names,
    /// Operations that tenants or keys which stay may call now, as `tenant/operation` or `tenant/id/operation`.
    pub rights_added: Names,
    /// Operations that they may not call any more.
    pub rights_removed: Names,
    /// Tenants that stay and whose limits differ.
    pub limits_changed: Names,
    /// The limits of these, as `tenant/limit: before -> after`.
    pub limits: Names,
    /// Every other key of tenants and API keys that stay, as `tenant/key: before -> after` or
    /// `tenant/id/key: before -> after`.
    pub settings: Names,
}

/// Names in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// Their number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Returns true if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Separated by commas; of many the first ones and their number.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Changes {
    /// Compares two states.
    #[must_use]
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let tenants = |one: &Snapshot, other: &Snapshot| {
            let missing = one.tenants().filter(|tenant| other.tenant(&tenant.id).is_none());
            Names(missing.map(|tenant| tenant.id.to_string()).collect())
        };
        let keys = |one: &Snapshot, other: &Snapshot| {
            let is_missing = |owner: &str, key: &crate::model::ApiKey| {
                let known = other.key(&key.hash);
                known.is_none_or(|(known, _)| known.id.as_str() != owner)
            };
            let all = one.keys().filter(|(owner, key)| is_missing(owner.id.as_str(), key));
            Names(all.map(|(owner, key)| format!("{}/{}", owner.id, key.id)).collect())
        };
        let limits = after.tenants().filter(|tenant| {
            let known = before.tenant(&tenant.id);
            known.is_some_and(|known| known.rate_limit != tenant.rate_limit)
        });
        Self {
            rights_added: rights_beyond(after, before),
            rights_removed: rights_beyond(before, after),
            limits_changed: Names(limits.map(|tenant| tenant.id.to_string()).collect()),
            limits: limits_between(before, after),
            settings: settings_between(before, after),
            tenants_added: tenants(after, before),
            tenants_removed: tenants(before, after),
            keys_added: keys(after, before),
            keys_removed: keys(before, after),
        }
    }
}

/// The operations that tenants and keys may call in one state and, though they are there, not in another.
fn rights_beyond(one: &Snapshot, other: &Snapshot) -> Names {
    let mut names = BTreeSet::new();
    for tenant in one.tenants() {
        let Some(known) = other.tenant(&tenant.id) else { continue };
        let more = tenant.operations.iter().filter(|field| !known.operations.contains(*field));
        names.extend(more.map(|field| format!("{}/{field}", tenant.id)));
    }
    for (tenant, key) in one.keys() {
        let Some((owner, known)) = other.key(&key.hash) else { continue };
        let is_told = |field: &RootField| {
            // What the whole tenant gained or lost is told once.
            tenant.operations.contains(*field) != owner.operations.contains(*field)
        };
        let more = key.operations.iter().filter(|field| !known.operations.contains(*field));
        let more = more.filter(|field| !is_told(field));
        names.extend(more.map(|field| format!("{}/{}/{field}", tenant.id, key.id)));
    }
    Names(names)
}

/// The limits that differ, of tenants that are in both states.
fn limits_between(before: &Snapshot, after: &Snapshot) -> Names {
    let mut names = BTreeSet::new();
    for tenant in after.tenants() {
        let Some(known) = before.tenant(&tenant.id) else { continue };
        let limits = [known, tenant].map(|state| figures::of_limits(&state.rate_limit));
        names.extend(differing(&tenant.id.to_string(), limits));
    }
    Names(names)
}

/// The other keys that differ, of tenants and API keys that are in both states.
fn settings_between(before: &Snapshot, after: &Snapshot) -> Names {
    let mut names = BTreeSet::new();
    for tenant in after.tenants() {
        let Some(known) = before.tenant(&tenant.id) else { continue };
        let settings = [known, tenant].map(|state| figures::of_tenant(state));
        names.extend(differing(&tenant.id.to_string(), settings));
        let are_shared = known.account.is_shared() && tenant.account.is_shared();
        if !are_shared && known.account.api_key != tenant.account.api_key {
            names.insert(format!("{}/upstream.api_key: replaced", tenant.id));
        }
    }
    for (tenant, key) in after.keys() {
        let Some((_, known)) = before.key(&key.hash) else { continue };
        let owner = format!("{}/{}", tenant.id, key.id);
        names.extend(differing(&owner, [known, key].map(figures::of_key)));
    }
    Names(names)
}

/// The keys of one owner that differ between two states.
fn differing(owner: &str, [before, after]: [Figures; 2]) -> Vec<String> {
    let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let figure = |of: &Figures, key| of.get(key).cloned().unwrap_or_else(|| "none".to_owned());
    all.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("{owner}/{key}: {} -> {}", figure(&before, key), figure(&after, key)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_cut_and_counted() {
        let names = |count: usize| Names((0..count).map(|n| format!("t{n:02}")).collect());
        assert_eq!(names(0).to_string(), "");
        assert_eq!(names(2).to_string(), "t00, t01");
        assert!(names(23).to_string().ends_with(", t19 and 3 more"));
    }
}
