//! The closed world of operations: every exposed root field, with the facts that policy, limits,
//! audit and metrics read.

use std::fmt;

/// The kind of a root field: it reads, or it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A field of `Query`.
    Query,
    /// A field of `Mutation`.
    Mutation,
}

impl Kind {
    /// As GraphQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
        }
    }
}

/// An operation of the Jobs API, by its root field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RootField {
    /// `Query.getJob`
    GetJob,
    /// `Query.listJobs`
    ListJobs,
    /// `Mutation.createJob`
    CreateJob,
    /// `Mutation.createSingleCamJob`
    CreateSingleCamJob,
    /// `Mutation.createMultiCamJob`
    CreateMultiCamJob,
    /// `Mutation.updateJob`
    UpdateJob,
}

impl RootField {
    /// All of them, in the schema's order.
    pub const ALL: [Self; 6] = [
        Self::GetJob,
        Self::ListJobs,
        Self::CreateJob,
        Self::CreateSingleCamJob,
        Self::CreateMultiCamJob,
        Self::UpdateJob,
    ];

    /// The field's name in the schema; also how policies name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetJob => "getJob",
            Self::ListJobs => "listJobs",
            Self::CreateJob => "createJob",
            Self::CreateSingleCamJob => "createSingleCamJob",
            Self::CreateMultiCamJob => "createMultiCamJob",
            Self::UpdateJob => "updateJob",
        }
    }

    /// The root field of that name, if the gateway exposes it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Query or mutation.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::GetJob | Self::ListJobs => Kind::Query,
            _ => Kind::Mutation,
        }
    }
}

impl fmt::Display for RootField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The cost of one use of each root field, in units of a tenant's rate limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    of: [u32; RootField::ALL.len()],
    /// A `getJob` in an answer that was given before, whole.
    pub cached: u32,
}

impl Default for Weights {
    fn default() -> Self {
        let of = RootField::ALL.map(|field| match field {
            RootField::GetJob => 1,
            RootField::ListJobs => 5,
            _ => 10,
        });
        Self { of, cached: 1 }
    }
}

impl Weights {
    /// Returns the cost of one use of the field.
    #[must_use]
    pub const fn of(&self, field: RootField) -> u32 {
        self.of[field as usize]
    }

    /// Sets what one use of the field costs.
    pub const fn set(&mut self, field: RootField, weight: u32) {
        self.of[field as usize] = weight;
    }
}

/// A set of root fields: what a tenant, a key or a token may call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootFields(u8);

impl RootFields {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// Every root field: `"*"` in a policy.
    pub const ALL: Self = Self((1 << RootField::ALL.len()) - 1);

    /// Returns true if the set holds the field.
    #[must_use]
    pub const fn contains(self, field: RootField) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// Returns the fields that are in both sets.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the fields that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members, in the schema's order.
    pub fn iter(self) -> impl Iterator<Item = RootField> {
        RootField::ALL.into_iter().filter(move |field| self.contains(*field))
    }

    /// Returns true if nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<RootField> for RootFields {
    fn from_iter<I: IntoIterator<Item = RootField>>(fields: I) -> Self {
        Self(fields.into_iter().fold(0, |set, field| set | (1 << field as u8)))
    }
}

impl fmt::Debug for RootFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(RootField::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_field() {
        for field in RootField::ALL {
            assert_eq!(RootField::from_name(field.name()), Some(field));
            assert!(RootFields::ALL.contains(field));
        }
    }

    #[test]
    fn intersection_never_grants_more_than_either_side() {
        let read: RootFields = [RootField::GetJob, RootField::ListJobs].into_iter().collect();
        let key: RootFields = [RootField::GetJob, RootField::UpdateJob].into_iter().collect();
        assert_eq!(read.intersect(key).iter().collect::<Vec<_>>(), [RootField::GetJob]);
    }
}
