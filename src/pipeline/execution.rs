//! Execution: within the deadline, and a mutation with an `Idempotency-Key` once.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::{ReloadableState, Service};
use crate::graphql::{Answer, ApiError};
use crate::http::error::Refusal;
use crate::http::request;
use crate::idempotency::{Begun, Key};
use crate::limit::Permit;
use crate::model::{ErrorCode, Kind, RequestContext, TenantId};
use crate::operation::Operation;
use crate::telemetry;

/// Where a caller names a mutation, so that it can be sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longest name, in bytes.
const LONGEST_KEY: usize = 255;

/// The caller's key for a mutation: a string of structured fields (RFC 9651, section 3.3.3) as the
/// draft has it, or the same without quotes.
///
/// # Errors
/// When it is no such text, or there are several.
pub fn key(headers: &HeaderMap, tenant: &TenantId) -> Result<Option<Key>, request::Error> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| request::Error::IdempotencyKey)?.trim();
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or(request::Error::IdempotencyKey)?,
        None => text,
    };
    let is_key = values.next().is_none()
        && (1..=LONGEST_KEY).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if is_key { Ok(Some(Key::of(tenant, text))) } else { Err(request::Error::IdempotencyKey) }
}

/// What came of an execution.
#[derive(Debug)]
pub enum Executed {
    /// An answer of its own.
    Answer(Answer),
    /// An answer about the jobs that the same mutation made or changed before.
    Replay(Answer),
    /// It was not executed.
    Refused(Refusal),
}

/// Executes within the deadline. A mutation that is on its way goes on when its caller hangs up:
/// cancelling it half way would leave nobody who knows what became of it.
pub async fn execute(
    service: &Arc<Service>,
    rules: &Arc<ReloadableState>,
    mut request: RequestContext,
    operation: Operation,
    key: Option<Key>,
    permit: Option<Permit>,
    running: &mut Option<JoinHandle<Answer>>,
) -> Executed {
    let deadline = request.deadline;
    if operation.kind == Kind::Query {
        let trace = request.trace.clone();
        let executing = telemetry::within(trace, rules.gateways.execute(request, operation));
        let executed = timeout_at(deadline, executing).await;
        return Executed::Answer(executed.unwrap_or_else(|_| too_late()));
    }
    let mut claim = None;
    let mut is_replay = false;
    if let Some(key) = key {
        match service.idempotency.begin(&key, operation.fingerprint(), deadline).await {
            Begun::Claimed(claimed) => {
                request.keyed = Some(claimed.mutation.clone());
                claim = Some(*claimed);
            }
            Begun::Done(mutation) => {
                request.keyed = Some(mutation);
                is_replay = true;
            }
            Begun::Conflict => return Executed::Refused(conflict()),
            Begun::Running => return Executed::Answer(still_running()),
            Begun::Full { until } => return Executed::Refused(full(service.clock.now(), until)),
        }
    }
    let (rules, service) = (Arc::clone(rules), Arc::clone(service));
    let task = running.insert(tokio::spawn(telemetry::within(request.trace.clone(), async move {
        // It counts as under way for as long as it lasts, whoever waits for it.
        let _permit = permit;
        let trails = Arc::clone(&request.trails);
        // Without a deadline of its own: each call has one, and what belongs to a call must not be cut
        // off half way.
        let answer = rules.gateways.execute(request, operation).await;
        if let Some(claim) = claim {
            let effects = trails
                .iter()
                .map(|trail| (&*trail.response_key, trail.note(|notes| notes.effect.clone())));
            service.idempotency.end(claim, effects).await;
        }
        answer
    })));
    let executed = task.await;
    *running = None;
    match executed {
        Ok(answer) if is_replay => Executed::Replay(answer),
        Ok(answer) => Executed::Answer(answer),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
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

fn still_running() -> Answer {
    Answer::refusal([ApiError::new(
        ErrorCode::OutcomeUnknown,
        "The first call with this Idempotency-Key is still under way. Send this one again later, with \
         the same key.",
    )])
}

fn too_late() -> Answer {
    let message = "Move did not answer in time. Try again later.";
    Answer::refusal([ApiError::new(ErrorCode::UpstreamTimeout, message)])
}
