//! One HTTP call to Move.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::SpanId;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use reqwest::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::accounts::Accounts;
use super::breaker::{BreakerSettings, Condition};
use super::features::Features;
use super::queue::FairQueue;
use super::retry::{self, RetrySettings};
use super::{Call, Error, Reply, wire};
use crate::model::{Account, RequestContext, TraceContext, Trail, UpstreamSpan, joined};
use crate::telemetry;
use crate::telemetry::metrics::{self, Counted};

/// Longest answer taken from Move, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// How long an idle connection is kept: below the 15 s after which Move's side closes it.
const POOL_IDLE: Duration = Duration::from_secs(10);

/// How calls are made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The time one call may take, connection and answer together.
    pub timeout: Duration,
    /// The time a connection may take to come about.
    pub connect_timeout: Duration,
    /// Calls at once, all tenants together.
    pub max_in_flight: usize,
    /// How long a call may wait for its turn.
    pub max_wait: Duration,
    /// Which calls are made again.
    pub retries: RetrySettings,
    /// When an account that fails is left alone.
    pub breaker: BreakerSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            timeout: seconds(10),
            connect_timeout: seconds(2),
            max_in_flight: 256,
            max_wait: seconds(5),
            retries: RetrySettings { max: 2, budget: 20 },
            breaker: BreakerSettings { failures: 20, window: seconds(10), open_for: seconds(5) },
        }
    }
}

/// The client for Move: one pool of connections for all accounts.
#[derive(Debug)]
pub struct Upstream {
    http: reqwest::Client,
    pub(super) settings: Settings,
    queue: FairQueue,
    accounts: Accounts,
    pub(super) features: Features,
}

#[derive(Serialize)]
struct Body<'a> {
    query: &'a str,
    variables: &'a Map<String, Value>,
}

impl Upstream {
    /// Makes the client, which trusts the system's authorities and those in `authorities` (PEM). No
    /// redirect is followed and no proxy is taken from the environment: the account's key goes
    /// where the configuration says and nowhere else.
    ///
    /// # Errors
    /// When the TLS backend cannot start, or `authorities` are no certificates.
    pub fn new(settings: Settings, authorities: Option<&[u8]>) -> Result<Self, reqwest::Error> {
        let authorities = reqwest::Certificate::from_pem_bundle(authorities.unwrap_or_default())?;
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_merge(authorities)
            .build()?;
        let queue = FairQueue::new(settings.max_in_flight);
        let accounts = Accounts::new(settings.breaker, settings.retries);
        Ok(Self { http, settings, queue, accounts, features: Features::default() })
    }

    /// Makes one call for a root field of a request and reads its answer. A query that failed is
    /// made again while that makes sense, there is time and the account's budget allows it; a
    /// mutation only if it was never sent.
    ///
    /// # Errors
    /// When no answer came, or one that is no GraphQL answer. Errors *in* an answer are part of
    /// the [`Reply`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        request: &RequestContext,
        trail: &Trail,
        call: &Call,
    ) -> Result<Reply<T>, Error> {
        let budget = &self.accounts.of(&request.caller.tenant.account).budget;
        budget.earn();
        let mut pauses = retry::pauses(self.settings.retries);
        let mut resends = 0;
        loop {
            // On the heap: an HTTP exchange in flight is large, and everybody above holds it.
            let attempt = Box::pin(self.attempt(request, trail, call, resends));
            let error = match telemetry::within(request.trace.clone(), attempt).await {
                Err(error) if retry::is_worthwhile(call.kind, &error) => error,
                result => return result,
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            let pause = match error {
                Error::Throttled { retry_after: Some(wait) } => pause.max(wait),
                _ => pause,
            };
            if Instant::now() + pause >= request.deadline || !budget.spend() {
                return Err(error);
            }
            metrics::upstream_retry();
            tokio::time::sleep(pause).await;
            resends += 1;
        }
    }

    /// One attempt: a turn, the breaker, the call.
    async fn attempt<T: DeserializeOwned>(
        &self,
        request: &RequestContext,
        trail: &Trail,
        call: &Call,
        resends: u32,
    ) -> Result<Reply<T>, Error> {
        let tenant = &request.caller.tenant;
        let give_up = request.deadline.min(Instant::now() + self.settings.max_wait);
        let waiting = Counted::by(metrics::upstream_waiting);
        let _slot = self.queue.slot(&tenant.id, give_up).await.ok_or(Error::Overloaded)?;
        drop(waiting);
        let _in_flight = Counted::by(metrics::upstream_in_flight);
        let began = Instant::now();
        let deadline = request.deadline.min(began + self.settings.timeout);
        let mut head = request.forward.as_deref().cloned().unwrap_or_default();
        let traced = request.trace.as_ref().map(|trace| (tell_trace(trace, &mut head), trace));
        let kept = traced.and_then(|(span, trace)| trace.sampled.then_some(span));
        if let Some(id) = kept {
            // Now, and not when it has ended: its request may end before it.
            let url = tenant.account.url.clone();
            let call = UpstreamSpan { resends, ..UpstreamSpan::begin(id, began, url) };
            trail.note(|notes| notes.calls.push(call));
        }
        let result = self.call_once(&tenant.account, call, head, deadline).await;
        trail.note(|notes| {
            notes.upstream_calls += u32::from(!matches!(result, Err(Error::CircuitOpen { .. })));
            notes.upstream_time += began.elapsed();
            if let Some(id) = kept
                && let Some(call) = notes.calls.iter_mut().find(|call| call.id == id)
            {
                call.took = Some(began.elapsed());
                call.status = status(&result);
                call.error = result.as_ref().err().map(Error::kind);
                call.request_id = result.as_ref().ok().and_then(|reply| reply.request_id.clone());
            }
            if let Ok(reply) = &result {
                notes.upstream_request_id.clone_from(&reply.request_id);
            }
        });
        result
    }

    /// What the circuit breaker of each account that was called does.
    #[must_use]
    pub fn conditions(&self) -> Vec<(String, Condition)> {
        self.accounts.conditions()
    }

    /// Forgets how accounts were that are not among these.
    pub fn forget_others(&self, accounts: &[Arc<Account>]) {
        self.accounts.forget_others(accounts);
    }

    /// How many calls are under way or could be, and how many wait for their turn.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let (free, waiting) = self.queue.load();
        (self.settings.max_in_flight.saturating_sub(free), waiting)
    }

    /// Makes a call, once, if the account's breaker lets it through.
    pub(super) async fn call_once<T: DeserializeOwned>(
        &self,
        account: &Account,
        call: &Call,
        mut head: HeaderMap,
        deadline: Instant,
    ) -> Result<Reply<T>, Error> {
        let health = self.accounts.of(account);
        let pass = health.breaker.enter().map_err(|retry_after| Error::CircuitOpen { retry_after });
        let pass =
            pass.inspect_err(|error| metrics::upstream_call(call.field, error.kind(), None))?;
        let began = Instant::now();
        identify(account, &mut head)?;
        let exchange = self.exchange(account, call, head);
        let result = match tokio::time::timeout_at(deadline, exchange).await {
            Ok(Ok((body, request_id))) => {
                wire::read(call.field, &body).map(|reply| Reply { request_id, ..reply })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Timeout),
        };
        pass.settle(!result.as_ref().is_err_and(Error::is_outage));
        metrics::upstream_call(call.field, outcome(&result), Some(began.elapsed()));
        match &result {
            Ok(reply) => {
                tracing::debug!(operation = call.field, errors = reply.errors.len(), "upstream");
            }
            Err(error) => tracing::warn!(operation = call.field, %error, "upstream call failed"),
        }
        result
    }

    /// The answer's body, and Move's id of the call.
    async fn exchange(
        &self,
        account: &Account,
        call: &Call,
        head: HeaderMap,
    ) -> Result<(Bytes, Option<Box<str>>), Error> {
        let body = serde_json::to_vec(&Body { query: &call.document, variables: &call.variables })
            .map_err(|_| Error::NotAnAnswer("impossible: the call cannot be written"))?;
        let response = self
            .http
            .post(account.url.clone())
            .headers(head)
            .body(body)
            .send()
            .await
            .map_err(|error| failure(&error))?;
        check_status(&response)?;
        check_media_type(&response)?;
        let request_id = request_id(&response);
        Ok((read_body(response).await?, request_id))
    }
}

/// Tells Move which trace a call is part of, as a span of its own.
fn tell_trace(trace: &TraceContext, head: &mut HeaderMap) -> SpanId {
    let (traceparent, span) = trace.traceparent();
    if let Ok(value) = HeaderValue::from_str(&traceparent) {
        head.insert("traceparent", value);
    }
    if let Some(state) = &trace.state
        && let Ok(value) = HeaderValue::from_str(state)
    {
        head.insert("tracestate", value);
    }
    span
}

/// The HTTP status that Move answered with, as far as it is known.
const fn status<T>(result: &Result<T, Error>) -> Option<u16> {
    match result {
        Ok(_) => Some(200),
        Err(Error::Status(status) | Error::KeyRefused(status)) => Some(*status),
        Err(Error::Throttled { .. }) => Some(429),
        Err(_) => None,
    }
}

/// As metrics name it.
fn outcome<T>(result: &Result<T, Error>) -> &'static str {
    result.as_ref().map_or_else(Error::kind, |_| "ok")
}

/// Says in a call's head whose it is, and what it holds.
fn identify(account: &Account, head: &mut HeaderMap) -> Result<(), Error> {
    // Raw, without `Bearer`: that is how Move takes its key.
    let mut key = HeaderValue::from_str(account.api_key.expose())
        .map_err(|_| Error::KeyRefused(StatusCode::UNAUTHORIZED.as_u16()))?;
    key.set_sensitive(true);
    head.insert(AUTHORIZATION, key);
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let agent = concat!("jobs-gateway/", env!("CARGO_PKG_VERSION"));
    head.insert(USER_AGENT, HeaderValue::from_static(agent));
    Ok(())
}

fn failure(error: &reqwest::Error) -> Error {
    if error.is_connect() {
        Error::Unreachable
    } else if error.is_timeout() {
        Error::Timeout
    } else {
        Error::Interrupted
    }
}

fn check_status(response: &Response) -> Result<(), Error> {
    match response.status() {
        StatusCode::OK => Ok(()),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(Error::KeyRefused(status.as_u16()))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = seconds.and_then(|text| text.parse().ok()).map(Duration::from_secs);
            Err(Error::Throttled { retry_after })
        }
        status => Err(Error::Status(status.as_u16())),
    }
}

fn check_media_type(response: &Response) -> Result<(), Error> {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match media_type {
        Some(media_type) if media_type.contains("json") => Ok(()),
        _ => Err(Error::NotAnAnswer("not JSON")),
    }
}

/// AppSync's name for a call, as far as it is one: it goes into records.
fn request_id(response: &Response) -> Option<Box<str>> {
    let id = response.headers().get("x-amzn-requestid")?.to_str().ok()?;
    (id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic())).then(|| id.into())
}

async fn read_body(mut response: Response) -> Result<Bytes, Error> {
    let mut body = Bytes::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Error::TooLarge(MAX_ANSWER));
        }
        body = joined(body, chunk);
    }
    Ok(body)
}
