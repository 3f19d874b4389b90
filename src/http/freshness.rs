//! Freshness and validation of answers that are kept (RFC 9110, section 13; RFC 9111).

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use super::error;
use crate::model::{CacheStatus, CallRecord, MediaType};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// Builds the response of a kept answer to this request: a GET may be kept by the caller too, and is answered with
/// 304 where the caller has the same bytes (RFC 9110, section 13.1.2). `validity` gives the answer's entity tag, and
/// for how long it stays fresh.
pub fn respond<'a>(
    head: &Parts,
    media_type: MediaType,
    body: Bytes,
    validity: impl FnOnce() -> (&'a str, Duration),
) -> Response {
    let mut response = error::respond(StatusCode::OK, media_type, body);
    if head.method == Method::GET {
        let (etag, max_age) = validity();
        if has_same(&head.headers, etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        let max_age = format!("private, max-age={}", max_age.as_secs());
        let vary = "accept, authorization, x-api-key";
        let more = [
            (header::CACHE_CONTROL, HeaderValue::try_from(max_age).ok()),
            (header::ETAG, HeaderValue::from_str(etag).ok()),
            (header::VARY, Some(HeaderValue::from_static(vary))),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}

/// Returns an entity tag without the mark of a weak one.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Returns true if the caller has the answer of this tag: `If-None-Match` compares weakly (RFC 9110, section 13.1.2).
fn has_same(headers: &HeaderMap, etag: &str) -> bool {
    let own = opaque(etag);
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(
        |list| {
            list.split(',')
                .map(str::trim)
                .any(|candidate| candidate == "*" || opaque(candidate) == own)
        },
    )
}

/// Says in the head what the cache had: `X-Cache`, and `Age` (RFC 9111, section 5.1) where the answer is not new.
pub fn announce(record: &CallRecord, headers: &mut HeaderMap) {
    let Some(status) = record.cache else { return };
    headers.insert(X_CACHE, HeaderValue::from_static(status.as_str()));
    if matches!(status, CacheStatus::Hit | CacheStatus::Stale) {
        headers.insert(header::AGE, HeaderValue::from(record.age().as_secs()));
    }
}
