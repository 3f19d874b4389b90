//! One GraphQL request, top to bottom.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use tokio::time::{Instant, timeout_at};

use super::emission::Emission;
use super::error::{self, Refusal};
use super::execution::{self, Executed};
use super::media_type::MediaType;
use super::{Service, caching, credential, limits, request};
use crate::graphql::{self, Answer, ApiError};
use crate::limit::{Bucket, Charge, Level, Refused, seconds};
use crate::model::{
    CacheStatus, CallRecord, Caller, Decision, ErrorCode, Kind, RequestContext, RequestHead,
};
use crate::operation::Operation;
use crate::telemetry;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers a request and emits its record.
pub async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut emission = Emission::begin(Arc::clone(&service));
    let (record, _) = emission.parts();
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    record.trace = telemetry::trace_of(&head.headers);
    if record.trace.as_ref().is_some_and(|trace| trace.sampled) {
        record.head = Some(Box::new(RequestHead::of(&head)));
    }
    record.method = match head.method {
        Method::GET => "GET",
        Method::POST => "POST",
        _ => "OTHER",
    };
    record.source = peer.map(|ConnectInfo(peer)| peer.ip());
    let answered = match service.at_once.try_acquire() {
        Ok(_at_once) => answer(&service, &head, body, &mut emission).await,
        Err(_) => Err(overloaded()),
    };
    let (record, _) = emission.parts();
    let mut response = answered.unwrap_or_else(|refusal| {
        let (response, failures) = refusal.into_parts();
        record.failures = failures;
        response
    });
    caching::announce(record, response.headers_mut());
    if let Ok(id) = HeaderValue::try_from(record.request_id.to_string()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    record.status = response.status().as_u16();
    emission.tell().await;
    response
}

/// Sheds load before anything is done for the caller: what was admitted before keeps its pace.
fn overloaded() -> Refusal {
    let message = "The gateway has as many requests under way as it may. Come back in 1 s.";
    Refusal::of(ApiError::new(ErrorCode::Overloaded, message)).with_header(header::RETRY_AFTER, "1")
}

async fn answer(
    service: &Arc<Service>,
    head: &axum::http::request::Parts,
    body: Body,
    emission: &mut Emission,
) -> Result<Response, Refusal> {
    let (record, running) = emission.parts();
    let deadline = record.began + request::time_for(&head.headers, service.request_timeout)?;
    let media_type = MediaType::accepted(&head.headers).ok_or(request::Error::NotAcceptable)?;
    request::check_head(head, service.max_body)?;

    let rules = service.rules.load_full();
    let now = service.clock.now();
    let caller = credential::authenticate(&rules, &head.headers, now, record).await?;

    let text = timeout_at(deadline, request::read(head, body, service.max_body))
        .await
        .map_err(|_| request::Error::Slow)??;

    let fresh = caching::wants_fresh(&head.headers, &caller.tenant);
    let question = caching::question(&caller.tenant.id, head, media_type, text);
    let now = service.clock.now();
    if !fresh
        && let Some(stored) = rules.answers.get(&question, now)
        && caching::is_for(&stored, &caller)
    {
        caching::note_hit(record, &stored, now);
        let fields = stored.roots.iter().map(|root| root.field);
        let charge = Charge::of(fields, |_| rules.limits.weights.cached, stored.introspects);
        record.cost = charge.total();
        let mut response = caching::respond(&stored, head, media_type, now);
        if let Some(limits) = rules.limits.of(&caller.tenant.id) {
            let (tenant, credential) = (&caller.tenant.id, &caller.credential);
            let charged = service.limiter.charge(tenant, limits, credential, &charge).await;
            let levels = decided(record, charged)?;
            announce(&levels, response.headers_mut());
        }
        return Ok(response);
    }

    let request = request::parse(&head.method, &question.text)?;
    let operation = rules.gateways.parse(&caller.tenant, &request.query).and_then(|document| {
        let operation = document.operation(request.operation_name.as_deref(), request.variables);
        operation.map_err(|error| vec![error.into()])
    });
    let operation = match operation {
        Ok(operation) => operation,
        Err(errors) => return Ok(respond(record, media_type, Answer::refusal(errors))),
    };
    record.kind = Some(operation.kind);
    record.trails = operation.trails();
    if head.method == Method::GET && operation.kind == Kind::Mutation {
        return Err(request::Error::MutationByGet.into());
    }
    permit(&caller, &operation)?;
    let fields = operation.root_fields().map(|(_, field)| field);
    let weights = &rules.limits.weights;
    let charge = Charge::of(fields, |field| weights.of(field), operation.introspects());
    record.cost = charge.total();
    let permit = match rules.limits.of(&caller.tenant.id) {
        Some(limits) => {
            let (tenant, credential) = (&caller.tenant.id, &caller.credential);
            let admitted = service.limiter.admit(tenant, limits, credential, &charge).await;
            Some(decided(record, admitted)?)
        }
        None => None,
    };
    let key = match operation.kind {
        Kind::Mutation => execution::key(&head.headers, &caller.tenant.id)?,
        Kind::Query => None,
    };
    let levels = permit.as_ref().map(|permit| permit.levels.clone()).unwrap_or_default();

    let asking = caching::Asking::of(&operation);
    let trails = Arc::clone(&record.trails);
    let (id, source, trace) = (record.request_id, record.source, record.trace.clone());
    let forward = forwarded(&service.forward_headers, &head.headers);
    let mark = None;
    let request =
        RequestContext { id, source, caller, deadline, fresh, trace, forward, mark, trails };
    let began = Instant::now();
    record.execution = Some((began, None));
    // On the heap: a request that is answered from memory does not carry it about.
    let executed =
        Box::pin(execution::execute(service, &rules, request, operation, key, permit, running))
            .await;
    record.execution = Some((began, Some(began.elapsed())));
    let (answer, is_replay) = match executed {
        Executed::Answer(answer) => (answer, false),
        Executed::Replay(answer) => (answer, true),
        Executed::Conflict => return Err(conflict()),
    };
    record.is_replay = is_replay;
    record.cache = record.trails.iter().filter_map(|trail| trail.note(|notes| notes.cache)).max();

    let now = service.clock.now();
    if let Some(stored) = asking.keep(&answer, &record.trails, now) {
        record.cache = record.cache.or(Some(CacheStatus::Miss));
        let stored = Arc::new(stored);
        rules.answers.put(question, Arc::clone(&stored));
        let mut response = caching::respond(&stored, head, media_type, now);
        announce(&levels, response.headers_mut());
        return Ok(response);
    }
    let mut response = respond(record, media_type, answer);
    announce(&levels, response.headers_mut());
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

fn conflict() -> Refusal {
    let message = "This Idempotency-Key was used before with another operation or other variables. A \
                   new mutation needs a new key.";
    Refusal::of(ApiError::new(ErrorCode::IdempotencyConflict, message))
}

/// Notes what the limiter decided.
fn decided<T>(record: &mut CallRecord, decided: Result<T, Refused>) -> Result<T, Refused> {
    let decision = decided.as_ref().map_or_else(Refused::decision, |_| Decision::Admitted);
    record.decision = Some(decision);
    decided
}

fn announce(levels: &[(Arc<Bucket>, Level)], headers: &mut HeaderMap) {
    limits::announce(levels.iter().map(|(bucket, level)| (&**bucket, *level)), headers);
}

/// An answer that is not kept.
fn respond(record: &mut CallRecord, media_type: MediaType, answer: Answer) -> Response {
    record.failures.clone_from(&answer.failures);
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
        return Err(Refusal::of(ApiError::new(ErrorCode::Forbidden, message)));
    }
    match graphql::forbidden(caller, operation) {
        forbidden if forbidden.is_empty() => Ok(()),
        forbidden => Err(Refusal::of_all(ErrorCode::Forbidden, forbidden)),
    }
}
