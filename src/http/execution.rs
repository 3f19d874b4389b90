//! Execution: within the deadline, and a mutation with an `Idempotency-Key` once.

use std::sync::Arc;

use axum::http::HeaderMap;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::{Rules, Service, request};
use crate::graphql::{Answer, ApiError};
use crate::idempotency::{Begun, Key, Outcome};
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
pub fn key(headers: &HeaderMap, tenant: &TenantId) -> Result<Option<Key>, request::Error> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().map_err(|_| request::Error::IdempotencyKey)?.trim();
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or(request::Error::IdempotencyKey)?,
        None => text,
    };
    let is_key = (1..=LONGEST_KEY).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if is_key { Ok(Some(Key::of(tenant, text))) } else { Err(request::Error::IdempotencyKey) }
}

/// What came of an execution.
#[derive(Debug)]
pub enum Executed {
    /// An answer of its own.
    Answer(Answer),
    /// The answer that the same mutation got before.
    Replay(Answer),
    /// The key is another mutation's.
    Conflict,
}

/// Executes within the deadline. A mutation that is on its way goes on when its caller hangs up:
/// cancelling it half way would leave nobody who knows what became of it.
pub async fn execute(
    service: &Arc<Service>,
    rules: &Arc<Rules>,
    mut request: RequestContext,
    operation: Operation,
    key: Option<Key>,
    permit: Option<Permit>,
    running: &mut Option<JoinHandle<Answer>>,
) -> Executed {
    let (kind, deadline) = (operation.kind, request.deadline);
    if kind == Kind::Query {
        let trace = request.trace.clone();
        let executing = telemetry::within(trace, rules.gateways.execute(request, operation));
        let executed = timeout_at(deadline, executing).await;
        return Executed::Answer(executed.unwrap_or_else(|_| too_late(kind)));
    }
    let claim = match key {
        None => None,
        Some(key) => {
            match service.idempotency.begin(key, operation.fingerprint(), deadline).await {
                Begun::Claimed(claim) => Some(claim),
                Begun::Answered(body) => return Executed::Replay(Answer::again(body)),
                Begun::Conflict => return Executed::Conflict,
                Begun::Running => return Executed::Answer(still_running()),
            }
        }
    };
    let is_alone = operation.root_fields().count() == 1;
    request.mark = claim.as_ref().map(|claim| claim.mark.clone());
    let (rules, service) = (Arc::clone(rules), Arc::clone(service));
    let task = running.insert(tokio::spawn(telemetry::within(request.trace.clone(), async move {
        // It counts as under way for as long as it lasts, whoever waits for it.
        let _permit = permit;
        let answer = match timeout_at(deadline, rules.gateways.execute(request, operation)).await {
            Ok(answer) => answer,
            Err(_) => too_late(kind),
        };
        if let Some(claim) = claim {
            service.idempotency.end(claim, outcome(&answer, is_alone)).await;
        }
        answer
    })));
    let executed = task.await;
    *running = None;
    match executed {
        Ok(answer) => Executed::Answer(answer),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// What an answer says of the mutation. Nothing was done if its only root field failed and the error
/// does not leave that open; of several root fields, others may have been done.
fn outcome(answer: &Answer, is_alone: bool) -> Outcome {
    let is_open = |code| matches!(code, ErrorCode::OutcomeUnknown | ErrorCode::UpstreamTimeout);
    if answer.has_all_values {
        Outcome::Done(answer.body.clone())
    } else if !is_alone || answer.failures.iter().any(|failure| is_open(failure.code)) {
        Outcome::Unknown
    } else {
        Outcome::Nothing
    }
}

fn still_running() -> Answer {
    Answer::refusal([ApiError::new(
        ErrorCode::OutcomeUnknown,
        "The first call with this Idempotency-Key is still under way. Send this one again later, with \
         the same key.",
    )])
}

fn too_late(kind: Kind) -> Answer {
    Answer::refusal([match kind {
        Kind::Query => ApiError::new(
            ErrorCode::UpstreamTimeout,
            "Move did not answer in time. Try again later.",
        ),
        Kind::Mutation => ApiError::new(
            ErrorCode::OutcomeUnknown,
            "Move did not answer in time: the call may or may not have happened. Look before you \
             send it again, or send it again with the same Idempotency-Key.",
        ),
    }])
}
