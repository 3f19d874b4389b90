//! The handler of the GraphQL paths: a record begins, the pipeline runs, the record is told.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method};
use axum::response::Response;

use super::{RecordGuard, Service, run};
use crate::http::body::Incoming;
use crate::http::{error, freshness};
use crate::model::{RequestHead, RequestMethod};
use crate::telemetry;

/// Answers a request and emits its record.
pub async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let mut guard = RecordGuard::begin(Arc::clone(&service));
    let (record, _) = guard.parts();
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    let source = peer.map(|ConnectInfo(peer)| service.proxies.source(peer.ip(), &head.headers));
    let trace = telemetry::trace_of(&head.headers);
    record.arrived(RequestMethod::from(&head.method), source, trace);
    record.traced(|| RequestHead::from_parts(&head));
    if head.method == Method::HEAD {
        // The same answer; whoever writes it leaves the body out (RFC 9110, section 9.3.2).
        head.method = Method::GET;
    }
    let mut body = Incoming::new(body);
    let answered = run(&service, &head, &mut body, &mut guard).await;
    let (record, _) = guard.parts();
    let mut response = answered.unwrap_or_else(|refusal| {
        let (response, failures) = refusal.into_parts();
        record.failed(failures);
        body.drain(&head.headers);
        response
    });
    freshness::announce(record, response.headers_mut());
    if let Ok(id) = HeaderValue::try_from(record.request_id.to_string()) {
        response.headers_mut().insert(error::X_REQUEST_ID, id);
    }
    record.answered(response.status().as_u16());
    guard.emit().await;
    response
}
