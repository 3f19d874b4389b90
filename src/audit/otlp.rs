//! A sink: OTLP over HTTP, in JSON. <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::fmt;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::Sink;
use crate::telemetry::http_causes;
use crate::telemetry::resource::resource;

/// The longest time a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The URL of a receiver. It may hold a token: only scheme and host are shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(url::Url);

impl Endpoint {
    /// The receiver at a URL (`…/v1/logs`).
    #[must_use]
    pub const fn new(url: url::Url) -> Self {
        Self(url)
    }

    /// Returns its scheme, host and port, which is all of it that may be shown.
    #[must_use]
    pub fn host(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}/…)", self.host())
    }
}

/// A receiver of OpenTelemetry logs.
#[derive(Debug)]
pub struct Otlp {
    http: reqwest::Client,
    endpoint: Endpoint,
    runtime: tokio::runtime::Handle,
}

impl Otlp {
    /// Gives records to this receiver. Needs a runtime.
    #[must_use]
    pub fn new(http: reqwest::Client, endpoint: Endpoint) -> Self {
        Self { http, endpoint, runtime: tokio::runtime::Handle::current() }
    }
}

impl Sink for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn take(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let request = self
            .http
            .post(self.endpoint.0.clone())
            .header("content-type", "application/json")
            .timeout(PATIENCE)
            .body(request(lines).to_string());
        let response = self.runtime.block_on(async { request.send().await });
        let response = response.map_err(|error| io::Error::other(http_causes(error)))?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("HTTP {}", response.status().as_u16())))
        }
    }
}

/// An `ExportLogsServiceRequest`.
fn request(lines: &[Vec<u8>]) -> Value {
    let attribute = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
    let resource = resource();
    let attributes = resource.iter().map(|(name, value)| attribute(name.as_str(), &value.as_str()));
    json!({"resourceLogs": [{
        "resource": {"attributes": attributes.collect::<Vec<_>>()},
        "scopeLogs": [{
            "scope": {"name": "jobs-gateway.audit"},
            "logRecords": lines.iter().map(|line| log_record(line)).collect::<Vec<_>>(),
        }],
    }]})
}

/// A record as a log record: its line is the body.
fn log_record(line: &[u8]) -> Value {
    let text = String::from_utf8_lossy(line);
    let record: Value = serde_json::from_str(&text).unwrap_or_default();
    let time = i128::from(record["time"].as_i64().unwrap_or_default()) * 1_000_000;
    // OCSF's severities begin at Informational (1), Low (2) and Medium (3).
    let (number, name) =
        if record["severity_id"].as_u64() >= Some(3) { (13, "WARN") } else { (9, "INFO") };
    let mut log_record = json!({
        "timeUnixNano": time.to_string(),
        "severityNumber": number,
        "severityText": name,
        "body": {"stringValue": text},
        "attributes": [{"key": "event.name", "value": {"stringValue": "audit"}}],
    });
    if let Some(trace) = record["unmapped"]["trace_id"].as_str() {
        log_record["traceId"] = trace.into();
    }
    log_record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_does_not_show_its_token() {
        let url = "https://user:SECRET1@collector.test/v1/logs?token=SECRET2".parse().unwrap();
        let shown = format!("{:?}", Endpoint::new(url));
        assert_eq!(shown, "Endpoint(https://collector.test/…)");
    }

    #[test]
    fn a_log_record_carries_its_trace_and_its_severity() {
        let line = br#"{"time":7,"severity_id":3,"unmapped":{"trace_id":"0af7651916cd43dd8448eb211c80319c"}}"#;
        let record = log_record(line);
        assert_eq!(record["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(
            (&record["severityNumber"], &record["severityText"]),
            (&13.into(), &"WARN".into())
        );
        assert_eq!(record["timeUnixNano"], "7000000");
        assert!(log_record(b"{}").get("traceId").is_none());
    }
}
