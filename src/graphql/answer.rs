//! The answer as bytes.

use std::time::Duration;

use async_graphql::{PathSegment, Pos, Response, Value};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::errors::{self, ApiError};
use crate::model::{CacheStatus, ErrorCode, Failure, Trail};

/// A GraphQL answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The body, JSON.
    pub body: Bytes,
    /// Its errors, in order.
    pub failures: Vec<Failure>,
    /// How long to wait before another try, if one of its errors says so.
    pub retry_after: Option<Duration>,
    /// Whether execution began: an answer without `data` is a request error (GraphQL
    /// specification, section 7.1).
    pub has_data: bool,
    /// Whether any root field has a value.
    pub has_values: bool,
    /// Whether all of them have.
    pub has_all_values: bool,
}

impl Answer {
    /// Writes down what the engine answered, and what of it is stale.
    #[must_use]
    pub fn of(response: Response, trails: &[Trail]) -> Self {
        let errors: Vec<PlacedError> = response
            .errors
            .into_iter()
            .map(|error| {
                let api = errors::of_engine(&error);
                let mut path = error.path;
                path.extend(api.below.iter().cloned());
                PlacedError { api, path, locations: error.locations }
            })
            .collect();
        let is_request_error = response.data == Value::Null
            && !errors.is_empty()
            && errors.iter().all(|error| error.path.is_empty());
        let data = (!is_request_error).then_some(&response.data);
        Self::write(data, &errors, Extensions::of(trails))
    }

    /// An answer of errors alone: nothing was executed.
    #[must_use]
    pub fn refusal(errors: impl IntoIterator<Item = ApiError>) -> Self {
        let placed = |mut api: ApiError| {
            let path = std::mem::take(&mut api.below);
            let locations = api.position.into_iter().collect();
            PlacedError { api, path, locations }
        };
        Self::write(None, &errors.into_iter().map(placed).collect::<Vec<_>>(), None)
    }

    /// An answer that was given before: one with all its values.
    #[must_use]
    pub const fn again(body: Bytes) -> Self {
        let failures = Vec::new();
        Self {
            body,
            failures,
            retry_after: None,
            has_data: true,
            has_values: true,
            has_all_values: true,
        }
    }

    /// The answer to an operation with one root field, whose value `write` writes.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn of_one<E>(
        key: &str,
        trails: &[Trail],
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Self, E> {
        // More than most jobs take.
        let mut body = Vec::with_capacity(2_048);
        // A key is a GraphQL name: nothing in it needs an escape.
        body.extend_from_slice(b"{\"data\":{\"");
        body.extend_from_slice(key.as_bytes());
        body.extend_from_slice(b"\":");
        write(&mut body)?;
        body.push(b'}');
        if let Some(extensions) = Extensions::of(trails) {
            body.extend_from_slice(b",\"extensions\":");
            // Numbers and constant texts: they cannot fail to become JSON.
            let _ = serde_json::to_writer(&mut body, &extensions);
        }
        body.push(b'}');
        Ok(Self::again(body.into_boxed_slice().into()))
    }

    fn write(data: Option<&Value>, errors: &[PlacedError], extensions: Option<Extensions>) -> Self {
        let failures = errors.iter().map(PlacedError::failure).collect();
        // Engine values and raw JSON texts: nothing here can fail to become JSON.
        let body = serde_json::to_vec(&Body { errors, data, extensions }).unwrap_or_default();
        let is_value = |value: &Value| *value != Value::Null;
        let (has_values, has_all_values) = match data {
            Some(Value::Object(fields)) => {
                (fields.values().any(is_value), fields.values().all(is_value))
            }
            _ => (false, false),
        };
        let has_data = data.is_some();
        let retry_after = errors.iter().filter_map(|error| error.api.retry_after).max();
        Self { body: body.into(), failures, retry_after, has_data, has_values, has_all_values }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [PlacedError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Extensions>,
}

/// What is said of the answer as a whole.
#[derive(Serialize)]
struct Extensions {
    cache: Staleness,
}

/// Something in the answer is past its time.
#[derive(Serialize)]
struct Staleness {
    status: &'static str,
    /// Seconds since the oldest of it was fetched.
    age: u64,
}

impl Extensions {
    fn of(trails: &[Trail]) -> Option<Self> {
        let stale = trails.iter().filter_map(|trail| {
            trail.note(|notes| (notes.cache == Some(CacheStatus::Stale)).then_some(notes.age))
        });
        let age = stale.max()?.as_secs();
        Some(Self { cache: Staleness { status: CacheStatus::Stale.as_str(), age } })
    }
}

/// An error with its place in the answer and in the document.
struct PlacedError {
    api: ApiError,
    path: Vec<PathSegment>,
    locations: Vec<Pos>,
}

impl PlacedError {
    fn failure(&self) -> Failure {
        let root = match self.path.first() {
            Some(PathSegment::Field(key)) => Some(key.as_str().into()),
            _ => None,
        };
        Failure { code: self.api.code, root }
    }
}

impl Serialize for PlacedError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            message: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            locations: &'a [Pos],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            path: &'a [PathSegment],
            error_type: &'a str,
            error_info: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a RawValue>,
            extensions: Code,
        }

        #[derive(Serialize)]
        struct Code {
            code: ErrorCode,
        }

        Wire {
            message: &self.api.message,
            locations: &self.locations,
            path: &self.path,
            error_type: &self.api.error_type,
            error_info: self.api.error_info.as_deref(),
            data: self.api.data.as_deref(),
            extensions: Code { code: self.api.code },
        }
        .serialize(serializer)
    }
}
