//! What a limit says in an answer's head: `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10), `Retry-After` (RFC 9110, section 10.2.3).

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::Refusal;
use crate::graphql::ApiError;
use crate::limit::{Bucket, Level, Refused, seconds};
use crate::model::ErrorCode;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What the buckets that a request was charged to say of themselves.
pub fn announce<'a>(levels: impl Iterator<Item = (&'a Bucket, Level)>, headers: &mut HeaderMap) {
    let (mut policies, mut states) = (String::with_capacity(64), String::with_capacity(64));
    for (bucket, level) in levels {
        if !policies.is_empty() {
            policies.push_str(", ");
            states.push_str(", ");
        }
        policies.push_str(&bucket.policy);
        state(&bucket.name, level, &mut states);
    }
    insert(headers, policies, states);
}

fn state(name: &str, level: Level, into: &mut String) {
    let full_in = if level.full_in.is_zero() { 0 } else { seconds(level.full_in) };
    // Writing into memory does not fail.
    let _ = write!(into, "\"{name}\";r={};t={full_in}", level.remaining);
}

fn insert(headers: &mut HeaderMap, policies: String, states: String) {
    if policies.is_empty() {
        return;
    }
    if let (Ok(policies), Ok(states)) =
        (HeaderValue::try_from(policies), HeaderValue::try_from(states))
    {
        headers.insert(RATE_LIMIT_POLICY, policies);
        headers.insert(RATE_LIMIT, states);
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Rate { .. } | Refused::InFlight { .. } => ErrorCode::RateLimited,
            Refused::NeverEnough { .. } | Refused::TooCostly { .. } => {
                ErrorCode::OperationTooComplex
            }
        };
        let mut headers = HeaderMap::new();
        if let Some(wait) = refused.wait() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        if let Refused::Rate { name, level, policy, .. } = &refused {
            let mut own = String::new();
            state(name, *level, &mut own);
            insert(&mut headers, policy.to_string(), own);
        }
        Self::of(ApiError::new(code, refused.to_string())).with_headers(headers)
    }
}
