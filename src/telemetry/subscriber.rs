//! The log: on standard error, and to the collector where there is one.

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::metrics;
use super::otlp::{self, Exporters, Otlp};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A log was started before.
    #[error("the log cannot start: {0}")]
    Log(#[from] TryInitError),
    /// The collector's address cannot be used.
    #[error("`telemetry.otlp` cannot be used: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Starts the log on standard error, and what goes to a collector. `level` is a filter such as `info`
/// or `jobs_gateway=debug`. Needs a runtime.
///
/// # Errors
/// When a log was started before, or the collector's address cannot be one.
pub fn init(level: &str, format: Format, otlp: Option<&Otlp>) -> Result<(), Error> {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let mut bridge = None;
    if let Some(otlp) = otlp {
        let Exporters { spans, metrics, logs } = otlp::exporters(otlp)?;
        metrics::start(Some(metrics));
        bridge = Some(OpenTelemetryTracingBridge::new(&logs));
        otlp::start(spans, logs, otlp.sample);
    }
    let registry = tracing_subscriber::registry().with(filter).with(bridge);
    match format {
        Format::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()?,
        Format::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init()?,
    }
    Ok(())
}
