//! Reload: a change of anything that rules are read from, or SIGHUP, swaps all rules at once.

mod certificates;
mod follow;
mod last_good;
mod removal;
mod report;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

pub use follow::{Follower, Gateway};
pub use report::{Facts, RulesProblem, RulesReport};

use crate::auth::Issuers;
use crate::auth::operator::AuditReaders;
use crate::cache::ResponseCache;
use crate::config::{self, Config, OnError};
use crate::graphql::{self, Schemas};
use crate::jobs::Jobs;
use crate::limit::Limits;
use crate::model::{Kind, TenantId};
use crate::pipeline::ReloadableState;
use crate::policy::{self, Snapshot};
use crate::settings::{Diagnostic, Diagnostics, Fingerprint, Node, Severity, Sources};
use crate::supervision::Supervisor;
use crate::telemetry::metrics;
use certificates::check_certificates;
use last_good::{Copy, LastGood, Unusable};

/// Environment variables, as [`settings::Env`](crate::settings::Env), to keep.
pub type OwnedEnv = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The sources of rules: a configuration file and the environment.
#[derive(Clone)]
pub struct ConfigSource {
    path: PathBuf,
    policies: Option<PathBuf>,
    env: OwnedEnv,
}

impl std::fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The content of an origin: good as a whole.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The policies.
    pub policies: Snapshot,
    /// Findings that are worth a look. Errors are among them if policies are broken and others are in force.
    pub warnings: Diagnostics,
    /// The files that were read, and the origin of the policies.
    pub basis: Basis,
}

/// The sources of rules as they were read, for those who follow them.
#[derive(Debug)]
pub struct Basis {
    /// Everything that was read.
    fingerprint: Fingerprint,
    /// The errors in it.
    problems: Vec<RulesProblem>,
    /// The policies in force, if they are to be copied.
    copy: Option<Copy>,
    /// If a copy stands in for policies that are broken, the last moment at which it was in force before.
    stands_in: Option<Timestamp>,
}

impl Basis {
    /// If a copy stands in for policies that are broken, returns the last moment at which it was in force before.
    #[must_use]
    pub const fn stands_in(&self) -> Option<Timestamp> {
        self.stands_in
    }

    /// The errors in what was read.
    #[must_use]
    pub fn problems(&self) -> &[RulesProblem] {
        &self.problems
    }
}

/// Policies that are in force already, and their copy.
type Before<'a> = (&'a Snapshot, Option<&'a Copy>);

impl ConfigSource {
    /// Rules of this file, in this environment.
    #[must_use]
    pub fn new(path: &Path, env: OwnedEnv) -> Self {
        Self { path: path.to_owned(), policies: None, env }
    }

    /// The same with the policies of another folder.
    #[must_use]
    pub fn with_policies(self, folder: &Path) -> Self {
        Self { policies: Some(folder.to_owned()), ..self }
    }

    /// The configuration file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A tenant's policy with the place of every value; see [`policy::trace`].
    #[must_use]
    pub fn trace(&self, config: &Config, tenant: &TenantId) -> Option<Node> {
        let sources = Sources::new(&*self.env);
        // What gateway.yaml uses is reserved while it is read.
        config::load(&self.path, &sources).ok()?;
        policy::trace(config, &sources, tenant)
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self, now: Timestamp) -> Result<Loaded, Diagnostics> {
        self.read(now, None).1
    }

    /// Reads and checks everything for a start. Where policies are broken, the last good copy of them stands in, if
    /// there is one.
    ///
    /// # Errors
    /// Everything that is wrong, at once, and why no copy stands in.
    pub fn load_for_start(&self, now: Timestamp) -> Result<Loaded, Diagnostics> {
        let mut refused = match self.load(now) {
            Ok(loaded) => return Ok(loaded),
            Err(refused) => refused,
        };
        match self.last_good(now) {
            Ok(None) => Err(refused),
            Ok(Some((config, policies, copy))) => {
                let stands_in = Some(copy.in_force);
                let (fingerprint, loaded) = self.read(now, Some((&policies, Some(&copy))));
                let mut loaded = loaded.unwrap_or_else(|refused| {
                    let problems = RulesProblem::all(&refused);
                    let basis = Basis { fingerprint, problems, copy: Some(copy), stands_in };
                    Loaded { config, policies, warnings: refused, basis }
                });
                // None is broken if all were mended meanwhile.
                loaded.basis.stands_in = stands_in.filter(|_| !loaded.basis.problems.is_empty());
                Ok(loaded)
            }
            Err(problem) => {
                let message = format!("the last good copy of the policies is not used: {problem}");
                refused.0.push(Diagnostic::warning(message, None));
                Err(refused)
            }
        }
    }

    /// Reads the last good copy of the policies; `None` if gateway.yaml names none, or is broken itself.
    fn last_good(&self, now: Timestamp) -> Result<Option<(Config, Snapshot, Copy)>, Unusable> {
        let sources = Sources::new(&*self.env);
        let Ok((config, _)) = config::load(&self.path, &sources) else { return Ok(None) };
        let Some(last_good) = LastGood::of(&config) else { return Ok(None) };
        let folder = self.policies.as_ref().unwrap_or(&config.policies);
        let copy = last_good.read(sources.fingerprint().digest_of(&self.path), now)?;
        let sources = Sources::new(&*self.env).with_policies(folder, &copy.texts);
        match self.load_from(&sources, now, None) {
            Ok((config, policies, _)) => Ok(Some((config, policies, copy))),
            Err(found) => Err(Unusable::Broken(found.count(Severity::Error))),
        }
    }

    /// Reads and checks everything, and says what was read for it: also where that was in vain, so that
    /// a repair is noticed. Tenants may keep what they had `before`, if that is configured.
    fn read(
        &self,
        now: Timestamp,
        before: Option<Before<'_>>,
    ) -> (Fingerprint, Result<Loaded, Diagnostics>) {
        let sources = Sources::new(&*self.env);
        let loaded = self.load_from(&sources, now, before.map(|(policies, _)| policies));
        let loaded = loaded.map(|(config, policies, warnings)| {
            let texts = sources.policies_in(&config.policies);
            (config, policies, warnings, texts)
        });
        let fingerprint = sources.fingerprint();
        let loaded = loaded.map(|(config, policies, warnings, texts)| {
            let kept = names_of_broken(&warnings);
            let before = before.and_then(|(_, copy)| copy);
            let digest =
                fingerprint.digest_of(&self.path).filter(|_| config.reload.last_good.is_some());
            let copy = digest.map(|digest| Copy::new(digest, &texts, &kept, before, now));
            let (fingerprint, problems) = (fingerprint.clone(), RulesProblem::all(&warnings));
            let basis = Basis { fingerprint, problems, copy, stands_in: None };
            Loaded { config, policies, warnings, basis }
        });
        (fingerprint, loaded)
    }

    fn load_from(
        &self,
        sources: &Sources<'_>,
        now: Timestamp,
        before: Option<&Snapshot>,
    ) -> Result<(Config, Snapshot, Diagnostics), Diagnostics> {
        let (mut config, mut warnings) = config::load(&self.path, sources)?;
        if let Some(folder) = &self.policies {
            config.policies.clone_from(folder);
        }
        let mut found = Issuers::check(&config.issuers, sources);
        found.0.extend(check_certificates(&config, sources));
        let hiding = graphql::problems_of_hiding;
        let read = match before {
            Some(before) if config.reload.on_error == OnError::KeepTenant => {
                policy::load_keeping(&config, sources, now, hiding, before)
            }
            _ => policy::load(&config, sources, now, hiding),
        };
        match read {
            Ok((policies, more)) if !found.has_errors() => {
                warnings.0.extend(more.0);
                Ok((config, policies, warnings))
            }
            Ok(_) => Err(found),
            Err(more) => {
                found.0.extend(more.0);
                Err(found)
            }
        }
    }
}

/// The names of the policies that have errors, if others are in force all the same.
fn names_of_broken(found: &Diagnostics) -> BTreeSet<String> {
    let errors = found.0.iter().filter(|found| found.severity == Severity::Error);
    let name = |found: &Diagnostic| {
        let path = Path::new(&found.span.as_ref()?.source.name);
        Some(path.file_name()?.to_str()?.to_owned())
    };
    errors.filter_map(name).collect()
}

/// Builds rules. Keys of issuers that were followed before go on as they are.
///
/// # Errors
/// When a file of keys cannot be used.
pub fn rules(
    config: &Config,
    policies: Snapshot,
    jobs: &Jobs,
    before: Option<&ReloadableState>,
    http: &reqwest::Client,
    supervisor: &Supervisor,
) -> Result<ReloadableState, Diagnostics> {
    let known_issuers = before.map(|rules| &rules.issuers);
    let issuers = Issuers::build(&config.issuers, known_issuers, http, supervisor)?;
    metrics::key_expiries(policies.key_expiries());
    let tenants = policies.tenants().map(|tenant| (&tenant.id, tenant.operations));
    metrics::policies(policies.version(), tenants);
    metrics::limits(policies.tenants().flat_map(|tenant| {
        let (queries, mutations) = (tenant.rate_limit.queries, tenant.rate_limit.mutations);
        let limits = [(Kind::Query, queries), (Kind::Mutation, mutations)].into_iter();
        limits.filter_map(|(kind, rate)| Some((&tenant.id, kind, rate?)))
    }));
    Ok(ReloadableState {
        audit_keys: AuditReaders::new(&config.admin.audit_keys),
        issuers,
        gateways: Schemas::new(
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
        webhooks: config.webhook_accounts().to_vec(),
        answers: ResponseCache::new(config.cache.answers as u64, Arc::clone(jobs.versions())),
    })
}
