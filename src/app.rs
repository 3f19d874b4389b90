//! The composition root: a configuration and its policies become a running gateway.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::HeaderValue;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::graphql::Gateway;
use crate::http::{self, Readiness, Service, Surface};
use crate::jobs::{CursorKey, Jobs};
use crate::model::Clock;
use crate::operation::Documents;
use crate::policy::Snapshot;
use crate::upstream::{self, Upstream};

/// How often the gateway asks each account's API what it has.
const LEARN_EVERY: Duration = Duration::from_mins(10);

/// How long it waits to ask again where no answer came.
const LEARN_AGAIN: Duration = Duration::from_secs(15);

/// Why a gateway could not be built or bound.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client did not start.
    #[error("the HTTP client cannot start: {0}")]
    Client(#[from] reqwest::Error),
    /// No random bytes for a cursor key.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The configuration key that names it.
        key: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// A gateway that is built and not yet bound.
#[derive(Debug)]
pub struct App {
    service: Arc<Service>,
    upstream: Arc<Upstream>,
    surface: Surface,
    listen: SocketAddr,
    admin: SocketAddr,
    shutdown_grace: Duration,
}

/// A gateway that listens: its addresses are known, port 0 included.
#[derive(Debug)]
pub struct Bound {
    app: App,
    listener: TcpListener,
    admin_listener: TcpListener,
    /// Where internal apps call.
    pub address: SocketAddr,
    /// Where operators look.
    pub admin_address: SocketAddr,
}

impl App {
    /// Builds a gateway. `page` is served at `/` (GraphiQL in `dev`).
    ///
    /// # Errors
    /// When the HTTP client or the cursor key cannot be made.
    pub fn build(
        config: &Config,
        policies: Snapshot,
        clock: Clock,
        page: Option<String>,
    ) -> Result<Self, Error> {
        let upstream = Arc::new(Upstream::new(upstream::Settings {
            timeout: config.upstream.timeout,
            connect_timeout: config.upstream.connect_timeout,
        })?);
        let cursor_key = if let Some(key) = &config.cursor_key {
            CursorKey::new(key)
        } else {
            tracing::warn!(
                "`cursor_key` is not set: listJobs cursors end with this process and are not \
                 taken by other replicas"
            );
            CursorKey::generate()?
        };
        let jobs = Jobs::new(Arc::clone(&upstream), cursor_key, clock);
        let service = Arc::new(Service {
            policies: ArcSwap::from_pointee(policies),
            documents: Documents::new(config.limits.clone()),
            gateway: Gateway::new(jobs),
            clock,
            max_body: config.server.max_body,
            request_timeout: config.server.request_timeout,
        });
        let cors_origins = config.server.cors_origins.iter();
        let surface = Surface {
            paths: config.server.paths.clone(),
            cors_origins: cors_origins.filter_map(|o| HeaderValue::from_str(o).ok()).collect(),
            page,
        };
        Ok(Self {
            service,
            upstream,
            surface,
            listen: config.server.listen,
            admin: config.admin,
            shutdown_grace: config.server.shutdown_grace,
        })
    }

    /// Listens on both addresses.
    ///
    /// # Errors
    /// When one of them is taken or not this machine's.
    pub async fn bind(self) -> Result<Bound, Error> {
        let (listener, address) = listen(self.listen, "server.listen").await?;
        let (admin_listener, admin_address) = listen(self.admin, "admin.listen").await?;
        Ok(Bound { app: self, listener, admin_listener, address, admin_address })
    }
}

async fn listen(
    address: SocketAddr,
    key: &'static str,
) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address, key, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

impl Bound {
    /// Serves until `stop` resolves, then drains: not ready any more, no new connections, and the
    /// requests that are under way get the configured grace.
    ///
    /// # Errors
    /// When a listener breaks.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let readiness = Arc::new(Readiness::default());
        let admin = axum::serve(self.admin_listener, http::admin_router(Arc::clone(&readiness)));
        let admin = tokio::spawn(admin.into_future());
        let learner = learn_features(&self.app);
        readiness.set(true);

        let draining = Arc::new(tokio::sync::Notify::new());
        let stopped = {
            let (draining, readiness) = (Arc::clone(&draining), Arc::clone(&readiness));
            async move {
                stop.await;
                readiness.set(false);
                draining.notify_one();
            }
        };
        // Small answers leave at once.
        let listener = self.listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let router = http::router(self.app.service, self.app.surface);
        let serving = axum::serve(listener, router).with_graceful_shutdown(stopped).into_future();
        let out_of_grace = async {
            draining.notified().await;
            tokio::time::sleep(self.app.shutdown_grace).await;
        };
        let served = tokio::select! {
            served = serving => served,
            () = out_of_grace => {
                tracing::warn!("requests were still under way when the grace was over");
                Ok(())
            }
        };
        learner.abort();
        admin.abort();
        served
    }
}

/// Asks every account in use what its API has, beside the request path.
fn learn_features(app: &App) -> JoinHandle<()> {
    let (service, upstream) = (Arc::clone(&app.service), Arc::clone(&app.upstream));
    tokio::spawn(async move {
        loop {
            let policies = service.policies.load_full();
            let mut wait = LEARN_EVERY;
            for account in policies.accounts() {
                if let Err(error) = upstream.learn_features(&account).await {
                    tracing::warn!(%error, "cannot learn what Move's API has; will ask again");
                    wait = LEARN_AGAIN;
                }
            }
            tokio::time::sleep(wait).await;
        }
    })
}
