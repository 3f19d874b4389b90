//! Counts of what happens. Metrics are OpenTelemetry's, shown to Prometheus; `instruments` has them
//! all.

mod events;
mod streams;

use std::collections::{HashMap, HashSet};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use ahash::RandomState;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{Instrument, MeterProviderBuilder, SdkMeterProvider, Stream};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};

pub use events::{webhook_came, webhook_event, webhook_lag, webhook_refused, webhooks_waiting};
pub use streams::{stream_ended, stream_event, streams};

use super::instruments::{ALL, Instruments};
use super::process;
use super::resource::resource;
use super::series::{Series, UpstreamSeries};
use crate::model::{CallRecord, CredentialId, EntityKind, Kind, Rate, RootFields, TenantId};

struct Metrics {
    registry: Registry,
    // Instruments report as long as their provider lives.
    provider: SdkMeterProvider,
    instruments: Instruments,
    /// The series by tenant: those of the policies that were ever in force, and `none`.
    tenants: RwLock<HashMap<Box<str>, Series, RandomState>>,
    upstream: UpstreamSeries,
    /// The tenants whose series are shown; all, before any are known.
    shown: RwLock<Option<HashSet<Box<str>>>>,
}

/// The label of calls whose tenant was never known.
const NOBODY: &str = "none";

/// The number of series one metric may have: ten thousand tenants with twenty each. OpenTelemetry puts what
/// comes after that into one, and its own limit is 2,000.
const SERIES: usize = 200_000;

/// The tasks that run beside the requests.
const BACKGROUND_TASKS: [&str; 10] = [
    "features",
    "idempotency",
    "issuer_keys",
    "redis",
    "reload",
    "report",
    "summaries",
    "tls",
    "volume",
    "webhooks",
];

static METRICS: OnceLock<Option<Metrics>> = OnceLock::new();

fn started() -> Option<&'static Metrics> {
    METRICS.get_or_init(|| build(|provider| provider)).as_ref()
}

pub(super) fn metrics() -> Option<&'static Instruments> {
    started().map(|metrics| &metrics.instruments)
}

/// Makes the instruments, with a collector's reader besides. To be called before anything is counted.
pub(super) fn start(collector: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder) {
    let _ = METRICS.get_or_init(|| build(collector));
}

/// Without an exporter (it refuses only names that are taken) there are no metrics, and everything
/// else goes on.
fn build(collector: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder) -> Option<Metrics> {
    process::begin();
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_target_info()
        // Each label is one of the table's.
        .scope_info_enabled(false)
        .build()
        .ok()?;
    let provider = SdkMeterProvider::builder().with_reader(exporter).with_resource(resource());
    let provider = provider.with_view(|instrument: &Instrument| {
        let described = ALL.iter().find(|known| known.instrument() == instrument.name())?;
        let is_by_tenant = described.labels.contains(&"tenant");
        is_by_tenant.then(|| Stream::builder().with_cardinality_limit(SERIES).build().ok())?
    });
    let provider = collector(provider).build();
    let instruments = Instruments::new(&provider.meter("jobs-gateway"));
    let version = KeyValue::new("version", env!("CARGO_PKG_VERSION"));
    instruments.build_info.record(1.0, &[version]);
    // What never happened is 0, not absent: alerts can tell the difference.
    let Instruments { connections_evicted, upstream_retries, shared_state_errors, .. } =
        &instruments;
    let Instruments { audit_records, audit_dropped, .. } = &instruments;
    for counter in
        [connections_evicted, upstream_retries, shared_state_errors, audit_records, audit_dropped]
    {
        counter.add(0, &[]);
    }
    let owned = |kind: &EntityKind| kind.has_owner();
    let reads = EntityKind::ALL.into_iter().filter(owned);
    for field in reads.flat_map(|kind| [Some(kind.getter()), kind.lister()]).flatten() {
        instruments.unknown_owners.add(0, &[KeyValue::new("operation", field)]);
    }
    for task in BACKGROUND_TASKS {
        instruments.background_failures.add(0, &[KeyValue::new("task", task)]);
    }
    for signal in ["traces", "metrics", "logs"] {
        instruments.telemetry_failures.add(0, &[KeyValue::new("signal", signal)]);
    }
    for outcome in ["ok", "error"] {
        instruments.reloads.add(0, &[KeyValue::new("outcome", outcome)]);
    }
    Some(Metrics {
        registry,
        provider,
        instruments,
        tenants: RwLock::default(),
        upstream: UpstreamSeries::default(),
        shown: RwLock::default(),
    })
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

/// A call ended. Labels are bounded: tenants are those of the policies, all else are enums.
pub fn call(record: &CallRecord) {
    let Some(Metrics { instruments, tenants, .. }) = started() else { return };
    let name = record.tenant.as_ref().map_or(NOBODY, TenantId::as_str);
    let known = tenants.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(series) = known.get(name) {
        return series.count(instruments, record);
    }
    drop(known);
    let mut known = tenants.write().unwrap_or_else(PoisonError::into_inner);
    let series = known.entry(name.into()).or_insert_with(|| Series::new(name));
    series.count(instruments, record);
}

/// Shows how much a cache holds.
pub fn cache_size(cache: &'static str, entries: u64, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    if let Some(metrics) = metrics() {
        let label = [KeyValue::new("cache", cache)];
        metrics.cache_entries.record(entries as f64, &label);
        metrics.cache_bytes.record(bytes as f64, &label);
    }
}

/// A call to Move ended, or was not made (`took` is `None` then).
pub fn upstream_call(field: &'static str, outcome: &'static str, took: Option<Duration>) {
    if let Some(Metrics { instruments, upstream, .. }) = started() {
        upstream.count(instruments, field, outcome, took);
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

/// Jobs in an answer of Move's do not tell whose they are.
pub fn unknown_owners(field: &'static str, count: usize) {
    if let Some(metrics) = metrics() {
        let labels = [KeyValue::new("operation", field)];
        metrics.unknown_owners.add(count as u64, &labels);
    }
}

/// Shows the circuit breakers: an account, a tenant if it is that tenant's alone, and 0 closed,
/// 1 half-open, 2 open. Those that are not among them are shown no more.
pub fn breaker_states(states: impl IntoIterator<Item = (String, Option<TenantId>, u8)>) {
    if let Some(metrics) = metrics() {
        let series = states.into_iter().map(|(account, tenant, state)| {
            let tenant = tenant.map(|tenant| KeyValue::new("tenant", tenant.to_string()));
            let labels = [KeyValue::new("account", account)].into_iter().chain(tenant);
            (f64::from(state), labels.collect())
        });
        metrics.breaker_state.tell(series.collect());
    }
}

/// Counts a mutation with an `Idempotency-Key`, by what became of it.
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
    }
}

/// The policies in force: their version, and what each tenant may call. Calls of these tenants are
/// counted from zero, so that an increase tells the first one too. Series of other tenants are shown no
/// more.
pub fn policies<'a>(version: &str, tenants: impl Iterator<Item = (&'a TenantId, RootFields)>) {
    let Some(Metrics { instruments, tenants: known, shown, .. }) = started() else { return };
    let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
    let mut in_force = HashSet::new();
    for (tenant, operations) in tenants {
        let name = tenant.as_str();
        in_force.insert(name.into());
        let series = known.entry(name.into()).or_insert_with(|| Series::new(name));
        series.begin(instruments, operations);
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    instruments.tenants.record(in_force.len() as f64, &[]);
    *shown.write().unwrap_or_else(PoisonError::into_inner) = Some(in_force);
    instruments.policy_info.tell(vec![(1.0, vec![KeyValue::new("version", version.to_owned())])]);
}

/// Shows the limits of each tenant: of a kind, the units that come back in a time. Others are shown no more.
pub fn limits<'a>(limits: impl Iterator<Item = (&'a TenantId, Kind, Rate)>) {
    if let Some(metrics) = metrics() {
        let series = limits.map(|(tenant, kind, Rate { units, per, .. })| {
            let tenant = KeyValue::new("tenant", tenant.as_str().to_owned());
            let rate = f64::from(units.get()) / per.as_secs_f64();
            (rate, vec![tenant, KeyValue::new("kind", kind.as_str())])
        });
        metrics.limits.tell(series.collect());
    }
}

/// A background task panicked or ended.
pub fn background_task_failed(task: &'static str) {
    if let Some(metrics) = metrics() {
        metrics.background_failures.add(1, &[KeyValue::new("task", task)]);
    }
}

/// Shows whether all that was read last is in force, and whether the last good copy of the policies stands in.
pub fn rules_in_force(is_all: bool, is_copy: bool) {
    if let Some(metrics) = metrics() {
        metrics.reload_ok.record(one_if(is_all), &[]);
        metrics.last_good.record(one_if(is_copy), &[]);
    }
}

/// Notes that the sources of rules were compared with what was read, at this moment in seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "seconds fit for millions of years")]
pub fn rules_looked_at(at: i64) {
    if let Some(metrics) = metrics() {
        metrics.rules_looked_at.record(at as f64, &[]);
    }
}

/// Shows when API keys expire: tenant, key and seconds since 1970. Keys that are not among them are shown
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

/// Shows when the listener's certificate expires, in seconds since 1970.
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

/// Shows how large the audit file's volume is, and how much of it is left, in bytes.
#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
pub fn audit_volume(size: u64, available: u64) {
    if let Some(metrics) = metrics() {
        metrics.audit_volume_size.record(size as f64, &[]);
        metrics.audit_volume_available.record(available as f64, &[]);
    }
}

/// Shows how many requests are under way, and how many records wait for the audit file.
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

/// Shows how many records a sink has not taken yet.
pub fn audit_lag(sink: &'static str, records: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    if let Some(metrics) = metrics() {
        metrics.audit_lag.record(records as f64, &[KeyValue::new("sink", sink)]);
    }
}

/// Counts as one, in one of the functions below, for as long as it lives.
#[derive(Debug)]
pub struct GaugeGuard(fn(i64));

impl GaugeGuard {
    /// Counts from now on.
    #[must_use]
    pub fn new(count: fn(i64)) -> Self {
        count(1);
        Self(count)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        (self.0)(-1);
    }
}

/// A caller's connection was closed to make room for another.
pub fn connection_evicted() {
    if let Some(metrics) = metrics() {
        metrics.connections_evicted.add(1, &[]);
    }
}

/// Open connections of callers.
pub fn connections(more: i64) {
    if let Some(metrics) = metrics() {
        metrics.connections.add(more, &[]);
    }
}

/// Redis answers, or does not.
pub fn shared_state(ok: bool) {
    if let Some(metrics) = metrics() {
        metrics.shared_state_ok.record(one_if(ok), &[]);
    }
}

/// Redis did not answer a question in time, or refused it.
pub fn shared_state_error() {
    if let Some(metrics) = metrics() {
        metrics.shared_state_errors.add(1, &[]);
    }
}

/// Everything in Prometheus' text format.
#[must_use]
pub fn prometheus_text() -> String {
    let mut text = Vec::new();
    if let Some(metrics) = started() {
        let mut families = metrics.registry.gather();
        if let Some(tenants) = &*metrics.shown.read().unwrap_or_else(PoisonError::into_inner) {
            for family in &mut families {
                keep_tenants(family, tenants);
            }
            families.retain(|family| !family.get_metric().is_empty());
        }
        // Writing into memory does not fail.
        let _ = TextEncoder::new().encode(&families, &mut text);
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Takes out the series of other tenants: OpenTelemetry keeps a series for ever.
fn keep_tenants(family: &mut MetricFamily, tenants: &HashSet<Box<str>>) {
    family.mut_metric().retain(|metric| {
        let tenant = metric.get_label().iter().find(|label| label.name() == "tenant");
        tenant.is_none_or(|label| label.value() == NOBODY || tenants.contains(label.value()))
    });
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::RequestId;

    #[test]
    fn ten_thousand_tenants_have_series_of_their_own() {
        for n in 0..10_000 {
            let mut record = CallRecord::begin(RequestId::new(), Timestamp::UNIX_EPOCH);
            let tenant = TenantId::parse(&format!("tenant-{n}")).expect("a tenant");
            record.held_by(tenant, CredentialId::parse("main").expect("a credential"));
            call(&record);
        }
        let text = prometheus_text();
        assert!(text.contains("tenant=\"tenant-0\"") && text.contains("tenant=\"tenant-9999\""));
        assert!(!text.contains("otel_metric_overflow"));
    }
}
