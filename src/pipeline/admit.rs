//! The limiter's decision, and charges for what is not executed.

use super::{Authenticated, Permitted, Service};
use crate::http::error::Refusal;
use crate::http::limits::Levels;
use crate::limit::{Charge, LimitError, Permit, Slot};
use crate::model::{CallRecord, Decision, ErrorCode};
use crate::operation::Operation;

/// An operation that may be executed now.
#[derive(Debug)]
pub struct Admitted {
    /// The operation.
    pub operation: Operation,
    /// The right to execute it, and its place among its tenant's requests.
    pub permit: Permit,
    /// The charge that was taken for it.
    pub charge: Charge,
}

/// Charges an operation to its caller's limits.
///
/// # Errors
/// When one of them is used up, or the operation costs more than one may.
pub async fn admit(
    service: &Service,
    request: &Authenticated<'_>,
    slot: Slot,
    permitted: Permitted,
    record: &mut CallRecord,
) -> Result<Admitted, Refusal> {
    let operation = permitted.into_operation();
    let fields = operation.root_fields().map(|(_, field)| field);
    let weights = &request.rules.limits.weights;
    let weight = |field| weights.in_operation(operation.kind, field);
    let charge = Charge::for_units(fields, weight, operation.introspects());
    record.priced(charge.total());
    let (tenant, credential) = (&request.caller.tenant.id, &request.caller.credential);
    let limiter = &service.limiter;
    let admitted = limiter.admit(tenant, &request.limits, credential, &charge, slot).await;
    match decided(record, admitted) {
        Ok(permit) => Ok(Admitted { operation, permit, charge }),
        Err(error) => Err(refuse(service, request, error, &charge, record).await),
    }
}

/// Refuses an operation. One that would always cost too much costs what a refused document does, or whoever has
/// used up its limits could send such for ever.
async fn refuse(
    service: &Service,
    request: &Authenticated<'_>,
    error: LimitError,
    charge: &Charge,
    record: &mut CallRecord,
) -> Refusal {
    if error.wait().is_some() {
        return error.into();
    }
    let decision = error.decision();
    let refusal = charge_refused(service, request, error.into(), record).await;
    record.priced(charge.total());
    if refusal.code() != Some(ErrorCode::RateLimited) {
        record.decided(decision);
    }
    refusal
}

/// Charges a request that is not executed: one answered from memory, or refused for its document.
///
/// # Errors
/// When a limit is used up.
pub async fn charge(
    service: &Service,
    request: &Authenticated<'_>,
    charge: &Charge,
    record: &mut CallRecord,
) -> Result<Levels, LimitError> {
    record.priced(charge.total());
    let (tenant, credential) = (&request.caller.tenant.id, &request.caller.credential);
    let charged = service.limiter.charge(tenant, &request.limits, credential, charge).await;
    decided(record, charged)
}

/// Charges a request that is refused for its body or its document, as it was read all the same, and returns the
/// refusal: with what is left in the limits, or because they are used up.
pub async fn charge_refused(
    service: &Service,
    request: &Authenticated<'_>,
    refusal: Refusal,
    record: &mut CallRecord,
) -> Refusal {
    // A limit's own refusal costs nothing.
    if refusal.code() == Some(ErrorCode::RateLimited) {
        return refusal;
    }
    match charge(service, request, &Charge::default(), record).await {
        Ok(levels) => refusal.announcing(&levels),
        Err(used_up) => used_up.into(),
    }
}

/// Notes the limiter's decision.
fn decided<T>(record: &mut CallRecord, decided: Result<T, LimitError>) -> Result<T, LimitError> {
    record.decided(decided.as_ref().map_or_else(LimitError::decision, |_| Decision::Admitted));
    decided
}
