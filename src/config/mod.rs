//! `gateway.yaml`: read whole, checked whole, and then a [`Config`] of types.

mod audit;
mod audit_keys;
mod forms;
mod issuers;
pub mod secrets;
mod together;
mod webhooks;
mod weights;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use audit::Audit;
pub use audit_keys::AuditKey;
pub use forms::{Hash, KeyName, StoreFile};
pub use issuers::{Issuer, KeySource};
pub use webhooks::{WebhookAccount, Webhooks, account_name};

use crate::index::IndexSettings;
use crate::live;
use crate::model::{OnTrouble, Secret, Weights};
use crate::operation::Limits;
use crate::settings;
use crate::settings::forms::{
    Address, Boolean, Bytes, Count, FilePath, Network, Percent, PositiveTime, Time, WebUrl,
};
use crate::settings::{
    Choice, Context, Diagnostic, Diagnostics, Flat, Keys, List, OneOf, Optional, Section, Settings,
    Source, Sources, Sub, parse, unset,
};
use crate::telemetry::{Format, Otlp};
use crate::upstream;
use audit::AuditForm;
use audit_keys::AuditKeys;
use forms::{EndpointPaths, ForwardedHeader, Header, IdempotencyFile, LogFilter, Origin};
use issuers::Issuers;
use secrets::{HeaderSecret, RedisUrl, SealingKey};

/// Move's public endpoint.
const MOVE_API: &str = "https://api.move.ai/ugc/graphql";

settings! {
    /// The configuration of a gateway.
    pub struct Config {
        /// The listener that internal apps use.
        server: Sub<Server>,
        /// The listener that operators use.
        admin: Sub<Admin>,
        /// The Move API.
        upstream: Sub<Upstream>,
        /// The token issuers that policies may name.
        issuers: Issuers,
        /// The folder of the tenants' policies.
        policies: FilePath,
        /// The reload of changed files.
        reload: Sub<Reload>,
        /// The largest GraphQL request, whoever sends it.
        limits: Sub<Limits>,
        /// The cost of each operation in units of the rate limits.
        weights: Sub<Weights>,
        /// The memory that cached answers may take.
        cache: Sub<CacheSizes>,
        /// The state that replicas share.
        shared_state: Optional<Sub<Shared>>,
        /// 32 bytes, base64 or hexadecimal, that seal the cursors of `listJobs`; the same on every replica.
        cursor_key: Optional<SealingKey> | "made at start",
        /// The memory of mutations that carry an `Idempotency-Key`.
        idempotency: Sub<Idempotency>,
        /// Long polls and streams.
        subscriptions: Sub<Subscriptions>,
        /// The questions to Move for those who wait for a job.
        watch: Sub<live::watch::Settings>,
        /// The index of jobs, by which listings in the shared account find what is their tenant's; see [caching](caching.md).
        index: Sub<IndexSettings>,
        /// The records of what tenants do.
        audit: Optional<AuditForm>,
        /// The log, and what a collector is sent.
        telemetry: Sub<Telemetry>,
        /// The listener that Move's events come in at; without it there is none.
        webhooks: Optional<Sub<Webhooks>>,
    }
}

settings! {
    /// The listener that internal apps use.
    pub struct Server: Default {
        /// The address that internal apps are served at.
        listen: Address = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)),
        /// The GraphQL endpoint; the second is Move's own path.
        paths: EndpointPaths = vec!["/graphql".to_owned(), "/ugc/graphql".to_owned()],
        /// The URL by which callers reach the gateway; `client.portal` falls back to it.
        public_url: Optional<WebUrl> | "`http://<listen>/`",
        /// Longest request body; one in gzip counts decoded.
        max_body: Bytes = 256 << 10,
        /// The time one request may take, its body included.
        request_timeout: PositiveTime = Duration::from_secs(15),
        /// The time requests get to end after SIGTERM.
        shutdown_grace: Time = Duration::from_secs(20),
        /// The part of that in which new requests are still taken, until load balancers have noticed that `/readyz` fails.
        drain_delay: Time = Duration::from_secs(3),
        /// Connections at once; one more gets a silent or idle one's place, or waits; see [limits](limits.md).
        max_connections: Count<usize> = 25_000,
        // Longer than the 90 s for which common clients keep a connection, so that they close it.
        /// The time a connection may be idle; longer than a load balancer before the gateway holds its own, so that the balancer closes first.
        keep_alive: PositiveTime = Duration::from_secs(100),
        /// Networks such as `10.0.0.0/8` whose `X-Forwarded-For` and `Forwarded` are believed: records name the caller, not the proxy.
        trusted_proxies: List<Network>,
        /// `true`: each connection begins with a header of the PROXY protocol (version 1 or 2) that names the caller. Only `trusted_proxies` may connect then.
        proxy_protocol: Boolean = false,
        /// Requests at once, all tenants together, from when the caller is known and the body is there; more are refused with `OVERLOADED`.
        max_requests: Count<usize> = 1_024,
        /// Web pages that may call.
        cors: Sub<CorsSettings>,
        /// Certificates of the listener.
        tls: Optional<Sub<TlsFiles>>,
    }
}

settings! {
    /// Web pages that may call.
    pub struct CorsSettings: Default {
        /// Origins whose pages may call.
        origins: List<Origin> | "none: CORS is off",
        /// Headers that those may send, besides HTTP's, the gateway's own, those of known clients and `upstream.forward_headers`.
        headers: List<Header>,
    }
}

settings! {
    /// Certificates for the listener that internal apps use. PEM files.
    pub struct TlsFiles {
        /// The certificate and those between it and its authority, a PEM file; see [reliability](reliability.md).
        cert: FilePath | "none: no TLS",
        /// Its private key, a PEM file.
        key: FilePath,
        /// The authorities that sign callers' certificates, a PEM file: without one of those no connection comes about.
        client_ca: Optional<FilePath>,
    }
}

settings! {
    /// The listener that operators use.
    pub struct Admin: Default {
        /// The address of `/livez`, `/readyz` and `/metrics`; never expose it to tenants.
        listen: Address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
        /// The keys by which operators read audit records at `/audit`; without one they are not served. See [audit](audit.md).
        audit_keys: AuditKeys | "none",
    }
}

settings! {
    /// The Move API.
    pub struct Upstream {
        /// The GraphQL endpoint of the Move API.
        url: WebUrl = move_api(),
        /// The key of the account that tenants share.
        api_key: HeaderSecret,
        /// The way calls are made.
        calls: Flat<upstream::Settings>,
        /// A proxy that calls to Move go through, `http://host:3128`; none is taken from the environment.
        proxy: Optional<WebUrl>,
        /// Authorities that are trusted too, a PEM file.
        ca: Optional<FilePath> | "the system's authorities alone",
        /// Headers of a caller's request that go on to Move, such as `x-correlation-id`; none that carries a credential.
        forward_headers: List<ForwardedHeader>,
    }
}

settings! {
    /// The reload of changed files.
    pub struct Reload: Default {
        /// The part of the tenants, or of the keys, that one reload may take away; one that takes more is refused, and so is one that takes all tenants. A key in the place of another counts as the same, a tenant in the place of another does not.
        allow_removal: Percent = 50,
        /// The effect of a broken policy on a reload: `keep_all` refuses it whole; `keep_tenant` leaves the policy of that tenant as it was and takes the rest.
        on_error: OneOf<OnError> = OnError::KeepAll,
        /// A file for a copy of the policies in force, sealed with `cursor_key`: a start beside broken policies takes it, if it was in force within a day; see [operating](operating.md).
        last_good: Optional<FilePath>,
    }
}

/// The reach of an error in one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Nothing of the reload counts.
    KeepAll,
    /// The tenant keeps the policy it had; the others get theirs.
    KeepTenant,
}

impl Choice for OnError {
    const WORDS: &'static [(&'static str, Self)] =
        &[("keep_all", Self::KeepAll), ("keep_tenant", Self::KeepTenant)];
}

settings! {
    /// The memory that cached answers may take.
    pub struct CacheSizes: Default {
        /// Memory for what is known of jobs; see [caching](caching.md).
        jobs: Bytes = 128 << 20,
        /// Memory for whole answers.
        answers: Bytes = 64 << 20,
    }
}

settings! {
    /// The state that replicas share.
    pub struct Shared {
        /// A Redis that all replicas share, `redis://host:6379` or `rediss://…`; needs `cursor_key`.
        redis: RedisUrl | "none: this process",
    }
}

settings! {
    /// Long polls and streams.
    pub struct Subscriptions: Default {
        /// Long polls and streams at once, all tenants together; one more is refused with `OVERLOADED`.
        max_connections: Count<usize> = 10_000,
        /// The interval at which a stream without news says that it is there; shorter than what proxies on the way allow.
        heartbeat: PositiveTime = Duration::from_secs(10),
        /// The time after which a stream ends and its caller subscribes again, a tenth more or less.
        max_age: PositiveTime = Duration::from_hours(1),
    }
}

settings! {
    /// The memory of mutations that carry an `Idempotency-Key`.
    pub struct Idempotency: Default {
        /// The file of what is remembered, unless there is `shared_state`; one process's alone.
        file: IdempotencyFile | "`state/idempotency.redb`, beside the file, or memory if that cannot be",
        /// The time for which it is remembered.
        keep: PositiveTime = Duration::from_hours(24),
        /// Keys of one tenant that are remembered at once; a tenant that has as many is refused new ones (without file and Redis at 20,000).
        max_keys: Count<u64> = 100_000,
        /// The fate of a mutation with a key while Redis, or the file, does not answer: `look` for its job and go on, or `refuse` it before anything is sent; see [reliability](reliability.md).
        on_trouble: OneOf<OnTrouble> = OnTrouble::Look,
    }
}

settings! {
    /// The log, and what a collector is sent.
    pub struct Telemetry: Default {
        /// The log.
        log: Sub<Log>,
        /// A collector.
        otlp: Optional<Sub<Otlp>>,
    }
}

settings! {
    /// The log.
    pub struct Log: Default {
        /// A level, or a filter such as `warn,jobs_gateway=debug`.
        level: LogFilter = "info".to_owned(),
        /// The form of lines, on standard error.
        format: OneOf<Format> = Format::Json,
    }
}

#[expect(clippy::expect_used, reason = "it is a URL")]
fn move_api() -> url::Url {
    MOVE_API.parse().expect("a URL")
}

impl Server {
    /// The URL by which callers reach the gateway: the one that is set, or its address.
    #[must_use]
    #[expect(clippy::expect_used, reason = "every socket address is the authority of a URL")]
    pub fn reached_at(&self) -> url::Url {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let own =
            || format!("{scheme}://{}/", self.listen).parse().expect("an address makes a URL");
        self.public_url.clone().unwrap_or_else(own)
    }
}

impl Config {
    /// The Move accounts that send events.
    #[must_use]
    pub fn webhook_accounts(&self) -> &[WebhookAccount] {
        self.webhooks.as_ref().map_or(&[], |webhooks| &webhooks.accounts)
    }

    /// Everything at its default, for an upstream and its key, and nothing kept on disk.
    #[must_use]
    pub fn new(url: url::Url, api_key: Secret) -> Self {
        Self {
            server: unset(),
            admin: unset(),
            upstream: Upstream {
                url,
                api_key,
                calls: unset(),
                proxy: None,
                ca: None,
                forward_headers: Vec::new(),
            },
            issuers: Vec::new(),
            policies: PathBuf::from("policies"),
            reload: unset(),
            limits: unset(),
            weights: unset(),
            cache: unset(),
            shared_state: None,
            cursor_key: None,
            idempotency: Idempotency { file: StoreFile::Memory, ..unset() },
            subscriptions: unset(),
            watch: unset(),
            index: unset(),
            audit: None,
            telemetry: unset(),
            webhooks: None,
        }
    }

    /// The keys that differ from another configuration.
    #[must_use]
    pub fn changed_from(&self, other: &Self) -> Vec<String> {
        let mut keys = Vec::new();
        self.differences(other, "", &mut keys);
        keys
    }

    /// The keys that differ from the running configuration and that a reload cannot change.
    #[must_use]
    pub fn needing_restart(&self, running: &Self) -> Vec<String> {
        let mut reloaded = self.clone();
        reloaded.admin.audit_keys.clone_from(&running.admin.audit_keys);
        reloaded.issuers.clone_from(&running.issuers);
        reloaded.reload.clone_from(&running.reload);
        reloaded.limits.clone_from(&running.limits);
        reloaded.weights.clone_from(&running.weights);
        reloaded.upstream.url.clone_from(&running.upstream.url);
        reloaded.upstream.api_key.clone_from(&running.upstream.api_key);
        // Policies take it over with the reload.
        reloaded.server.public_url.clone_from(&running.server.public_url);
        if let (Some(own), Some(running)) = (&mut reloaded.webhooks, &running.webhooks) {
            own.accounts.clone_from(&running.accounts);
        }
        reloaded.changed_from(running)
    }
}

/// A JSON Schema of gateway.yaml.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    settings::schema("gateway.yaml", &Keys::of::<Config>())
}

/// Its keys as a table.
#[must_use]
pub fn reference() -> String {
    settings::table(&Keys::of::<Config>())
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
    load_text(&source, sources)
}

/// Checks a configuration's text.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load_text(
    source: &Arc<Source>,
    sources: &Sources<'_>,
) -> Result<(Config, Diagnostics), Diagnostics> {
    let root = parse(source).map_err(|problem| Diagnostics(vec![problem]))?;
    let context = Context::new(sources);
    let config = Section::new(&context, "", &root).read::<Config>();
    together::check(&context, &root, sources);
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
    sources.settings(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Diagnostics(vec![Diagnostic::error(message, None)])
    })
}
