//! The handler of the GraphQL paths: a record begins, the pipeline runs, the record is told.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::response::Response;
use futures_util::FutureExt as _;

use super::{RecordGuard, Service, run, socket};
use crate::http::body::Incoming;
use crate::http::{error, freshness, request};
use crate::model::{RequestHead, RequestMethod};
use crate::telemetry;

/// Answers a request and emits its record.
pub async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    let source = peer.map(|ConnectInfo(peer)| service.proxies.source(peer.ip(), &head.headers));
    if socket::is_asked(&head) {
        return socket::upgrade(service, source, head).await;
    }
    let mut guard = RecordGuard::begin(Arc::clone(&service));
    let (record, _) = guard.parts();
    let trace = telemetry::trace_of(&head.headers);
    record.arrived(RequestMethod::from(&head.method), source, trace);
    record.named(request::callers_id(&head.headers));
    record.traced(|| RequestHead::from_parts(&head));
    if head.method == Method::HEAD {
        // The same answer; whoever writes it leaves the body out (RFC 9110, section 9.3.2).
        head.method = Method::GET;
    }
    let mut body = Incoming::new(body);
    // A panic is a bug, and one caller's: it gets an answer, and the others go on.
    let running = AssertUnwindSafe(run(&service, &head, &mut body, &mut guard)).catch_unwind();
    let answered = running.await;
    let (record, _) = guard.parts();
    let answered = answered.unwrap_or_else(|_| Err(error::panicked(record.request_id)));
    let mut response = answered.unwrap_or_else(|refusal| {
        let (response, failures) = refusal.into_parts(record.request_id);
        record.failed(failures);
        body.drain(&head.headers);
        response
    });
    freshness::announce(record, response.headers_mut());
    error::identify(record.request_id, &mut response);
    record.answered(response.status().as_u16());
    guard.emit().await;
    response
}
