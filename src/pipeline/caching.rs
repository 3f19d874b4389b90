//! What HTTP and the whole-answer cache say of an answer: may it be kept, for how long, is it new?

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use jiff::Timestamp;

use crate::cache::{CachedResponse, ResponseKey, Root};
use crate::graphql::Answer;
use crate::http::error;
use crate::model::{
    CacheStatus, CallRecord, Caller, JobId, Kind, MediaType, RequestMethod, RootField, RootFields,
    Tenant, TenantId, Trail,
};
use crate::operation::Operation;

/// How long an answer about the schema alone stays fresh, in seconds; a reload ends it earlier.
const SCHEMA_FRESH: i64 = 3600;

/// Whether the caller wants no cached answer and policy heeds that (RFC 9111, section 5.2.1.4).
pub fn wants_fresh(headers: &HeaderMap, tenant: &Tenant) -> bool {
    let no_cache = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
        })
    };
    tenant.cache.heeds_no_cache && headers.get_all(header::CACHE_CONTROL).iter().any(no_cache)
}

/// The question a request asks.
pub fn question(
    tenant: &TenantId,
    head: &Parts,
    media_type: MediaType,
    text: Bytes,
) -> ResponseKey {
    let method = RequestMethod::from(&head.method);
    ResponseKey { tenant: tenant.clone(), method, media_type, text }
}

/// Whether a stored answer is for this caller too: keys of one tenant may differ in rights.
pub fn is_for(stored: &CachedResponse, caller: &Caller) -> bool {
    caller.grants.intersect(stored.needs) == stored.needs
        && (caller.tenant.introspection || !stored.introspects)
}

/// What a stored answer tells the record.
pub fn note_hit(record: &mut CallRecord, stored: &CachedResponse, now: Timestamp) {
    let age = stored.age(now);
    let trail = |root: &Root| {
        let trail = Trail::new(Arc::clone(&root.response_key), root.field);
        trail.note(|notes| notes.job.clone_from(&root.job));
        trail.note_cache(CacheStatus::Hit, age);
        trail
    };
    record.served_from_cache(stored.roots.iter().map(trail).collect());
}

/// What the operation asks for, as far as the whole-answer cache needs to know it.
#[derive(Debug)]
pub struct Cacheability {
    /// What its answer needs a caller to be allowed to; `None` if it is never kept.
    needs: Option<RootFields>,
    introspects: bool,
}

impl Cacheability {
    /// Only reads of single jobs and of the schema are kept.
    pub fn new(operation: &Operation) -> Self {
        let is_kept = operation.kind == Kind::Query
            && operation.root_fields().all(|(_, field)| field == RootField::GetJob);
        let needs = operation.root_fields().map(|(_, field)| field).collect();
        Self { needs: is_kept.then_some(needs), introspects: operation.introspects() }
    }

    /// The answer as it may be kept: whole, without errors, fresh, and of jobs whose versions are
    /// known.
    pub fn keep(
        &self,
        answer: &Answer,
        trails: &[Trail],
        now: Timestamp,
    ) -> Option<CachedResponse> {
        let needs = self.needs.filter(|_| answer.failures.is_empty())?;
        let mut freshness = Vec::new();
        let mut roots = Vec::new();
        for trail in trails {
            let (own, job): (_, Option<JobId>) = trail.note(|notes| {
                let own = if notes.cache == Some(CacheStatus::Stale) {
                    Vec::new()
                } else {
                    notes.freshness.clone()
                };
                (own, notes.job.clone())
            });
            if own.is_empty() {
                return None;
            }
            freshness.extend(own);
            roots.push(Root {
                response_key: Arc::clone(&trail.response_key),
                field: trail.field,
                job,
            });
        }
        let schema_until = Timestamp::from_second(now.as_second() + SCHEMA_FRESH).ok()?;
        let until = freshness.iter().map(|fresh| fresh.until).min().unwrap_or(schema_until);
        let fetched = freshness.iter().map(|fresh| fresh.fetched).min().unwrap_or(now);
        (until > now).then(|| CachedResponse {
            body: answer.body.clone(),
            etag: OnceLock::new(),
            fetched,
            fresh_until: until,
            versions: freshness.into_iter().map(|fresh| fresh.version).collect(),
            roots: roots.into(),
            needs,
            introspects: self.introspects,
        })
    }
}

/// A kept answer as the response to this request: a GET may be kept by the caller too, and is
/// answered with 304 where the caller has the same bytes (RFC 9110, section 13.1.2).
pub fn respond(
    stored: &CachedResponse,
    head: &Parts,
    media_type: MediaType,
    now: Timestamp,
) -> Response {
    let mut response = error::respond(StatusCode::OK, media_type, stored.body.clone());
    if head.method == Method::GET {
        if has_same(&head.headers, stored.etag()) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        let max_age = format!("private, max-age={}", stored.max_age(now).as_secs());
        let vary = "accept, authorization, x-api-key";
        let more = [
            (header::CACHE_CONTROL, HeaderValue::try_from(max_age).ok()),
            (header::ETAG, HeaderValue::from_str(stored.etag()).ok()),
            (header::VARY, Some(HeaderValue::from_static(vary))),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}

/// An entity tag without the mark of a weak one.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// `If-None-Match` compares weakly (RFC 9110, section 13.1.2).
fn has_same(headers: &HeaderMap, etag: &str) -> bool {
    let own = opaque(etag);
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(
        |list| {
            list.split(',')
                .map(str::trim)
                .any(|candidate| candidate == "*" || opaque(candidate) == own)
        },
    )
}

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// Says in the head what the cache had: `X-Cache`, and `Age` (RFC 9111, section 5.1) where the
/// answer is not new.
pub fn announce(record: &CallRecord, headers: &mut HeaderMap) {
    let Some(status) = record.cache else { return };
    headers.insert(X_CACHE, HeaderValue::from_static(status.as_str()));
    if matches!(status, CacheStatus::Hit | CacheStatus::Stale) {
        headers.insert(header::AGE, HeaderValue::from(record.age().as_secs()));
    }
}
