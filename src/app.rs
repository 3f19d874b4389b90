//! The composition root: a configuration and its policies become a running gateway.

mod background;
mod build;
mod records;
mod status;

pub use build::{events_file, heart, index_file, upstream};

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

pub use status::VERSION;

use futures_util::FutureExt;
use futures_util::future::join;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, oneshot};

use crate::audit::{self, Journal, Sink};
use crate::cache::SharedTier;
use crate::config::{Config, Server, StoreFile};
use crate::http::{self, Endpoints, Proxies, Readiness, Serving, Tls, TlsError};
use crate::jobs::Jobs;
use crate::model::Clock;
use crate::pipeline::{self, Service};
use crate::policy::Snapshot;
use crate::redb_file::OpenError;
use crate::reload::{Basis, ConfigSource, RulesReport};
use crate::settings::Diagnostics;
use crate::supervision::{self, Supervisor};
use crate::telemetry::{self, metrics};
use crate::upstream::Upstream;
use crate::webhooks::{self, Webhooks};

/// The time for which the audit file, and then its sinks, get to write what is left.
const FLUSH: Duration = Duration::from_secs(5);

/// The number of connections operators may have at once.
const ADMIN_CONNECTIONS: usize = 128;

/// The longest time one of theirs may be idle.
const ADMIN_KEEP_ALIVE: Duration = Duration::from_secs(100);

/// The number of connections senders of events may have at once.
const WEBHOOK_CONNECTIONS: usize = 256;

/// The longest time one of theirs may be idle.
const SENDERS_KEEP_ALIVE: Duration = Duration::from_secs(100);

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
    #[error("`idempotency.file`, {path}, cannot be opened: {source}")]
    Idempotency {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// The file of events cannot be used.
    #[error("the file of events, {path}, beside `idempotency.file`, cannot be opened: {source}")]
    Webhooks {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
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
    webhooks: Option<Arc<Webhooks>>,
    config: Config,
    origin: Option<(ConfigSource, Basis)>,
    reloads: RulesReport,
    supervisor: Supervisor,
}

/// A gateway that listens: its addresses are known, port 0 included.
#[derive(Debug)]
pub struct Bound {
    app: App,
    listener: TcpListener,
    admin_listener: TcpListener,
    webhooks_listener: Option<TcpListener>,
    /// The address that internal apps call.
    pub address: SocketAddr,
    /// The address that operators look at.
    pub admin_address: SocketAddr,
    /// The address that senders of events call, if there is one.
    pub webhooks_address: Option<SocketAddr>,
}

impl App {
    /// Reloads whenever what was read from the origin changes, and on SIGHUP. The gateway was built on this basis.
    #[must_use]
    pub fn reloading_from(self, origin: ConfigSource, basis: Basis) -> Self {
        Self { origin: Some((origin, basis)), ..self }
    }

    /// Builds everything of a gateway but what it writes on disk, and throws it away: what can be built
    /// once can be built by a start.
    ///
    /// # Errors
    /// When it cannot be built, or building it panics.
    pub fn rehearse(config: &Config, policies: Snapshot) -> Result<(), String> {
        let mut config = config.clone();
        config.audit = None;
        config.idempotency.file = StoreFile::Memory;
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

    /// Listens on all addresses.
    ///
    /// # Errors
    /// When one of them is taken or not this machine's.
    pub fn bind(self) -> Result<Bound, Error> {
        let (listener, address) = listen(self.config.server.listen, "server.listen")?;
        let (admin_listener, admin_address) = listen(self.config.admin.listen, "admin.listen")?;
        let webhooks = self.config.webhooks.as_ref();
        let webhooks = webhooks.map(|own| listen(own.listen, "webhooks.listen")).transpose()?;
        let (webhooks_listener, webhooks_address) = webhooks.unzip();
        Ok(Bound {
            app: self,
            listener,
            admin_listener,
            webhooks_listener,
            address,
            admin_address,
            webhooks_address,
        })
    }
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

/// Returns the number of connections that the system allows, of those that are configured.
fn possible(max_connections: usize) -> usize {
    let possible = http::connections_possible(max_connections);
    if possible < max_connections {
        tracing::warn!(
            max_connections,
            possible,
            "the system's limit of open files allows fewer connections"
        );
    }
    possible
}

/// Keeps what is recorded, and lets the sinks have what they can of it.
async fn close(journal: &Journal, sinks: Vec<JoinHandle<()>>, stop: &AtomicBool) {
    if !journal.flush(FLUSH).await {
        let lost = journal.waiting();
        tracing::error!(lost, "audit records could not be written before the stop");
    }
    stop.store(true, Ordering::SeqCst);
    let (ended, joined) = oneshot::channel();
    // No thread of the runtime's: that would wait for a sink that is stuck, and the process with it.
    std::thread::spawn(move || {
        for sink in sinks {
            drop(sink.join());
        }
        let _ = ended.send(());
    });
    let _ = tokio::time::timeout(FLUSH, joined).await;
}

impl Bound {
    /// Serves until `stop` resolves, then drains: not ready any more, but taking requests for
    /// `drain_delay`, until whoever balances load has noticed; then no new connections, and the
    /// requests that are under way get what is left of the grace.
    ///
    /// # Errors
    /// When a listener breaks, or a background task fails again and again.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { app, listener, admin_listener, webhooks_listener, .. } = self;
        let Server { shutdown_grace: grace, drain_delay, max_connections, keep_alive, .. } =
            app.config.server;
        let (service, journal) = (Arc::clone(&app.service), app.service.journal.clone());
        let (leaving, departing) = (Arc::clone(&service), Arc::clone(&service));
        let readiness = Arc::new(Readiness::default());
        let admin_router =
            http::admin_router(Arc::clone(&readiness), app.jobs.clone(), journal.clone());
        let admin_router =
            admin_router.merge(status::router(&app, &readiness)).merge(records::router(&app));
        let admin = serve_admin(admin_listener, admin_router)?;
        let stopped_sinks = Arc::new(AtomicBool::new(false));
        let sinks = follow_audit(&app, &stopped_sinks)?;
        let tls = app.tls.clone();
        let Server { proxy_protocol, ref trusted_proxies, .. } = app.config.server;
        let balancers = proxy_protocol.then(|| Proxies::new(trusted_proxies.clone()));
        let surface = app.surface.clone();
        let webhooks = webhooks_listener.zip(app.webhooks.clone());
        let supervisor = app.supervisor.clone();
        // What goes on beside the requests ends with this function. Signals are heard from here on.
        let _background = background::start(app)?;
        readiness.set(true);

        let (draining, failure) = (Arc::<Notify>::default(), Arc::new(OnceLock::new()));
        let (drains, fails) = (Arc::clone(&draining), Arc::clone(&failure));
        let unready = Arc::clone(&readiness);
        let stopped = async move {
            tokio::select! {
                () = stop => {}
                gave_up = supervisor.gave_up() => drop(fails.set(gave_up)),
            }
            unready.set(false);
            departing.drain();
            drains.notify_one();
            tokio::time::sleep(drain_delay).await;
        };
        let stopped = stopped.shared();
        let router = pipeline::router(service, surface);
        let serving = Serving {
            max_connections: possible(max_connections),
            keep_alive,
            tls,
            readiness: Arc::clone(&readiness),
            balancers,
            gauge: metrics::connections,
            evicted: metrics::connection_evicted,
        };
        let serving = http::serve(listener, router, serving, stopped.clone());
        let taking_events = take_events(webhooks, readiness, stopped);
        let unrecorded = journal.broken();
        let mut outcome = Ok(());
        let out_of_grace = async {
            draining.notified().await;
            tokio::time::sleep(grace).await;
        };
        let all_over = Box::pin(join(serving, taking_events).then(|_| leaving.end_of_detached()));
        tokio::select! {
            () = all_over => {}
            () = out_of_grace => {
                tracing::warn!("requests were still under way when the grace was over");
            }
            () = unrecorded => outcome = Err(io::Error::other("nothing is recorded any more")),
        }
        leaving.cut_off().await;
        leaving.idempotency.leave().await;
        close(&journal, sinks, &stopped_sinks).await;
        telemetry::report_refused();
        drop(admin);
        outcome
            .and_then(|()| failure.get().map_or(Ok(()), |failure| Err(io::Error::other(*failure))))
    }
}

/// Takes events until `stop` resolves, if any are to be taken. Behind a proxy that speaks TLS, as the internet must
/// not meet it without one.
async fn take_events(
    webhooks: Option<(TcpListener, Arc<Webhooks>)>,
    readiness: Arc<Readiness>,
    stop: impl Future<Output = ()>,
) {
    let Some((listener, webhooks)) = webhooks else { return };
    let serving = Serving {
        max_connections: WEBHOOK_CONNECTIONS,
        keep_alive: SENDERS_KEEP_ALIVE,
        tls: None,
        balancers: None,
        readiness,
        // Callers' connections are counted, these are not.
        gauge: |_| {},
        evicted: || {},
    };
    http::serve(listener, webhooks::router(webhooks), serving, stop).await;
}

/// Starts what follows the audit file.
fn follow_audit(app: &App, stop: &Arc<AtomicBool>) -> io::Result<Vec<JoinHandle<()>>> {
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
        balancers: None,
        readiness,
        // Callers' connections are counted, operators' are not.
        gauge: |_| {},
        evicted: || {},
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
