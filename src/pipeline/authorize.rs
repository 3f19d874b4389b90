//! The caller's rights to an operation.

use crate::graphql::{self, ApiError};
use crate::http::error::Refusal;
use crate::model::{Caller, ErrorCode};
use crate::operation::Operation;

/// An operation of which at least a part is allowed to its caller; the executor refuses the rest, field by field.
#[derive(Debug)]
pub struct Permitted(Operation);

impl Permitted {
    /// Returns the operation.
    pub fn into_operation(self) -> Operation {
        self.0
    }
}

/// Permits an operation, unless nothing of it is allowed. Where only some root fields are forbidden, each is an
/// error of its own in the answer.
///
/// # Errors
/// When all of it is forbidden.
pub fn authorize(caller: &Caller, operation: Operation) -> Result<Permitted, Refusal> {
    if operation.introspects() && !caller.tenant.introspection {
        let message = "Introspection is switched off for this tenant.";
        return Err(Refusal::from_error(ApiError::new(ErrorCode::Forbidden, message)));
    }
    match graphql::forbidden(caller, &operation) {
        forbidden if forbidden.is_empty() => Ok(Permitted(operation)),
        forbidden => Err(Refusal::of_all(ErrorCode::Forbidden, forbidden)),
    }
}
