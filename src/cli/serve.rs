//! `jobs-gateway serve`

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::config::ConfigFile;
use super::{BAD_CONFIGURATION, block_on, interrupted};
use crate::app::{self, App};
use crate::config;
use crate::model::Clock;
use crate::reload::{ConfigSource, Loaded};
use crate::settings::Severity;
use crate::telemetry;

/// The time that the collector gets for what is left.
const FLUSH: Duration = Duration::from_secs(5);

/// Runs the gateway with a configuration file.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

/// Runs until SIGTERM or SIGINT.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let origin = args.config.source();
    let clock = Clock::system();
    let loaded = match origin.load_for_start(clock.now()) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    block_on(async {
        let config::Telemetry { log, otlp } = &loaded.config.telemetry;
        let _log = match telemetry::init(&log.level, log.format, otlp.as_ref()) {
            Ok(log) => log,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        };
        for warning in &loaded.warnings.0 {
            if warning.severity == Severity::Warning {
                let place = warning.span.as_ref().map(ToString::to_string);
                tracing::warn!(place, "{}", warning.message);
            }
        }
        for problem in loaded.basis.problems() {
            problem.log("the policies are broken");
        }
        if let Some(in_force) = loaded.basis.stands_in() {
            let policy_version = &**loaded.policies.version();
            tracing::warn!(
                policy_version,
                %in_force,
                "the last good copy of the policies stands in for those that are broken"
            );
        }
        let status = match start(loaded, origin, clock, args.config.path()).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let told = with_advice(&*error);
                // Both go to standard error: once is enough.
                if tracing::enabled!(tracing::Level::ERROR) {
                    tracing::error!("{told}");
                } else {
                    eprintln!("error: {told}");
                }
                ExitCode::FAILURE
            }
        };
        telemetry::flush(FLUSH).await;
        status
    })
}

/// An error in words, and what to do about an address that is taken.
fn with_advice(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(app::Error::Listen { source, key, .. })
            if source.kind() == io::ErrorKind::AddrInUse =>
        {
            format!(
                "{error}: end what listens there, such as another gateway or `jobs-gateway dev`, or name another \
                 address as `{key}`"
            )
        }
        _ => error.to_string(),
    }
}

async fn start(
    loaded: Loaded,
    origin: ConfigSource,
    clock: Clock,
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let interrupted = interrupted();
    let Loaded { config, policies, basis, .. } = loaded;
    let (tenants, policy_version) = (policies.tenant_count(), Arc::clone(policies.version()));
    let app = App::build(&config, policies, clock, None)?.reloading_from(origin, basis);
    let bound = app.bind()?;
    let upstream = &config.upstream.url;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %path.display(),
        // Without a name and a password, if it holds them.
        upstream = %format_args!("{}{}", upstream.origin().ascii_serialization(), upstream.path()),
        tenants,
        policy_version = &*policy_version,
        address = %bound.address,
        admin_address = %bound.admin_address,
        "the gateway is ready",
    );
    bound.serve(interrupted).await?;
    tracing::info!("stopped");
    Ok(())
}
