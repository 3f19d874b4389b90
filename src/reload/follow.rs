//! Follows what rules are read from: compares contents every second, and at once after a hint.

use std::sync::Arc;
use std::time::Duration;

use notify::RecommendedWatcher;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::{ConfigSource, Loaded, fixed_files, rules, watch};
use crate::config::Config;
use crate::jobs::Jobs;
use crate::pipeline::{ReloadableState, Service};
use crate::policy::{Changes, Names, Snapshot};
use crate::settings::{Diagnostic, Diagnostics, Fingerprint, Severity};
use crate::supervision::{self, Supervisor};
use crate::telemetry::metrics;

/// The interval at which contents are compared. Twenty times as long as that takes, at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time for which contents have to stay the same before they are read: a change of several files takes a
/// while, and half of one is not what anybody wrote.
const SETTLE: Duration = Duration::from_millis(50);

/// The number of times they may change before they are read all the same.
const RESTLESS: usize = 20;

/// Reloads the rules of a gateway whenever what they are read from has changed.
pub struct Follower {
    origin: ConfigSource,
    running: Config,
    known: Arc<Fingerprint>,
    gateway: Gateway,
    hangups: Signal,
    hint: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
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
}

impl Follower {
    /// Hears SIGHUP from now on. `running` is what the gateway was built from, as it was `known` then.
    /// Needs a runtime.
    ///
    /// # Errors
    /// When signals cannot be heard.
    pub fn new(
        origin: ConfigSource,
        running: Config,
        known: Fingerprint,
        gateway: Gateway,
    ) -> std::io::Result<Self> {
        let hangups = signal(SignalKind::hangup())?;
        metrics::rules_in_force();
        let (known, hint) = (Arc::new(known), Arc::new(Notify::new()));
        Ok(Self { origin, running, known, gateway, hangups, hint, watcher: None })
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
            pause = LOOK_EVERY.max(began.elapsed() * 20);
            if has_changed || is_demanded {
                self.settle().await;
                self.reload().await;
                self.watch();
                // What changed between the reading and the watching gave no hint.
                pause = Duration::ZERO;
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
        match self.read().await {
            Ok((config, rules, changes, found)) => {
                // Tenants whose file has errors keep what they had.
                metrics::reloaded(!found.has_errors());
                for error in found.0.iter().filter(|found| found.severity == Severity::Error) {
                    let place = error.span.as_ref().map(ToString::to_string);
                    tracing::error!(
                        place,
                        problem = error.message,
                        "the policy of this tenant is not reloaded"
                    );
                }
                self.gateway.service.rules.store(Arc::new(rules));
                let rules = self.gateway.service.rules.load();
                tell(&rules, &changes);
                let keys = config.needing_restart(&self.running);
                if !keys.is_empty() {
                    tracing::warn!(
                        keys = keys.join(", "),
                        "gateway.yaml also changes what a reload cannot: it takes effect with the \
                         next start"
                    );
                }
                self.running = config;
            }
            Err(problems) => {
                metrics::reloaded(false);
                refuse(&problems);
            }
        }
    }

    /// Reads everything and builds rules. A panic on the way is a bug, and a reason to refuse.
    async fn read(
        &mut self,
    ) -> Result<(Config, ReloadableState, Changes, Diagnostics), Diagnostics> {
        let (origin, now) = (self.origin.clone(), self.gateway.service.clock.now());
        let before = self.gateway.service.rules.load_full();
        let read = spawn_blocking(move || origin.read(now, Some(&before.policies))).await;
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
        let Loaded { config, policies, warnings, .. } = loaded?;
        let Gateway { service, jobs, http, supervisor } = self.gateway.clone();
        let built = spawn_blocking(move || {
            let before = service.rules.load();
            let changes = Changes::between(&before.policies, &policies);
            refuse_removal(&before.policies, &changes, config.reload.allow_removal)?;
            let rules = rules(&config, policies, &jobs, Some(&before), &http, &supervisor)?;
            Ok((config, rules, changes, warnings))
        });
        built.await.map_err(bug)?
    }
}

/// Refuses to take away every tenant, or more of the tenants or keys than `allowed` percent: that is more
/// often a mount that is not there, or another's, than what somebody wants. A key that takes another's place is not
/// taken away; a tenant whose place another takes is.
fn refuse_removal(before: &Snapshot, changes: &Changes, allowed: u32) -> Result<(), Diagnostics> {
    let refuse = |message: String| Err(Diagnostics(vec![Diagnostic::error(message, None)]));
    let Changes { tenants_removed, keys_added, keys_removed, .. } = changes;
    let (tenants, keys) = (before.tenant_count(), before.key_count());
    if tenants > 0 && tenants_removed.len() == tenants {
        let message = "the reload would take away every tenant: to do that, start anew";
        return refuse(message.to_owned());
    }
    let keys_lost = keys_removed.len().saturating_sub(keys_added.len());
    for (what, all, removed, lost) in [
        ("tenants", tenants, tenants_removed, tenants_removed.len()),
        ("keys", keys, keys_removed, keys_lost),
    ] {
        if lost * 100 > all * allowed as usize {
            return refuse(format!(
                "the reload would take away {lost} of {all} {what} ({removed}): `reload.allow_removal` is \
                 {allowed}%; to do that, raise it or start anew"
            ));
        }
    }
    Ok(())
}

fn bug(error: tokio::task::JoinError) -> Diagnostics {
    let message = format!("a bug of the gateway: {}", supervision::message(error));
    Diagnostics(vec![Diagnostic::error(message, None)])
}

/// One log line a finding; the running rules stay.
fn refuse(problems: &Diagnostics) {
    for problem in problems.0.iter().filter(|problem| problem.severity == Severity::Error) {
        let place = problem.span.as_ref().map(ToString::to_string);
        let help = problem.help.as_deref();
        tracing::error!(place, problem = problem.message, help, "the reload is refused");
    }
}

/// Says what a reload changed. Who lost something may call.
fn tell(rules: &ReloadableState, changes: &Changes) {
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
    } = changes;
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                version, tenants, %tenants_added, %tenants_removed, %keys_added, %keys_removed,
                %rights_added, %rights_removed, %limits_changed,
                "reloaded"
            )
        };
    }
    let is_harmless =
        [tenants_removed, keys_removed, rights_removed].into_iter().all(Names::is_empty);
    if is_harmless { line!(info) } else { line!(warn) }
}
