//! The difference between two states of the policies.

use std::collections::BTreeSet;
use std::fmt;

use super::Snapshot;

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
}

/// Names in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl Names {
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
        Self {
            tenants_added: tenants(after, before),
            tenants_removed: tenants(before, after),
            keys_added: keys(after, before),
            keys_removed: keys(before, after),
        }
    }
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
