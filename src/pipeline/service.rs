//! All that a request needs.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::HeaderName;
use tokio::sync::Semaphore;

use crate::audit::Journal;
use crate::auth::Issuers;
use crate::auth::operator::AuditReaders;
use crate::cache::ResponseCache;
use crate::config::WebhookAccount;
use crate::graphql::Schemas;
use crate::http::Proxies;
use crate::idempotency::Idempotency;
use crate::limit::{Limiter, Limits};
use crate::model::Clock;
use crate::policy::Snapshot;

/// Everything a request needs, built once.
#[derive(Debug)]
pub struct Service {
    /// The rules, which a reload swaps whole; a request takes them once, at its start, and keeps them.
    pub rules: ArcSwap<ReloadableState>,
    /// Admits requests.
    pub limiter: Limiter,
    /// The memory of mutations that may be sent again.
    pub idempotency: Idempotency,
    /// The journal that records go to.
    pub journal: Journal,
    /// The requests that may be under way at once, all tenants together.
    pub concurrency_limit: Arc<Semaphore>,
    /// The time of day.
    pub clock: Clock,
    /// Whose word is taken on where a request came from.
    pub proxies: Proxies,
    /// Headers of callers that go on to Move.
    pub forward_headers: Vec<HeaderName>,
    /// Longest request body, in bytes.
    pub max_body: usize,
    /// The time one request may take.
    pub request_timeout: Duration,
}

/// Everything that a reload changes.
#[derive(Debug)]
pub struct ReloadableState {
    /// The tenants and their keys.
    pub policies: Snapshot,
    /// The keys by which operators read audit records.
    pub audit_keys: AuditReaders,
    /// The issuers of tokens.
    pub issuers: Issuers,
    /// The schemas as each tenant may see them, and what executes operations in them.
    pub gateways: Schemas,
    /// The limits of each tenant, and what is left of them.
    pub limits: Limits,
    /// Whole answers, given by these rules.
    pub answers: ResponseCache,
    /// The accounts whose events are taken, and the secrets that sign them.
    pub webhooks: Vec<WebhookAccount>,
}
