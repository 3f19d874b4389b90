//! What happens, counted. Metrics are OpenTelemetry's, shown to Prometheus; `instruments` has them
//! all.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

use super::instruments::Instruments;
use super::otlp::MetricReader;
use crate::model::{CallRecord, CredentialId, ErrorCode, TenantId};

struct Metrics {
    registry: Registry,
    // Instruments report as long as their provider lives.
    provider: SdkMeterProvider,
    instruments: Instruments,
}

static METRICS: OnceLock<Option<Metrics>> = OnceLock::new();

fn metrics() -> Option<&'static Instruments> {
    METRICS.get_or_init(|| build(None)).as_ref().map(|metrics| &metrics.instruments)
}

/// Makes the instruments, which report to a collector too. To be called before anything is counted.
pub(super) fn start(collector: Option<MetricReader>) {
    let _ = METRICS.get_or_init(|| build(collector));
}

/// Without an exporter (it refuses only names that are taken) there are no metrics, and everything
/// else goes on.
fn build(collector: Option<MetricReader>) -> Option<Metrics> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_target_info()
        // Each label is one of the table's.
        .scope_info_enabled(false)
        .build()
        .ok()?;
    let mut provider =
        SdkMeterProvider::builder().with_reader(exporter).with_resource(super::otlp::resource());
    if let Some(collector) = collector {
        provider = provider.with_reader(collector);
    }
    let provider = provider.build();
    let instruments = Instruments::new(&provider.meter("jobs-gateway"));
    let version = KeyValue::new("version", env!("CARGO_PKG_VERSION"));
    instruments.build_info.record(1.0, &[version]);
    // What never happened is 0, not absent: alerts can tell the difference.
    let Instruments { upstream_retries, shared_state_errors, audit_records, audit_dropped, .. } =
        &instruments;
    for counter in [upstream_retries, shared_state_errors, audit_records, audit_dropped] {
        counter.add(0, &[]);
    }
    for signal in ["traces", "metrics", "logs"] {
        instruments.telemetry_failures.add(0, &[KeyValue::new("signal", signal)]);
    }
    Some(Metrics { registry, provider, instruments })
}

/// Sends a collector the latest figures.
pub(super) fn flush() {
    if let Some(Some(metrics)) = METRICS.get() {
        let _ = metrics.provider.force_flush();
    }
}

const fn one_if(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// A call ended. Labels are bounded: tenants are those of the policies, operations and codes are
/// enums.
pub fn call(record: &CallRecord) {
    let Some(metrics) = metrics() else { return };
    let tenant = record.tenant.as_ref().map_or("none", TenantId::as_str);
    let tenant = KeyValue::new("tenant", tenant.to_owned());
    let seconds = record.began.elapsed().as_secs_f64();
    let count = |operation: &'static str, code: Option<ErrorCode>| {
        let operation = KeyValue::new("operation", operation);
        let code = KeyValue::new("code", code.map_or("OK", ErrorCode::as_str));
        metrics.requests.add(1, &[tenant.clone(), operation.clone(), code]);
        metrics.durations.record(seconds, &[tenant.clone(), operation]);
    };
    if record.trails.is_empty() {
        let operation = if record.kind.is_some() { "introspection" } else { "none" };
        count(operation, record.failures.first().map(|failure| failure.code));
    }
    for trail in record.trails.iter() {
        count(trail.field.name(), record.code_of(trail));
        if let Some(status) = trail.note(|notes| notes.cache) {
            let result = KeyValue::new("result", status.as_str());
            metrics.cache_results.add(1, &[tenant.clone(), result]);
        }
    }
}

/// How much a cache holds.
pub fn cache_size(cache: &'static str, entries: u64, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    if let Some(metrics) = metrics() {
        let label = [KeyValue::new("cache", cache)];
        metrics.cache_entries.record(entries as f64, &label);
        metrics.cache_bytes.record(bytes as f64, &label);
    }
}

/// The limiter decided on a request.
pub fn limiter_decision(tenant: &TenantId, decision: &'static str) {
    if let Some(metrics) = metrics() {
        let tenant = KeyValue::new("tenant", tenant.as_str().to_owned());
        metrics.limiter_decisions.add(1, &[tenant, KeyValue::new("decision", decision)]);
    }
}

/// A call to Move ended, or was not made (`took` is `None` then).
pub fn upstream_call(field: &'static str, outcome: &'static str, took: Option<Duration>) {
    if let Some(metrics) = metrics() {
        let field = KeyValue::new("field", field);
        metrics.upstream_calls.add(1, &[field.clone(), KeyValue::new("outcome", outcome)]);
        if let Some(took) = took {
            metrics.upstream_durations.record(took.as_secs_f64(), &[field]);
        }
    }
}

/// Calls that are at Move.
pub fn upstream_in_flight(more: i64) {
    if let Some(metrics) = metrics() {
        metrics.upstream_in_flight.add(more, &[]);
    }
}

/// Calls that wait for their turn.
pub fn upstream_waiting(more: i64) {
    if let Some(metrics) = metrics() {
        metrics.upstream_waiting.add(more, &[]);
    }
}

/// A call to Move is made again.
pub fn upstream_retry() {
    if let Some(metrics) = metrics() {
        metrics.upstream_retries.add(1, &[]);
    }
}

/// What the circuit breaker of each account does: 0 closed, 1 half-open, 2 open. Accounts that are
/// not among them are shown no more.
pub fn breaker_states(states: impl IntoIterator<Item = (String, u8)>) {
    if let Some(metrics) = metrics() {
        let series = states
            .into_iter()
            .map(|(account, state)| (f64::from(state), vec![KeyValue::new("account", account)]));
        metrics.breaker_state.tell(series.collect());
    }
}

/// What became of a mutation with an `Idempotency-Key`.
pub fn idempotent_mutation(result: &'static str) {
    if let Some(metrics) = metrics() {
        metrics.idempotency.add(1, &[KeyValue::new("result", result)]);
    }
}

/// A reload ended.
pub fn reloaded(ok: bool) {
    if let Some(metrics) = metrics() {
        let outcome = if ok { "ok" } else { "error" };
        metrics.reloads.add(1, &[KeyValue::new("outcome", outcome)]);
        metrics.reload_ok.record(one_if(ok), &[]);
    }
}

/// When API keys expire: tenant, key and seconds since 1970. Keys that are not among them are shown
/// no more.
#[expect(clippy::cast_precision_loss, reason = "seconds fit for millions of years")]
pub fn key_expiries(expiries: Vec<(TenantId, CredentialId, i64)>) {
    if let Some(metrics) = metrics() {
        let series = expiries.into_iter().map(|(tenant, key, expires)| {
            let tenant = KeyValue::new("tenant", tenant.as_str().to_owned());
            (expires as f64, vec![tenant, KeyValue::new("key", key.as_str().to_owned())])
        });
        metrics.key_expiry.tell(series.collect());
    }
}

/// When the listener's certificate expires, in seconds since 1970.
pub fn certificate_expiry(expires: i64) {
    #[expect(clippy::cast_precision_loss, reason = "seconds fit for millions of years")]
    if let Some(metrics) = metrics() {
        metrics.certificate_expiry.record(expires as f64, &[]);
    }
}

/// An issuer's keys were fetched, or could not be. Issuers come from the configuration.
pub fn issuer_keys(issuer: &str, ok: bool) {
    if let Some(metrics) = metrics() {
        let label = KeyValue::new("issuer", issuer.to_owned());
        metrics.issuer_ok.tell_one(one_if(ok), vec![label]);
    }
}

/// The issuers that there are: others are shown no more.
pub fn issuers(names: &[&str]) {
    if let Some(metrics) = metrics() {
        let is_known = |label: &KeyValue| names.contains(&&*label.value.as_str());
        metrics.issuer_ok.keep(|labels| labels.iter().all(is_known));
    }
}

/// Audit records were written.
pub fn audit_records(count: u64) {
    if let Some(metrics) = metrics() {
        metrics.audit_records.add(count, &[]);
    }
}

/// The audit record of a query was dropped.
pub fn audit_dropped() {
    if let Some(metrics) = metrics() {
        metrics.audit_dropped.add(1, &[]);
    }
}

/// Audit records can be written, or cannot.
pub fn audit_writable(writable: bool) {
    if let Some(metrics) = metrics() {
        metrics.audit_writable.record(one_if(writable), &[]);
    }
}

/// How many requests are under way, and how many records wait for the audit file.
pub fn queues(requests: usize, records: usize) {
    #[expect(clippy::cast_precision_loss, reason = "figures to look at")]
    if let Some(metrics) = metrics() {
        metrics.requests_in_flight.record(requests as f64, &[]);
        metrics.audit_queue.record(records as f64, &[]);
    }
}

/// The collector did not take a batch of telemetry.
pub(super) fn telemetry_failed(signal: &'static str) {
    if let Some(metrics) = metrics() {
        metrics.telemetry_failures.add(1, &[KeyValue::new("signal", signal)]);
    }
}

/// How many records a sink has not taken yet.
pub fn audit_lag(sink: &'static str, records: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    if let Some(metrics) = metrics() {
        metrics.audit_lag.record(records as f64, &[KeyValue::new("sink", sink)]);
    }
}

/// Counts as one, in one of the functions below, for as long as it lives.
#[derive(Debug)]
pub struct Counted(fn(i64));

impl Counted {
    /// Counts from now on.
    #[must_use]
    pub fn by(count: fn(i64)) -> Self {
        count(1);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.0)(-1);
    }
}

/// Open connections of callers.
pub fn connections(more: i64) {
    if let Some(metrics) = metrics() {
        metrics.connections.add(more, &[]);
    }
}

/// Redis answered, or did not.
pub fn shared_state(ok: bool) {
    if let Some(metrics) = metrics() {
        metrics.shared_state_ok.record(one_if(ok), &[]);
        if !ok {
            metrics.shared_state_errors.add(1, &[]);
        }
    }
}

/// Everything in Prometheus' text format.
#[must_use]
pub fn prometheus_text() -> String {
    let mut text = Vec::new();
    if let Some(metrics) = METRICS.get_or_init(|| build(None)) {
        // Writing into memory does not fail.
        let _ = TextEncoder::new().encode(&metrics.registry.gather(), &mut text);
    }
    String::from_utf8(text).unwrap_or_default()
}
