//! `jobs-gateway serve`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::{BAD_CONFIGURATION, block_on, interrupted};
use crate::app::App;
use crate::model::Clock;
use crate::reload::{Loaded, Origin};
use crate::telemetry;

/// Runs the gateway with a configuration file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, default_value = "gateway.yaml")]
    config: PathBuf,
}

/// Runs until SIGTERM or SIGINT.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let origin = Origin::new(&args.config, Arc::new(|name| std::env::var(name).ok()));
    let clock = Clock::system();
    let loaded = match origin.load(clock.now()) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if let Err(error) = telemetry::init(&loaded.config.log.level, loaded.config.log.format) {
        eprintln!("error: the log cannot start: {error}");
        return ExitCode::FAILURE;
    }
    for notice in loaded.notices() {
        tracing::warn!(setting = %notice.key, "{notice}");
    }
    for warning in &loaded.warnings.0 {
        let place = warning.place.as_ref().map(ToString::to_string);
        tracing::warn!(place, "{}", warning.message);
    }
    block_on(async {
        match start(loaded, origin, clock).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error}");
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

async fn start(
    loaded: Loaded,
    origin: Origin,
    clock: Clock,
) -> Result<(), Box<dyn std::error::Error>> {
    let Loaded { config, policies, .. } = loaded;
    let app = App::build(&config, policies, clock, None)?.reloading_from(origin);
    let bound = app.bind()?;
    tracing::info!(address = %bound.address, admin = %bound.admin_address, "listening");
    bound.serve(interrupted()).await?;
    tracing::info!("stopped");
    Ok(())
}
