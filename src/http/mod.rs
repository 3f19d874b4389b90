//! HTTP: the router and its one ordered stack of layers, bytes in, bytes out.

mod admin;
mod arrival;
mod body;
mod caching;
mod connection;
mod cors;
mod credential;
mod emission;
mod encoding;
mod error;
mod execution;
mod graphql;
mod limits;
mod media_type;
mod places;
mod proxies;
mod request;
mod serve;
mod tls;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::HeaderName;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

pub use admin::{Readiness, router as admin_router};
pub use cors::Cors;
pub use proxies::Proxies;
pub use serve::{Serving, connections_possible, serve};
pub use tls::{Error as TlsError, Files as TlsFiles, Tls};

use crate::audit::Journal;
use crate::auth::Issuers;
use crate::cache::ResponseCache;
use crate::graphql::{ApiError, Schemas};
use crate::idempotency::Idempotency;
use crate::limit::{Limiter, Limits};
use crate::model::Clock;
use crate::policy::Snapshot;

/// Everything a request needs, built once.
#[derive(Debug)]
pub struct Service {
    /// What a reload swaps whole; a request takes it once, at its start, and keeps it.
    pub rules: ArcSwap<ReloadableState>,
    /// Admits requests.
    pub limiter: Limiter,
    /// What became of mutations that may be sent again.
    pub idempotency: Idempotency,
    /// Where records go.
    pub journal: Journal,
    /// The requests that may be under way at once, all tenants together.
    pub concurrency_limit: Semaphore,
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
    /// The issuers of tokens.
    pub issuers: Issuers,
    /// The schemas as each tenant may see them, and what executes operations in them.
    pub gateways: Schemas,
    /// How much each tenant may ask for, and how much it has.
    pub limits: Limits,
    /// Whole answers, given by these rules.
    pub answers: ResponseCache,
}

/// What is served beside the GraphQL paths and how.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// The paths of the GraphQL endpoint.
    pub paths: Vec<String>,
    /// The pages that may call.
    pub cors: Cors,
    /// A page for `/` (GraphiQL in `dev`).
    pub page: Option<String>,
}

/// The router that internal apps meet.
pub fn router(service: Arc<Service>, surface: Endpoints) -> Router {
    let mut router = Router::new();
    for path in &surface.paths {
        router = router.route(path, any(graphql::handle));
    }
    if let Some(page) = surface.page {
        router = router.route("/", get(async move || Html(page.clone())));
    }
    let paths = surface.paths.join(", ");
    let layers = ServiceBuilder::new()
        // A panic is a bug, and one caller's: the process and the others go on.
        .layer(CatchPanicLayer::custom(|_| internal_error()))
        // Before the handler, so that nothing is done for an answer that would be refused.
        .layer(MapRequestLayer::new(encoding::decide))
        // What is small is sent sooner as it is.
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(1024)))
        // Outside authentication: a preflight carries no credential.
        .option_layer(surface.cors.layer());
    router.fallback(async move || error::not_found(&paths)).layer(layers).with_state(service)
}

fn internal_error() -> Response {
    tracing::error!("a request panicked");
    error::Refusal::from_error(ApiError::internal()).into_response()
}
