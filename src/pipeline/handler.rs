//! One GraphQL request, top to bottom.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;

use super::arrival::{self, Arrival};
use super::emission::Emission;
use super::execution::{self, Executed};
use super::{ReloadableState, Service, caching, charge};
use crate::graphql::{self, Answer, ApiError};
use crate::http::body::Incoming;
use crate::http::error::{self, Refusal};
use crate::http::{limits, request};
use crate::limit::{Charge, seconds};
use crate::model::{
    CallRecord, Caller, ErrorCode, Kind, MediaType, RequestContext, RequestHead, RequestMethod,
};
use crate::operation::Operation;
use crate::telemetry;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers a request and emits its record.
pub async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let mut emission = Emission::begin(Arc::clone(&service));
    let (record, _) = emission.parts();
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
    let answered = answer(&service, &head, &mut body, &mut emission).await;
    let (record, _) = emission.parts();
    let mut response = answered.unwrap_or_else(|refusal| {
        let (response, failures) = refusal.into_parts();
        record.failed(failures);
        body.drain(&head.headers);
        response
    });
    caching::announce(record, response.headers_mut());
    if let Ok(id) = HeaderValue::try_from(record.request_id.to_string()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    record.answered(response.status().as_u16());
    emission.tell().await;
    response
}

async fn answer(
    service: &Arc<Service>,
    head: &Parts,
    body: &mut Incoming,
    emission: &mut Emission,
) -> Result<Response, Refusal> {
    let (record, running) = emission.parts();
    let arrival = arrival::arrive(service, head, body, record).await?;
    let Arrival { rules, caller, deadline, media_type, text, slot, concurrency_limit: _at_once } =
        arrival;

    let fresh = caching::wants_fresh(&head.headers, &caller.tenant);
    let question = caching::question(&caller.tenant.id, head, media_type, text);
    let now = service.clock.now();
    if !fresh
        && let Some(stored) = rules.answers.get(&question, now)
        && caching::is_for(&stored, &caller)
    {
        caching::note_hit(record, &stored, now);
        let fields = stored.roots.iter().map(|root| root.field);
        let charge = Charge::for_units(fields, |_| rules.limits.weights.cached, stored.introspects);
        let levels = charge::charge(service, &rules, &caller, &charge, record).await?;
        let mut response = caching::respond(&stored, head, media_type, now);
        limits::announce(&levels, response.headers_mut());
        return Ok(response);
    }

    let operation = match understand(&rules, head, &caller, &question.text, media_type, record) {
        Ok(operation) => operation,
        Err(refusal) => {
            // It was read all the same.
            let least = Charge::default();
            let levels = charge::charge(service, &rules, &caller, &least, record).await?;
            return Err(refusal.announcing(&levels));
        }
    };
    let fields = operation.root_fields().map(|(_, field)| field);
    let weights = &rules.limits.weights;
    let charge = Charge::for_units(fields, |field| weights.of(field), operation.introspects());
    record.priced(charge.total());
    let permit = match (rules.limits.get(&caller.tenant.id), slot) {
        (Some(limits), Some(slot)) => {
            let (tenant, credential) = (&caller.tenant.id, &caller.credential);
            let admitted = service.limiter.admit(tenant, limits, credential, &charge, slot).await;
            Some(charge::decided(record, admitted)?)
        }
        _ => None,
    };
    let key = match operation.kind {
        Kind::Mutation => execution::key(&head.headers, &caller.tenant.id)?,
        Kind::Query => None,
    };
    let levels = permit.as_ref().map(|permit| permit.levels.clone()).unwrap_or_default();

    let asking = caching::Cacheability::new(&operation);
    let trails = Arc::clone(&record.trails);
    let (id, source, trace) = (record.request_id, record.source, record.trace.clone());
    let forward = forwarded(&service.forward_headers, &head.headers);
    let keyed = None;
    let request =
        RequestContext { id, source, caller, deadline, fresh, trace, forward, keyed, trails };
    record.executing();
    // On the heap: a request that is answered from memory does not carry it about.
    let executed =
        Box::pin(execution::execute(service, &rules, request, operation, key, permit, running))
            .await;
    record.executed(matches!(executed, Executed::Replay(_)));
    let (answer, is_replay) = match executed {
        Executed::Answer(answer) => (answer, false),
        Executed::Replay(answer) => (answer, true),
        Executed::Refused(refusal) => return Err(refusal),
    };

    let now = service.clock.now();
    if let Some(stored) = asking.keep(&answer, &record.trails, now) {
        record.kept();
        let stored = Arc::new(stored);
        rules.answers.put(question, Arc::clone(&stored));
        let mut response = caching::respond(&stored, head, media_type, now);
        limits::announce(&levels, response.headers_mut());
        return Ok(response);
    }
    let mut response = respond(record, media_type, answer);
    limits::announce(&levels, response.headers_mut());
    if is_replay {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The headers that configuration lets through to Move.
fn forwarded(names: &[HeaderName], headers: &HeaderMap) -> Option<Arc<HeaderMap>> {
    let all = names.iter().flat_map(|name| {
        headers.get_all(name).iter().map(move |value| (name.clone(), value.clone()))
    });
    let forwarded: HeaderMap = all.collect();
    (!forwarded.is_empty()).then(|| Arc::new(forwarded))
}

/// The operation that a text asks for, if its caller may ask for it.
///
/// # Errors
/// When the text is no GraphQL request, its document cannot be executed, or all of it is forbidden.
fn understand(
    rules: &ReloadableState,
    head: &Parts,
    caller: &Caller,
    text: &[u8],
    media_type: MediaType,
    record: &mut CallRecord,
) -> Result<Operation, Refusal> {
    let of_document = |errors| Refusal::of_document(errors, media_type);
    let request = request::parse(&head.method, text).map_err(|error| match error {
        request::Error::PersistedQuery => {
            let code = ErrorCode::PersistedQueryNotSupported;
            of_document(vec![ApiError::new(code, error.to_string())])
        }
        error => error.into(),
    })?;
    let document = rules.gateways.parse(&caller.tenant, &request.query).map_err(of_document)?;
    let operation = document
        .operation(request.operation_name.as_deref(), request.variables)
        .map_err(|error| of_document(vec![error.into()]))?;
    record.parsed(operation.kind, operation.trails());
    if head.method == Method::GET && operation.kind == Kind::Mutation {
        return Err(request::Error::MutationByGet.into());
    }
    permit(caller, &operation)?;
    Ok(operation)
}

/// An answer that is not kept.
fn respond(record: &mut CallRecord, media_type: MediaType, answer: Answer) -> Response {
    record.failed(answer.failures.clone());
    let status = error::status(&answer, media_type);
    let mut response = error::respond(status, media_type, answer.body);
    if let Some(wait) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    }
    response
}

/// Refuses an operation of which nothing is allowed. Where only some root fields are forbidden,
/// each is an error of its own in the answer.
fn permit(caller: &Caller, operation: &Operation) -> Result<(), Refusal> {
    if operation.introspects() && !caller.tenant.introspection {
        let message = "Introspection is switched off for this tenant.";
        return Err(Refusal::from_error(ApiError::new(ErrorCode::Forbidden, message)));
    }
    match graphql::forbidden(caller, operation) {
        forbidden if forbidden.is_empty() => Ok(()),
        forbidden => Err(Refusal::of_all(ErrorCode::Forbidden, forbidden)),
    }
}
