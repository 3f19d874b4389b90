//! The one place where typed errors become what callers read: a code, a sentence, and the members
//! that Move's own clients match on.

use std::borrow::Cow;
use std::time::Duration;

use async_graphql::{Context, PathSegment, Pos, ServerError};
use serde_json::value::RawValue;

use super::selection;
use crate::jobs;
use crate::model::{ErrorCode, IdError, RootField};
use crate::operation;
use crate::types::Malformed;
use crate::upstream::{self, FieldError};

/// An error as a caller reads it, in both shapes: `extensions.code`, and AppSync's `errorType`,
/// `errorInfo` and `data` beside `message`.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The gateway's code.
    pub code: ErrorCode,
    /// A sentence that says what is wrong and what to do about it.
    pub message: Cow<'static, str>,
    /// `errorType`; the code's own if Move gave none.
    pub error_type: Cow<'static, str>,
    /// `errorInfo`, to the letter.
    pub error_info: Option<Box<RawValue>>,
    /// AppSync's `data` of an error, to the letter.
    pub data: Option<Box<RawValue>>,
    /// How long to wait before another try, if that is known.
    pub retry_after: Option<Duration>,
    /// Where, below the field that failed, in the caller's own keys.
    pub below: Vec<PathSegment>,
    /// Where in the document, if no field failed.
    pub position: Option<Pos>,
}

impl ApiError {
    /// An error of the gateway's own.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            error_type: code.error_type().into(),
            error_info: None,
            data: None,
            retry_after: None,
            below: Vec::new(),
            position: None,
        }
    }

    /// The caller may not use this root field.
    #[must_use]
    pub fn forbidden(field: RootField) -> Self {
        let message = format!("This credential may not call {field}.");
        Self::new(ErrorCode::Forbidden, message)
    }

    /// The gateway's own fault.
    #[must_use]
    pub fn internal() -> Self {
        let message = "The gateway failed on this request. Tell the platform team.";
        Self::new(ErrorCode::Internal, message)
    }

    /// The same error at a root field, by its response key.
    #[must_use]
    pub fn at(mut self, response_key: &str) -> Self {
        self.below.insert(0, PathSegment::Field(response_key.to_owned()));
        self
    }

    /// An error of Move's about a field. Its words are meant for clients and go on as they are.
    fn of_field(error: &FieldError, below: Vec<PathSegment>) -> Self {
        let code =
            if error.is_not_found() { ErrorCode::NotFound } else { ErrorCode::UpstreamError };
        let error_type = match &error.error_type {
            Some(error_type) => Cow::Owned(error_type.clone()),
            None => code.error_type().into(),
        };
        Self {
            error_type,
            error_info: error.error_info.clone(),
            data: error.data.clone(),
            below,
            ..Self::new(code, error.message.clone())
        }
    }
}

// `ApiError` has no `Display`, so that the engine's blanket conversion (which shows an error's
// text to callers) does not apply to it.
impl From<ApiError> for async_graphql::Error {
    fn from(error: ApiError) -> Self {
        Self {
            message: error.message.to_string(),
            source: Some(std::sync::Arc::new(error)),
            extensions: None,
        }
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        Self::new(ErrorCode::BadUserInput, format!("Bad argument: {error}."))
    }
}

impl From<operation::Error> for ApiError {
    fn from(error: operation::Error) -> Self {
        use operation::Error as E;
        let code = match error {
            E::Syntax { .. } => ErrorCode::GraphqlParseFailed,
            E::TooComplex { .. } => ErrorCode::OperationTooComplex,
            E::FragmentCycle(_) | E::Subscription => ErrorCode::GraphqlValidationFailed,
            E::UnknownOperation(_) | E::OperationNameNeeded | E::VariableMissing { .. } => {
                ErrorCode::BadUserInput
            }
        };
        Self { position: error.position(), ..Self::new(code, sentence(&error.to_string())) }
    }
}

impl From<&upstream::Error> for ApiError {
    fn from(error: &upstream::Error) -> Self {
        use upstream::ErrorKind as E;
        let api = match error.kind() {
            E::Unreachable | E::Throttled | E::CircuitOpen | E::Status(503) => Self::new(
                ErrorCode::UpstreamUnavailable,
                "Move cannot take this call right now. Try again later.",
            ),
            E::Overloaded => Self::new(
                ErrorCode::Overloaded,
                "The gateway makes as many calls to Move as it may. Come back in 1 s.",
            ),
            E::Timeout | E::DeadlineExceeded | E::Status(504) => Self::new(
                ErrorCode::UpstreamTimeout,
                "Move did not answer in time. Try again later.",
            ),
            E::KeyRefused(_)
            | E::Interrupted
            | E::Status(_)
            | E::TooLarge(_)
            | E::NotAnAnswer(_) => Self::new(
                ErrorCode::UpstreamError,
                "Move gave no usable answer. Try again later; if it lasts, tell the platform team \
                 the request id.",
            ),
        };
        Self { retry_after: error.retry_after(), ..api }
    }
}

impl From<jobs::Error> for ApiError {
    fn from(error: jobs::Error) -> Self {
        use jobs::Error as E;
        match error {
            E::JobNotFound => Self::new(ErrorCode::NotFound, "No such job."),
            E::OwnerUnknown => Self::new(
                ErrorCode::UpstreamError,
                "Move did not tell whose this is. Try again later; if it lasts, tell the platform \
                 team the request id.",
            ),
            E::TakeNotFound => Self::new(ErrorCode::NotFound, "No such take."),
            E::ReadOnly => Self::new(
                ErrorCode::Forbidden,
                "This job was not created through the gateway and can only be read.",
            ),
            E::AuditUnavailable => Self::new(
                ErrorCode::AuditUnavailable,
                "The call cannot be recorded right now, so it was not made. Try again later.",
            ),
            E::Argument { argument, problem } => Self::new(
                ErrorCode::BadUserInput,
                format!("Bad argument \"{argument}\": {problem}."),
            ),
            E::Refused(errors) => match errors.first() {
                Some(first) => Self::of_field(first, Vec::new()),
                None => Self::from(&upstream::Error::not_an_answer("empty")),
            },
            E::OutcomeUnknown(_) => Self::new(
                ErrorCode::OutcomeUnknown,
                "The call was sent to Move and no answer came: it may or may not have happened. \
                 Look before you send it again, or send it again with the same Idempotency-Key.",
            ),
            E::Upstream(error) => Self::from(&error),
        }
    }
}

/// An error of `jobs` at the field that is being resolved: the first goes back to the engine, the
/// others are put beside it, each at its own path.
pub fn at_field(ctx: &Context<'_>, error: jobs::Error) -> ApiError {
    match error {
        jobs::Error::Refused(errors) if !errors.is_empty() => {
            let mut all = placed(ctx, &errors);
            let first = all.remove(0);
            for error in all {
                add(ctx, error);
            }
            first
        }
        error => error.into(),
    }
}

/// Errors beside a value: partial data stays partial.
pub fn beside_value(ctx: &Context<'_>, errors: &[FieldError]) {
    for error in placed(ctx, errors) {
        add(ctx, error);
    }
}

/// At least one error for each of Move's: one for every alias of the field it is about.
fn placed(ctx: &Context<'_>, errors: &[FieldError]) -> Vec<ApiError> {
    let mut placed = Vec::new();
    for error in errors {
        for below in selection::response_paths(ctx.field(), &error.path) {
            placed.push(ApiError::of_field(error, below));
        }
    }
    placed
}

/// An error beside whatever the field resolves to.
pub fn add(ctx: &Context<'_>, error: ApiError) {
    let error = async_graphql::Error::from(error).into_server_error(ctx.item.pos);
    ctx.add_error(ctx.set_error_path(error));
}

/// What the engine itself found wrong: with a path, an argument; without one, the document.
pub fn of_engine(error: &ServerError) -> ApiError {
    if let Some(error) = error.source::<ApiError>() {
        return error.clone();
    }
    if let Some(malformed) = error.source::<Malformed>() {
        return ApiError::new(ErrorCode::UpstreamError, malformed.to_string());
    }
    let code = if error.path.is_empty() {
        ErrorCode::GraphqlValidationFailed
    } else {
        ErrorCode::BadUserInput
    };
    let mut message = sentence(&error.message);
    if message.contains("expected type \"AWSJSON\"") {
        message.push_str(" It must be a string that holds JSON text.");
    }
    ApiError::new(code, message)
}

/// A first letter in upper case, a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}
