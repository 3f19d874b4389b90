//! What a limit says in an answer's head: `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10), `Retry-After` (RFC 9110, section 10.2.3).

use std::fmt::Write as _;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::Refusal;
use super::{Rules, Service};
use crate::graphql::ApiError;
use crate::limit::{Bucket, Charge, Level, Refused, seconds};
use crate::model::{CallRecord, Caller, Decision, ErrorCode};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The buckets that a request was charged to, and what is left in each.
pub type Levels = Vec<(Arc<Bucket>, Level)>;

/// Notes what the limiter decided.
pub fn decided<T>(record: &mut CallRecord, decided: Result<T, Refused>) -> Result<T, Refused> {
    let decision = decided.as_ref().map_or_else(Refused::decision, |_| Decision::Admitted);
    record.decision = Some(decision);
    decided
}

/// Charges a request that is not executed: one answered from memory, or refused for its document.
pub async fn charge(
    service: &Service,
    rules: &Rules,
    caller: &Caller,
    charge: &Charge,
    record: &mut CallRecord,
) -> Result<Levels, Refused> {
    record.cost = charge.total();
    let tenant = &caller.tenant.id;
    let Some(limits) = rules.limits.of(tenant) else { return Ok(Levels::new()) };
    let charged = service.limiter.charge(tenant, limits, &caller.credential, charge).await;
    decided(record, charged)
}

/// Says what the buckets that a request was charged to have left.
pub fn announce(levels: &[(Arc<Bucket>, Level)], headers: &mut HeaderMap) {
    let (mut policies, mut states) = (String::with_capacity(64), String::with_capacity(64));
    for (bucket, level) in levels {
        if !policies.is_empty() {
            policies.push_str(", ");
            states.push_str(", ");
        }
        policies.push_str(&bucket.policy);
        state(&bucket.name, *level, &mut states);
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
            Refused::Rate { .. } | Refused::InFlight { .. } | Refused::Bodies { .. } => {
                ErrorCode::RateLimited
            }
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
