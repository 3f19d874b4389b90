//! The command line: a file a command.

pub mod adopt;
pub mod audit;
mod caller;
pub mod check;
pub mod completions;
mod config;
#[cfg(feature = "sandbox")]
pub mod dev;
pub mod explain;
mod findings;
pub mod healthcheck;
pub mod key;
mod output;
pub mod policy;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod schema;
pub mod serve;
pub mod tenants;
pub mod webhooks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::VERSION;

/// Exit status of a start with a bad configuration (`EX_USAGE` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 64;

/// Move AI's Jobs API for many tenants behind one key.
#[derive(Debug, Parser)]
#[command(name = "jobs-gateway", version = VERSION)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway against the Move API.
    Serve(serve::Args),
    /// Run the gateway with a sandbox of the Move API and two demo tenants.
    #[cfg(feature = "sandbox")]
    Dev(dev::Args),
    /// Run a sandbox of the Move API alone, to rehearse `serve` without an account.
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Args),
    /// Check the configuration and all policies.
    Check(check::Args),
    /// Tell what a caller may do and which file and line says so.
    Explain(explain::Args),
    /// List the tenants and what each may do.
    Tenants(tenants::TenantsArgs),
    /// List the API keys: whose they are, who answers for them, until when they are good.
    Keys(tenants::KeysArgs),
    /// Verify, search and follow audit records.
    Audit(audit::Args),
    /// Make what was made in Move directly a tenant's own.
    Adopt(adopt::Args),
    /// Have Move send events, and check that they come.
    Webhooks(webhooks::Args),
    /// Test policies against expectations.
    Policy(policy::Args),
    /// Make, rotate and hash API keys.
    Key(key::Args),
    /// Print the GraphQL schema.
    Schema(schema::Args),
    /// Print the table of all metrics (docs/metrics.md).
    Metrics,
    /// Print completions for a shell.
    Completions(completions::Args),
    /// Write manual pages.
    Man(completions::ManArgs),
    /// Ask a gateway on this machine whether it is well.
    Healthcheck(healthcheck::Args),
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        #[cfg(feature = "sandbox")]
        Command::Dev(args) => dev::run(&args),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Tenants(args) => tenants::tenants(&args),
        Command::Keys(args) => tenants::keys(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Adopt(args) => adopt::run(&args),
        Command::Webhooks(args) => webhooks::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Metrics => output::finish(Ok(crate::telemetry::instruments::markdown())),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => completions::man(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
    }
}

/// The multi-threaded runtime that `serve` and `dev` run on.
fn block_on(future: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => {
            eprintln!("error: the runtime cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Hears signals from now on; what is returned resolves at SIGTERM or SIGINT. A second signal ends the
/// process at once.
fn interrupted() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut term), Ok(mut int)) = heard else {
            // Without signals nothing asks the process to stop but its end.
            return std::future::pending().await;
        };
        let mut signal = async move || {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        signal().await;
        tracing::info!("draining; a second signal stops at once");
        tokio::spawn(async move {
            signal().await;
            tracing::warn!("stopped at once");
            std::process::exit(1);
        });
    }
}
