//! Listings are charged by the calls to Move that they made: their weight is reserved when they are admitted, and settled when
//! they are over, also if nobody waits for them any more.

use std::sync::Arc;

use super::{Authenticated, ReloadableState, Service};
use crate::http::limits::Levels;
use crate::limit::{Charge, TenantLimits};
use crate::model::{CallRecord, CredentialId, TenantId, Trail};
use crate::operation::Operation;

/// A settlement that is due.
#[derive(Debug)]
pub struct Settlement {
    service: Arc<Service>,
    rules: Arc<ReloadableState>,
    limits: Arc<TenantLimits>,
    tenant: TenantId,
    credential: CredentialId,
    reserved: Charge,
    introspects: bool,
    trails: Arc<[Trail]>,
}

impl Settlement {
    /// The settlement of an operation that was charged; `None` if there is no listing in it.
    pub fn due(
        service: &Arc<Service>,
        request: &Authenticated<'_>,
        operation: &Operation,
        reserved: Charge,
        record: &CallRecord,
    ) -> Option<Self> {
        let has_listing = operation.root_fields().any(|(_, field)| field.is_listing());
        has_listing.then(|| Self {
            service: Arc::clone(service),
            rules: Arc::clone(&request.rules),
            limits: Arc::clone(&request.limits),
            tenant: request.caller.tenant.id.clone(),
            credential: request.caller.credential.clone(),
            reserved,
            introspects: operation.introspects(),
            trails: Arc::clone(&record.trails),
        })
    }

    /// Charges what the operation cost, and returns what is left in the limits.
    pub async fn settle(self, record: &mut CallRecord) -> Levels {
        let weights = &self.rules.limits.weights;
        let of_trail = |trail: &Trail| {
            let (field, cost) = (trail.field, weights.of(trail.field));
            if !field.is_listing() {
                return (field, cost);
            }
            let (calls, rows) = trail.note(|notes| (notes.upstream_calls, notes.index_rows));
            (field, weights.of_listing(field, calls, rows))
        };
        let cost = Charge::of(self.trails.iter().map(of_trail), self.introspects);
        record.priced(cost.total());
        let (limiter, limits) = (&self.service.limiter, &self.limits);
        limiter.settle(&self.tenant, limits, &self.credential, &self.reserved, &cost).await
    }
}
