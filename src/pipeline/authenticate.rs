//! The caller of a request, from its head alone: a stranger cannot make the gateway read a body.

use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

use super::{ReloadableState, Service};
use crate::auth;
use crate::graphql::ApiError;
use crate::http::bad_request::BadRequest;
use crate::http::connection::Connection;
use crate::http::error::Refusal;
use crate::http::stream::StreamType;
use crate::http::{credential, request};
use crate::limit::TenantLimits;
use crate::model::{CallRecord, Caller, MediaType, RequestHead, Tenant};
use crate::telemetry;

/// A request whose caller is known.
#[derive(Debug)]
pub struct Authenticated<'a> {
    /// Its head.
    pub head: &'a Parts,
    /// The rules it is judged by, to its end.
    pub rules: Arc<ReloadableState>,
    /// Its caller.
    pub caller: Caller,
    /// The limits of its tenant.
    pub limits: Arc<TenantLimits>,
    /// The moment at which its caller stops waiting.
    pub deadline: Instant,
    /// True if cached answers are passed over.
    pub wants_fresh: bool,
    /// The time for which its caller would wait for a change, if it says so.
    pub waits: Option<Duration>,
    /// The media type of its answer.
    pub media_type: MediaType,
    /// True if its caller takes an answer at once; one that takes streams alone can only subscribe.
    pub takes_answers: bool,
    _only_made_here: (),
}

/// Judges a request by its head, and finds out who calls.
///
/// # Errors
/// When it cannot be a GraphQL request, or there is no credential that is taken.
pub async fn authenticate<'a>(
    service: &Service,
    head: &'a Parts,
    record: &mut CallRecord,
) -> Result<Authenticated<'a>, Refusal> {
    let deadline = record.began + request::time_for(&head.headers, service.request_timeout)?;
    let accepted = MediaType::accepted(&head.headers);
    // Who takes streams alone is told of errors in JSON all the same.
    let takes_answers = accepted.is_some();
    if !takes_answers && !StreamType::is_named(&head.headers) {
        return Err(BadRequest::NotAcceptable.into());
    }
    let media_type = accepted.unwrap_or(MediaType::Json);
    request::check_head(head, service.max_body)?;

    let rules = service.rules.load_full();
    let caller = caller(service, &rules, head, record).await?;
    if let Some(connection) = head.extensions.get::<Arc<Connection>>() {
        connection.know(&caller.tenant.id);
    }
    record.wished(|| telemetry::wishes_trace(&head.headers));
    record.traced(|| RequestHead::from_parts(head));
    // Rules have limits for each of their tenants.
    let limits = rules.limits.get(&caller.tenant.id).cloned();
    let limits = limits.ok_or_else(|| Refusal::from_error(ApiError::internal()))?;
    Ok(Authenticated {
        wants_fresh: wants_fresh(&head.headers, &caller.tenant),
        waits: request::wish_to_wait(&head.headers),
        head,
        rules,
        caller,
        limits,
        deadline,
        media_type,
        takes_answers,
        _only_made_here: (),
    })
}

/// Tells the record who calls, or why nobody does.
async fn caller(
    service: &Service,
    ReloadableState { policies, issuers, .. }: &ReloadableState,
    head: &Parts,
    record: &mut CallRecord,
) -> Result<Caller, auth::Error> {
    let credential = credential::presented(&head.headers)
        .inspect_err(|error| record.unauthenticated(error.reason()))?;
    let now = service.clock.now();
    let authenticated = auth::authenticate(credential, policies, issuers, now).await;
    let authenticated = authenticated.and_then(|caller| {
        auth::check_source(credential, &caller, policies, record.source).map(|()| caller)
    });
    match &authenticated {
        Ok(caller) => record.authenticated(caller),
        Err(error) => {
            record.unauthenticated(error.reason());
            if let Some((tenant, id)) = auth::holder_of(credential, *error, policies, issuers) {
                record.held_by(tenant, id);
            }
        }
    }
    authenticated
}

/// Returns true if the caller wants no cached answer and policy heeds that (RFC 9111, section 5.2.1.4).
pub fn wants_fresh(headers: &HeaderMap, tenant: &Tenant) -> bool {
    let no_cache = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
        })
    };
    tenant.cache.no_cache && headers.get_all(header::CACHE_CONTROL).iter().any(no_cache)
}
