//! HTTP requests that are no GraphQL requests.

use axum::http::{StatusCode, header};

use super::error::Refusal;
use crate::graphql::ApiError;
use crate::model::ErrorCode;

/// Why an HTTP request is no GraphQL request. The text is what the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Neither GET nor POST.
    #[error("GraphQL is asked by POST, or by GET for queries.")]
    Method,
    /// A mutation by GET.
    #[error("A mutation is sent by POST.")]
    MutationByGet,
    /// A body of another type.
    #[error("The body must be JSON: `Content-Type: application/json`, in UTF-8.")]
    ContentType,
    /// A body in another transfer coding than chunks (RFC 9112, section 6.1).
    #[error("Of transfer codings `chunked` alone is known.")]
    TransferCoding,
    /// A body in a coding that is not taken.
    #[error("The body must be as it is, or in one layer of gzip: `Content-Encoding: gzip`.")]
    ContentEncoding,
    /// A body that is not what `Content-Encoding` says.
    #[error("The body is not gzip, though `Content-Encoding` says so.")]
    NotGzip,
    /// No media type in common.
    #[error("Answers are `application/json` or `application/graphql-response+json`: accept one.")]
    NotAcceptable,
    /// A subscription whose caller takes no stream.
    #[error(
        "A subscription is answered by a stream: accept `text/event-stream`, or `multipart/mixed;subscriptionSpec=1.0`."
    )]
    NoStream,
    /// A query or a mutation whose caller takes streams alone.
    #[error(
        "Queries and mutations are answered at once: accept `application/json`, beside the types of streams."
    )]
    StreamsAlone,
    /// A query or a mutation over a WebSocket.
    #[error("Subscriptions alone come over a WebSocket: send queries and mutations by HTTP.")]
    NoSubscription,
    /// A body over the limit.
    #[error("The body is larger than {0} bytes.")]
    TooLarge(usize),
    /// A body that did not come in time.
    #[error("The body did not arrive in time.")]
    Slow,
    /// A body that broke off.
    #[error("The body broke off.")]
    Interrupted,
    /// A time that is none.
    #[error("`X-Request-Timeout` is a time such as 2s or 500ms.")]
    Time,
    /// A key that cannot be one, or several.
    #[error("`Idempotency-Key` is one text of up to 255 visible ASCII characters.")]
    IdempotencyKey,
    /// No host, two of them, or one that is none.
    #[error("A request names its host once, in `Host`.")]
    Host,
    /// A header that has one value came twice.
    #[error("`{0}` is given twice: send it once.")]
    Twice(&'static str),
    /// A document's hash without its text. The words are those that clients look for.
    #[error("PersistedQueryNotSupported")]
    PersistedQuery,
    /// Not JSON.
    #[error("The body is not JSON: {0}.")]
    NotJson(String),
    /// JSON of another shape.
    #[error("This is not a GraphQL request: {0}.")]
    Shape(String),
}

impl From<BadRequest> for Refusal {
    fn from(error: BadRequest) -> Self {
        use BadRequest as E;
        let code = match error {
            E::PersistedQuery => ErrorCode::PersistedQueryNotSupported,
            _ => ErrorCode::BadUserInput,
        };
        let refusal = Self::from_error(ApiError::new(code, error.to_string()));
        match error {
            E::Method => refusal
                .with_status(StatusCode::METHOD_NOT_ALLOWED)
                .with_header(header::ALLOW, "GET, HEAD, POST"),
            E::MutationByGet => refusal
                .with_status(StatusCode::METHOD_NOT_ALLOWED)
                .with_header(header::ALLOW, "POST"),
            E::TransferCoding => refusal.with_status(StatusCode::NOT_IMPLEMENTED),
            E::ContentType => refusal.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            // RFC 9110, section 12.5.3: a 415 says which codings are taken.
            E::ContentEncoding => refusal
                .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .with_header(header::ACCEPT_ENCODING, "gzip, identity"),
            E::NotAcceptable | E::NoStream | E::StreamsAlone => {
                refusal.with_status(StatusCode::NOT_ACCEPTABLE)
            }
            E::TooLarge(_) => refusal.with_status(StatusCode::PAYLOAD_TOO_LARGE),
            E::Slow => refusal.with_status(StatusCode::REQUEST_TIMEOUT),
            E::Interrupted
            | E::Host
            | E::NoSubscription
            | E::NotGzip
            | E::NotJson(_)
            | E::Shape(_)
            | E::Time
            | E::Twice(_)
            | E::PersistedQuery
            | E::IdempotencyKey => refusal,
        }
    }
}
