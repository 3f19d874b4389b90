//! All that a request needs.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::HeaderName;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Journal;
use crate::auth::Issuers;
use crate::auth::operator::AuditReaders;
use crate::cache::{Hub, ResponseCache};
use crate::config::WebhookAccount;
use crate::graphql::Schemas;
use crate::http::Proxies;
use crate::idempotency::Idempotency;
use crate::limit::{Limiter, Limits, Strangers};
use crate::model::Clock;
use crate::policy::Snapshot;

/// The time in which what the end of the grace cut off is recorded.
const LAST_RECORDS: Duration = Duration::from_secs(1);

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
    /// The long polls and streams that may be open at once, all tenants together.
    pub streams: Arc<Semaphore>,
    /// The sockets that may be open at once, all tenants together.
    pub sockets: Arc<Semaphore>,
    /// The sockets that may be open at once of which nobody knows yet whose they are.
    pub strangers: Arc<Strangers>,
    /// The times of streams.
    pub streaming: Streaming,
    /// Work that goes on without its caller's connection: mutations, the records of who hung up, sockets. The gateway
    /// stops when it is over.
    pub detached: TaskTracker,
    /// The end of the time that it has for that.
    pub grace_over: CancellationToken,
    /// The state of the gateway, for long polls and streams.
    pub standing: watch::Sender<GatewayState>,
    /// The jobs that somebody listens to.
    pub hub: Arc<Hub>,
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

/// The times of streams.
#[derive(Debug, Clone, Copy)]
pub struct Streaming {
    /// The interval at which one without news says that it is there.
    pub heartbeat: Duration,
    /// The time after which one ends.
    pub max_age: Duration,
}

/// The state of the gateway, as whoever stays longer than a request has to know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GatewayState {
    /// The number of times its rules were swapped.
    pub rules: u64,
    /// True once it sends its callers away.
    pub is_draining: bool,
}

impl Service {
    /// Swaps the rules. Whoever stays longer than a request is judged by them anew.
    pub fn replace_rules(&self, rules: ReloadableState) {
        self.rules.store(Arc::new(rules));
        self.standing.send_modify(|standing| standing.rules += 1);
    }

    /// Resolves when nothing goes on any more without its caller's connection.
    pub async fn end_of_detached(&self) {
        self.detached.close();
        self.detached.wait().await;
    }

    /// Has what still goes on recorded as it is.
    pub async fn cut_off(&self) {
        self.grace_over.cancel();
        let _ = timeout(LAST_RECORDS, self.end_of_detached()).await;
    }

    /// Sends away whoever stays longer than a request.
    pub fn drain(&self) {
        self.standing.send_modify(|standing| standing.is_draining = true);
    }
}

/// Resolves when the gateway sends its callers away.
pub async fn draining(standing: &mut watch::Receiver<GatewayState>) {
    if standing.wait_for(|standing| standing.is_draining).await.is_err() {
        // The service holds the sender for as long as there are requests.
        std::future::pending::<()>().await;
    }
}
