//! The composition root: a configuration and its policies become a running gateway.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::audit::{self, Journal, Segments, Sink};
use crate::cache::SharedTier;
use crate::config::{Config, Diagnostics, Server};
use crate::http::{self, Readiness, Service, Surface};
use crate::jobs::{CursorKey, Jobs};
use crate::limit::Limiter;
use crate::model::Clock;
use crate::policy::Snapshot;
use crate::reload::{self, Origin};
use crate::shared_state::SharedState;
use crate::upstream::{self, Upstream};

/// How often the gateway asks each account's API what it has.
const LEARN_EVERY: Duration = Duration::from_mins(10);

/// How long the audit file, and then its sinks, get to write what is left.
const FLUSH: Duration = Duration::from_secs(5);

/// How long it waits to ask again where no answer came.
const LEARN_AGAIN: Duration = Duration::from_secs(15);

/// Why a gateway could not be built or bound.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client did not start.
    #[error("the HTTP client cannot start: {0}")]
    Client(#[from] reqwest::Error),
    /// An issuer's keys cannot be used.
    #[error("{0}")]
    Issuers(#[from] Diagnostics),
    /// No random bytes for a cursor key.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// Redis' address cannot be used. It may hold a password, so the error does not repeat it.
    #[error("`shared_state.redis` is no address that can be connected to")]
    SharedState,
    /// The audit file cannot be read or written.
    #[error("the audit file cannot be opened: {0}")]
    Audit(io::Error),
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
    jobs: Jobs,
    shared: Option<Arc<SharedTier>>,
    http: reqwest::Client,
    surface: Surface,
    config: Config,
    origin: Option<Origin>,
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
    /// Builds a gateway. `page` is served at `/` (GraphiQL in `dev`). Needs a runtime.
    ///
    /// # Errors
    /// When the HTTP client, the cursor key or an issuer's keys cannot be had.
    pub fn build(
        config: &Config,
        policies: Snapshot,
        clock: Clock,
        page: Option<String>,
    ) -> Result<Self, Error> {
        let upstream = Arc::new(Upstream::new(upstream::Settings {
            timeout: config.upstream.timeout,
            connect_timeout: config.upstream.connect_timeout,
            max_in_flight: config.upstream.max_in_flight,
            max_wait: config.upstream.max_wait,
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
        let jobs = Jobs::new(
            Arc::clone(&upstream),
            cursor_key,
            clock,
            config.cache.jobs,
            config.server.request_timeout,
        );
        let mut limiter = Limiter::Local;
        let shared = match (&config.shared_state, &config.cursor_key) {
            (Some(url), Some(key)) => {
                let state = Arc::new(SharedState::open(url).map_err(|_| Error::SharedState)?);
                limiter = Limiter::shared(Arc::clone(&state));
                Some(Arc::new(SharedTier::new(state, key)))
            }
            _ => None,
        };
        let jobs = match &shared {
            Some(shared) => jobs.sharing(Arc::clone(shared)),
            None => jobs,
        };
        let journal = if let Some(audit) = &config.audit {
            Journal::open(&audit.journal).map_err(Error::Audit)?
        } else {
            tracing::warn!("`audit` is not set: no records are kept of what tenants do");
            Journal::none()
        };
        let jobs = jobs.recording(journal.clone());
        // For the issuers' keys; like the one for Move it follows nobody elsewhere.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let rules = reload::rules(config, policies, &jobs, None, &http)?;
        let service = Arc::new(Service {
            rules: ArcSwap::from_pointee(rules),
            limiter,
            journal: journal.clone(),
            at_once: Semaphore::new(config.server.max_requests),
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
            jobs,
            shared,
            http,
            surface,
            config: config.clone(),
            origin: None,
        })
    }

    /// Reloads whenever the origin's files change, and on SIGHUP.
    #[must_use]
    pub fn reloading_from(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// Listens on both addresses.
    ///
    /// # Errors
    /// When one of them is taken or not this machine's.
    pub async fn bind(self) -> Result<Bound, Error> {
        let (listener, address) = listen(self.config.server.listen, "server.listen").await?;
        let (admin_listener, admin_address) = listen(self.config.admin, "admin.listen").await?;
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
        let admin_router = http::admin_router(
            Arc::clone(&readiness),
            self.app.jobs.clone(),
            self.app.service.journal.clone(),
        );
        let admin = serve_admin(self.admin_listener, admin_router)?;
        let stopped_sinks = Arc::new(AtomicBool::new(false));
        let sinks = follow_audit(&self.app, &stopped_sinks)?;
        let journal = self.app.service.journal.clone();
        let learner = learn_features(&self.app);
        let follower = self.app.shared.map(|shared| {
            let versions = Arc::clone(self.app.jobs.versions());
            tokio::spawn(async move { shared.follow(&versions).await })
        });
        let Server { shutdown_grace: grace, max_connections, .. } = self.app.config.server;
        let reloader = self.app.origin.map(|origin| {
            let (service, jobs) = (Arc::clone(&self.app.service), self.app.jobs);
            tokio::spawn(reload::follow(origin, self.app.config, service, jobs, self.app.http))
        });
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
        let router = http::router(self.app.service, self.app.surface);
        let possible = http::connections_possible(max_connections);
        if possible < max_connections {
            tracing::warn!(
                max_connections,
                possible,
                "the system's limit of open files allows fewer connections"
            );
        }
        let serving = http::serve(self.listener, router, possible, stopped);
        let out_of_grace = async {
            draining.notified().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = serving => {}
            () = out_of_grace => {
                tracing::warn!("requests were still under way when the grace was over");
            }
        }
        for task in [Some(learner), reloader, follower].into_iter().flatten() {
            task.abort();
        }
        // What is recorded is kept, and the sinks get what they can of it.
        journal.flush(FLUSH).await;
        stopped_sinks.store(true, Ordering::SeqCst);
        let sinks_ended = tokio::task::spawn_blocking(move || {
            for sink in sinks {
                drop(sink.join());
            }
        });
        let _ = tokio::time::timeout(FLUSH, sinks_ended).await;
        drop(admin);
        Ok(())
    }
}

/// Starts what follows the audit file.
fn follow_audit(app: &App, stop: &Arc<AtomicBool>) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let Some(settings) = &app.config.audit else { return Ok(Vec::new()) };
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if settings.stdout {
        sinks.push(Box::new(audit::Stdout));
    }
    if let Some(url) = &settings.otlp {
        sinks.push(Box::new(audit::Otlp::new(app.http.clone(), url.clone())));
    }
    let follow = |sink| {
        let segments = Segments::of(&settings.journal.file);
        audit::follow(segments, app.service.journal.clone(), sink, Arc::clone(stop))
    };
    sinks.into_iter().map(follow).collect()
}

/// Serves operators from a thread of its own, until what is returned is dropped: however busy the
/// gateway is, its health is told.
fn serve_admin(listener: TcpListener, router: axum::Router) -> io::Result<oneshot::Sender<()>> {
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            tokio::select! {
                _ = axum::serve(listener, router) => {}
                _ = stopped => {}
            }
        });
    })?;
    Ok(stop)
}

/// Asks every account in use what its API has, beside the request path.
fn learn_features(app: &App) -> JoinHandle<()> {
    let (service, upstream) = (Arc::clone(&app.service), Arc::clone(&app.upstream));
    tokio::spawn(async move {
        loop {
            let accounts = service.rules.load().policies.accounts();
            let mut wait = LEARN_EVERY;
            for account in accounts {
                if let Err(error) = upstream.learn_features(&account).await {
                    tracing::warn!(%error, "cannot learn what Move's API has; will ask again");
                    wait = LEARN_AGAIN;
                }
            }
            tokio::time::sleep(wait).await;
        }
    })
}
