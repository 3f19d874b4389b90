//! Bytes in and bytes out: connections, TLS, bodies, media types, statuses, and the one ordered stack of layers.
//!
//! Nothing here decides on a request: that is `pipeline`'s, which imports this module.

mod admin;
pub(crate) mod bad_request;
pub(crate) mod body;
pub(crate) mod connection;
mod cors;
pub(crate) mod credential;
mod encoding;
pub(crate) mod error;
pub(crate) mod freshness;
pub(crate) mod limits;
pub(crate) mod media_type;
mod places;
mod proxies;
mod proxy_protocol;
pub(crate) mod request;
mod serve;
mod site;
pub(crate) mod stream;
mod tls;
pub(crate) mod websocket;
mod wire;

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn;
use axum::response::Response;
use tower::util::{MapRequestLayer, MapResponseLayer};
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

pub use admin::{Readiness, router as admin_router};
pub use cors::Cors;
pub use credential::presented;
pub use proxies::Proxies;
pub use serve::{Serving, connections_possible, serve};
pub use site::{Site, SiteFile};
pub use tls::{Error as TlsError, Tls};

use crate::model::RequestId;

/// The paths that internal apps find.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// The paths of the GraphQL endpoint.
    pub paths: Vec<String>,
    /// The pages that may call.
    pub cors: Cors,
    /// A page for people, at `/` (GraphiQL in `dev`).
    pub site: Option<Site>,
}

/// The router that internal apps meet; `graphql` answers requests on the GraphQL paths.
pub fn router<S>(surface: Endpoints, graphql: &S) -> Router
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let mut router = Router::new();
    for path in &surface.paths {
        router = router.route_service(path, graphql.clone());
    }
    if let Some(site) = surface.site {
        router = router.layer(from_fn(site::lead_to_page)).merge(site.router());
    }
    let paths = surface.paths.join(", ");
    let layers = ServiceBuilder::new()
        .layer(MapResponseLayer::new(error::identified))
        // The handler answers for its own panics; for one of these layers nobody else does.
        .layer(CatchPanicLayer::custom(|_| internal_error()))
        // Before the handler, so that nothing is done for an answer that would be refused.
        .layer(MapRequestLayer::new(encoding::decide))
        // What is small is sent sooner as it is, and a stream part by part: a coding would hold them back.
        .layer(
            CompressionLayer::new().compress_when(
                SizeAbove::new(1024)
                    .and(NotForContentType::SSE)
                    .and(NotForContentType::const_new("multipart/mixed")),
            ),
        )
        // Outside authentication: a preflight carries no credential.
        .option_layer(surface.cors.layer());
    router.fallback(async move || error::not_found(&paths)).layer(layers)
}

fn internal_error() -> Response {
    let id = RequestId::new();
    let (mut response, _) = error::panicked(id).into_parts(id);
    error::identify(id, &mut response);
    response
}
