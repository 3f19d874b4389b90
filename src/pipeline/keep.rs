//! The end of a request: its answer is kept if it may be, and becomes a response.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderValue, header};
use axum::response::Response;
use jiff::Timestamp;

use super::{Authenticated, Executed, Service, cached};
use crate::cache::{CachedResponse, KeptFrom, ResponseKey, Root};
use crate::graphql::Answer;
use crate::http::error::{self, Refusal};
use crate::http::limits;
use crate::limit::seconds;
use crate::model::{CacheStatus, CallRecord, Kind, RequestMethod, RootFields, Trail};
use crate::operation::Operation;

/// The time for which an answer about the schema alone stays fresh, in seconds; a reload ends it earlier.
const SCHEMA_FRESH: i64 = 3600;

/// Keeps an answer if it may be given again, and builds the response.
///
/// # Errors
/// When it is a query's and its tenant does not read its answers.
pub fn keep(
    service: &Service,
    request: &Authenticated<'_>,
    key: ResponseKey,
    executed: Executed,
    record: &mut CallRecord,
) -> Result<Response, Refusal> {
    let Executed { kind, mut answer, cacheability, levels, slot } = executed;
    let now = service.clock.now();
    let answers = &request.rules.answers;
    let is_kept = answers.is_worth_keeping(&key, cacheability.kept_from(request));
    // Who asks by GET may keep it too.
    let stored = (is_kept || key.method == RequestMethod::Get)
        .then(|| cacheability.keep(&answer, &record.trails, now).map(Arc::new))
        .flatten();
    if let Some(stored) = &stored {
        record.kept();
        if is_kept {
            answers.put(key, Arc::clone(stored));
        }
    }
    answer.body = slot.answer(kind, answer.body).map_err(|refused| {
        record.decided(refused.decision());
        Refusal::from(refused).announcing(&levels)
    })?;
    let mut response = match stored {
        Some(stored) => cached::respond(&stored, answer.body, request, now),
        None => respond(request, answer, record),
    };
    limits::announce(&levels, response.headers_mut());
    if record.is_replay {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Builds the response of an answer that is not kept.
fn respond(request: &Authenticated<'_>, answer: Answer, record: &mut CallRecord) -> Response {
    let status = error::status(&answer, request.media_type);
    record.failed(answer.failures);
    let mut response = error::respond(status, request.media_type, answer.body);
    if let Some(wait) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    }
    response
}

/// The facts of an operation that decide on keeping its answer.
#[derive(Debug)]
pub struct Cacheability {
    /// The root fields that a caller must be allowed to get its answer; `None` if it is never kept.
    needs: Option<RootFields>,
    introspects: bool,
}

impl Cacheability {
    /// Reads the facts: only reads of single things and of the schema are kept.
    pub fn new(operation: &Operation) -> Self {
        let is_kept = operation.kind == Kind::Query
            && operation.root_fields().all(|(_, field)| field.is_getter());
        let needs = operation.root_fields().map(|(_, field)| field).collect();
        Self { needs: is_kept.then_some(needs), introspects: operation.introspects() }
    }

    /// An answer is worth its memory once it is asked for again, unless it is cheaper for its caller from memory, or
    /// tells of the schema: that takes longer to make. `None` if it is never kept.
    fn kept_from(&self, request: &Authenticated<'_>) -> Option<KeptFrom> {
        let weights = &request.rules.limits.weights;
        let is_cheaper = self.needs?.iter().any(|field| weights.of(field) > weights.cached);
        let is_dear = is_cheaper || self.introspects;
        Some(if is_dear { KeptFrom::FirstTime } else { KeptFrom::SecondTime })
    }

    /// Returns the answer as it may be kept: whole, without errors, fresh, and of jobs whose versions are known.
    fn keep(&self, answer: &Answer, trails: &[Trail], now: Timestamp) -> Option<CachedResponse> {
        let needs = self.needs.filter(|_| answer.failures.is_empty())?;
        let mut freshness = Vec::with_capacity(trails.len());
        let mut roots = Vec::with_capacity(trails.len());
        for trail in trails {
            let entity = trail.note(|notes| {
                let is_fresh = notes.cache != Some(CacheStatus::Stale);
                let may_be_kept = is_fresh && !notes.freshness.is_empty();
                freshness.extend_from_slice(&notes.freshness);
                may_be_kept.then(|| notes.entity.clone())
            });
            let response_key = Arc::clone(&trail.response_key);
            roots.push(Root { response_key, field: trail.field, entity: entity? });
        }
        let schema_until = Timestamp::from_second(now.as_second() + SCHEMA_FRESH).ok()?;
        let until = freshness.iter().map(|fresh| fresh.until).min().unwrap_or(schema_until);
        let fetched = freshness.iter().map(|fresh| fresh.fetched).min().unwrap_or(now);
        (until > now).then(|| CachedResponse {
            body: answer.body.clone(),
            etag: OnceLock::new(),
            fetched,
            fresh_until: until,
            versions: freshness.iter().map(|fresh| fresh.version.clone()).collect(),
            roots: roots.into(),
            needs,
            introspects: self.introspects,
        })
    }
}
