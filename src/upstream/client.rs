//! Calls to Move: each in its turn, past the breaker, within its time, and again where that helps.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::SpanId;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::accounts::Accounts;
use super::breaker::{BreakerReport, BreakerSettings};
use super::exchange::exchange;
use super::features::Features;
use super::objects::Object;
use super::queue::FairQueue;
use super::retry::{self, RetrySettings};
use super::{Call, Error, ErrorKind, Reply, wire};
use crate::model::{Account, RequestContext, TenantId, TraceContext, Trail, UpstreamSpan};
use crate::settings;
use crate::settings::Sub;
use crate::settings::forms::{Count, PositiveTime};
use crate::telemetry;
use crate::telemetry::metrics::{self, GaugeGuard};

/// The time for which an idle connection is kept: below the 15 s after which Move's side closes it.
const POOL_IDLE: Duration = Duration::from_secs(10);

/// The moment at which callers whose turn did not come may come back.
const SOON: Duration = Duration::from_secs(1);

settings! {
    /// The way calls are made.
    pub struct Settings: Default {
        /// The time one call to Move may take, connection and answer together.
        timeout: PositiveTime = Duration::from_secs(10),
        /// The time a connection may take to come about.
        connect_timeout: PositiveTime = Duration::from_secs(2),
        /// Calls to Move at once, all tenants together; who waits gets a turn by tenant.
        max_in_flight: Count<usize> = 256,
        /// The time a call may wait for its turn before it is refused with `OVERLOADED`.
        max_wait: PositiveTime = Duration::from_secs(5),
        /// Calls that are made again.
        retries: Sub<RetrySettings>,
        /// The rest that an account which fails is given.
        circuit_breaker: Sub<BreakerSettings>,
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

impl Upstream {
    /// Makes the client, which trusts the system's authorities and those in `authorities` (PEM), and goes
    /// through `proxy`. No redirect is followed and no proxy is taken from the environment: the account's
    /// key goes where the configuration says and nowhere else.
    ///
    /// # Errors
    /// When the TLS backend cannot start, or `authorities` are no certificates.
    pub fn new(
        settings: Settings,
        authorities: Option<&[u8]>,
        proxy: Option<&url::Url>,
    ) -> Result<Self, reqwest::Error> {
        let authorities = reqwest::Certificate::from_pem_bundle(authorities.unwrap_or_default())?;
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_merge(authorities);
        let http = match proxy {
            Some(proxy) => http.proxy(reqwest::Proxy::all(proxy.as_str())?),
            None => http,
        };
        let http = http.build()?;
        let queue = FairQueue::new(settings.max_in_flight);
        let accounts = Accounts::new(settings.circuit_breaker, settings.retries);
        Ok(Self { http, settings, queue, accounts, features: Features::default() })
    }

    /// Makes one call for a root field of a request and reads its answer. A query that failed is
    /// made again while that makes sense, there is time and the account's budget allows it; a
    /// mutation only if it was never sent.
    ///
    /// # Errors
    /// When no answer came, or one that is no GraphQL answer. Errors *in* an answer are part of
    /// the [`Reply`].
    pub async fn call<T: Object>(
        &self,
        request: &RequestContext,
        trail: &Trail,
        call: &Call,
    ) -> Result<Reply<T>, Error> {
        let budget = self.accounts.budget(&request.caller.tenant.id);
        budget.earn();
        let mut pauses = retry::pauses(self.settings.retries);
        let mut resends = 0;
        loop {
            // On the heap: an HTTP exchange in flight is large, and everybody above holds it.
            let attempt = Box::pin(self.attempt(request, trail, call, resends));
            let error = match telemetry::within(request.trace.clone(), attempt).await {
                Err(error) if retry::is_worthwhile(call.kind, error.kind()) => error,
                result => return result,
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            let pause = pause.max(error.retry_after().unwrap_or_default());
            let left = request.deadline.saturating_duration_since(Instant::now());
            if pause >= left || !budget.spend() {
                return Err(error);
            }
            metrics::upstream_retry();
            tokio::time::sleep(pause).await;
            resends += 1;
        }
    }

    /// One attempt: a turn, the breaker, the call.
    async fn attempt<T: Object>(
        &self,
        request: &RequestContext,
        trail: &Trail,
        call: &Call,
        resends: u32,
    ) -> Result<Reply<T>, Error> {
        let tenant = &request.caller.tenant;
        let give_up = request.deadline.min(Instant::now() + self.settings.max_wait);
        let waiting = GaugeGuard::new(metrics::upstream_waiting);
        let slot = self.queue.slot(&tenant.id, give_up).await;
        let _slot =
            slot.ok_or_else(|| Error::from(ErrorKind::Overloaded).with_retry_after(SOON))?;
        drop(waiting);
        let _in_flight = GaugeGuard::new(metrics::upstream_in_flight);
        let began = Instant::now();
        let mut head = request.forward.as_deref().cloned().unwrap_or_default();
        let traced = request.trace.as_ref().map(|trace| (tell_trace(trace, &mut head), trace));
        let kept = traced.and_then(|(span, trace)| trace.sampled.then_some(span));
        if let Some(id) = kept {
            // Now, and not when it has ended: its request may end before it.
            let url = tenant.account.url.clone();
            let call = UpstreamSpan { resends, ..UpstreamSpan::begin(id, began, url) };
            trail.note(|notes| notes.calls.push(call));
        }
        let party = Some(tenant.id.clone());
        let result = self.call_once(&tenant.account, party, call, head, request.deadline).await;
        if let Err(error) = &result {
            report(error, request, call, resends);
        }
        trail.note(|notes| {
            notes.upstream_calls += u32::from(!is_refused(&result));
            notes.upstream_time += began.elapsed();
            if let Some(id) = kept
                && let Some(call) = notes.calls.iter_mut().find(|call| call.id == id)
            {
                call.took = Some(began.elapsed());
                call.status = status(&result);
                call.error = result.as_ref().err().map(|error| error.kind().as_str());
                call.request_id = result.as_ref().ok().and_then(|reply| reply.request_id.clone());
            }
            if let Ok(reply) = &result {
                notes.upstream_request_id.clone_from(&reply.request_id);
            }
        });
        result
    }

    /// Returns true if calls of a tenant wait for their turn: whoever joins one of them waits too.
    #[must_use]
    pub fn has_waiting(&self, tenant: &TenantId) -> bool {
        self.queue.has_waiting(tenant)
    }

    /// Resolves when nobody waits for a turn and there is room beside what is kept for those who hold few.
    pub async fn quiet(&self) {
        self.queue.quiet().await;
    }

    /// Returns the state of the circuit breaker of each account that was called.
    #[must_use]
    pub fn breakers(&self) -> Vec<BreakerReport> {
        self.accounts.reports()
    }

    /// Forgets how accounts and tenants were that are not among these.
    pub fn forget_others(&self, accounts: &[Arc<Account>], is_tenant: impl Fn(&TenantId) -> bool) {
        self.accounts.forget_others(accounts, is_tenant);
    }

    /// Asks an account something that is nobody's question but the gateway's own, once: no tenant's turn is
    /// taken for it.
    ///
    /// # Errors
    /// Those of [`Upstream::call`].
    pub async fn ask<T: Object>(
        &self,
        account: &Account,
        call: &Call,
        deadline: Instant,
    ) -> Result<Reply<T>, Error> {
        self.call_once(account, None, call, HeaderMap::new(), deadline).await
    }

    /// Makes a call, once, if the account's breaker lets it through. It ends at `deadline`, its
    /// caller's, or when Move has had its time: only the latter is Move's failure.
    pub(super) async fn call_once<T: Object>(
        &self,
        account: &Account,
        party: Option<TenantId>,
        call: &Call,
        headers: HeaderMap,
        deadline: Instant,
    ) -> Result<Reply<T>, Error> {
        let breaker = self.accounts.breaker(account);
        let pass = breaker.enter(party).map_err(|wait| {
            metrics::upstream_call(call.field, ErrorKind::CircuitOpen.as_str(), None);
            Error::from(ErrorKind::CircuitOpen).with_retry_after(wait)
        })?;
        let began = Instant::now();
        let (end, out_of_time) = match began + self.settings.timeout {
            end if end <= deadline => (end, ErrorKind::Timeout),
            _ => (deadline, ErrorKind::DeadlineExceeded),
        };
        let exchange = exchange(&self.http, account, call, headers);
        let result = match tokio::time::timeout_at(end, exchange).await {
            Ok(Ok(exchanged)) => wire::read(call.field, &exchanged.body)
                .map(|reply| Reply { request_id: exchanged.request_id, ..reply }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(out_of_time.into()),
        };
        match result.as_ref().map_err(Error::kind) {
            Ok(_) => pass.settle(None),
            // Move may be well or not: nobody waited long enough to know.
            Err(ErrorKind::DeadlineExceeded) => drop(pass),
            Err(kind) => pass.settle(kind.is_outage().then_some(kind)),
        }
        metrics::upstream_call(call.field, outcome(&result), Some(began.elapsed()));
        if let Ok(reply) = &result {
            tracing::debug!(operation = call.field, errors = reply.errors.len(), "upstream");
        }
        result
    }
}

/// Shows the state of circuit breakers in the metrics.
pub fn show_breakers(breakers: &[BreakerReport]) {
    metrics::breaker_states(breakers.iter().map(|BreakerReport { account, tenant, state }| {
        (account.to_string(), tenant.clone(), *state as u8)
    }));
}

/// Tells the log of a call that failed, once, where all is known of it. That no call was made is told
/// when the breaker opens, not each time.
fn report(error: &Error, request: &RequestContext, call: &Call, resends: u32) {
    if error.kind() == ErrorKind::CircuitOpen {
        return;
    }
    let tenant = &request.caller.tenant;
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = %request.id,
                tenant = %tenant.id,
                account = %tenant.account.id,
                host = tenant.account.url.host_str(),
                operation = call.field,
                kind = error.kind().as_str(),
                cause = telemetry::causes(error),
                resends,
                "a call to Move failed"
            )
        };
    }
    // That Move refuses the account's key does not pass by itself.
    if matches!(error.kind(), ErrorKind::KeyRefused(_)) { line!(error) } else { line!(warn) }
}

fn is_refused<T>(result: &Result<T, Error>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::CircuitOpen)
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
fn status<T>(result: &Result<T, Error>) -> Option<u16> {
    match result.as_ref().map_err(Error::kind) {
        Ok(_) => Some(200),
        Err(ErrorKind::Status(status) | ErrorKind::KeyRefused(status)) => Some(status),
        Err(ErrorKind::Throttled) => Some(429),
        Err(_) => None,
    }
}

/// As metrics name it.
fn outcome<T>(result: &Result<T, Error>) -> &'static str {
    result.as_ref().map_or_else(|error| error.kind().as_str(), |_| "ok")
}
