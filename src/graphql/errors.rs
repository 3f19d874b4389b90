//! The one place where typed errors become what callers read: a code, a sentence, and the members
//! that Move's own clients match on.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::jobs;
use crate::json::Json;
use crate::model::{Caller, ErrorCode, IdError, RootField};
use crate::operation::{self, Operation, Pos, Problem};
use crate::upstream::{self, FieldError};

/// The time after which it is worth asking again for what the index will have.
const LATER: Duration = Duration::from_secs(30);

/// The time after which more of it is known.
const SOON: Duration = Duration::from_secs(1);

/// A step of a path in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Segment {
    /// A key.
    Key(Box<str>),
    /// A place in a list.
    Index(usize),
}

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
    /// AppSync's `data` of an error: what the caller selected of it, as the tenant may see it.
    pub data: Option<Box<RawValue>>,
    /// The time to wait before another try, if that is known.
    pub retry_after: Option<Duration>,
    /// Its path in the answer, in the caller's own keys, if nothing was executed.
    pub path: Vec<Segment>,
    /// Its place in the document, if nothing was executed.
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
            path: Vec::new(),
            position: None,
        }
    }

    /// The caller may not use this root field.
    #[must_use]
    pub fn forbidden(field: RootField) -> Self {
        let message = format!("This credential may not call {field}.");
        Self::new(ErrorCode::Forbidden, message)
    }

    /// The request took longer than it may.
    #[must_use]
    pub fn late() -> Self {
        let message = "Move did not answer in time. Try again later.";
        Self::new(ErrorCode::UpstreamTimeout, message)
    }

    /// Only an index of jobs could tell, and there is none, or not yet.
    #[must_use]
    pub fn not_indexed(why: jobs::NotIndexed) -> Self {
        let (message, retry_after) = match why {
            jobs::NotIndexed::NotYet => (
                "Filters and totalCount need the index of jobs, which is not complete yet. Come back later, or list \
                 without them.",
                Some(LATER),
            ),
            jobs::NotIndexed::TooMany => (
                "Too many unfinished jobs had to be looked at. Some were: come back soon, or ask for fewer.",
                Some(SOON),
            ),
            jobs::NotIndexed::Disabled => (
                "Filters and totalCount need the index of jobs, and this gateway keeps none. List without them.",
                None,
            ),
            jobs::NotIndexed::OwnAccount => (
                "Filters and totalCount need the index of jobs, and none is kept for a tenant's own Move account. \
                 List without them.",
                None,
            ),
        };
        Self { retry_after, ..Self::new(ErrorCode::IndexUnavailable, message) }
    }

    /// A mutation's key cannot be entered, or is not any more: another try could not know of this one.
    #[must_use]
    pub fn key_not_remembered() -> Self {
        let message = "Idempotency-Keys cannot be remembered at the moment, so nothing was sent. Send the mutation \
                       again later, with the same key.";
        Self { retry_after: Some(SOON), ..Self::new(ErrorCode::Overloaded, message) }
    }

    /// The gateway's own fault.
    #[must_use]
    pub fn internal() -> Self {
        let message = "The gateway failed on this request. Tell the platform team.";
        Self::new(ErrorCode::Internal, message)
    }

    /// An error of Move's about a field. Its words are meant for clients and go on as they are; of its `data`
    /// only what is given here.
    pub(super) fn of_field(error: &FieldError, data: Option<&Json>) -> Self {
        let code =
            if error.is_not_found() { ErrorCode::NotFound } else { ErrorCode::UpstreamError };
        let error_type = match &error.error_type {
            Some(error_type) => Cow::Owned(error_type.clone()),
            None => code.error_type().into(),
        };
        let raw = |json: &Json| serde_json::from_str(json.root().raw()).ok();
        Self {
            error_type,
            error_info: error.error_info.as_ref().and_then(raw),
            data: data.and_then(raw),
            ..Self::new(code, error.message.clone())
        }
    }
}

/// The errors of an operation of which nothing is allowed. Where only some of it is forbidden, or nothing, there
/// are none: each is an error of its own in the answer.
#[must_use]
pub fn forbidden(caller: &Caller, operation: &Operation) -> Vec<ApiError> {
    let is_all = !operation.units.is_empty()
        && operation.form.roots.len() <= operation.units.len()
        && operation.units.iter().all(|unit| !caller.may(unit.field));
    if !is_all {
        return Vec::new();
    }
    let error = |unit: &operation::Unit| {
        let key = operation.form.roots.get(unit.root).map(|root| root.field.key.as_str().into());
        let path = key.map(Segment::Key).into_iter().chain(unit.entity.map(Segment::Index));
        ApiError { path: path.collect(), ..ApiError::forbidden(unit.field) }
    };
    operation.units.iter().map(error).collect()
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
            E::FragmentCycle(_) | E::Subscription | E::Invalid(_) => {
                ErrorCode::GraphqlValidationFailed
            }
            E::UnknownOperation(_)
            | E::OperationNameNeeded
            | E::VariableMissing { .. }
            | E::Variable { .. } => ErrorCode::BadUserInput,
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
            E::NotFound(what) => Self::new(ErrorCode::NotFound, format!("No such {what}.")),
            E::OwnerUnknown => Self::new(
                ErrorCode::UpstreamError,
                "Move did not tell whose this is. Try again later; if it lasts, tell the platform \
                 team the request id.",
            ),
            E::ReadOnly(kind) => Self::new(
                ErrorCode::Forbidden,
                format!("This {kind} was not created through the gateway and can only be read."),
            ),
            E::NotOwnMetadata => Self::new(
                ErrorCode::Forbidden,
                "Move made this file, and its metadata is Move's: only its name can be changed.",
            ),
            E::AuditUnavailable => Self::new(
                ErrorCode::AuditUnavailable,
                "The call cannot be recorded right now, so it was not made. Try again later.",
            ),
            E::KeyLost => Self::key_not_remembered(),
            E::NotIndexed(why) => Self::not_indexed(why),
            E::Argument { argument, problem } => Self::new(
                ErrorCode::BadUserInput,
                format!("Bad argument \"{argument}\": {problem}."),
            ),
            E::Refused(errors) => match errors.first() {
                Some(first) => Self::of_field(first, None),
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

impl ApiError {
    /// An error for each reason why a document cannot be executed.
    pub(super) fn all_of(error: operation::Error) -> Vec<Self> {
        match error {
            operation::Error::Invalid(problems) => problems.into_iter().map(Self::from).collect(),
            error => vec![error.into()],
        }
    }
}

impl From<Problem> for ApiError {
    fn from(Problem { message, position }: Problem) -> Self {
        Self { position, ..Self::new(ErrorCode::GraphqlValidationFailed, sentence(&message)) }
    }
}

/// The number of characters of a message about a document that are told: the parser repeats the whole line.
const LONGEST_MESSAGE: usize = 200;

/// A first letter in upper case, a full stop; cut where it gets long.
fn sentence(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let (text, end) = match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => (&text[..end], "…"),
        None if text.ends_with(['?', '…']) => (text, ""),
        None => (text, "."),
    };
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}{end}", letters.as_str())
}
