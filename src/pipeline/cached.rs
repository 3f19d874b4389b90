//! The same question a moment ago: a whole answer that is kept is given again, without a look into the document.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use jiff::Timestamp;

use super::{Authenticated, Service, admit};
use crate::cache::{CachedResponse, ResponseKey, Root};
use crate::http::{freshness, limits};
use crate::limit::{Charge, LimitError, Slot};
use crate::model::{CacheStatus, CallRecord, Caller, Kind, RequestMethod, Trail};

/// The key under which the answer to a request is kept.
pub fn key(request: &Authenticated<'_>, text: Bytes) -> ResponseKey {
    ResponseKey {
        tenant: request.caller.tenant.id.clone(),
        method: RequestMethod::from(&request.head.method),
        media_type: request.media_type,
        text,
    }
}

/// Finds the answer that is kept under a key, if this caller may and wants to have it.
pub fn find(
    service: &Service,
    request: &Authenticated<'_>,
    key: &ResponseKey,
) -> Option<Arc<CachedResponse>> {
    if request.wants_fresh {
        return None;
    }
    let stored = request.rules.answers.get(key, service.clock.now())?;
    is_for(&stored, &request.caller).then_some(stored)
}

/// Returns true if a stored answer is for this caller too: keys of one tenant may differ in rights.
fn is_for(stored: &CachedResponse, caller: &Caller) -> bool {
    caller.grants.intersect(stored.needs) == stored.needs
        && (caller.tenant.introspection || !stored.introspects)
}

/// Charges a request for the answer it gets from memory, and gives it.
///
/// # Errors
/// When its limits are used up, or its tenant does not read its answers.
pub async fn serve(
    service: &Service,
    request: &Authenticated<'_>,
    slot: Slot,
    stored: &CachedResponse,
    record: &mut CallRecord,
) -> Result<Response, LimitError> {
    let now = service.clock.now();
    record.served_from_cache(trails(stored, now));
    let body = slot.answer(Kind::Query, stored.body.clone());
    let body = body.inspect_err(|refused| record.decided(refused.decision()))?;
    let fields = stored.roots.iter().map(|root| root.field);
    let cached = request.rules.limits.weights.cached;
    let charge = Charge::for_units(fields, |_| cached, stored.introspects);
    let levels = admit::charge(service, request, &charge, record).await?;
    let mut response = respond(stored, body, request, now);
    limits::announce(&levels, response.headers_mut());
    Ok(response)
}

/// The trails of a stored answer.
fn trails(stored: &CachedResponse, now: Timestamp) -> Arc<[Trail]> {
    let age = stored.age(now);
    let trail = |root: &Root| {
        let trail = Trail::new(Arc::clone(&root.response_key), root.field);
        trail.note(|notes| notes.entity.clone_from(&root.entity));
        trail.note_cache(CacheStatus::Hit, age);
        trail
    };
    stored.roots.iter().map(trail).collect()
}

/// Builds the response of an answer that is kept; `body` is its own, holding the request's places.
pub fn respond(
    stored: &CachedResponse,
    body: Bytes,
    request: &Authenticated<'_>,
    now: Timestamp,
) -> Response {
    freshness::respond(request.head, request.media_type, body, || {
        (stored.etag(), stored.max_age(now))
    })
}
