//! The way of one GraphQL request, a file a stage; `run` has the whole of it.
//!
//! A stage takes what the one before it made, and only that stage makes it: nothing is executed that was not
//! permitted, and nothing that has no permit of the limiter's. Each tells the record what it learnt. One that
//! cannot go on refuses, and the refusal is the answer.
//!
//! `{ getJob(jobId: "job-1") { id } }` with a good key, for example:
//!
//! | stage | learns | makes | or refuses with |
//! |---|---|---|---|
//! | `authenticate` | the key is one of `acme`'s | `Authenticated`: the caller, and the rules until the end | `UNAUTHENTICATED`, 406, 413, 415 |
//! | `receive` | its body came in time | `Received`: the text, a place among `acme`'s requests and one among all | `RATE_LIMITED`, `OVERLOADED`, 408, 413 |
//! | `cached` | no whole answer is kept for this text | nothing; with an answer at hand, the response | `RATE_LIMITED` |
//! | `parse` | a query of one `getJob` | an `Operation` | `GRAPHQL_PARSE_FAILED`, `GRAPHQL_VALIDATION_FAILED` |
//! | `authorize` | `acme` may call `getJob` | `Permitted` | `FORBIDDEN` |
//! | `admit` | it costs one unit, and there is one | `Admitted`: the limiter's permit | `RATE_LIMITED`, `OPERATION_TOO_COMPLEX` |
//! | `execute` | the job, fetched from Move | `Executed`: an answer | `IDEMPOTENCY_CONFLICT` |
//! | `keep` | the answer has no errors and is fresh for a while | the response, kept for the same text | `RATE_LIMITED` |

mod admit;
mod authenticate;
mod authorize;
mod cached;
mod claim;
mod execute;
mod followed;
mod handler;
mod judged;
mod keep;
mod parse;
mod receive;
mod record;
mod service;
mod settle;
mod socket;
mod stream;
mod subscribe;
mod wait;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::handler::Handler as _;
use axum::http::request::Parts;
use axum::response::Response;

pub use service::{GatewayState, ReloadableState, Service, Streaming};

use admit::{Admitted, admit};
use authenticate::{Authenticated, authenticate};
use authorize::{Permitted, authorize};
use execute::{Executed, execute};
use keep::keep;
use parse::parse;
use receive::{Received, receive};
use record::RecordGuard;
use stream::Stream;
use subscribe::subscribe;

use crate::http::bad_request::BadRequest;
use crate::http::body::Incoming;
use crate::http::error::Refusal;
use crate::http::{self, Endpoints};
use crate::model::{CallRecord, RequestContext};

/// Makes the router that internal apps meet.
pub fn router(service: Arc<Service>, endpoints: Endpoints) -> Router {
    http::router(endpoints, &handler::handle.with_state(service))
}

/// Answers one GraphQL request.
///
/// What is shared is taken last: until its caller is known a request holds its connection alone; until its body is
/// whole, a place of its own tenant's; only then one of the whole gateway's. Its answer holds both until it is written.
///
/// # Errors
/// When a stage refuses it.
async fn run(
    service: &Arc<Service>,
    head: &Parts,
    body: &mut Incoming,
    guard: &mut RecordGuard,
) -> Result<Response, Refusal> {
    let (record, underway) = guard.parts();
    let request = authenticate(service, head, record).await?;
    let Received { text, slot } = receive(service, &request, body, record).await?;
    let key = cached::key(&request, text);
    // What is kept is how things were, and whoever waits wants to hear of what they are.
    if request.waits.is_none()
        && let Some(hit) = cached::find(service, &request, &key)
    {
        return Ok(cached::serve(service, &request, slot, &hit, record).await?);
    }
    let operation = parse(&request, &key.text, record).await;
    let permitted = match operation.and_then(|operation| authorize(&request.caller, operation)) {
        Ok(permitted) => permitted,
        Err(refusal) => return Err(admit::charge_refused(service, &request, refusal, record).await),
    };
    let admitted = admit(service, &request, slot, permitted, record).await?;
    if stream::is_subscription(&admitted.operation) {
        let opening = subscribe(service, &request, key.text, admitted, record);
        return Box::pin(opening).await;
    }
    if let Some(wish) = wait::Wish::of(&request, &admitted.operation) {
        let executed = Box::pin(wait::execute(service, &request, admitted, &wish, record)).await?;
        let mut response = keep(service, &request, key, executed, record)?;
        wish.announce(response.headers_mut());
        return Ok(response);
    }
    // On the heap: a request that is answered from memory does not carry it about.
    let executed = Box::pin(execute(service, &request, admitted, record, underway)).await?;
    keep(service, &request, key, executed, record)
}

/// Opens a subscription that came over a WebSocket: by the stages of any request, up to the stream.
///
/// # Errors
/// When a stage refuses it, or it is no subscription.
async fn follow(
    service: &Arc<Service>,
    head: &Parts,
    text: Body,
    record: &mut CallRecord,
) -> Result<Stream, Refusal> {
    let request = authenticate(service, head, record).await?;
    let mut body = Incoming::new(text);
    let Received { text, slot } = receive(service, &request, &mut body, record).await?;
    let operation = parse(&request, &text, record).await;
    let permitted = match operation.and_then(|operation| authorize(&request.caller, operation)) {
        Ok(permitted) => permitted,
        Err(refusal) => return Err(admit::charge_refused(service, &request, refusal, record).await),
    };
    let admitted = admit(service, &request, slot, permitted, record).await?;
    let Admitted { operation, permit, .. } = admitted;
    let (_, _slot) = permit.into_parts();
    if !stream::is_subscription(&operation) {
        return Err(BadRequest::NoSubscription.into());
    }
    Box::pin(subscribe::open(service, &request, text, operation, record)).await
}
