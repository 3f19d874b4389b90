//! `jobs-gateway check --live`: everything that a gateway would speak to is asked, once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::app;
use crate::audit::{Otlp, Sink as _};
use crate::auth;
use crate::config::{Config, KeySource};
use crate::policy::Snapshot;
use crate::shared_state::SharedState;
use crate::telemetry::{self, causes};

/// The time for which an answer is waited for. All are asked at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody that was asked, and why there is no good answer, if so.
#[derive(Debug)]
pub struct Asked {
    /// Who, without secrets.
    pub who: String,
    /// The answer in a few words, or the cause.
    pub answer: Result<String, String>,
}

type Asking<'a> = std::pin::Pin<Box<dyn Future<Output = Asked> + 'a>>;

/// Asks Move with each account's key, Redis, the issuers, and where telemetry and records are sent.
///
/// # Errors
/// When nobody can be asked: a runtime or a client does not start.
pub fn ask(config: &Config, policies: &Snapshot) -> Result<Vec<Asked>, String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| causes(&error))?;
        let mut all = accounts(config, policies)?;
        all.extend(redis(config));
        all.extend(issuers(config, &http));
        all.extend(collectors(config, &http));
        Ok(join_all(all).await)
    })
}

/// An asking that ends in time.
fn bounded<'a>(
    who: String,
    asking: impl Future<Output = Result<String, String>> + 'a,
) -> Asking<'a> {
    Box::pin(async move {
        let answer = timeout(PATIENCE, asking).await;
        Asked { who, answer: answer.unwrap_or_else(|_| Err("no answer in time".to_owned())) }
    })
}

fn host(url: &url::Url) -> String {
    url.origin().ascii_serialization()
}

fn accounts<'a>(config: &Config, policies: &Snapshot) -> Result<Vec<Asking<'a>>, String> {
    let upstream = Arc::new(app::upstream(config).map_err(|error| causes(&error))?);
    let mut accounts = policies.accounts();
    accounts.sort_by(|one, other| one.id.cmp(&other.id));
    let asking = |account: Arc<crate::model::Account>| {
        let upstream = Arc::clone(&upstream);
        bounded(format!("Move, account {} ({})", account.id, host(&account.url)), async move {
            let answer = upstream.learn_features(&account).await;
            answer.map(|()| "takes the key".to_owned()).map_err(|error| causes(&error))
        })
    };
    Ok(accounts.into_iter().map(asking).collect())
}

fn redis(config: &Config) -> Option<Asking<'_>> {
    let shared = config.shared_state.as_ref()?;
    Some(bounded("Redis".to_owned(), async {
        let state = SharedState::open(&shared.redis)
            .map_err(|_| "`shared_state.redis` is no address that can be connected to")?;
        state.verify().await.map(|()| "takes writes".to_owned())
    }))
}

fn issuers<'a>(config: &'a Config, http: &'a reqwest::Client) -> impl Iterator<Item = Asking<'a>> {
    config.issuers.iter().filter_map(move |issuer| {
        let KeySource::Url(url) = &issuer.keys else { return None };
        let who = format!("issuer {} ({})", issuer.name, host(url));
        Some(bounded(who, async move {
            let keys = auth::probe_issuer(http, url).await.map_err(|error| causes(&error))?;
            Ok(format!("{keys} usable {}", if keys == 1 { "key" } else { "keys" }))
        }))
    })
}

fn collectors<'a>(config: &'a Config, http: &reqwest::Client) -> Vec<Asking<'a>> {
    let telemetry = config.telemetry.otlp.as_ref().map(|otlp| {
        bounded(format!("collector ({})", host(&otlp.endpoint)), async {
            telemetry::otlp::probe(otlp).await.map(|()| "takes traces".to_owned())
        })
    });
    let audit = config.audit.as_ref().and_then(|audit| audit.otlp.clone()).map(|endpoint| {
        let who = format!("audit sink ({})", endpoint.host());
        let mut sink = Otlp::new(http.clone(), endpoint);
        bounded(who, async move {
            let sent = tokio::task::spawn_blocking(move || sink.take(&[])).await;
            let sent = sent.map_err(|error| error.to_string())?;
            sent.map(|()| "takes records".to_owned()).map_err(|error| error.to_string())
        })
    });
    telemetry.into_iter().chain(audit).collect()
}
