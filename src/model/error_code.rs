//! The codes a caller can meet. `docs/errors.md` holds the same table; a test compares them.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $status:literal, $error_type:literal;)+) => {
        /// The code of a GraphQL error: its `extensions.code`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
        #[repr(u8)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $variant,)+
        }

        impl ErrorCode {
            /// All codes, in the order of `docs/errors.md`.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as callers see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The HTTP status of an answer that consists of this error alone and never began to
            /// execute (a "request error" of the GraphQL specification, section 7.1.2).
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// `errorType` in Move's (AppSync's) error shape, where Move itself gave none.
            #[must_use]
            pub const fn error_type(self) -> &'static str {
                match self { $(Self::$variant => $error_type),+ }
            }

            /// Returns its meaning: the table's text.
            #[must_use]
            pub fn meaning(self) -> String {
                match self { $(Self::$variant => [$($doc),+].map(str::trim).join(" ")),+ }
            }
        }
    };
}

codes! {
    /// No credential, or one that is unknown, expired or malformed.
    Unauthenticated = "UNAUTHENTICATED", 401, "UnauthorizedException";
    /// The caller is known and may not do this.
    Forbidden = "FORBIDDEN", 403, "Unauthorized";
    /// The tenant's own limit is used up; `Retry-After` says when to come back.
    RateLimited = "RATE_LIMITED", 429, "TooManyRequestsException";
    /// The gateway is busy with everybody's calls, or cannot remember an idempotency key; `Retry-After`
    /// says when to come back.
    Overloaded = "OVERLOADED", 503, "ServiceUnavailableException";
    /// An argument, a variable or the HTTP request itself is not what it must be.
    BadUserInput = "BAD_USER_INPUT", 400, "BadRequestException";
    /// No such job, take, file or volume among the tenant's own.
    NotFound = "NOT_FOUND", 200, "MoveNotFoundError";
    /// A document's hash without its text (automatic persisted queries): send the text.
    PersistedQueryNotSupported = "PERSISTED_QUERY_NOT_SUPPORTED", 400, "BadRequestException";
    /// The document is not GraphQL.
    GraphqlParseFailed = "GRAPHQL_PARSE_FAILED", 400, "ValidationError";
    /// The document does not fit the schema.
    GraphqlValidationFailed = "GRAPHQL_VALIDATION_FAILED", 400, "ValidationError";
    /// The document is larger or deeper than the gateway's limits allow, or the request
    /// costs too much.
    OperationTooComplex = "OPERATION_TOO_COMPLEX", 400, "ValidationError";
    /// Move answered with an error, or with something that is no answer.
    UpstreamError = "UPSTREAM_ERROR", 502, "UpstreamError";
    /// Move did not answer in time.
    UpstreamTimeout = "UPSTREAM_TIMEOUT", 504, "UpstreamTimeout";
    /// Move cannot be reached.
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE", 503, "UpstreamUnavailable";
    /// A mutation was sent and its answer never came: it may or may not have happened.
    OutcomeUnknown = "OUTCOME_UNKNOWN", 504, "OutcomeUnknown";
    /// In a stream of `jobsUpdated`: changes are missing. Read your jobs anew; the stream goes on.
    Resync = "RESYNC", 409, "Resync";
    /// The idempotency key was used before, with other arguments.
    IdempotencyConflict = "IDEMPOTENCY_CONFLICT", 422, "IdempotencyConflict";
    /// The call could not be recorded, so it was not made.
    AuditUnavailable = "AUDIT_UNAVAILABLE", 503, "ServiceUnavailableException";
    /// A filter or `totalCount` needs the index of jobs, which is being filled (`Retry-After` says when to come back)
    /// or is not kept for this account.
    IndexUnavailable = "INDEX_UNAVAILABLE", 503, "ServiceUnavailableException";
    /// The gateway's own fault; the request id finds it in the log.
    Internal = "INTERNAL", 500, "InternalFailure";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
