//! The composition root: a configuration and its policies become a running gateway.

mod background;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::{HeaderName, HeaderValue};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, oneshot};

use crate::audit::{self, Journal, Sink};
use crate::cache::SharedTier;
use crate::config::{self, Config, Diagnostics, Fingerprint, Server};
use crate::http::{self, Cors, Endpoints, Proxies, Readiness, Serving, Tls, TlsError, TlsFiles};
use crate::idempotency::{self, Idempotency};
use crate::jobs::{CursorKey, Jobs};
use crate::limit::Limiter;
use crate::model::Clock;
use crate::pipeline::{self, Service};
use crate::policy::Snapshot;
use crate::reload::{self, ConfigSource};
use crate::seal::Seal;
use crate::shared_state::SharedState;
use crate::supervision::{self, Supervisor};
use crate::telemetry::{self, metrics};
use crate::upstream::Upstream;

/// The time for which the audit file, and then its sinks, get to write what is left.
const FLUSH: Duration = Duration::from_secs(5);

/// The number of connections operators may have at once.
const ADMIN_CONNECTIONS: usize = 128;

/// The longest time one of theirs may be idle.
const ADMIN_KEEP_ALIVE: Duration = Duration::from_secs(100);

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
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file of idempotency keys cannot be used.
    #[error("`idempotency.file` cannot be opened: {0}")]
    Idempotency(#[from] idempotency::OpenError),
    /// A file that the configuration names cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The audit file cannot be read or written.
    #[error("the audit file cannot be opened: {0}; `audit.sinks` names it")]
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
    surface: Endpoints,
    tls: Option<Arc<Tls>>,
    config: Config,
    origin: Option<(ConfigSource, Fingerprint)>,
    supervisor: Supervisor,
}

/// A gateway that listens: its addresses are known, port 0 included.
#[derive(Debug)]
pub struct Bound {
    app: App,
    listener: TcpListener,
    admin_listener: TcpListener,
    /// The address that internal apps call.
    pub address: SocketAddr,
    /// The address that operators look at.
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
        let authorities = config.upstream.ca.as_deref().map(read).transpose()?;
        let upstream = Upstream::new(config.upstream.calls.clone(), authorities.as_deref())?;
        let upstream = Arc::new(upstream);
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
        let config::Idempotency { keep, max_keys, .. } = config.idempotency;
        let remember = idempotency::Settings { keep, max_keys };
        let seal = match &config.cursor_key {
            Some(key) => Seal::new(key, "jobs-gateway idempotency v1"),
            None => Seal::random()?,
        };
        let mut limiter = Limiter::Local;
        let shared = match (&config.shared_state, &config.cursor_key) {
            (Some(url), Some(key)) => {
                let state = Arc::new(SharedState::open(url).map_err(|_| Error::SharedState)?);
                limiter = Limiter::shared(Arc::clone(&state));
                Some((Arc::new(SharedTier::new(Arc::clone(&state), key)), state))
            }
            _ => None,
        };
        let idempotency = match (&shared, &config.idempotency.file) {
            (Some((_, state)), _) => Idempotency::shared(Arc::clone(state), remember, seal, clock),
            (None, Some(file)) => match Idempotency::in_file(file, remember, seal.clone(), clock) {
                // Two gateways with one file: one of them would forget keys that it believes it keeps.
                Err(error)
                    if !config.idempotency.is_explicit
                        && !matches!(error, idempotency::OpenError::Taken) =>
                {
                    let file = file.display();
                    tracing::warn!(%error, %file, "idempotency keys are forgotten with this process");
                    Idempotency::in_memory(remember, seal, clock)
                }
                opened => opened?,
            },
            (None, None) => Idempotency::in_memory(remember, seal, clock),
        };
        let shared = shared.map(|(tier, _)| tier);
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
        let supervisor = Supervisor::default();
        let rules = reload::rules(config, policies, &jobs, None, &http, &supervisor)?;
        let forward_headers = config.upstream.forward_headers.iter();
        let forward_headers: Vec<_> = forward_headers
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect();
        let service = Arc::new(Service {
            rules: ArcSwap::from_pointee(rules),
            limiter,
            idempotency,
            proxies: Proxies::new(config.server.trusted_proxies.clone()),
            forward_headers: forward_headers.clone(),
            journal: journal.clone(),
            concurrency_limit: Semaphore::new(config.server.max_requests),
            clock,
            max_body: config.server.max_body,
            request_timeout: config.server.request_timeout,
        });
        let tls = match config.server.tls.clone() {
            Some(config::Tls { cert, key, client_ca }) => {
                Some(Arc::new(Tls::open(TlsFiles { cert, key, client_ca })?))
            }
            None => None,
        };
        let origins = config.server.cors_origins.iter();
        let surface = Endpoints {
            paths: config.server.paths.clone(),
            cors: Cors {
                origins: origins.filter_map(|o| HeaderValue::from_str(o).ok()).collect(),
                headers: [config.server.cors_headers.clone(), forward_headers].concat(),
            },
            page,
        };
        Ok(Self {
            service,
            upstream,
            jobs,
            shared,
            http,
            surface,
            tls,
            config: config.clone(),
            origin: None,
            supervisor,
        })
    }

    /// Reloads whenever what was read from the origin changes, and on SIGHUP. `known` is what it was
    /// when the gateway's configuration was read.
    #[must_use]
    pub fn reloading_from(self, origin: ConfigSource, known: Fingerprint) -> Self {
        Self { origin: Some((origin, known)), ..self }
    }

    /// Builds everything of a gateway but what it writes on disk, and throws it away: what can be built
    /// once can be built by a start.
    ///
    /// # Errors
    /// When it cannot be built, or building it panics.
    pub fn rehearse(config: &Config, policies: Snapshot) -> Result<(), String> {
        let mut config = config.clone();
        config.audit = None;
        config.idempotency.file = None;
        let build = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            runtime.block_on(async {
                let app = Self::build(&config, policies, Clock::system(), None);
                app.map(|app| drop(app.router())).map_err(|error| error.to_string())
            })
        };
        // In a thread of its own, so that a panic ends there.
        std::thread::spawn(build).join().unwrap_or_else(|panic| {
            Err(format!("a bug of the gateway: {}", supervision::panic_text(panic)))
        })
    }

    /// Makes the router that internal apps meet, without a listener.
    pub fn router(&self) -> axum::Router {
        pipeline::router(Arc::clone(&self.service), self.surface.clone())
    }

    /// Listens on both addresses.
    ///
    /// # Errors
    /// When one of them is taken or not this machine's.
    pub fn bind(self) -> Result<Bound, Error> {
        let (listener, address) = listen(self.config.server.listen, "server.listen")?;
        let (admin_listener, admin_address) = listen(self.config.admin, "admin.listen")?;
        Ok(Bound { app: self, listener, admin_listener, address, admin_address })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// The number of connections the system keeps until they are accepted.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address, key, source };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(failed)?;
    // A restart takes its address back at once.
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

impl Bound {
    /// Serves until `stop` resolves, then drains: not ready any more, but taking requests for
    /// `drain_delay`, until whoever balances load has noticed; then no new connections, and the
    /// requests that are under way get what is left of the grace.
    ///
    /// # Errors
    /// When a listener breaks, or a background task fails again and again.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { app, listener, admin_listener, .. } = self;
        let Server { shutdown_grace: grace, drain_delay, max_connections, keep_alive, .. } =
            app.config.server;
        let (service, journal) = (Arc::clone(&app.service), app.service.journal.clone());
        let leaving = Arc::clone(&service);
        let readiness = Arc::new(Readiness::default());
        let admin_router =
            http::admin_router(Arc::clone(&readiness), app.jobs.clone(), journal.clone());
        let admin = serve_admin(admin_listener, admin_router)?;
        let stopped_sinks = Arc::new(AtomicBool::new(false));
        let sinks = follow_audit(&app, &stopped_sinks)?;
        let tls = app.tls.clone();
        let surface = app.surface.clone();
        let supervisor = app.supervisor.clone();
        // What goes on beside the requests ends with this function. Signals are heard from here on.
        let _background = background::start(app)?;
        readiness.set(true);

        let draining = Arc::new(tokio::sync::Notify::new());
        let failure = Arc::new(OnceLock::new());
        let stopped = {
            let (draining, readiness) = (Arc::clone(&draining), Arc::clone(&readiness));
            let failure = Arc::clone(&failure);
            async move {
                tokio::select! {
                    () = stop => {}
                    gave_up = supervisor.gave_up() => drop(failure.set(gave_up)),
                }
                readiness.set(false);
                draining.notify_one();
                tokio::time::sleep(drain_delay).await;
            }
        };
        let possible = http::connections_possible(max_connections);
        if possible < max_connections {
            tracing::warn!(
                max_connections,
                possible,
                "the system's limit of open files allows fewer connections"
            );
        }
        let router = pipeline::router(service, surface);
        let gauge = metrics::connections;
        let serving = Serving { max_connections: possible, keep_alive, tls, readiness, gauge };
        let serving = http::serve(listener, router, serving, stopped);
        let unrecorded = journal.broken();
        let mut outcome = Ok(());
        let out_of_grace = async {
            draining.notified().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = serving => {}
            () = out_of_grace => {
                tracing::warn!("requests were still under way when the grace was over");
            }
            () = unrecorded => outcome = Err(io::Error::other("nothing is recorded any more")),
        }
        leaving.idempotency.leave().await;
        // What is recorded is kept, and the sinks get what they can of it.
        if !journal.flush(FLUSH).await {
            let lost = journal.waiting();
            tracing::error!(lost, "audit records could not be written before the stop");
        }
        stopped_sinks.store(true, Ordering::SeqCst);
        let sinks_ended = tokio::task::spawn_blocking(move || {
            for sink in sinks {
                drop(sink.join());
            }
        });
        let _ = tokio::time::timeout(FLUSH, sinks_ended).await;
        telemetry::report_refused();
        drop(admin);
        outcome
            .and_then(|()| failure.get().map_or(Ok(()), |failure| Err(io::Error::other(*failure))))
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
    let follow = |sink| audit::follow(&app.service.journal, sink, Arc::clone(stop));
    sinks.into_iter().map(follow).collect()
}

/// Serves operators from a thread of its own, until what is returned is dropped: however busy the
/// gateway is, its health is told.
fn serve_admin(listener: TcpListener, router: axum::Router) -> io::Result<oneshot::Sender<()>> {
    let (stop, stopped) = oneshot::channel::<()>();
    let readiness = Arc::new(Readiness::default());
    readiness.set(true);
    let serving = Serving {
        max_connections: ADMIN_CONNECTIONS,
        keep_alive: ADMIN_KEEP_ALIVE,
        tls: None,
        readiness,
        // Callers' connections are counted, operators' are not.
        gauge: |_| {},
    };
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            tokio::select! {
                () = http::serve(listener, router, serving, std::future::pending()) => {}
                _ = stopped => {}
            }
        });
    })?;
    Ok(stop)
}
