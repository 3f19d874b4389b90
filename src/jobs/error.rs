//! Why an operation on jobs did not succeed.

use crate::model::{Effect, EntityKind};
use crate::upstream::{self, FieldError};

/// An error of an operation. `graphql::errors` decides what callers read of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It is missing, another tenant's or nobody's: one answer for all three.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Move did not tell whose it is, so nobody may see or change it.
    #[error("Move did not tell whose it is")]
    OwnerUnknown,
    /// An entity that no tenant created may be read under this tenant's policy, not changed.
    #[error("the {0} was not created through the gateway and can only be read")]
    ReadOnly(EntityKind),
    /// A file that Move made carries Move's metadata, which is nobody's to change.
    #[error("the file's metadata is Move's")]
    NotOwnMetadata,
    /// The call cannot be recorded, so it was not made.
    #[error("the call cannot be recorded")]
    AuditUnavailable,
    /// Another try may bear the mutation's key by now, so it was not made.
    #[error("the mutation's key is not entered any more")]
    KeyLost,
    /// A filter or a count needs the index of jobs.
    #[error("the index of jobs is needed: {0:?}")]
    NotIndexed(NotIndexed),
    /// An argument is not what it must be.
    #[error("argument `{argument}`: {problem}")]
    Argument {
        /// The argument's name in the schema.
        argument: &'static str,
        /// The problem with it, and what would be right.
        problem: String,
    },
    /// Move answered with errors and no value.
    #[error("Move answered with {} error(s) and no value", .0.len())]
    Refused(Vec<FieldError>),
    /// A mutation may have been carried out, and why that is not known.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(Box<Self>),
    /// Move gave no answer.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
}

/// Why the index cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotIndexed {
    /// It is not complete yet, or in doubt.
    NotYet,
    /// None is kept here.
    Disabled,
    /// The account is the tenant's own, of which none is kept.
    OwnAccount,
    /// Too many jobs have to be asked for first: some were, and are known now.
    TooMany,
}

impl Error {
    pub(super) fn argument(argument: &'static str, problem: impl Into<String>) -> Self {
        Self::Argument { argument, problem: problem.into() }
    }

    /// The failure of a mutation of which this became: one that may have been carried out, or was and
    /// cannot be shown, must not read like one that was not.
    #[must_use]
    pub(super) fn of_effect(self, effect: &Effect) -> Self {
        let leaves_open = match effect {
            Effect::NotDone => false,
            // No earlier try was let by with these arguments, or to what may only be read.
            Effect::Unknown => {
                !matches!(self, Self::OutcomeUnknown(_) | Self::Argument { .. } | Self::ReadOnly(_))
            }
            Effect::Done(_) => matches!(self, Self::Upstream(_) | Self::OwnerUnknown),
        };
        if leaves_open { Self::OutcomeUnknown(Box::new(self)) } else { self }
    }
}
