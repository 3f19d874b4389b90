//! Why a document or its variables cannot be executed.

use async_graphql::Pos;
use async_graphql::parser;

/// What is wrong, in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The document is not GraphQL.
    #[error("the document cannot be parsed: {message}")]
    Syntax {
        /// The parser's words.
        message: String,
        /// Where.
        position: Option<Pos>,
    },
    /// The document is over one of the limits.
    #[error("the document has {got} {what}; at most {max} are taken")]
    TooComplex {
        /// What is counted.
        what: &'static str,
        /// How many there are, or at least are.
        got: u64,
        /// How many there may be.
        max: u64,
    },
    /// A fragment spreads itself.
    #[error("fragment \"{0}\" spreads itself")]
    FragmentCycle(String),
    /// No operation has that name.
    #[error("the document has no operation named \"{0}\"")]
    UnknownOperation(String),
    /// Several operations and no name.
    #[error("the document has several operations: say which one in `operationName`")]
    OperationNameNeeded,
    /// The Jobs API has no subscriptions.
    #[error("the Jobs API has no subscriptions")]
    Subscription,
    /// A required variable is missing or null.
    #[error("variable \"${name}\" of type \"{ty}\" must be given a value")]
    VariableMissing {
        /// The variable's name.
        name: String,
        /// Its declared type.
        ty: String,
        /// Where it is declared.
        position: Pos,
    },
}

impl From<parser::Error> for Error {
    fn from(error: parser::Error) -> Self {
        if error == parser::Error::RecursionLimitExceeded {
            return Self::TooComplex { what: "levels", got: 65, max: 64 };
        }
        Self::Syntax { message: error.to_string(), position: error.positions().next() }
    }
}

impl Error {
    /// Where in the document, if it has a place.
    #[must_use]
    pub const fn position(&self) -> Option<Pos> {
        match self {
            Self::Syntax { position, .. } => *position,
            Self::VariableMissing { position, .. } => Some(*position),
            _ => None,
        }
    }
}
