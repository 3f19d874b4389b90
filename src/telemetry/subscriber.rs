//! The log: on standard error, and to the collector where there is one.

use std::io::IsTerminal;

use opentelemetry::logs::LoggerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::current::Exported;
use super::lines::{Format, lines};
use super::metrics;
use super::otlp::{self, Exporters, Otlp};
use super::writer::{self, Log};

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
pub fn init(level: &str, format: Format, otlp: Option<&Otlp>) -> Result<Log, Error> {
    let filter =
        EnvFilter::try_new(filter(level)).unwrap_or_else(|_| EnvFilter::new(filter("info")));
    let (mut bridge, mut collector) = (None, None);
    if let Some(otlp) = otlp {
        let Exporters { spans, metrics: reader, logs } = otlp::exporters(otlp)?;
        metrics::start(|provider| provider.with_reader(reader));
        bridge = Some(Exported(OpenTelemetryTracingBridge::new(&logs)));
        // By no name, as the bridge's.
        collector = Some(logs.logger(""));
        otlp::start(spans, logs, otlp.sample);
    }
    let registry = tracing_subscriber::registry().with(filter).with(bridge);
    let is_colored = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let (writer, log) = writer::start();
    registry.with(lines(format, is_colored, writer, collector)).try_init()?;
    Ok(log)
}

/// A plain level is the gateway's own. Libraries are heard from warnings on, and notify not at all: what
/// it cannot watch is told by the reload, and its lines name folders of whoever built the binary. Any
/// other filter is taken as it is.
fn filter(level: &str) -> String {
    level.parse::<LevelFilter>().map_or_else(
        |_| level.to_owned(),
        |level| {
            let libraries = level.min(LevelFilter::WARN);
            format!("{libraries},notify=off,jobs_gateway={level},call={level}")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_the_gateways_own_and_a_filter_is_taken_as_it_is() {
        assert_eq!(filter("info"), "warn,notify=off,jobs_gateway=info,call=info");
        assert_eq!(filter("DEBUG"), "warn,notify=off,jobs_gateway=debug,call=debug");
        assert_eq!(filter("error"), "error,notify=off,jobs_gateway=error,call=error");
        assert_eq!(filter("off"), "off,notify=off,jobs_gateway=off,call=off");
        assert_eq!(filter("warn,h2=debug"), "warn,h2=debug");
    }
}
