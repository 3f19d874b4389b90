//! Refusals of HTTP's own, and the status of every answer.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::auth;
use crate::graphql::{Answer, ApiError, Completeness};
use crate::model::{ErrorCode, Failure, MediaType, RequestId};

/// A request that is answered before it is a GraphQL request, or instead of being executed.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    media_type: MediaType,
    errors: Vec<ApiError>,
    headers: HeaderMap,
}

impl Refusal {
    /// Refuses with the code's own status.
    #[must_use]
    pub fn from_error(error: ApiError) -> Self {
        Self::of_all(error.code, vec![error])
    }

    /// Refuses a well-formed request for what its document or its variables are: with 200 to
    /// `application/json`, with the code's status to the other media type.
    #[must_use]
    pub fn of_document(errors: Vec<ApiError>, media_type: MediaType) -> Self {
        let code = errors.first().map_or(ErrorCode::Internal, |first| first.code);
        let refusal = Self::of_all(code, errors);
        match media_type {
            MediaType::Json => Self { status: StatusCode::OK, ..refusal },
            MediaType::GraphqlResponse => Self { media_type, ..refusal },
        }
    }

    /// Refuses with several errors of one code.
    #[must_use]
    pub fn of_all(code: ErrorCode, errors: Vec<ApiError>) -> Self {
        Self {
            status: status_of(code),
            media_type: MediaType::Json,
            errors,
            headers: HeaderMap::new(),
        }
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its errors.
    #[must_use]
    pub fn into_errors(self) -> Vec<ApiError> {
        self.errors
    }

    /// Returns its first error's code.
    pub fn code(&self) -> Option<ErrorCode> {
        self.errors.first().map(|error| error.code)
    }

    /// With another status than its code's.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// With one more header.
    pub fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// With more to say in the head.
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }
}

impl From<auth::Error> for Refusal {
    fn from(error: auth::Error) -> Self {
        // RFC 9110, section 11.6.1: a 401 names a scheme.
        Self::from_error(ApiError::new(ErrorCode::Unauthenticated, error.to_string()))
            .with_header(header::WWW_AUTHENTICATE, "Bearer")
    }
}

impl Refusal {
    /// The response to a request, and the errors in it for the record.
    pub fn into_parts(self, request: RequestId) -> (Response, Vec<Failure>) {
        let answer = Answer::refusal(request, self.errors);
        let failures = answer.failures.clone();
        let mut response = respond(self.status, self.media_type, answer.body);
        response.headers_mut().extend(self.headers);
        (response, failures)
    }
}

/// The response to what never became a call: it has an id of its own.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let id = RequestId::new();
        let (mut response, _) = self.into_parts(id);
        identify(id, &mut response);
        response
    }
}

/// The header that names a request, in answers and in the log.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives an answer an id of its own, if its request was given none.
pub fn identified<B>(mut response: axum::http::Response<B>) -> axum::http::Response<B> {
    if !response.headers().contains_key(X_REQUEST_ID) {
        identify(RequestId::new(), &mut response);
    }
    response
}

/// Names the request in the head of its answer.
pub fn identify<B>(id: RequestId, response: &mut axum::http::Response<B>) {
    if let Ok(id) = HeaderValue::from_str(id.encode(&mut [0; 36])) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
}

/// Tells of a panic, which is a bug, and answers for it.
pub fn panicked(request: RequestId) -> Refusal {
    tracing::error!(request_id = %request, "a request panicked");
    Refusal::from_error(ApiError::internal())
}

/// A path that is not served.
pub fn not_found(paths: &str) -> Response {
    let message = format!("Nothing is served here; GraphQL is at {paths}.");
    let error = ApiError::new(ErrorCode::BadUserInput, message);
    Refusal { status: StatusCode::NOT_FOUND, ..Refusal::from_error(error) }.into_response()
}

/// The status of an executed, or not executable, GraphQL request: to `application/json` a
/// well-formed request is 200 whatever comes of it; `application/graphql-response+json` says 4xx
/// where nothing was executed.
#[must_use]
pub fn status(answer: &Answer, media_type: MediaType) -> StatusCode {
    // What the gateway was too busy to do was not executed either.
    let is_overload = |failure: &Failure| failure.code == ErrorCode::Overloaded;
    let has_values = answer.completeness == Completeness::SomeValues;
    if !answer.failures.is_empty() && !has_values && answer.failures.iter().all(is_overload) {
        return status_of(ErrorCode::Overloaded);
    }
    match (answer.failures.first(), media_type) {
        (Some(first), MediaType::GraphqlResponse)
            if answer.completeness == Completeness::NotExecuted =>
        {
            status_of(first.code)
        }
        _ => StatusCode::OK,
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The number of headers an answer has room for before it has to grow.
const HEADERS: usize = 12;

/// An answer as a response.
pub fn respond(status: StatusCode, media_type: MediaType, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, media_type.content_type());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
