//! Follows what rules are read from: compares contents every second, and at once after a hint.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use notify::RecommendedWatcher;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::certificates::fixed_files;
use super::last_good::{Copy, LastGood};
use super::removal::refuse_removal;
use super::report::{RulesProblem, RulesReport};
use super::{Basis, ConfigSource, Loaded, rules, watch};
use crate::config::Config;
use crate::jobs::Jobs;
use crate::pipeline::{ReloadableState, Service};
use crate::policy::{Changes, Names};
use crate::settings::{Diagnostic, Diagnostics, Fingerprint};
use crate::supervision::{self, Supervisor};

/// The interval at which contents are compared. Twenty times as long as that takes, at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time for which contents have to stay the same before they are read: a change of several files takes a
/// while, and half of one is not what anybody wrote.
const SETTLE: Duration = Duration::from_millis(50);

/// The interval at which the copy of the policies in force is written anew, which says that they still are.
const COPY_EVERY: Duration = Duration::from_hours(1);

/// The number of times they may change before they are read all the same.
const RESTLESS: usize = 20;

/// Reloads the rules of a gateway whenever what they are read from has changed.
pub struct Follower {
    origin: ConfigSource,
    /// The configuration of the start, which is in force where a reload changes nothing.
    started: Config,
    running: Config,
    known: Arc<Fingerprint>,
    gateway: Gateway,
    hangups: Signal,
    hint: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    /// The policies in force, if they are to be copied.
    copy: Option<Copy>,
    /// The moment at which their copy is written anew.
    copy_at: Instant,
}

/// The gateway that new rules are built for.
#[derive(Clone)]
pub struct Gateway {
    /// The service whose rules are swapped.
    pub service: Arc<Service>,
    /// The resolvers' way to jobs.
    pub jobs: Jobs,
    /// The client that fetches issuers' keys.
    pub http: reqwest::Client,
    /// Watches over the tasks that follow issuers.
    pub supervisor: Supervisor,
    /// Tells operators of the rules.
    pub report: RulesReport,
}

/// The work of a reload.
struct Reloaded {
    config: Config,
    rules: ReloadableState,
    changes: Changes,
    problems: Vec<RulesProblem>,
    copy: Option<Copy>,
}

impl Follower {
    /// Hears SIGHUP from now on. `running` is what the gateway was built from, on this basis. Needs a runtime.
    ///
    /// # Errors
    /// When signals cannot be heard.
    pub fn new(
        origin: ConfigSource,
        running: Config,
        basis: Basis,
        gateway: Gateway,
    ) -> std::io::Result<Self> {
        let hangups = signal(SignalKind::hangup())?;
        let Basis { fingerprint, problems, copy, stands_in } = basis;
        gateway.report.started(stands_in, problems);
        let (known, hint) = (Arc::new(fingerprint), Arc::new(Notify::new()));
        let copy_at = Instant::now();
        let started = running.clone();
        Ok(Self {
            origin,
            started,
            running,
            known,
            gateway,
            hangups,
            hint,
            watcher: None,
            copy,
            copy_at,
        })
    }

    /// Reloads at every change, until it is aborted.
    pub async fn run(&mut self) {
        self.watch();
        // What was read at start may have changed since.
        let mut pause = Duration::ZERO;
        loop {
            let is_demanded = tokio::select! {
                () = sleep(pause) => false,
                () = self.hint.notified() => false,
                Some(()) = self.hangups.recv() => true,
            };
            let began = Instant::now();
            let has_changed = self.has_changed().await;
            self.gateway.report.looked(self.now());
            pause = LOOK_EVERY.max(began.elapsed() * 20);
            if has_changed || is_demanded {
                self.settle().await;
                self.reload().await;
                self.watch();
                // What changed between the reading and the watching gave no hint.
                pause = Duration::ZERO;
            }
            if Instant::now() >= self.copy_at {
                self.write_copy().await;
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.gateway.service.clock.now()
    }

    /// Writes the copy of the policies in force, if there is to be one.
    async fn write_copy(&mut self) {
        self.copy_at = Instant::now() + COPY_EVERY;
        let now = self.now();
        let (Some(copy), Some(last_good)) = (&mut self.copy, LastGood::of(&self.running)) else {
            return;
        };
        copy.in_force = now;
        let copy = copy.clone();
        let written = spawn_blocking(move || last_good.write(&copy)).await;
        let problem = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(supervision::message(panic)),
        };
        if self.gateway.report.copied(problem.clone()) {
            if let Some(problem) = problem {
                tracing::warn!(problem, "the last good copy of the policies cannot be written");
            } else {
                tracing::info!("the last good copy of the policies is written again");
            }
        }
    }

    /// Watches anew: where a folder or a link was replaced, the old watch is one of what is gone.
    fn watch(&mut self) {
        self.watcher = watch::watch(&self.known, Arc::clone(&self.hint))
            .inspect_err(|error| {
                tracing::warn!(%error, "files are not watched: a change counts within seconds");
            })
            .ok();
        self.gateway.report.told(self.watcher.is_some());
    }

    async fn has_changed(&self) -> bool {
        let known = Arc::clone(&self.known);
        spawn_blocking(move || known.taken_again() != *known).await.unwrap_or(true)
    }

    /// Waits until nothing changes any more.
    async fn settle(&self) {
        let mut before = None;
        for _ in 0..RESTLESS {
            let known = Arc::clone(&self.known);
            let now = spawn_blocking(move || known.taken_again()).await.ok();
            if now == before {
                return;
            }
            before = now;
            sleep(SETTLE).await;
        }
    }

    async fn reload(&mut self) {
        let read = self.read().await;
        let now = self.now();
        match read {
            Ok(Reloaded { config, rules, changes, problems, copy }) => {
                // Tenants whose file has errors keep what they had.
                for problem in &problems {
                    problem.log("the policy of this tenant is not reloaded");
                }
                self.gateway.service.replace_rules(rules);
                self.gateway.report.reloaded(now, problems);
                let changed = config.changed_from(&self.running).join(", ");
                tell(&self.gateway.service.rules.load(), &changes, &changed);
                // What was changed back is in force all the time.
                let keys = config.needing_restart(&self.started);
                if !keys.is_empty() && !config.needing_restart(&self.running).is_empty() {
                    tracing::warn!(
                        keys = keys.join(", "),
                        "gateway.yaml also changes what a reload cannot: it takes effect with the \
                         next start"
                    );
                }
                (self.running, self.copy, self.copy_at) = (config, copy, Instant::now());
            }
            Err(found) => {
                let problems = RulesProblem::all(&found);
                for problem in &problems {
                    problem.log("the reload is refused");
                }
                self.gateway.report.refused(now, problems);
            }
        }
    }

    /// Reads everything and builds rules. A panic on the way is a bug, and a reason to refuse.
    async fn read(&mut self) -> Result<Reloaded, Diagnostics> {
        let (origin, now, copy) = (self.origin.clone(), self.now(), self.copy.clone());
        let before = self.gateway.service.rules.load_full();
        let read =
            spawn_blocking(move || origin.read(now, Some((&before.policies, copy.as_ref())))).await;
        let (fingerprint, loaded) = read.map_err(bug).inspect_err(|_| {
            // What made it panic is known now: it is not read again every second.
            self.known = Arc::new(self.known.taken_again());
        })?;
        for (key, path) in fixed_files(&self.running) {
            if self.known.differs_in(&fingerprint, path) {
                tracing::warn!(key, path = %path.display(), "this file is read at the next start");
            }
        }
        self.known = Arc::new(fingerprint);
        let Loaded { config, policies, basis: Basis { problems, copy, .. }, .. } = loaded?;
        let Gateway { service, jobs, http, supervisor, .. } = self.gateway.clone();
        let built = spawn_blocking(move || {
            let before = service.rules.load();
            let changes = Changes::between(&before.policies, &policies);
            refuse_removal(&before.policies, &changes, config.reload.allow_removal)?;
            let rules = rules(&config, policies, &jobs, Some(&before), &http, &supervisor)?;
            Ok(Reloaded { config, rules, changes, problems, copy })
        });
        built.await.map_err(bug)?
    }
}

fn bug(error: tokio::task::JoinError) -> Diagnostics {
    let message = format!("a bug of the gateway: {}", supervision::message(error));
    Diagnostics(vec![Diagnostic::error(message, None)])
}

/// Says what a reload changed, and which keys of gateway.yaml. Who lost something may call.
fn tell(rules: &ReloadableState, changes: &Changes, config_changed: &str) {
    let (version, tenants) = (&**rules.policies.version(), rules.policies.tenant_count());
    let Changes {
        tenants_added,
        tenants_removed,
        keys_added,
        keys_removed,
        rights_added,
        rights_removed,
        limits_changed,
        limits: _,
        settings: settings_changed,
    } = changes;
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                version, tenants, %tenants_added, %tenants_removed, %keys_added, %keys_removed,
                %rights_added, %rights_removed, %limits_changed, %settings_changed, config_changed,
                "reloaded"
            )
        };
    }
    let is_harmless =
        [tenants_removed, keys_removed, rights_removed].into_iter().all(Names::is_empty);
    if is_harmless { line!(info) } else { line!(warn) }
}
