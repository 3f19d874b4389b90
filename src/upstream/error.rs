//! Why Move gave no answer.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::json::Malformed;

/// The kind of a failure: what retries, the breaker and callers' codes are decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// No connection came about, so nothing was sent.
    #[error("cannot connect to Move")]
    Unreachable,
    /// The connection broke after the call may have been sent.
    #[error("the connection to Move broke before its answer was complete")]
    Interrupted,
    /// Move had all its time (`upstream.timeout`), and the call may have been sent.
    #[error("Move did not answer in time")]
    Timeout,
    /// The request's own time was over before Move's was. The call may have been sent.
    #[error("the request's time was over before Move answered")]
    DeadlineExceeded,
    /// Move refused the account's key.
    #[error("Move refused the account's API key (HTTP {0})")]
    KeyRefused(u16),
    /// Move asked for fewer calls.
    #[error("Move throttles this account")]
    Throttled,
    /// Too many calls were under way for too long: nothing was sent.
    #[error("no turn came for this call in time")]
    Overloaded,
    /// Move has been failing, and is left alone for a while: nothing was sent.
    #[error("Move has been failing and is left alone")]
    CircuitOpen,
    /// Any other HTTP status than success.
    #[error("Move answered with HTTP {0}")]
    Status(u16),
    /// The answer is larger than the gateway takes.
    #[error("Move's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is no GraphQL answer; the text says in what way.
    #[error("Move's answer is {0}")]
    NotAnAnswer(&'static str),
}

impl ErrorKind {
    /// Returns true if Move may have carried out the call although no answer came.
    #[must_use]
    pub const fn outcome_is_unknown(self) -> bool {
        match self {
            Self::Unreachable
            | Self::KeyRefused(_)
            | Self::Throttled
            | Self::Overloaded
            | Self::CircuitOpen => false,
            // These refuse a request before it is read (RFC 9110, section 15.5). Any other status may
            // come from between, after the call was forwarded: 408, 502, 504, a redirect, an empty 204.
            Self::Status(status) => {
                !matches!(status, 400 | 404..=406 | 411 | 413..=415 | 417 | 421 | 431)
            }
            Self::Interrupted
            | Self::Timeout
            | Self::DeadlineExceeded
            | Self::TooLarge(_)
            | Self::NotAnAnswer(_) => true,
        }
    }

    /// Returns true if it says that Move is unwell, rather than that it did not like the call or that
    /// the caller did not wait.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        match self {
            Self::Unreachable | Self::Interrupted | Self::Timeout | Self::NotAnAnswer(_) => true,
            Self::Status(status) => status >= 500,
            Self::KeyRefused(_)
            | Self::Throttled
            | Self::Overloaded
            | Self::CircuitOpen
            | Self::DeadlineExceeded
            | Self::TooLarge(_) => false,
        }
    }

    /// Returns its name in metrics and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Interrupted => "interrupted",
            Self::Timeout => "timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::KeyRefused(_) => "key_refused",
            Self::Throttled => "throttled",
            Self::Overloaded => "overloaded",
            Self::CircuitOpen => "circuit_open",
            Self::Status(_) => "status",
            Self::TooLarge(_) | Self::NotAnAnswer(_) => "bad_answer",
        }
    }
}

/// A call that brought no answer. Its texts are for the log; what callers read is decided in
/// `graphql::errors`.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    retry_after: Option<Duration>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Returns what kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns how long to wait before another try, if Move or the gateway knows that.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Adds how long to wait before another try.
    #[must_use]
    pub fn with_retry_after(self, retry_after: impl Into<Option<Duration>>) -> Self {
        Self { retry_after: retry_after.into(), ..self }
    }

    /// Makes an error of an answer that is no GraphQL answer; `problem` goes on "Move's answer is".
    #[must_use]
    pub fn not_an_answer(problem: &'static str) -> Self {
        ErrorKind::NotAnAnswer(problem).into()
    }

    /// Makes an error of an answer that is no JSON. Its cause repeats nothing of the answer, which is
    /// tenants' data.
    #[must_use]
    pub fn unreadable(malformed: Malformed) -> Self {
        let kind = ErrorKind::NotAnAnswer("no JSON");
        Self { cause: Some(Arc::new(malformed)), ..kind.into() }
    }

    /// Makes an error of a failed HTTP exchange.
    #[must_use]
    pub fn transport(error: reqwest::Error) -> Self {
        let kind = if error.is_connect() {
            ErrorKind::Unreachable
        } else if error.is_timeout() {
            ErrorKind::Timeout
        } else {
            ErrorKind::Interrupted
        };
        Self { cause: Some(Arc::new(error.without_url())), ..kind.into() }
    }

    /// See [`ErrorKind::outcome_is_unknown`].
    #[must_use]
    pub const fn outcome_is_unknown(&self) -> bool {
        self.kind.outcome_is_unknown()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, retry_after: None, cause: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
