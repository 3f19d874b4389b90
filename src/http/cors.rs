//! Which pages of other origins may call, with which headers (Fetch, "CORS protocol").

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::CorsLayer;

/// Headers that pages may send: the gateway's own, HTTP's, and those that known GraphQL clients and
/// tracers add by themselves.
const SENT: [&str; 21] = [
    "accept",
    "apollo-require-preflight",
    "apollographql-client-name",
    "apollographql-client-version",
    "authorization",
    "baggage",
    "cache-control",
    "content-encoding",
    "content-type",
    "graphql-client-name",
    "graphql-client-version",
    "idempotency-key",
    "if-none-match",
    "prefer",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-apollo-operation-name",
    "x-request-id",
    "x-request-timeout",
    "x-requested-with",
];

/// Headers of an answer that pages may read, beside those that they always may.
const READ: [&str; 9] = [
    "age",
    "etag",
    "idempotent-replayed",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-cache",
    "x-request-id",
];

/// Who may call from a page.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// Origins; none means that CORS is off.
    pub origins: Vec<HeaderValue>,
    /// Headers that pages may send besides those that are known.
    pub headers: Vec<HeaderName>,
}

impl Cors {
    /// Answers preflights, and says in answers who may read them; `None` if it is off.
    pub fn layer(self) -> Option<CorsLayer> {
        if self.origins.is_empty() {
            return None;
        }
        let sent = SENT.into_iter().map(HeaderName::from_static).chain(self.headers);
        Some(
            CorsLayer::new()
                .allow_origin(self.origins)
                .allow_methods([Method::GET, Method::HEAD, Method::POST])
                .allow_headers(sent.collect::<Vec<_>>())
                .expose_headers(READ.map(HeaderName::from_static))
                .max_age(Duration::from_hours(1)),
        )
    }
}
