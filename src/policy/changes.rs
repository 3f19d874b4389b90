//! The difference between two states of the policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Snapshot;
use crate::model::{Rate, RateLimits, RootField};

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
        let (old, new) = (figures(&known.rate_limit), figures(&tenant.rate_limit));
        let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for limit in all.into_iter().filter(|limit| old.get(*limit) != new.get(*limit)) {
            let figure = |of: &BTreeMap<_, String>| {
                of.get(limit).cloned().unwrap_or_else(|| "none".to_owned())
            };
            names.insert(format!("{}/{limit}: {} -> {}", tenant.id, figure(&old), figure(&new)));
        }
    }
    Names(names)
}

/// Limits by the names of their keys below `rate_limit`.
fn figures(limits: &RateLimits) -> BTreeMap<String, String> {
    let rate = |rate: &Rate| format!("{rate} (burst {})", rate.burst);
    let classes = [
        ("queries", limits.queries),
        ("mutations", limits.mutations),
        ("introspection", limits.introspection),
        ("per_credential.queries", limits.credential_queries),
        ("per_credential.mutations", limits.credential_mutations),
    ];
    let classes =
        classes.into_iter().filter_map(|(name, own)| Some((name.to_owned(), rate(&own?))));
    let single = limits.operations.iter();
    let single = single.map(|(field, own)| (format!("operations.{field}"), rate(own)));
    let numbers = [("max_cost", limits.max_cost), ("max_in_flight", limits.max_in_flight)];
    let numbers = numbers.map(|(name, number)| (name.to_owned(), number.to_string()));
    classes.chain(single).chain(numbers).collect()
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
