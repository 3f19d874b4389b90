//! Why Move gave no answer.

use std::time::Duration;

/// A call that brought no answer. The texts are for the log; what callers read is decided in
/// `graphql::errors`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection came about, so nothing was sent.
    #[error("cannot connect to Move")]
    Unreachable,
    /// The connection broke after the call may have been sent.
    #[error("the connection to Move broke before its answer was complete")]
    Interrupted,
    /// The deadline passed after the call may have been sent.
    #[error("Move did not answer in time")]
    Timeout,
    /// Move refused the account's key.
    #[error("Move refused the account's API key (HTTP {0})")]
    KeyRefused(u16),
    /// Move asked for fewer calls.
    #[error("Move throttles this account")]
    Throttled {
        /// How long Move asks to wait.
        retry_after: Option<Duration>,
    },
    /// Too many calls were under way for too long: nothing was sent.
    #[error("no turn came for this call in time")]
    Overloaded,
    /// Move has been failing, and is left alone for a while: nothing was sent.
    #[error("Move has been failing; no call is made for another {} ms", .retry_after.as_millis())]
    CircuitOpen {
        /// When a call may be made again.
        retry_after: Duration,
    },
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

impl Error {
    /// Whether Move may have carried out the call although no answer came.
    #[must_use]
    pub const fn outcome_is_unknown(&self) -> bool {
        match self {
            Self::Unreachable
            | Self::KeyRefused(_)
            | Self::Throttled { .. }
            | Self::Overloaded
            | Self::CircuitOpen { .. } => false,
            // A gateway in between answers 502 and 504 when it lost sight of a call it forwarded.
            Self::Status(status) => *status >= 500,
            Self::Interrupted | Self::Timeout | Self::TooLarge(_) | Self::NotAnAnswer(_) => true,
        }
    }

    /// Whether it says that Move is unwell, rather than that it did not like the call.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable | Self::Interrupted | Self::Timeout | Self::NotAnAnswer(_) => true,
            Self::Status(status) => *status >= 500,
            Self::KeyRefused(_)
            | Self::Throttled { .. }
            | Self::Overloaded
            | Self::CircuitOpen { .. }
            | Self::TooLarge(_) => false,
        }
    }

    /// As metrics name it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Interrupted => "interrupted",
            Self::Timeout => "timeout",
            Self::KeyRefused(_) => "key_refused",
            Self::Throttled { .. } => "throttled",
            Self::Overloaded => "overloaded",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::Status(_) => "status",
            Self::TooLarge(_) | Self::NotAnAnswer(_) => "bad_answer",
        }
    }
}
