//! What the limiter decides, and charges that need no permit.

use super::{ReloadableState, Service};
use crate::http::limits::Levels;
use crate::limit::{Charge, LimitError};
use crate::model::{CallRecord, Caller, Decision};

/// Notes what the limiter decided.
pub fn decided<T>(
    record: &mut CallRecord,
    decided: Result<T, LimitError>,
) -> Result<T, LimitError> {
    let decision = decided.as_ref().map_or_else(LimitError::decision, |_| Decision::Admitted);
    record.decided(decision);
    decided
}

/// Charges a request that is not executed: one answered from memory, or refused for its document.
pub async fn charge(
    service: &Service,
    rules: &ReloadableState,
    caller: &Caller,
    charge: &Charge,
    record: &mut CallRecord,
) -> Result<Levels, LimitError> {
    record.priced(charge.total());
    let tenant = &caller.tenant.id;
    let Some(limits) = rules.limits.get(tenant) else { return Ok(Levels::new()) };
    let charged = service.limiter.charge(tenant, limits, &caller.credential, charge).await;
    decided(record, charged)
}
