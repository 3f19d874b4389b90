//! The log: on standard error, and to the collector where there is one.

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::current::{Exported, Json, Text};
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
    Otlp(#[from] otlp::Error),
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
        bridge = Some(Exported(OpenTelemetryTracingBridge::new(&logs)));
        otlp::start(spans, logs, otlp.sample);
    }
    let registry = tracing_subscriber::registry().with(filter).with(bridge);
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Json => {
            let json = fmt::format().json().flatten_event(true);
            // Fields are part of the line's object.
            let fields = fmt::format::JsonFields::new();
            registry.with(lines.fmt_fields(fields).event_format(Json(json))).try_init()?;
        }
        Format::Text => registry.with(lines.event_format(Text(fmt::format()))).try_init()?,
    }
    Ok(())
}
