//! The headers of limits: `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10), `Retry-After` (RFC 9110, section 10.2.3).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::Refusal;
use crate::graphql::ApiError;
use crate::limit::{Bucket, LimitError, Remaining, seconds};
use crate::model::ErrorCode;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The buckets that a request was charged to, and what is left in each.
pub type Levels = Vec<(Arc<Bucket>, Remaining)>;

/// Says what the buckets that a request was charged to have left.
pub fn announce(levels: &[(Arc<Bucket>, Remaining)], headers: &mut HeaderMap) {
    let policies = match levels {
        [] => return,
        [(bucket, _)] => Cow::Borrowed(&*bucket.policy),
        several => {
            let policies: Vec<_> = several.iter().map(|(bucket, _)| &*bucket.policy).collect();
            Cow::Owned(policies.join(", "))
        }
    };
    let mut states = String::with_capacity(64);
    for (bucket, level) in levels {
        if !states.is_empty() {
            states.push_str(", ");
        }
        state(&bucket.name, *level, &mut states);
    }
    insert(headers, &policies, &states);
}

fn state(name: &str, level: Remaining, into: &mut String) {
    let reset_after = if level.reset_after.is_zero() { 0 } else { seconds(level.reset_after) };
    // Writing into memory does not fail.
    let _ = write!(into, "\"{name}\";r={};t={reset_after}", level.remaining);
}

fn insert(headers: &mut HeaderMap, policies: &str, states: &str) {
    if let (Ok(policies), Ok(states)) =
        (HeaderValue::from_str(policies), HeaderValue::from_str(states))
    {
        headers.insert(RATE_LIMIT_POLICY, policies);
        headers.insert(RATE_LIMIT, states);
    }
}

impl Refusal {
    /// With what is left in the buckets that it was charged to.
    pub fn announcing(self, levels: &Levels) -> Self {
        let mut headers = HeaderMap::new();
        announce(levels, &mut headers);
        self.with_headers(headers)
    }
}

impl From<LimitError> for Refusal {
    fn from(refused: LimitError) -> Self {
        let code = match refused {
            LimitError::Rate { .. }
            | LimitError::InFlight { .. }
            | LimitError::Streams { .. }
            | LimitError::Connection { .. }
            | LimitError::Bodies { .. }
            | LimitError::Answers { .. } => ErrorCode::RateLimited,
            LimitError::AllStreams => ErrorCode::Overloaded,
            LimitError::NeverEnough { .. } | LimitError::TooCostly { .. } => {
                ErrorCode::OperationTooComplex
            }
        };
        let mut headers = HeaderMap::new();
        if let Some(wait) = refused.wait() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        if let LimitError::Rate { name, level, policy, .. } = &refused {
            let mut own = String::new();
            state(name, *level, &mut own);
            insert(&mut headers, policy, &own);
        }
        Self::from_error(ApiError::new(code, refused.to_string())).with_headers(headers)
    }
}
