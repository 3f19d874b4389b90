//! `/status` of the operators' listener: what runs, by which rules, and how everything beside it is. No secrets.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use jiff::Timestamp;
use serde::Serialize;

use super::App;
use super::background::shared_account;
use crate::audit::SinkReport;
use crate::cache::SharedTier;
use crate::http::Readiness;
use crate::jobs::{IndexReport, Jobs};
use crate::model::EntityKind;
use crate::pipeline::Service;
use crate::reload::{Facts, RulesProblem, RulesReport};
use crate::upstream::BreakerReport;
use crate::webhooks::Webhooks;

/// The version; with the commit, where the build says it (the Dockerfile does).
pub const VERSION: &str = match option_env!("JOBS_GATEWAY_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Everything that a status is read from.
#[derive(Debug, Clone)]
struct Sources {
    started: Timestamp,
    config: Option<String>,
    readiness: Arc<Readiness>,
    service: Arc<Service>,
    jobs: Jobs,
    shared: Option<Arc<SharedTier>>,
    report: RulesReport,
    webhooks: Option<Arc<Webhooks>>,
    /// The most streams and reads that wait at once.
    max_streams: usize,
}

/// The state of a gateway.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    started: Timestamp,
    uptime_s: i64,
    ready: bool,
    config: Option<String>,
    policies: Policies,
    reload: Reload,
    accounts: Vec<Breaker>,
    redis: Option<Redis>,
    audit: Option<Audit>,
    index: Option<Index>,
    streams: usize,
    webhooks: Option<Events>,
}

/// The policies in force.
#[derive(Serialize)]
struct Policies {
    version: Arc<str>,
    since: Timestamp,
    /// The last moment at which the copy was in force before, if it stands in for broken policies.
    last_good_of: Option<Timestamp>,
    tenants: Vec<String>,
    keys: usize,
}

/// The last reading of rules, and the watch for the next.
#[derive(Serialize)]
struct Reload {
    at: Timestamp,
    ok: bool,
    problems: Vec<RulesProblem>,
    looked: Timestamp,
    told_of_changes: bool,
    copy_problem: Option<String>,
}

/// The breaker of a Move account, or of one tenant there.
#[derive(Serialize)]
struct Breaker {
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(rename = "breaker")]
    state: &'static str,
}

/// The state that replicas share.
#[derive(Serialize)]
struct Redis {
    ok: bool,
}

/// The journal.
#[derive(Serialize)]
struct Audit {
    writable: bool,
    waiting: usize,
    records: u64,
    sinks: Vec<Follower>,
}

/// A place that records go to besides the file.
#[derive(Serialize)]
struct Follower {
    sink: &'static str,
    ok: bool,
    behind: u64,
}

/// The index of jobs.
#[derive(Serialize)]
struct Index {
    file: String,
    wanted: bool,
    open: bool,
    complete: bool,
    jobs: u64,
    read_to: Option<Timestamp>,
    joined_at: Option<Timestamp>,
}

/// The events of Move's.
#[derive(Serialize)]
struct Events {
    /// The number of those that are still to be looked into; `None` where the store gives no answer.
    waiting: Option<u64>,
}

/// The route of `/status`.
pub(super) fn router(app: &App, readiness: &Arc<Readiness>) -> Router {
    let sources = Sources {
        started: app.service.clock.now(),
        config: app.origin.as_ref().map(|(origin, _)| origin.path().display().to_string()),
        readiness: Arc::clone(readiness),
        service: Arc::clone(&app.service),
        jobs: app.jobs.clone(),
        shared: app.shared.clone(),
        report: app.reloads.clone(),
        webhooks: app.webhooks.clone(),
        max_streams: app.config.subscriptions.max_connections,
    };
    Router::new().route("/status", get(status)).with_state(sources)
}

#[expect(clippy::expect_used, reason = "texts and numbers are always JSON")]
async fn status(State(sources): State<Sources>) -> ([(HeaderName, &'static str); 1], String) {
    let text = serde_json::to_string(&Status::new(sources).await).expect("always JSON");
    ([(CONTENT_TYPE, "application/json")], text + "\n")
}

impl Status {
    async fn new(sources: Sources) -> Self {
        let now = sources.service.clock.now();
        let Facts { since, stands_in, read, problems, looked, is_told, copy_problem } =
            sources.report.facts();
        let rules = sources.service.rules.load();
        let mut tenants: Vec<_> = rules.policies.tenants().map(|own| own.id.to_string()).collect();
        tenants.sort_unstable();
        let policies = Policies {
            version: Arc::clone(rules.policies.version()),
            since,
            last_good_of: stands_in,
            tenants,
            keys: rules.policies.key_count(),
        };
        Self {
            version: VERSION,
            started: sources.started,
            uptime_s: now.duration_since(sources.started).as_secs(),
            ready: sources.readiness.get(),
            config: sources.config.clone(),
            policies,
            reload: Reload {
                at: read,
                ok: problems.is_empty(),
                problems,
                looked,
                told_of_changes: is_told,
                copy_problem,
            },
            accounts: sources.jobs.breakers().into_iter().map(breaker).collect(),
            redis: sources.shared.as_ref().map(|shared| Redis { ok: shared.is_well() }),
            audit: audit(&sources.service),
            index: index(&sources).await,
            streams: sources
                .max_streams
                .saturating_sub(sources.service.streams.available_permits()),
            webhooks: events(sources.webhooks.as_deref()).await,
        }
    }
}

async fn index(sources: &Sources) -> Option<Index> {
    let account = shared_account(&sources.service);
    let report = sources.jobs.index_report(EntityKind::Job, account.as_deref()).await?;
    let IndexReport { file, is_wanted, is_open, is_complete, jobs, read_to, joined_at } = report;
    Some(Index {
        file: file.display().to_string(),
        wanted: is_wanted,
        open: is_open,
        complete: is_complete,
        jobs,
        read_to,
        joined_at,
    })
}

async fn events(webhooks: Option<&Webhooks>) -> Option<Events> {
    Some(Events { waiting: webhooks?.waiting().await })
}

fn breaker(BreakerReport { account, tenant, state }: BreakerReport) -> Breaker {
    let tenant = tenant.map(|tenant| tenant.to_string());
    Breaker { account: account.to_string(), tenant, state: state.as_str() }
}

fn audit(service: &Service) -> Option<Audit> {
    let journal = &service.journal;
    let sink = |SinkReport { name, is_well, behind }| Follower { sink: name, ok: is_well, behind };
    Some(Audit {
        writable: journal.is_writable()?,
        waiting: journal.waiting(),
        records: journal.head()?.count,
        sinks: journal.sinks().into_iter().map(sink).collect(),
    })
}
