//! `gateway.yaml`: read whole, checked whole, and then a [`Config`] of types.

mod gateway;
mod issuers;
mod keys;
pub mod secrets;
mod together;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

pub use crate::settings::{
    Context, Described, Diagnostic, Diagnostics, Env, Fingerprint, Form, Key, Node, Place, Read,
    Section, Severity, Source, Sources, Value, nearest, parse, schema, table, values,
    without_references,
};
pub use keys::KEYS;

use crate::model::{Secret, Weights};
use crate::operation::Limits;
use crate::telemetry::Format;
use crate::telemetry::Otlp;
use crate::upstream;

/// How the gateway runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where and how internal apps are served.
    pub server: Server,
    /// Where operators look.
    pub admin: SocketAddr,
    /// The Move API.
    pub upstream: Upstream,
    /// The token issuers that policies may name.
    pub issuers: Vec<Issuer>,
    /// The folder of the policies.
    pub policies: PathBuf,
    /// How large one GraphQL request may be.
    pub limits: Limits,
    /// How much memory cached answers may take.
    pub cache: CacheSizes,
    /// The Redis that replicas share: a URL, which may hold a password.
    pub shared_state: Option<Secret>,
    /// What each operation costs a tenant.
    pub weights: Weights,
    /// What seals the cursors of listings; the same on every replica.
    pub cursor_key: Option<[u8; 32]>,
    /// What is remembered of mutations.
    pub idempotency: Idempotency,
    /// Where audit records go; `None` keeps none.
    pub audit: Option<Audit>,
    /// The log.
    pub log: Log,
    /// The collector that traces, metrics and logs go to.
    pub otlp: Option<Otlp>,
}

/// Where and how internal apps are served.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address.
    pub listen: SocketAddr,
    /// The paths of the GraphQL endpoint.
    pub paths: Vec<String>,
    /// How callers reach it.
    pub public_url: url::Url,
    /// Longest request body, in bytes.
    pub max_body: usize,
    /// The time one request may take.
    pub request_timeout: Duration,
    /// The time that requests get to end once the gateway is told to stop.
    pub shutdown_grace: Duration,
    /// How much of it new requests are still taken, though the gateway is not ready any more.
    pub drain_delay: Duration,
    /// Connections at once; more wait.
    pub max_connections: usize,
    /// Requests at once; more are refused.
    pub max_requests: usize,
    /// How long a connection may be idle.
    pub keep_alive: Duration,
    /// Networks of proxies whose word is taken on where a request came from.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may call; none means that CORS is off.
    pub cors_origins: Vec<String>,
    /// Headers that those may send besides the known ones.
    pub cors_headers: Vec<HeaderName>,
    /// Certificates; `None` serves plain HTTP.
    pub tls: Option<Tls>,
}

/// The Move API.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its GraphQL endpoint.
    pub url: url::Url,
    /// The key of the account that tenants share.
    pub api_key: Secret,
    /// Authorities (a PEM file) that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// Headers of a caller's request that go on to Move, in lower case.
    pub forward_headers: Vec<String>,
    /// How calls are made.
    pub calls: upstream::Settings,
}

/// Certificates for the listener that internal apps use. PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose certificates callers must present.
    pub client_ca: Option<PathBuf>,
}

/// What is remembered of mutations that carry an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The file, unless replicas share their state; `None` is this process's memory.
    pub file: Option<PathBuf>,
    /// Whether the configuration names the file: then the gateway does not start without it.
    pub is_explicit: bool,
    /// For how long.
    pub keep: Duration,
    /// Keys of one tenant at once.
    pub max_keys: u64,
}

/// A token issuer that policies may name.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its name in policies.
    pub name: String,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// A token's `aud` must hold one of these.
    pub audiences: Vec<String>,
    /// The algorithms its tokens may be signed with, by their names in RFC 7518.
    pub algorithms: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim that holds the scopes, if its tokens carry any.
    pub scope_claim: Option<String>,
    /// Where it is defined.
    pub place: Place,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A JWK set behind a URL (RFC 7517, section 5): fetched, cached, fetched again.
    Url(url::Url),
    /// A JWK set in a file.
    File(PathBuf),
    /// One secret, for HS256.
    Secret(Secret),
}

/// Where audit records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The file, which is the record of truth.
    pub journal: crate::audit::Settings,
    /// Whether standard output follows it.
    pub stdout: bool,
    /// The OTLP endpoint that follows it.
    pub otlp: Option<crate::audit::Endpoint>,
}

/// How much memory cached answers may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSizes {
    /// What is known of jobs.
    pub jobs: u64,
    /// Whole answers.
    pub answers: u64,
}

/// The log.
#[derive(Debug, Clone)]
pub struct Log {
    /// A filter, such as `info`.
    pub level: String,
    /// How lines look.
    pub format: Format,
}

impl Config {
    /// Everything at its default, for an upstream and its key.
    #[must_use]
    pub fn new(upstream_url: url::Url, api_key: Secret) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        Self {
            server: Server {
                listen,
                paths: vec!["/graphql".to_owned(), "/ugc/graphql".to_owned()],
                public_url: public_url_of(listen),
                max_body: 256 * 1024,
                request_timeout: Duration::from_secs(15),
                shutdown_grace: Duration::from_secs(20),
                drain_delay: Duration::from_secs(3),
                max_connections: 25_000,
                max_requests: 1_024,
                // Longer than the 90 s for which common clients keep a connection, so that they are
                // the ones to close it.
                keep_alive: Duration::from_secs(100),
                trusted_proxies: Vec::new(),
                cors_origins: Vec::new(),
                cors_headers: Vec::new(),
                tls: None,
            },
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            upstream: Upstream {
                url: upstream_url,
                api_key,
                ca: None,
                forward_headers: Vec::new(),
                calls: upstream::Settings::default(),
            },
            issuers: Vec::new(),
            policies: PathBuf::from("policies"),
            limits: Limits::default(),
            cache: CacheSizes { jobs: 128 << 20, answers: 64 << 20 },
            shared_state: None,
            weights: Weights::default(),
            cursor_key: None,
            idempotency: Idempotency {
                file: None,
                is_explicit: false,
                keep: Duration::from_hours(24),
                max_keys: 100_000,
            },
            audit: None,
            log: Log { level: "info".to_owned(), format: Format::Json },
            otlp: None,
        }
    }
}

impl Config {
    /// Whether it differs from the running one in what a reload cannot change: addresses, paths,
    /// timeouts, the cursor key, the log.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> bool {
        let fixed = |config: &Self| {
            let Upstream { ca, forward_headers, calls, .. } = &config.upstream;
            let mut server = config.server.clone();
            // Policies take it over with the reload.
            server.public_url.clone_from(&running.server.public_url);
            format!(
                "{server:?} {:?} {ca:?} {forward_headers:?} {calls:?} {} {:?} {:?} {:?} {:?}",
                config.admin,
                config.policies.display(),
                config.cursor_key,
                config.idempotency,
                config.cache,
                config.log
            )
        };
        fixed(self) != fixed(running)
            || self.audit != running.audit
            || self.shared_state != running.shared_state
            || self.otlp != running.otlp
    }
}

/// How callers reach a gateway that was not told how.
#[must_use]
#[expect(clippy::expect_used, reason = "every socket address is the authority of a URL")]
pub fn public_url_of(listen: SocketAddr) -> url::Url {
    format!("http://{listen}/").parse().expect("an address makes a URL")
}

/// A JSON Schema of gateway.yaml.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schema("gateway.yaml", &reads(), KEYS)
}

/// Its keys as a table.
#[must_use]
pub fn reference() -> String {
    table(&reads(), KEYS)
}

fn reads() -> Vec<Read> {
    record(|context, blank| {
        gateway::read(context, blank, Path::new(""));
    })
}

/// What `read` reads when it is given a blank.
pub fn record(read: impl FnOnce(&Context<'_>, &Node)) -> Vec<Read> {
    let source = Arc::new(Source { name: "(blank)".to_owned(), text: String::new() });
    let place = Place::start_of(&source);
    let value = Value::Scalar { text: String::new(), plain: true };
    let blank = Node { place: place.clone(), value };
    let key = Key { text: String::new(), place };
    let sources = Sources::new(&|_| None);
    let context = Context::recording(&sources, (key, blank.clone()));
    read(&context, &blank);
    context.reads()
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(path: &Path, sources: &Sources<'_>) -> Result<(Config, Diagnostics), Diagnostics> {
    let source = read(path, sources).map_err(|mut problems| {
        if !path.exists() {
            let help = "`--config` names another file";
            problems.0.iter_mut().for_each(|problem| problem.help = Some(help.to_owned()));
        }
        problems
    })?;
    load_text(&source, path.parent().unwrap_or(Path::new("")), sources)
}

/// Checks a configuration's text; paths in it are relative to `folder`.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load_text(
    source: &Arc<Source>,
    folder: &Path,
    sources: &Sources<'_>,
) -> Result<(Config, Diagnostics), Diagnostics> {
    let root = parse(source).map_err(|problem| Diagnostics(vec![problem]))?;
    let context = Context::new(sources);
    let config = gateway::read(&context, &root, folder);
    let found = context.finish();
    match config {
        Some(config) if !found.has_errors() => Ok((config, found)),
        _ => Err(found),
    }
}

/// Reads a file as it is.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub fn read(path: &Path, sources: &Sources<'_>) -> Result<Arc<Source>, Diagnostics> {
    match sources.text(path) {
        Ok(text) => Ok(Arc::new(Source { name: path.display().to_string(), text })),
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            Err(Diagnostics(vec![Diagnostic::error(message, None)]))
        }
    }
}
