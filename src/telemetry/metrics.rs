//! Metrics: OpenTelemetry's instruments, shown to Prometheus. Labels are bounded: nothing that a
//! caller chooses is one.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, MeterProvider, UpDownCounter};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

use crate::model::{CallRecord, ErrorCode, TenantId};

/// The gateway's instruments.
struct Metrics {
    registry: Registry,
    // Instruments report as long as their provider lives.
    _provider: SdkMeterProvider,
    requests: Counter<u64>,
    durations: Histogram<f64>,
    cache_results: Counter<u64>,
    reloads: Counter<u64>,
    reload_ok: Gauge<u64>,
    issuer_ok: Gauge<u64>,
    connections: UpDownCounter<i64>,
    audit_records: Counter<u64>,
    audit_dropped: Counter<u64>,
    audit_writable: Gauge<u64>,
    audit_lag: Gauge<u64>,
    shared_state_ok: Gauge<u64>,
    shared_state_errors: Counter<u64>,
}

fn metrics() -> Option<&'static Metrics> {
    static METRICS: OnceLock<Option<Metrics>> = OnceLock::new();
    METRICS.get_or_init(build).as_ref()
}

/// Without an exporter (it refuses only names that are taken) there are no metrics, and everything
/// else goes on.
fn build() -> Option<Metrics> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_target_info()
        .build()
        .ok()?;
    let provider = SdkMeterProvider::builder().with_reader(exporter).build();
    let meter = provider.meter("jobs-gateway");
    Some(Metrics {
        requests: meter
            .u64_counter("jobs_gateway_requests")
            .with_description("Root fields that were asked for, by tenant, operation and code; one without any counts once.")
            .build(),
        durations: meter
            .f64_histogram("jobs_gateway_request_duration")
            .with_unit("s")
            .with_boundaries(vec![
                0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
                5.0, 10.0, 15.0,
            ])
            .with_description("Seconds from a request's head to its answer, by tenant and operation.")
            .build(),
        cache_results: meter
            .u64_counter("jobs_gateway_cache_results")
            .with_description("Reads of single jobs, by tenant and by what the cache had: HIT, STALE, COALESCED, MISS.")
            .build(),
        reloads: meter
            .u64_counter("jobs_gateway_policy_reloads")
            .with_description("Reloads of policies, by outcome: ok or error.")
            .build(),
        reload_ok: meter
            .u64_gauge("jobs_gateway_policy_reload_ok")
            .with_description("1 if the last reload of policies succeeded, 0 if it was refused.")
            .build(),
        issuer_ok: meter
            .u64_gauge("jobs_gateway_issuer_keys_ok")
            .with_description("1 if the issuer's keys were fetched last time, 0 if not.")
            .build(),
        audit_records: meter
            .u64_counter("jobs_gateway_audit_records")
            .with_description("Audit records written to the file.")
            .build(),
        audit_dropped: meter
            .u64_counter("jobs_gateway_audit_dropped")
            .with_description(
                "Audit records of queries that were dropped because the queue was full.",
            )
            .build(),
        audit_writable: meter
            .u64_gauge("jobs_gateway_audit_writable")
            .with_description(
                "1 if audit records can be written; 0 if not, and mutations are refused.",
            )
            .build(),
        audit_lag: meter
            .u64_gauge("jobs_gateway_audit_sink_lag_records")
            .with_description("Records that a sink has not taken yet.")
            .build(),
        connections: meter
            .i64_up_down_counter("jobs_gateway_connections")
            .with_description("Open connections of callers.")
            .build(),
        shared_state_ok: meter
            .u64_gauge("jobs_gateway_shared_state_ok")
            .with_description("1 if Redis answers, 0 if this replica goes on alone.")
            .build(),
        shared_state_errors: meter
            .u64_counter("jobs_gateway_shared_state_errors")
            .with_description("Questions that Redis did not answer within 20 ms.")
            .build(),
        registry,
        _provider: provider,
    })
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

/// A reload ended.
pub fn reloaded(ok: bool) {
    if let Some(metrics) = metrics() {
        let outcome = if ok { "ok" } else { "error" };
        metrics.reloads.add(1, &[KeyValue::new("outcome", outcome)]);
        metrics.reload_ok.record(u64::from(ok), &[]);
    }
}

/// An issuer's keys were fetched, or could not be. Issuers come from the configuration.
pub fn issuer_keys(issuer: &str, ok: bool) {
    if let Some(metrics) = metrics() {
        let label = KeyValue::new("issuer", issuer.to_owned());
        metrics.issuer_ok.record(u64::from(ok), &[label]);
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
        metrics.audit_writable.record(u64::from(writable), &[]);
    }
}

/// How many records a sink has not taken yet.
pub fn audit_lag(sink: &'static str, records: u64) {
    if let Some(metrics) = metrics() {
        metrics.audit_lag.record(records, &[KeyValue::new("sink", sink)]);
    }
}

/// Connections were opened (or, below zero, closed).
pub fn connections(more: i64) {
    if let Some(metrics) = metrics() {
        metrics.connections.add(more, &[]);
    }
}

/// Redis answered, or did not.
pub fn shared_state(ok: bool) {
    if let Some(metrics) = metrics() {
        metrics.shared_state_ok.record(u64::from(ok), &[]);
        if !ok {
            metrics.shared_state_errors.add(1, &[]);
        }
    }
}

/// Everything in Prometheus' text format.
#[must_use]
pub fn prometheus_text() -> String {
    let mut text = Vec::new();
    if let Some(metrics) = metrics() {
        // Writing into memory does not fail.
        let _ = TextEncoder::new().encode(&metrics.registry.gather(), &mut text);
    }
    String::from_utf8(text).unwrap_or_default()
}
