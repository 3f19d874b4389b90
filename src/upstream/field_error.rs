//! An error of Move's about a field of its answer.

use crate::json::Json;

/// One error of an AppSync answer.
#[derive(Debug, Clone)]
pub struct FieldError {
    /// For people.
    pub message: String,
    /// The name that clients match on, such as `MoveNotFoundError`.
    pub error_type: Option<String>,
    /// More for clients, such as `suggestions`; kept to the letter.
    pub error_info: Option<Json>,
    /// The data that AppSync puts beside the error; kept to the letter.
    pub data: Option<Json>,
    /// The path below the root field at which it happened.
    pub path: Vec<PathSegment>,
    /// True if it names a place at all: the root field, or one below it.
    pub has_path: bool,
}

impl FieldError {
    /// Returns true if the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.error_type.as_deref() == Some("MoveNotFoundError")
    }
}

/// A step of an error's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// A list's item.
    Index(usize),
    /// A field.
    Field(String),
}
