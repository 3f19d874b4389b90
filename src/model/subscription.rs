//! The subscriptions. To policy each is the read of a job.

use super::RootField;

/// A root field of `Subscription`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// One job, until it is over.
    JobUpdated,
    /// All jobs of the caller's tenant.
    JobsUpdated,
}

impl Subscription {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::JobUpdated, Self::JobsUpdated];

    /// The field's name in the schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobUpdated => "jobUpdated",
            Self::JobsUpdated => "jobsUpdated",
        }
    }

    /// The subscription of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.name() == name)
    }

    /// The root field that it is the same read, the same right and five times the cost of.
    #[must_use]
    pub const fn read(self) -> RootField {
        match self {
            Self::JobUpdated | Self::JobsUpdated => RootField::GetJob,
        }
    }
}
