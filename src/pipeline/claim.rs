//! A mutation with an `Idempotency-Key` is executed once.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;

use super::{Authenticated, Service};
use crate::graphql::ApiError;
use crate::http::bad_request::BadRequest;
use crate::http::error::Refusal;
use crate::http::request::IDEMPOTENCY_KEY;
use crate::idempotency::{Begun, Claim, Key};
use crate::model::{ClaimCheck, ErrorCode, KeyedMutation, MediaType, TenantId, Trail};
use crate::operation::Operation;

/// Longest name, in bytes.
const LONGEST_KEY: usize = 255;

/// The right to execute a mutation.
#[derive(Debug)]
pub enum Claimed {
    /// It bears no key: it is executed as often as it is sent.
    Unkeyed,
    /// It bears a key, and this is the try that executes it.
    Once(Box<Claim>),
    /// An earlier try did all of it: its jobs are read.
    Replay(KeyedMutation),
}

impl Claimed {
    /// Returns the mutation, if it bears a key.
    pub fn keyed(&self) -> Option<&KeyedMutation> {
        match self {
            Self::Unkeyed => None,
            Self::Once(claim) => Some(&claim.mutation),
            Self::Replay(mutation) => Some(mutation),
        }
    }

    /// Returns how what it sends asks whether its key is still its own.
    pub fn check(&self, service: &Arc<Service>) -> Option<ClaimCheck> {
        let Self::Once(claim) = self else { return None };
        let (service, place) = (Arc::clone(service), claim.place.clone());
        Some(ClaimCheck::new(move || {
            let (service, place) = (Arc::clone(&service), place.clone());
            Box::pin(async move { service.idempotency.stands(&place).await })
        }))
    }

    /// Notes what became of the mutation, for its next try.
    pub async fn end(self, service: &Service, trails: &[Trail]) {
        if let Self::Once(claim) = self {
            let effect = |trail: &Trail| trail.note(|notes| notes.effect.clone());
            let effects = trails.iter().map(|trail| (&*trail.response_key, effect(trail)));
            service.idempotency.end(*claim, effects).await;
        }
    }
}

/// Claims a mutation before it is executed.
///
/// # Errors
/// When another mutation bears its key, an earlier try is still under way, or its key cannot be remembered.
pub async fn claim(
    service: &Service,
    request: &Authenticated<'_>,
    key: Option<Key>,
    operation: &Operation,
) -> Result<Claimed, Refusal> {
    let Some(key) = key else { return Ok(Claimed::Unkeyed) };
    match service.idempotency.begin(&key, operation.fingerprint(), request.deadline).await {
        Begun::Claimed(claim) => Ok(Claimed::Once(claim)),
        Begun::Done(mutation) => Ok(Claimed::Replay(mutation)),
        Begun::Conflict => Err(conflict()),
        Begun::Running => Err(still_running(request.media_type)),
        Begun::Full { until } => Err(full(service.clock.now(), until)),
        Begun::Unavailable => Err(unavailable()),
    }
}

/// Reads the caller's key for a mutation: a string of structured fields (RFC 9651, section 3.3.3) as the
/// draft has it, or the same without quotes.
///
/// # Errors
/// When it is no such text, or there are several.
pub fn key(headers: &HeaderMap, tenant: &TenantId) -> Result<Option<Key>, BadRequest> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| BadRequest::IdempotencyKey)?.trim();
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or(BadRequest::IdempotencyKey)?,
        None => text,
    };
    let is_key = values.next().is_none()
        && (1..=LONGEST_KEY).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if is_key { Ok(Some(Key::of(tenant, text))) } else { Err(BadRequest::IdempotencyKey) }
}

fn conflict() -> Refusal {
    let message = "This Idempotency-Key was used before with another operation or other variables. A \
                   new mutation needs a new key.";
    Refusal::from_error(ApiError::new(ErrorCode::IdempotencyConflict, message))
}

/// Refuses a key that there is no place for: older ones are not forgotten before their time.
fn full(now: Timestamp, until: Timestamp) -> Refusal {
    let message = "As many Idempotency-Keys of this tenant are remembered as may be. Send the mutation \
                   again when older ones are forgotten, or without a key.";
    // Rounded up: whoever waits so long finds a place.
    let seconds = until.duration_since(now).as_millis().max(0) / 1_000 + 1;
    let mut headers = HeaderMap::new();
    headers
        .insert(header::RETRY_AFTER, HeaderValue::from(i64::try_from(seconds).unwrap_or(i64::MAX)));
    Refusal::from_error(ApiError::new(ErrorCode::RateLimited, message)).with_headers(headers)
}

/// Refuses a mutation whose key cannot be entered.
fn unavailable() -> Refusal {
    Refusal::from_error(ApiError::key_not_remembered()).with_header(header::RETRY_AFTER, "1")
}

fn still_running(media_type: MediaType) -> Refusal {
    let message = "The first call with this Idempotency-Key is still under way. Send this one again later, with \
                   the same key.";
    Refusal::of_document(vec![ApiError::new(ErrorCode::OutcomeUnknown, message)], media_type)
}
