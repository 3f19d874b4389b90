//! Reload: a change in policies/ or gateway.yaml, or SIGHUP, swaps all rules at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::auth::Issuers;
use crate::cache::Answers;
use crate::config::{self, Config, Diagnostic, Diagnostics, Node, Severity};
use crate::graphql::{self, Gateways};
use crate::http::{Rules, Service, Tls, TlsFiles};
use crate::jobs::Jobs;
use crate::limit::Limits;
use crate::model::TenantId;
use crate::policy::{self, Snapshot};
use crate::telemetry::metrics;

/// An editor and a volume mount change several files at once: how long after the first change they
/// are read. A change that comes later is read again.
const SETTLE: Duration = Duration::from_millis(50);

/// Environment variables, as [`config::Env`], to keep.
pub type OwnedEnv = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where rules come from: a configuration file and the environment.
#[derive(Clone)]
pub struct Origin {
    path: PathBuf,
    env: OwnedEnv,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What was read from an origin: good as a whole.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The policies.
    pub policies: Snapshot,
    /// What is worth a look.
    pub warnings: Diagnostics,
}

impl Origin {
    /// Rules of this file, in this environment.
    #[must_use]
    pub fn new(path: &Path, env: OwnedEnv) -> Self {
        Self { path: path.to_owned(), env }
    }

    /// A tenant's policy with the place of every value; see [`policy::trace`].
    #[must_use]
    pub fn trace(&self, config: &Config, tenant: &TenantId) -> Option<Node> {
        policy::trace(config, &*self.env, tenant)
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self, now: jiff::Timestamp) -> Result<Loaded, Diagnostics> {
        let (config, mut warnings) = config::load(&self.path, &*self.env)?;
        let mut found = Issuers::check(&config.issuers);
        if let Some(config::Tls { cert, key, client_ca }) = config.server.tls.clone()
            && let Err(problem) = Tls::open(TlsFiles { cert, key, client_ca })
        {
            found.0.push(Diagnostic::error(format!("`server.tls`: {problem}"), None));
        }
        match policy::load(&config, &*self.env, now, graphql::problems_of_hiding) {
            Ok((policies, more)) if !found.has_errors() => {
                warnings.0.extend(more.0);
                Ok(Loaded { config, policies, warnings })
            }
            Ok(_) => Err(found),
            Err(more) => {
                found.0.extend(more.0);
                Err(found)
            }
        }
    }
}

/// Builds rules. Keys of issuers that were followed before go on as they are.
///
/// # Errors
/// When a file of keys cannot be used.
pub fn rules(
    config: &Config,
    policies: Snapshot,
    jobs: &Jobs,
    before: Option<&Rules>,
    http: &reqwest::Client,
) -> Result<Rules, Diagnostics> {
    let issuers = Issuers::build(&config.issuers, before.map(|rules| &rules.issuers), http)?;
    metrics::key_expiries(policies.key_expiries());
    let tenants = policies.tenants().map(|tenant| (&tenant.id, tenant.operations));
    metrics::policies(policies.version(), tenants);
    Ok(Rules {
        issuers,
        gateways: Gateways::new(
            jobs,
            policies.tenants().map(|tenant| &**tenant),
            &config.limits,
            before.map(|rules| &rules.gateways),
        ),
        limits: Limits::new(
            policies.tenants().map(|tenant| &**tenant),
            config.weights.clone(),
            before.map(|rules| &rules.limits),
        ),
        policies,
        answers: Answers::new(config.cache.answers, Arc::clone(jobs.versions())),
    })
}

/// Reloads whenever something changes, until the task is aborted.
pub async fn follow(
    origin: Origin,
    mut running: Config,
    service: Arc<Service>,
    jobs: Jobs,
    http: reqwest::Client,
) {
    let (notify_change, mut changes) = mpsc::unbounded_channel();
    let _watcher = match watch(&origin.path, &running.policies, notify_change) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::error!(%error, "files are not watched: a change takes effect with SIGHUP");
            None
        }
    };
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP is not heard");
        return;
    };
    loop {
        tokio::select! {
            Some(()) = changes.recv() => {
                tokio::time::sleep(SETTLE).await;
                while changes.try_recv().is_ok() {}
            }
            Some(()) = hangups.recv() => {}
            else => return,
        }
        let from = origin.clone();
        let now = service.clock.now();
        let Ok(loaded) = tokio::task::spawn_blocking(move || from.load(now)).await else {
            continue;
        };
        let swapped = loaded.and_then(|loaded| {
            let before = service.rules.load();
            rules(&loaded.config, loaded.policies, &jobs, Some(&before), &http)
                .map(|rules| (loaded.config, rules))
        });
        metrics::reloaded(swapped.is_ok());
        match swapped {
            Ok((config, rules)) => {
                let (version, tenants) =
                    (Arc::clone(rules.policies.version()), rules.policies.tenant_count());
                service.rules.store(Arc::new(rules));
                tracing::info!(version = &*version, tenants, "reloaded");
                if config.needs_restart(&running) {
                    tracing::warn!(
                        "gateway.yaml also changes what a reload cannot: it takes effect with the \
                         next start"
                    );
                }
                running = config;
            }
            Err(problems) => refuse(&problems),
        }
    }
}

/// One log line a finding; the running rules stay.
fn refuse(problems: &Diagnostics) {
    for problem in problems.0.iter().filter(|problem| problem.severity == Severity::Error) {
        let place = problem.place.as_ref().map(ToString::to_string);
        tracing::error!(place, problem = problem.message, "the reload is refused");
    }
}

/// Watches the folders, not the files: editors and Kubernetes replace files (and links to folders)
/// rather than write into them.
fn watch(
    config: &Path,
    policies: &Path,
    changed: mpsc::UnboundedSender<()>,
) -> notify::Result<RecommendedWatcher> {
    let (config, policies) = (std::path::absolute(config)?, std::path::absolute(policies)?);
    let folder = config.parent().unwrap_or(Path::new("/")).to_owned();
    let rules = policies.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error may have hidden a change.
        if event.map_or(true, |event| is_change(&event, &config, &rules)) {
            let _ = changed.send(());
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    if policies != folder {
        watcher.watch(&policies, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Reading is no change, nor is writing into another file beside gateway.yaml: a log there would have
/// everything reloaded at its every line, and each reload writes one.
fn is_change(event: &notify::Event, config: &Path, policies: &Path) -> bool {
    let is_write = matches!(
        event.kind,
        EventKind::Modify(ModifyKind::Any | ModifyKind::Data(_) | ModifyKind::Metadata(_))
    );
    let concerns = |path: &PathBuf| path == config || path.starts_with(policies);
    !event.kind.is_access() && (!is_write || event.paths.iter().any(concerns))
}
