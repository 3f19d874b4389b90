//! A request until its text is there: whose it is, and what it holds meanwhile.
//!
//! What is shared comes last. Until its caller is known a request holds its connection alone; until
//! its body is whole, a place of its own tenant; only then one of the whole gateway's.

use std::sync::Arc;

use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::{ReloadableState, Service, credential};
use crate::graphql::ApiError;
use crate::http::body::Incoming;
use crate::http::connection::Connection;
use crate::http::error::Refusal;
use crate::http::request;
use crate::limit::{LimitError, Slot};
use crate::model::{CallRecord, Caller, ErrorCode, MediaType, RequestHead};
use crate::telemetry;

/// A request whose caller is known and whose text has come.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The rules it is judged by, to its end.
    pub rules: Arc<ReloadableState>,
    /// Who asks.
    pub caller: Caller,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// What it is answered in.
    pub media_type: MediaType,
    /// Its body, or its parameters.
    pub text: Bytes,
    /// Its place among its tenant's requests; `None` for a tenant without limits.
    pub slot: Option<Slot>,
    /// Its place among the whole gateway's.
    pub concurrency_limit: SemaphorePermit<'a>,
}

/// Takes a request in.
///
/// # Errors
/// When it cannot be a GraphQL request, nobody knows its caller, its body does not come as it should,
/// or too many are under way.
pub async fn arrive<'a>(
    service: &'a Service,
    head: &Parts,
    body: &mut Incoming,
    record: &mut CallRecord,
) -> Result<Arrival<'a>, Refusal> {
    let deadline = record.began + request::time_for(&head.headers, service.request_timeout)?;
    let media_type = MediaType::accepted(&head.headers).ok_or(request::Error::NotAcceptable)?;
    request::check_head(head, service.max_body)?;

    let rules = service.rules.load_full();
    let now = service.clock.now();
    let caller = credential::authenticate(&rules, &head.headers, now, record).await?;
    if let Some(connection) = head.extensions.get::<Arc<Connection>>() {
        connection.know(&caller.tenant.id);
    }
    record.wished(telemetry::wishes_trace(&head.headers));
    record.traced(|| RequestHead::from_parts(head));

    let mut slot = match rules.limits.get(&caller.tenant.id) {
        Some(limits) => {
            let refused = |refused: &LimitError| record.decided(refused.decision());
            Some(limits.enter().inspect_err(refused)?)
        }
        None => None,
    };
    let text = body.read(head, service.max_body, deadline, slot.as_mut()).await?;
    let concurrency_limit = service.concurrency_limit.try_acquire().map_err(|_| overloaded())?;
    Ok(Arrival { rules, caller, deadline, media_type, text, slot, concurrency_limit })
}

/// Sheds load before anything is executed: what was admitted before keeps its pace.
fn overloaded() -> Refusal {
    let message = "The gateway has as many requests under way as it may. Come back in 1 s.";
    Refusal::from_error(ApiError::new(ErrorCode::Overloaded, message))
        .with_header(header::RETRY_AFTER, "1")
}
