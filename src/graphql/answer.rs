//! The answer as bytes.

use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::errors::{ApiError, Segment};
use crate::model::{CacheStatus, ErrorCode, Failure, RequestId, Trail};
use crate::operation::Pos;

/// The beginning of an answer that has no errors.
pub(super) const BEGUN: &[u8] = b"{\"data\":";

/// A GraphQL answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The body, JSON.
    pub body: Bytes,
    /// Its errors, in order.
    pub failures: Vec<Failure>,
    /// The time to wait before another try, if one of its errors says so.
    pub retry_after: Option<Duration>,
    /// The part of its data that is there.
    pub completeness: Completeness,
}

/// The part of an answer's data that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// None was executed: an answer without `data` is a request error (GraphQL specification, section 7.1).
    NotExecuted,
    /// No root field has a value.
    NoValue,
    /// Some root fields have a value, or all.
    SomeValues,
}

impl Answer {
    /// The answer to a request that was executed. `body` is [`BEGUN`] and the data.
    pub(super) fn executed(
        request: RequestId,
        mut body: Vec<u8>,
        errors: &[PlacedError],
        skipped: Vec<Failure>,
        has_values: bool,
        extensions: Option<Extensions>,
    ) -> Self {
        if !errors.is_empty() {
            // Errors come first, so that people see them.
            let data = body.split_off(BEGUN.len());
            body.clear();
            append(&mut body, b"{\"errors\":", &Told { request, errors });
            body.extend_from_slice(b",\"data\":");
            body.extend_from_slice(&data);
        }
        if let Some(extensions) = extensions {
            append(&mut body, b",\"extensions\":", &extensions);
        }
        body.push(b'}');
        let failures = errors.iter().map(PlacedError::failure).chain(skipped).collect();
        let retry_after = retry_after(errors);
        let body = body.into_boxed_slice().into();
        let completeness =
            if has_values { Completeness::SomeValues } else { Completeness::NoValue };
        Self { body, failures, retry_after, completeness }
    }

    /// The event of a stream that changes are missing before a cursor.
    #[must_use]
    pub fn resync(request: RequestId, key: &str, cursor: &str) -> Self {
        let message = "Changes are missing here: read your jobs anew. The stream goes on.";
        let api = ApiError::new(ErrorCode::Resync, message);
        let path = vec![Segment::Key(key.into())];
        let cursor = Some(cursor.into());
        let error = PlacedError { api, path, locations: Vec::new(), cursor };
        let body = [BEGUN, b"null"].concat();
        Self::executed(request, body, &[error], Vec::new(), false, None)
    }

    /// An answer of errors alone: nothing of the request was executed.
    #[must_use]
    pub fn refusal(request: RequestId, errors: impl IntoIterator<Item = ApiError>) -> Self {
        let placed = |mut api: ApiError| {
            let path = std::mem::take(&mut api.path);
            let locations = api.position.into_iter().collect();
            PlacedError { api, path, locations, cursor: None }
        };
        let errors: Vec<PlacedError> = errors.into_iter().map(placed).collect();
        let mut body = Vec::new();
        append(&mut body, b"{\"errors\":", &Told { request, errors: &errors });
        body.push(b'}');
        let failures = errors.iter().map(PlacedError::failure).collect();
        Self {
            body: body.into(),
            failures,
            retry_after: retry_after(&errors),
            completeness: Completeness::NotExecuted,
        }
    }
}

fn retry_after(errors: &[PlacedError]) -> Option<Duration> {
    errors.iter().filter_map(|error| error.api.retry_after).max()
}

#[expect(clippy::expect_used, reason = "texts, numbers and JSON that was read as JSON")]
fn append(body: &mut Vec<u8>, name: &[u8], value: &impl Serialize) {
    body.extend_from_slice(name);
    serde_json::to_writer(body, value).expect("always JSON");
}

/// The extensions of an answer.
#[derive(Serialize)]
pub(super) struct Extensions {
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
    pub(super) fn from_trails(trails: &[Trail]) -> Option<Self> {
        let stale = trails.iter().filter_map(|trail| {
            trail.note(|notes| (notes.cache == Some(CacheStatus::Stale)).then_some(notes.age))
        });
        let age = stale.max()?.as_secs();
        Some(Self { cache: Staleness { status: CacheStatus::Stale.as_str(), age } })
    }
}

/// An error with its place in the answer and in the document.
#[derive(Debug)]
pub struct PlacedError {
    /// The error.
    pub api: ApiError,
    /// Its path in the answer.
    pub path: Vec<Segment>,
    /// Its places in the document.
    pub locations: Vec<Pos>,
    /// The place in a stream behind which it goes on.
    pub cursor: Option<Box<str>>,
}

impl PlacedError {
    fn failure(&self) -> Failure {
        let root = match self.path.as_slice() {
            [Segment::Key(key), Segment::Index(place), ..] => Some(format!("{key}.{place}").into()),
            [Segment::Key(key), ..] => Some(key.clone()),
            _ => None,
        };
        Failure { code: self.api.code, root }
    }
}

/// The errors of a request as its caller reads them. Each names the request: who uses a client of Move's sees no
/// headers.
struct Told<'a> {
    request: RequestId,
    errors: &'a [PlacedError],
}

impl<'a> Serialize for Told<'a> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            message: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            locations: &'a [Pos],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            path: &'a [Segment],
            error_type: &'a str,
            error_info: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a RawValue>,
            extensions: Facts<'a>,
        }

        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Facts<'a> {
            code: ErrorCode,
            request_id: RequestId,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<&'a str>,
        }

        let wire = |PlacedError { api, path, locations, cursor }: &'a PlacedError| Wire {
            message: &api.message,
            locations,
            path,
            error_type: &api.error_type,
            error_info: api.error_info.as_deref(),
            data: api.data.as_deref(),
            extensions: Facts {
                code: api.code,
                request_id: self.request,
                cursor: cursor.as_deref(),
            },
        };
        serializer.collect_seq(self.errors.iter().map(wire))
    }
}
