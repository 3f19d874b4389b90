//! The body of a request, and the places that it holds meanwhile.

use std::sync::Arc;

use axum::http::header;
use bytes::Bytes;

use super::admit::charge_refused;
use super::{Authenticated, Service};
use crate::graphql::ApiError;
use crate::http::body::Incoming;
use crate::http::connection::Connection;
use crate::http::error::Refusal;
use crate::limit::{LimitError, Slot};
use crate::model::{CallRecord, ErrorCode};

/// A request whose text has come.
#[derive(Debug)]
pub struct Received {
    /// Its body, or its parameters.
    pub text: Bytes,
    /// Its place among its tenant's requests, and among the whole gateway's.
    pub slot: Slot,
}

/// Takes a request in: a place of its tenant's, its body, and then one of the whole gateway's.
///
/// # Errors
/// When its tenant has too many under way, its body does not come as it should, or the gateway has too many.
pub async fn receive(
    service: &Service,
    request: &Authenticated<'_>,
    body: &mut Incoming,
    record: &mut CallRecord,
) -> Result<Received, Refusal> {
    let refused = |refused: &LimitError| record.decided(refused.decision());
    let mut slot = request.limits.enter().inspect_err(refused)?;
    let connection = request.head.extensions.get::<Arc<Connection>>();
    let receiving = connection.map(|connection| connection.receive());
    let read = body.read(request.head, service.max_body, request.deadline, &mut slot).await;
    drop(receiving);
    let text = match read {
        Ok(text) => text,
        Err(refusal) => return Err(charge_refused(service, request, refusal, record).await),
    };
    let place = Arc::clone(&service.concurrency_limit).try_acquire_owned();
    slot.enter_gateway(place.map_err(|_| overloaded())?);
    Ok(Received { text, slot })
}

/// Sheds load before anything is executed: what was admitted before keeps its pace.
pub fn overloaded() -> Refusal {
    let message = "The gateway has as many requests under way as it may. Come back in 1 s.";
    Refusal::from_error(ApiError::new(ErrorCode::Overloaded, message))
        .with_header(header::RETRY_AFTER, "1")
}
