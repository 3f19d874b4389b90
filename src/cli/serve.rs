//! `jobs-gateway serve`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{BAD_CONFIGURATION, block_on, interrupted};
use crate::app::App;
use crate::config::{self, Config};
use crate::model::Clock;
use crate::policy::{self, Snapshot};
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
    let env = |name: &str| std::env::var(name).ok();
    let clock = Clock::system();
    let (config, policies) = match load(args, &env, clock) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if let Err(error) = telemetry::init(&config.log.level, config.log.format) {
        eprintln!("error: the log cannot start: {error}");
        return ExitCode::FAILURE;
    }
    for notice in config.notices.iter().chain(&policies.notices) {
        tracing::warn!(setting = %notice.key, "{notice}");
    }
    block_on(async {
        match start(&config, policies, clock).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error}");
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

fn load(
    args: &Args,
    env: &dyn Fn(&str) -> Option<String>,
    clock: Clock,
) -> Result<(Config, Snapshot), config::Diagnostics> {
    let (config, _) = config::load(&args.config, env)?;
    let (policies, _) = policy::load(&config, env, clock.now())?;
    Ok((config, policies))
}

async fn start(
    config: &Config,
    policies: Snapshot,
    clock: Clock,
) -> Result<(), Box<dyn std::error::Error>> {
    let bound = App::build(config, policies, clock, None)?.bind().await?;
    tracing::info!(address = %bound.address, admin = %bound.admin_address, "listening");
    bound.serve(interrupted()).await?;
    tracing::info!("stopped");
    Ok(())
}
