//! Every metric, in one table: what makes it and what docs/metrics.md says of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    Counter, Gauge, Histogram, Meter, ObservableCounter, ObservableGauge, UpDownCounter,
};

use super::process;

/// A metric as docs/metrics.md describes it.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its name, as Prometheus shows it.
    pub name: &'static str,
    /// As Prometheus calls it.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its meaning.
    pub help: &'static str,
}

impl Described {
    /// The name without the ends that Prometheus' exporter gives it: of a counter, and of a unit.
    #[must_use]
    pub fn instrument(&self) -> &'static str {
        self.name.trim_end_matches("_total").trim_end_matches("_seconds")
    }
}

/// An instrument that an entry of a table is made into.
trait Instrument {
    const KIND: &'static str;
    fn make(meter: &Meter, name: &'static str, help: &'static str) -> Self;
}

impl Instrument for Counter<u64> {
    const KIND: &'static str = "counter";
    fn make(meter: &Meter, name: &'static str, help: &'static str) -> Self {
        // Prometheus' exporter ends the name in `_total` by itself.
        meter.u64_counter(name.trim_end_matches("_total")).with_description(help).build()
    }
}

impl Instrument for UpDownCounter<i64> {
    const KIND: &'static str = "gauge";
    fn make(meter: &Meter, name: &'static str, help: &'static str) -> Self {
        meter.i64_up_down_counter(name).with_description(help).build()
    }
}

impl Instrument for Gauge<f64> {
    const KIND: &'static str = "gauge";
    fn make(meter: &Meter, name: &'static str, help: &'static str) -> Self {
        meter.f64_gauge(name).with_description(help).build()
    }
}

/// A figure of the process, read whenever somebody looks.
impl Instrument for ObservableGauge<f64> {
    const KIND: &'static str = "gauge";
    fn make(meter: &Meter, name: &'static str, help: &'static str) -> Self {
        let gauge = meter.f64_observable_gauge(name).with_description(help);
        let gauge = gauge.with_callback(move |observer| {
            if let Some(figure) = process::figure(name) {
                observer.observe(figure, &[]);
            }
        });
        gauge.build()
    }
}

/// A figure of the process that only grows.
impl Instrument for ObservableCounter<f64> {
    const KIND: &'static str = "counter";
    fn make(meter: &Meter, name: &'static str, help: &'static str) -> Self {
        // Prometheus' exporter ends the name in `_total` by itself.
        let counter = meter.f64_observable_counter(name.trim_end_matches("_total"));
        let counter = counter.with_description(help).with_callback(move |observer| {
            if let Some(figure) = process::figure(name) {
                observer.observe(figure, &[]);
            }
        });
        counter.build()
    }
}

/// Values and their labels.
type Series = Vec<(f64, Vec<KeyValue>)>;

/// A gauge whose series come and go: it shows what it was told last, and nothing older.
#[derive(Debug)]
pub struct GaugeSet {
    told: Arc<Mutex<Series>>,
    _shown: ObservableGauge<f64>,
}

impl GaugeSet {
    /// Shows these series instead of those before.
    pub fn tell(&self, series: Series) {
        *self.told() = series;
    }

    /// Shows one series beside the others.
    pub fn tell_one(&self, value: f64, labels: Vec<KeyValue>) {
        let mut told = self.told();
        match told.iter_mut().find(|(_, known)| *known == labels) {
            Some((known, _)) => *known = value,
            None => told.push((value, labels)),
        }
    }

    /// Stops to show those whose labels are not wanted.
    pub fn keep(&self, is_wanted: impl Fn(&[KeyValue]) -> bool) {
        self.told().retain(|(_, labels)| is_wanted(labels));
    }

    fn told(&self) -> MutexGuard<'_, Series> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instrument for GaugeSet {
    const KIND: &'static str = "gauge";
    fn make(meter: &Meter, name: &'static str, help: &'static str) -> Self {
        let told: Arc<Mutex<Series>> = Arc::default();
        let shown = Arc::clone(&told);
        let gauge = meter.f64_observable_gauge(name).with_description(help);
        let gauge = gauge.with_callback(move |observer| {
            for (value, labels) in &*shown.lock().unwrap_or_else(PoisonError::into_inner) {
                observer.observe(*value, labels);
            }
        });
        Self { told, _shown: gauge.build() }
    }
}

/// From a quarter of a millisecond, which an answer from memory takes, to the longest request.
const SECONDS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 15.0,
];

impl Instrument for Histogram<f64> {
    const KIND: &'static str = "histogram";
    fn make(meter: &Meter, name: &'static str, help: &'static str) -> Self {
        let histogram = meter.f64_histogram(name.trim_end_matches("_seconds")).with_unit("s");
        histogram.with_boundaries(SECONDS.to_vec()).with_description(help).build()
    }
}

macro_rules! instruments {
    ($($field:ident: $kind:ty = $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// The gateway's instruments.
        #[derive(Debug)]
        pub struct Instruments {
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl Instruments {
            /// Makes them all.
            pub fn new(meter: &Meter) -> Self {
                Self { $($field: <$kind as Instrument>::make(meter, $name, $help),)* }
            }
        }

        /// All of them, in the order of docs/metrics.md.
        pub const ALL: &[Described] = &[$(Described {
            name: $name,
            kind: <$kind as Instrument>::KIND,
            labels: &[$($label),*],
            help: $help,
        },)*];
    };
}

instruments! {
    build_info: Gauge<f64> = "jobs_gateway_build_info" ["version"]
        "Always 1; the label tells the gateway's version.";
    requests: Counter<u64> = "jobs_gateway_requests_total" ["tenant", "operation", "code"]
        "Root fields that were asked for; a request without any counts once, as `introspection` or `none`. `code` is `OK` or one of docs/errors.md.";
    durations: Histogram<f64> = "jobs_gateway_request_duration_seconds" ["tenant", "operation", "outcome"]
        "From a request's head to its answer. `outcome` is `ok` or `error`.";
    requests_in_flight: Gauge<f64> = "jobs_gateway_requests_in_flight" []
        "Requests under way; `server.max_requests` at most.";
    connections: UpDownCounter<i64> = "jobs_gateway_connections" []
        "Open connections of callers.";
    connections_evicted: Counter<u64> = "jobs_gateway_connections_evicted_total" []
        "Connections of callers that were closed to make room for others: strangers' and idle ones.";
    streams: UpDownCounter<i64> = "jobs_gateway_streams" []
        "Open streams of subscriptions.";
    stream_events: Counter<u64> = "jobs_gateway_stream_events_total" []
        "Answers that were given to streams to be sent.";
    streams_ended: Counter<u64> = "jobs_gateway_streams_ended_total" ["reason"]
        "Streams that ended: `finished` with their job, `failed` as it cannot be read any more, `refused` with the right to it, `unauthenticated` with its credential, `too_old`, `draining` with the gateway, `hung_up` by their callers.";
    cache_results: Counter<u64> = "jobs_gateway_cache_results_total" ["tenant", "result"]
        "Reads of single jobs, by what the cache had: `HIT`, `STALE`, `COALESCED` or `MISS`.";
    cache_bytes: Gauge<f64> = "jobs_gateway_cache_bytes" ["cache"]
        "Memory that a cache takes, by weight: `jobs` or `answers`.";
    cache_entries: Gauge<f64> = "jobs_gateway_cache_entries" ["cache"]
        "Entries of a cache: `jobs` or `answers`.";
    limiter_decisions: Counter<u64> = "jobs_gateway_limiter_decisions_total" ["tenant", "decision"]
        "Requests that met the limiter: `admitted`, `rate_limited`, `too_costly` or `too_many_in_flight`.";
    limiter_units: Counter<u64> = "jobs_gateway_limiter_units_total" ["tenant", "kind"]
        "Units that admitted requests cost, of the tenant's limit of this `kind`: `query` or `mutation`.";
    limits: GaugeSet = "jobs_gateway_limit_units_per_second" ["tenant", "kind"]
        "Units a second that a tenant's policy gives it, for all replicas together with Redis, for each without; none where there is no limit.";
    upstream_calls: Counter<u64> = "jobs_gateway_upstream_calls_total" ["field", "outcome"]
        "Calls to Move by root field (of several in one document, the first): `ok`, or `unreachable`, `interrupted`, `timeout`, `deadline_exceeded` (the caller's), `key_refused`, `throttled`, `circuit_open` (not sent), `status`, `bad_answer`.";
    upstream_durations: Histogram<f64> = "jobs_gateway_upstream_call_duration_seconds" ["field"]
        "From the sending of a call to the end of its answer.";
    upstream_in_flight: UpDownCounter<i64> = "jobs_gateway_upstream_in_flight" []
        "Calls that are at Move.";
    upstream_waiting: UpDownCounter<i64> = "jobs_gateway_upstream_waiting" []
        "Calls that wait for their turn.";
    upstream_retries: Counter<u64> = "jobs_gateway_upstream_retries_total" []
        "Calls to Move that were made again.";
    listing_pages: Counter<u64> = "jobs_gateway_listing_pages_total" ["field", "source"]
        "Pages of Move's that listings in the shared account went through: `move` is a call, `joined` somebody else's that was under way, `memory` one that came less than two seconds ago.";
    listings: Counter<u64> = "jobs_gateway_listings_total" ["way"]
        "Listings in the shared account, by how they were answered: from the `index` of jobs, or by the `sift` of all pages.";
    listing_calls: Counter<u64> = "jobs_gateway_listing_calls_total" ["way"]
        "Calls to Move that those listings took.";
    index_jobs: Gauge<f64> = "jobs_gateway_index_jobs" ["kind"]
        "Jobs in the index, or takes or volumes in theirs (`kind`: `job`, `take`, `volume`).";
    index_complete: Gauge<f64> = "jobs_gateway_index_complete" ["kind"]
        "1 if listings are answered from the index; 0 while it is filled, or cannot be had.";
    index_read_to: Gauge<f64> = "jobs_gateway_index_read_to_timestamp_seconds" ["kind"]
        "Creation of the last job that the walk through the account has read, in seconds since 1970; 0 at its beginning.";
    index_lag: Gauge<f64> = "jobs_gateway_index_lag_seconds" ["kind"]
        "Time since it was seen last that no newer job is missing in the index, while it is complete.";
    index_calls: Counter<u64> = "jobs_gateway_index_calls_total" ["cause", "kind"]
        "Calls to Move that keep the index: `backfill` until it is complete, `sweep` and `newest` afterwards, `account` to see whose the jobs are, `doubt` about a job that was not where the index has it.";
    index_dropped: Counter<u64> = "jobs_gateway_index_dropped_total" ["kind", "reason"]
        "Times that the index was thrown away to be filled anew: its `file` was in trouble, another `account` is behind the key, or more `writes` were made before it was open than it could take note of.";
    unknown_owners: Counter<u64> = "jobs_gateway_unknown_owners_total" ["operation"]
        "Jobs in answers of Move whose metadata does not tell whose they are; nobody is shown them.";
    breaker_state: GaugeSet = "jobs_gateway_circuit_breaker_state" ["account", "tenant"]
        "0 closed, 1 half-open, 2 open; `account` is `shared`, or `tenant:` and the tenant that owns it. With `tenant`: the breaker of that tenant alone, while it is not closed.";
    idempotency: Counter<u64> = "jobs_gateway_idempotent_mutations_total" ["result"]
        "Mutations with an `Idempotency-Key`: `first`, `replayed`, `conflict`, `looked_up`, `refused` (the tenant has too many keys), and where the store did not answer or lost the key meanwhile, `unavailable` (refused) or `unremembered` (made all the same).";
    shared_state_ok: Gauge<f64> = "jobs_gateway_shared_state_ok" []
        "1 if Redis answers, 0 if this replica goes on alone.";
    shared_state_errors: Counter<u64> = "jobs_gateway_shared_state_errors_total" []
        "Questions that Redis did not answer within 20 ms, or refused.";
    audit_records: Counter<u64> = "jobs_gateway_audit_records_total" []
        "Audit records written to the file.";
    audit_dropped: Counter<u64> = "jobs_gateway_audit_dropped_total" []
        "Audit records of queries that were dropped because the queue was full; of any call if the writer ended.";
    audit_writable: Gauge<f64> = "jobs_gateway_audit_writable" []
        "1 if audit records can be written; 0 if not, and mutations are refused.";
    audit_queue: Gauge<f64> = "jobs_gateway_audit_queue_records" []
        "Records that wait for the audit file; at 8,192 callers wait too, or records are dropped.";
    audit_lag: Gauge<f64> = "jobs_gateway_audit_sink_lag_records" ["sink"]
        "Records that a sink has not taken yet.";
    audit_volume_size: Gauge<f64> = "jobs_gateway_audit_volume_size_bytes" []
        "Size of the volume that holds the audit file.";
    audit_volume_available: Gauge<f64> = "jobs_gateway_audit_volume_available_bytes" []
        "What the gateway may still write on the volume that holds the audit file.";
    tenants: Gauge<f64> = "jobs_gateway_tenants" []
        "Tenants of the policies in force.";
    policy_info: GaugeSet = "jobs_gateway_policy_info" ["version"]
        "Always 1; the label tells the version of the policies in force: replicas that differ have read different files.";
    reloads: Counter<u64> = "jobs_gateway_policy_reloads_total" ["outcome"]
        "Reloads of policies: `ok` or `error`.";
    reload_ok: Gauge<f64> = "jobs_gateway_policy_reload_ok" []
        "1 if all that was read last is in force, 0 if a reload was refused, or the last good copy stands in at a start.";
    last_good: Gauge<f64> = "jobs_gateway_policy_last_good" []
        "1 while the last good copy of the policies stands in for some that were broken at the start.";
    rules_looked_at: Gauge<f64> = "jobs_gateway_policy_looked_timestamp_seconds" []
        "When the files of the rules were last compared with what was read, which is every second, in seconds since 1970.";
    background_failures: Counter<u64> = "jobs_gateway_background_task_failures_total" ["task"]
        "Background tasks that panicked or ended and were started again; the sixth time in a row the process ends. `task` is `features`, `idempotency`, `issuer_keys`, `redis`, `reload`, `report`, `summaries`, `tls`, `volume` or `webhooks`.";
    issuer_ok: GaugeSet = "jobs_gateway_issuer_keys_ok" ["issuer"]
        "1 if the issuer's keys were fetched last time, 0 if not.";
    key_expiry: GaugeSet = "jobs_gateway_api_key_expiry_timestamp_seconds" ["tenant", "key"]
        "When an API key expires, in seconds since 1970; keys without an end have none.";
    certificate_expiry: Gauge<f64> = "jobs_gateway_tls_certificate_expiry_timestamp_seconds" []
        "When the certificate of `server.tls` expires, in seconds since 1970.";
    webhook_events: Counter<u64> = "jobs_gateway_webhook_events_total" ["type", "outcome"]
        "Events of Move's that were signed: `type` is `started`, `completed`, `failed` or `other`. `outcome` is `renewed` (what is known of the job is what Move answers now), `behind` (the same, but Move's answer was not as far as the event after half a minute), `missing` (no such job or volume), `unclaimed` (nobody's), `owner_unknown`, `no_account`, `given_up` (no answer for a day), `panicked`; at once: `seen` (it came before), `no_job`, `not_json`.";
    webhook_refused: Counter<u64> = "jobs_gateway_webhook_refused_total" ["reason"]
        "Requests on `webhooks.listen` that were not taken for events: `headers`, `time`, `signature` (no secret of the account's made it), `account`, `too_large`, `slow`, `busy`, `store` (it could not be stored, and comes again).";
    webhook_last: GaugeSet = "jobs_gateway_webhook_last_event_timestamp_seconds" ["account"]
        "When the last event of an account came to this replica, in seconds since 1970; the start before the first.";
    webhook_waiting: Gauge<f64> = "jobs_gateway_webhook_waiting" []
        "Events that are stored and not looked into yet; of all replicas with Redis.";
    webhook_lag: Histogram<f64> = "jobs_gateway_webhook_lag_seconds" []
        "From an event's coming until it was looked into.";
    telemetry_failures: Counter<u64> = "jobs_gateway_telemetry_failures_total" ["signal"]
        "Batches that the collector of `telemetry.otlp` did not take, which are lost: `traces`, `metrics` or `logs`.";
    log_lines_lost: ObservableCounter<f64> = "jobs_gateway_log_lines_lost_total" []
        "Log lines that are lost, as standard error took no more and ten thousand lines waited.";
    process_cpu: ObservableCounter<f64> = "process_cpu_seconds_total" []
        "CPU time of the process, in user and system mode.";
    process_memory: ObservableGauge<f64> = "process_resident_memory_bytes" []
        "Memory of the process that is resident.";
    process_open_files: ObservableGauge<f64> = "process_open_fds" []
        "Open file descriptors; every connection is one.";
    process_max_files: ObservableGauge<f64> = "process_max_fds" []
        "The most file descriptors that the process may have open.";
    process_start: ObservableGauge<f64> = "process_start_time_seconds" []
        "When the process began to count, in seconds since 1970.";
}

/// docs/metrics.md.
#[must_use]
pub fn markdown() -> String {
    let mut text = "# Metrics\n\nServed at `/metrics` of the admin address, and sent over OTLP where \
                    `telemetry.otlp` is set. Made by `jobs-gateway metrics`.\n\nLabels are bounded: \
                    tenants, keys, issuers and accounts come from policies and configuration, \
                    operations from the schema; nothing that a caller chooses is a label.\n\n\
                    | metric | kind | labels | what it tells |\n|---|---|---|---|\n"
        .to_owned();
    for Described { name, kind, labels, help } in ALL {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", ")));
    }
    text
}
