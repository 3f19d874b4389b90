//! Why a document or its variables cannot be executed.

use apollo_compiler::parser::{LineColumn, SourceMap, SourceSpan};
use serde::Serialize;

/// A place in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Pos {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl Pos {
    /// Returns the place at which a span of a document begins.
    #[must_use]
    pub fn from_span(span: Option<SourceSpan>, sources: &SourceMap) -> Option<Self> {
        span?.line_column(sources).map(Self::from)
    }
}

impl From<LineColumn> for Pos {
    fn from(LineColumn { line, column }: LineColumn) -> Self {
        Self { line, column }
    }
}

/// Something that does not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The fault, and what was expected.
    pub message: String,
    /// Its place.
    pub position: Option<Pos>,
}

/// A fault of a document or of its variables, in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The document is not GraphQL.
    #[error("the document cannot be parsed: {message}")]
    Syntax {
        /// The parser's words.
        message: String,
        /// Its place.
        position: Option<Pos>,
    },
    /// The document is over one of the limits.
    #[error("the document has {got} {what}; at most {max} are taken{}", setting(*.set_by))]
    TooComplex {
        /// The things that are counted.
        what: &'static str,
        /// Their number, or the least it can be.
        got: u64,
        /// The number of there may be.
        max: u64,
        /// The setting of the limit, if it can be set.
        set_by: Option<&'static str>,
    },
    /// A fragment spreads itself.
    #[error("fragment \"{0}\" spreads itself")]
    FragmentCycle(String),
    /// The document does not fit the schema: at least one reason.
    #[error("the document does not fit the schema: {}", told(.0))]
    Invalid(Vec<Problem>),
    /// No operation has that name.
    #[error("the document has no operation named \"{0}\"")]
    UnknownOperation(String),
    /// Several operations and no name.
    #[error("the document has several operations: say which one in `operationName`")]
    OperationNameNeeded,
    /// There are no subscriptions in this schema.
    #[error("this schema has no subscriptions")]
    Subscription,
    /// A required variable is missing or null.
    #[error("variable \"${name}\" of type \"{ty}\" must be given a value")]
    VariableMissing {
        /// The variable's name.
        name: String,
        /// Its declared type.
        ty: String,
        /// The place of its declaration.
        position: Option<Pos>,
    },
    /// A variable's value does not fit its type.
    #[error("variable \"${place}\": {problem}")]
    Variable {
        /// The variable and the way to the value in it.
        place: String,
        /// The value that was expected, and the one that came.
        problem: String,
        /// The place of its declaration.
        position: Option<Pos>,
    },
}

fn told(problems: &[Problem]) -> String {
    problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join(" ")
}

fn setting(set_by: Option<&str>) -> String {
    set_by.map(|key| format!(" (`{key}` sets that)")).unwrap_or_default()
}

impl Error {
    /// Returns its place in the document, if it has one.
    #[must_use]
    pub const fn position(&self) -> Option<Pos> {
        match self {
            Self::Syntax { position, .. }
            | Self::VariableMissing { position, .. }
            | Self::Variable { position, .. } => *position,
            _ => None,
        }
    }
}

/// An argument's value that the document and its variables make and the field cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("argument \"{name}\": {problem}")]
pub struct ArgumentError {
    /// The argument's name.
    pub name: String,
    /// The value that was expected.
    pub problem: &'static str,
}
