//! Reload: a change of anything that rules are read from, or SIGHUP, swaps all rules at once.

mod follow;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use follow::{Follower, Gateway};

use crate::auth::Issuers;
use crate::cache::ResponseCache;
use crate::config::{self, Config, OnError};
use crate::graphql::{self, Schemas};
use crate::http::Tls;
use crate::jobs::Jobs;
use crate::limit::Limits;
use crate::model::{Kind, TenantId};
use crate::pipeline::ReloadableState;
use crate::policy::{self, Snapshot};
use crate::settings::{Diagnostic, Diagnostics, Fingerprint, Node, Sources};
use crate::supervision::Supervisor;
use crate::telemetry::metrics;

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
    /// Findings that are worth a look.
    pub warnings: Diagnostics,
    /// Everything that was read.
    pub fingerprint: Fingerprint,
}

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
    pub fn load(&self, now: jiff::Timestamp) -> Result<Loaded, Diagnostics> {
        self.read(now, None).1
    }

    /// Reads and checks everything, and says what was read for it: also where that was in vain, so that
    /// a repair is noticed. Tenants may keep what they had `before`, if that is configured.
    fn read(
        &self,
        now: jiff::Timestamp,
        before: Option<&Snapshot>,
    ) -> (Fingerprint, Result<Loaded, Diagnostics>) {
        let sources = Sources::new(&*self.env);
        let loaded = self.load_from(&sources, now, before);
        let fingerprint = sources.fingerprint();
        let loaded = loaded.map(|(config, policies, warnings)| {
            let fingerprint = fingerprint.clone();
            Loaded { config, policies, warnings, fingerprint }
        });
        (fingerprint, loaded)
    }

    fn load_from(
        &self,
        sources: &Sources<'_>,
        now: jiff::Timestamp,
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

/// Reports certificates and authorities that a start could not use.
fn check_certificates(config: &Config, sources: &Sources<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(files) = &config.server.tls {
        for path in
            [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten()
        {
            // The listener reads them itself; here they are only noted as read.
            let _ = sources.bytes(path);
        }
        if let Err(problem) = Tls::open(files.clone()) {
            found.push(Diagnostic::error(format!("`server.tls`: {problem}"), None));
        }
    }
    for (key, path) in fixed_files(config) {
        let problem = match sources
            .bytes(path)
            .map(|pem| reqwest::Certificate::from_pem_bundle(&pem))
        {
            Ok(Ok(authorities)) if authorities.is_empty() => "it holds no certificate".to_owned(),
            Ok(Ok(_)) => continue,
            Ok(Err(_)) => "it is no PEM file of certificates".to_owned(),
            Err(error) => error.to_string(),
        };
        found.push(Diagnostic::error(format!("`{key}`: {}: {problem}", path.display()), None));
    }
    found
}

/// The files that are read at start alone, and the keys that name them.
fn fixed_files(config: &Config) -> impl Iterator<Item = (&'static str, &Path)> {
    let collector = config.telemetry.otlp.as_ref().and_then(|otlp| otlp.ca.as_deref());
    [("upstream.ca", config.upstream.ca.as_deref()), ("telemetry.otlp.ca", collector)]
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?)))
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
        answers: ResponseCache::new(config.cache.answers as u64, Arc::clone(jobs.versions())),
    })
}
