//! Builds a gateway out of its configuration: each part, and then the whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{App, Error};
use crate::audit::Journal;
use crate::cache::SharedTier;
use crate::config::{self, Config, StoreFile};
use crate::http::{Cors, Endpoints, Proxies, Site, Tls};
use crate::idempotency::{self, Idempotency};
use crate::index::Index;
use crate::jobs::{CursorKey, Indexes, Jobs, KINDS};
use crate::limit::{Limiter, Strangers};
use crate::model::{Clock, EntityKind};
use crate::pipeline::{Service, Streaming};
use crate::policy::Snapshot;
use crate::redb_file::OpenError;
use crate::reload;
use crate::seal::Seal;
use crate::shared_state::SharedState;
use crate::supervision::Supervisor;
use crate::upstream::Upstream;
use crate::webhooks::{Store, Webhooks};

/// The name of the file of events.
const EVENTS_FILE: &str = "webhooks.redb";

/// The number of WebSockets that may be open before they say whose they are.
const STRANGERS: usize = 256;

/// The parts of a gateway that replicas share.
struct SharedParts {
    state: Arc<SharedState>,
    tier: Arc<SharedTier>,
}

impl App {
    /// Builds a gateway. `site` is served at `/` (GraphiQL in `dev`). Needs a runtime.
    ///
    /// # Errors
    /// When a file, the HTTP client, the cursor key, a store or an issuer's keys cannot be had.
    pub fn build(
        config: &Config,
        policies: Snapshot,
        clock: Clock,
        site: Option<Site>,
    ) -> Result<Self, Error> {
        let upstream = Arc::new(upstream(config)?);
        let (cache, longest) = (config.cache.jobs as u64, config.server.request_timeout);
        let jobs = Jobs::new(Arc::clone(&upstream), cursor_key(config)?, clock, cache, longest);
        let shared = shared(config)?;
        let limiter = match &shared {
            Some(shared) => Limiter::shared(Arc::clone(&shared.state)),
            None => Limiter::Local,
        };
        let idempotency = idempotency(config, shared.as_ref(), clock)?;
        let jobs = match &shared {
            Some(shared) => jobs.sharing(Arc::clone(&shared.tier)),
            None => jobs,
        };
        let index = |kind| index_file(config, kind).map(|file| Index::new(kind, file));
        let jobs = jobs.indexed_by(Indexes::new(KINDS.into_iter().filter_map(index).collect()));
        let journal = journal(config)?;
        let jobs = jobs.recording(journal.clone());
        // For the issuers' keys; like the one for Move it follows nobody elsewhere.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let supervisor = Supervisor::default();
        let rules = reload::rules(config, policies, &jobs, None, &http, &supervisor)?;
        let service = Arc::new(Service {
            rules: ArcSwap::from_pointee(rules),
            limiter,
            idempotency,
            proxies: Proxies::new(config.server.trusted_proxies.clone()),
            forward_headers: config.upstream.forward_headers.clone(),
            journal,
            concurrency_limit: Arc::new(Semaphore::new(config.server.max_requests)),
            streams: Arc::new(Semaphore::new(config.subscriptions.max_connections)),
            sockets: Arc::new(Semaphore::new(config.subscriptions.max_connections)),
            strangers: Strangers::new(STRANGERS),
            streaming: Streaming {
                heartbeat: config.subscriptions.heartbeat,
                max_age: config.subscriptions.max_age,
            },
            detached: TaskTracker::new(),
            grace_over: CancellationToken::new(),
            standing: watch::Sender::default(),
            hub: Arc::clone(jobs.versions().hub()),
            clock,
            max_body: config.server.max_body,
            request_timeout: config.server.request_timeout,
        });
        let webhooks = webhooks(config, &service, &jobs, shared.as_ref())?;
        Ok(Self {
            service,
            webhooks,
            upstream,
            jobs,
            shared: shared.map(|shared| shared.tier),
            http,
            surface: endpoints(config, site),
            tls: tls(config)?,
            config: config.clone(),
            origin: None,
            reloads: reload::RulesReport::new(clock.now()),
            supervisor,
        })
    }
}

/// Builds the operations alone, for a command that changes something at Move by itself. What it writes is forgotten by
/// the replicas that share a Redis. Needs a runtime.
///
/// # Errors
/// When a file or the HTTP client cannot be had.
pub fn heart(config: &Config, clock: Clock, journal: Journal) -> Result<Jobs, Error> {
    let longest = config.server.request_timeout;
    let jobs = Jobs::new(Arc::new(upstream(config)?), CursorKey::generate()?, clock, 0, longest);
    let jobs = jobs.recording(journal);
    Ok(match shared(config)? {
        Some(shared) => jobs.sharing(shared.tier),
        None => jobs,
    })
}

/// Makes the client for Move.
///
/// # Errors
/// When its authorities cannot be read, or it does not start.
pub fn upstream(config: &Config) -> Result<Upstream, Error> {
    let authorities = config.upstream.ca.as_deref().map(read).transpose()?;
    let (calls, proxy) = (config.upstream.calls.clone(), config.upstream.proxy.as_ref());
    Ok(Upstream::new(calls, authorities.as_deref(), proxy)?)
}

fn cursor_key(config: &Config) -> Result<CursorKey, Error> {
    if let Some(key) = &config.cursor_key {
        return Ok(CursorKey::new(key));
    }
    tracing::warn!(
        "`cursor_key` is not set: listJobs cursors end with this process and are not taken by other replicas"
    );
    Ok(CursorKey::generate()?)
}

/// Connects to what replicas share, which is sealed with their key.
fn shared(config: &Config) -> Result<Option<SharedParts>, Error> {
    let (Some(shared), Some(key)) = (&config.shared_state, &config.cursor_key) else {
        return Ok(None);
    };
    let state = Arc::new(SharedState::open(&shared.redis).map_err(|_| Error::SharedState)?);
    let tier = Arc::new(SharedTier::new(Arc::clone(&state), key));
    Ok(Some(SharedParts { state, tier }))
}

/// Opens the memory of mutations: in Redis, in a file, or in this process.
fn idempotency(
    config: &Config,
    shared: Option<&SharedParts>,
    clock: Clock,
) -> Result<Idempotency, Error> {
    let config::Idempotency { keep, max_keys, on_trouble, .. } = config.idempotency;
    let remember = idempotency::Settings { keep, max_keys, on_trouble };
    let seal = match &config.cursor_key {
        Some(key) => Seal::new(key, "jobs-gateway idempotency v1"),
        None => Seal::random()?,
    };
    if let Some(shared) = shared {
        return Ok(Idempotency::shared(Arc::clone(&shared.state), remember, seal, clock));
    }
    let (file, is_named) = match &config.idempotency.file {
        StoreFile::Memory => return Ok(Idempotency::in_memory(remember, seal, clock)),
        StoreFile::Named(file) => (file, true),
        StoreFile::Usual(file) => (file, false),
    };
    match Idempotency::in_file(file, remember, seal.clone(), clock) {
        // Two gateways with one file: one of them would forget keys that it believes it keeps.
        Err(error) if !is_named && !matches!(error, OpenError::Taken) => {
            let file = file.display();
            tracing::warn!(%error, %file, "idempotency keys are forgotten with this process");
            Ok(Idempotency::in_memory(remember, seal, clock))
        }
        opened => opened.map_err(|source| Error::Idempotency { path: file.clone(), source }),
    }
}

/// Opens the store of events, if any are to be taken: in Redis, in a file beside that of idempotency keys, or in this
/// process.
fn webhooks(
    config: &Config,
    service: &Arc<Service>,
    jobs: &Jobs,
    shared: Option<&SharedParts>,
) -> Result<Option<Arc<Webhooks>>, Error> {
    if config.webhooks.is_none() {
        return Ok(None);
    }
    let store = match (shared, events_file(config)) {
        (Some(shared), _) => Store::redis(Arc::clone(&shared.state)),
        (None, None) => Store::memory(),
        (None, Some(path)) => match Store::file(&path) {
            Err(error) if is_usual(config) && !matches!(error, OpenError::Taken) => {
                let file = path.display();
                tracing::warn!(%error, %file, "events that wait are lost with this process");
                Store::memory()
            }
            opened => opened.map_err(|source| Error::Webhooks { path, source })?,
        },
    };
    Ok(Some(Arc::new(Webhooks::new(Arc::clone(service), jobs.clone(), store))))
}

/// Returns true if nobody named the file of idempotency keys: where it cannot be had, this process's memory stands in.
const fn is_usual(config: &Config) -> bool {
    matches!(config.idempotency.file, StoreFile::Usual(_))
}

/// Returns the file of the events that wait; `None` where they wait in memory or in Redis.
#[must_use]
pub fn events_file(config: &Config) -> Option<PathBuf> {
    match &config.idempotency.file {
        _ if config.webhooks.is_none() || config.shared_state.is_some() => None,
        StoreFile::Named(file) | StoreFile::Usual(file) => Some(file.with_file_name(EVENTS_FILE)),
        StoreFile::Memory => None,
    }
}

/// Returns the file of the index of a kind; `None` where nothing is kept on disk. Beside `index.redb`, of jobs, is
/// `index-takes.redb`.
#[must_use]
pub fn index_file(config: &Config, kind: EntityKind) -> Option<PathBuf> {
    let beside = match &config.idempotency.file {
        StoreFile::Named(file) | StoreFile::Usual(file) => Some(file.with_file_name("index.redb")),
        StoreFile::Memory => None,
    };
    let file = config.index.file.clone().or(beside).filter(|_| config.index.enabled)?;
    if kind == EntityKind::Job {
        return Some(file);
    }
    let mut name = file.file_stem()?.to_owned();
    name.push(format!("-{kind}s"));
    let mut path = file.with_file_name(name);
    if let Some(extension) = file.extension() {
        path.add_extension(extension);
    }
    Some(path)
}

fn journal(config: &Config) -> Result<Journal, Error> {
    if let Some(audit) = &config.audit {
        return Journal::open(&audit.journal).map_err(Error::Audit);
    }
    tracing::warn!("`audit` is not set: no records are kept of what tenants do");
    Ok(Journal::none())
}

fn tls(config: &Config) -> Result<Option<Arc<Tls>>, Error> {
    let files = config.server.tls.clone();
    Ok(files.map(Tls::open).transpose()?.map(Arc::new))
}

fn endpoints(config: &Config, site: Option<Site>) -> Endpoints {
    let config::CorsSettings { origins, headers } = config.server.cors.clone();
    let headers = [headers, config.upstream.forward_headers.clone()].concat();
    Endpoints { paths: config.server.paths.clone(), cors: Cors { origins, headers }, site }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}
