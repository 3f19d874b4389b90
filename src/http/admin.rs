//! The endpoints of operators and orchestrators. Served on a listener of their own, never to tenants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::time::timeout;

use crate::audit::Journal;
use crate::jobs::Jobs;
use crate::model::{EntityId, TenantId};
use crate::telemetry::metrics::prometheus_text;

/// The longest time an operator's body may take.
const BODY_TIME: Duration = Duration::from_secs(5);

/// The most that it may take, in bytes.
const LONGEST_BODY: usize = 16 * 1024;

/// The gateway's readiness for requests: it stops being ready before it stops serving.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    /// Says whether requests are taken from now on.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Returns true if requests are taken.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The state of the operators' endpoints.
#[derive(Debug, Clone)]
struct Admin {
    readiness: Arc<Readiness>,
    jobs: Jobs,
    journal: Journal,
}

/// `/livez`, `/readyz`, `/metrics`, `/cache/invalidate` and `/audit/head`; `app` adds `/status` and `/audit`.
pub fn router(readiness: Arc<Readiness>, jobs: Jobs, journal: Journal) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/cache/invalidate", post(invalidate))
        .route("/audit/head", get(audit_head))
        .with_state(Admin { readiness, jobs, journal })
}

/// Prometheus' text format, version 0.0.4.
async fn metrics(
    State(Admin { jobs, .. }): State<Admin>,
) -> ([(HeaderName, &'static str); 1], String) {
    // Read now: it must not tell anything else than `/readyz`.
    jobs.show_breakers();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], prometheus_text())
}

/// Answers whether requests are taken, and how Move's accounts are. An account in trouble does not make the
/// gateway unready: it answers from its cache, and every replica would be unready at once.
async fn ready(State(Admin { readiness, jobs, .. }): State<Admin>) -> (StatusCode, String) {
    let (status, mut text) = if readiness.get() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
    };
    for breaker in jobs.breakers() {
        text.push_str(&format!("circuit breaker {breaker}\n"));
    }
    (status, text)
}

/// The end of the audit chain, `COUNT:HASH`, as `jobs-gateway audit verify --head` takes it: kept
/// elsewhere, it shows that records were cut off.
async fn audit_head(State(Admin { journal, .. }): State<Admin>) -> (StatusCode, String) {
    match journal.head() {
        Some(head) => (StatusCode::OK, format!("{}:{}\n", head.count, head.hash)),
        None => (StatusCode::NOT_FOUND, "no audit file is configured\n".to_owned()),
    }
}

/// The entities to forget: one of a tenant's, or all of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invalidation {
    tenant: String,
    /// A job, take, file or volume.
    id: Option<String>,
    /// A job: the older word.
    job: Option<String>,
}

/// Forgets cached answers on every replica; 204 when that is done.
async fn invalidate(
    State(Admin { jobs, .. }): State<Admin>,
    body: Body,
) -> Result<StatusCode, (StatusCode, String)> {
    let refuse = |problem: &dyn std::fmt::Display| {
        let hint = r#"send {"tenant": "acme"} or {"tenant": "acme", "id": "job-…"}"#;
        (StatusCode::BAD_REQUEST, format!("{problem}; {hint}\n"))
    };
    let body = timeout(BODY_TIME, to_bytes(body, LONGEST_BODY)).await;
    let body = body.map_err(|late| refuse(&late))?.map_err(|error| refuse(&error))?;
    let Invalidation { tenant, id, job } =
        serde_json::from_slice(&body).map_err(|error| refuse(&error))?;
    let tenant = TenantId::parse(&tenant).map_err(|error| refuse(&error))?;
    let id = match (id.as_deref(), job.as_deref()) {
        (Some(_), Some(_)) => return Err(refuse(&"`id` and `job` are two words for one thing")),
        (Some(id), None) => Some(EntityId::of_any_kind(id).map_err(|error| refuse(&error))?),
        (None, Some(job)) => Some(EntityId::job(job).map_err(|error| refuse(&error))?),
        (None, None) => None,
    };
    jobs.forget(&tenant, id.as_ref()).await;
    Ok(StatusCode::NO_CONTENT)
}
