//! Refusals of HTTP's own, and the status of every answer.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::media_type::MediaType;
use super::request;
use crate::auth;
use crate::graphql::{Answer, ApiError};
use crate::model::{ErrorCode, Failure};

/// A request that is answered before it is a GraphQL request, or instead of being executed.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    errors: Vec<ApiError>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// Refuses with the code's own status.
    #[must_use]
    pub fn of(error: ApiError) -> Self {
        Self { status: status_of(error.code), errors: vec![error], header: None }
    }

    /// Refuses with several errors of one code.
    #[must_use]
    pub fn of_all(code: ErrorCode, errors: Vec<ApiError>) -> Self {
        Self { status: status_of(code), errors, header: None }
    }

    fn with_header(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, HeaderValue::from_static(value))), ..self }
    }
}

impl From<auth::Error> for Refusal {
    fn from(error: auth::Error) -> Self {
        // RFC 9110, section 11.6.1: a 401 names a scheme.
        Self::of(ApiError::new(ErrorCode::Unauthenticated, error.to_string()))
            .with_header(header::WWW_AUTHENTICATE, "Bearer")
    }
}

impl From<request::Error> for Refusal {
    fn from(error: request::Error) -> Self {
        use request::Error as E;
        let refusal = Self::of(ApiError::new(ErrorCode::BadUserInput, error.to_string()));
        match error {
            E::Method => Self { status: StatusCode::METHOD_NOT_ALLOWED, ..refusal }
                .with_header(header::ALLOW, "GET, POST"),
            E::MutationByGet => Self { status: StatusCode::METHOD_NOT_ALLOWED, ..refusal }
                .with_header(header::ALLOW, "POST"),
            E::ContentType => Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..refusal },
            E::NotAcceptable => Self { status: StatusCode::NOT_ACCEPTABLE, ..refusal },
            E::TooLarge(_) => Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..refusal },
            E::Slow => Self { status: StatusCode::REQUEST_TIMEOUT, ..refusal },
            E::Interrupted | E::NotJson(_) | E::Shape(_) => refusal,
        }
    }
}

impl Refusal {
    /// The response, and the errors in it for the record.
    pub fn into_parts(self) -> (Response, Vec<Failure>) {
        let answer = Answer::refusal(self.errors);
        let failures = answer.failures.clone();
        let mut response = respond(self.status, MediaType::Json, answer);
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        (response, failures)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.into_parts().0
    }
}

/// A path that is not served.
pub fn not_found(paths: &str) -> Response {
    let message = format!("Nothing is served here; GraphQL is at {paths}.");
    let error = ApiError::new(ErrorCode::BadUserInput, message);
    Refusal { status: StatusCode::NOT_FOUND, errors: vec![error], header: None }.into_response()
}

/// The status of an executed, or not executable, GraphQL request: to `application/json` a
/// well-formed request is 200 whatever comes of it; `application/graphql-response+json` says 4xx
/// where nothing was executed.
#[must_use]
pub fn status(answer: &Answer, media_type: MediaType) -> StatusCode {
    match (answer.failures.first(), media_type) {
        (Some(first), MediaType::GraphqlResponse) if !answer.has_data => status_of(first.code),
        _ => StatusCode::OK,
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An answer as a response.
pub fn respond(status: StatusCode, media_type: MediaType, answer: Answer) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type.content_type()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, answer.body).into_response()
}
