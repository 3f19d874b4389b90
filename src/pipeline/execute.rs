//! Execution: a query within its deadline, a mutation to its end.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use tokio::time::timeout_at;

use super::claim::{self, Claimed, claim};
use super::keep::Cacheability;
use super::record::{Running, Underway};
use super::settle::Settlement;
use super::{Admitted, Authenticated, Service};
use crate::graphql::{Answer, ApiError};
use crate::http::error::Refusal;
use crate::http::limits::Levels;
use crate::limit::Slot;
use crate::model::{CallRecord, Kind, RequestContext, RequestId};
use crate::operation::Operation;
use crate::telemetry;

/// An operation that was executed.
#[derive(Debug)]
pub struct Executed {
    /// A query, or a mutation.
    pub kind: Kind,
    /// Its answer.
    pub answer: Answer,
    /// The facts that decide on keeping the answer.
    pub cacheability: Cacheability,
    /// The remains of the limits that it was charged to.
    pub levels: Levels,
    /// Its place among its tenant's requests, for the answer to hold.
    pub slot: Slot,
}

/// Executes an operation.
///
/// # Errors
/// When it is a mutation whose key cannot be taken; the refusal says what is left of its limits all the same.
pub async fn execute(
    service: &Arc<Service>,
    request: &Authenticated<'_>,
    admitted: Admitted,
    record: &mut CallRecord,
    underway: &mut Underway,
) -> Result<Executed, Refusal> {
    let Admitted { operation, permit, charge } = admitted;
    let (mut levels, slot) = permit.into_parts();
    let (kind, cacheability) = (operation.kind, Cacheability::new(&operation));
    let answer = match kind {
        Kind::Query | Kind::Subscription => {
            underway.settlement = Settlement::due(service, request, &operation, charge, record);
            let answer = query(service, request, operation, record).await;
            if let Some(settlement) = underway.settlement.take() {
                levels = settlement.settle(record).await;
            }
            Ok((answer, slot))
        }
        Kind::Mutation => {
            mutate(service, request, operation, slot, record, &mut underway.mutation).await
        }
    };
    match answer {
        Ok((answer, slot)) => Ok(Executed { kind, answer, cacheability, levels, slot }),
        Err(refusal) => Err(refusal.announcing(&levels)),
    }
}

/// Executes a query within its deadline.
async fn query(
    service: &Service,
    request: &Authenticated<'_>,
    operation: Operation,
    record: &mut CallRecord,
) -> Answer {
    let context = context(service, request, record);
    record.executing();
    let executing = request.rules.gateways.execute(context, operation);
    let executing = telemetry::within(record.trace.clone(), executing);
    let executed = timeout_at(request.deadline, executing).await;
    record.executed(false);
    executed.unwrap_or_else(|_| too_late(record.request_id))
}

/// Executes a mutation, once if it bears a key. One that is on its way goes on when its caller hangs up: cancelling it
/// half way would leave nobody who knows what became of it.
async fn mutate(
    service: &Arc<Service>,
    request: &Authenticated<'_>,
    operation: Operation,
    slot: Slot,
    record: &mut CallRecord,
    running: &mut Option<Running>,
) -> Result<(Answer, Slot), Refusal> {
    let key = claim::key(&request.head.headers, &request.caller.tenant.id)?;
    record.executing();
    let claimed = match claim(service, request, key, &operation).await {
        Ok(claimed) => claimed,
        Err(refusal) => {
            record.executed(false);
            return Err(refusal);
        }
    };
    let is_replay = matches!(claimed, Claimed::Replay(_))
        && operation.units.iter().all(|unit| unit.field.is_replayable());
    let context = RequestContext {
        keyed: claimed.keyed().cloned(),
        claim: claimed.check(service),
        ..context(service, request, record)
    };
    let (service, rules) = (Arc::clone(service), Arc::clone(&request.rules));
    let detached = service.detached.clone();
    let to_its_end = async move {
        let trails = Arc::clone(&context.trails);
        // Without a deadline of its own: each call has one, and what belongs to a call must not be cut off half way.
        let answer = rules.gateways.execute(context, operation).await;
        claimed.end(&service, &trails).await;
        // It counted as under way for as long as it lasted, whoever waits for it.
        (answer, slot)
    };
    let task = detached.spawn(telemetry::within(record.trace.clone(), to_its_end));
    let executed = running.insert(task).await;
    *running = None;
    match executed {
        Ok(answer) => {
            record.executed(is_replay);
            Ok(answer)
        }
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Makes what the resolvers of a request share.
pub fn context(
    service: &Service,
    request: &Authenticated<'_>,
    record: &CallRecord,
) -> RequestContext {
    RequestContext {
        id: record.request_id,
        callers_id: record.callers_id.clone(),
        source: record.source,
        caller: request.caller.clone(),
        deadline: request.deadline,
        fresh: request.wants_fresh,
        trace: record.trace.clone(),
        forward: forwarded(&service.forward_headers, &request.head.headers),
        keyed: None,
        claim: None,
        trails: Arc::clone(&record.trails),
    }
}

/// Picks the headers that configuration lets through to Move.
fn forwarded(names: &[HeaderName], headers: &HeaderMap) -> Option<Arc<HeaderMap>> {
    let all = names.iter().flat_map(|name| {
        headers.get_all(name).iter().map(move |value| (name.clone(), value.clone()))
    });
    let forwarded: HeaderMap = all.collect();
    (!forwarded.is_empty()).then(|| Arc::new(forwarded))
}

pub fn too_late(request: RequestId) -> Answer {
    Answer::refusal(request, [ApiError::late()])
}
