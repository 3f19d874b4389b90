//! `jobs-gateway sandbox`: a sandbox of the Move API alone, to rehearse `serve` without an account.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use super::{block_on, interrupted, output};
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::telemetry::{self, Format};

/// The key that a sandbox takes.
pub const SANDBOX_KEY: &str = "sandbox-move-key";

/// Runs a sandbox of the Move API alone, to rehearse `serve` without an account.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address of the sandbox.
    #[arg(long, default_value = "127.0.0.1:4100")]
    listen: SocketAddr,
    #[command(flatten)]
    emulation: Emulation,
}

/// The behaviour of the sandbox.
#[derive(Debug, clap::Args)]
pub struct Emulation {
    /// Let the sandbox have the older `createJob`.
    #[arg(long)]
    create_job: bool,
    /// The time that a job of the sandbox takes, in seconds.
    #[arg(long, default_value_t = 30.0)]
    job_seconds: f64,
}

impl Emulation {
    /// Starts a sandbox.
    ///
    /// # Errors
    /// When the time of a job is none, or the address cannot be listened on.
    pub async fn start(&self, listen: SocketAddr) -> Result<Sandbox, String> {
        let step = Duration::try_from_secs_f64(self.job_seconds / 3.0)
            .map_err(|error| format!("--job-seconds: {error}"))?;
        let options = SandboxOptions {
            listen,
            api_keys: vec![SANDBOX_KEY.to_owned()],
            create_job: self.create_job,
            step,
            ..SandboxOptions::default()
        };
        Sandbox::start(options).await.map_err(|error| {
            format!("cannot listen on {listen}: {error}; --listen names another address")
        })
    }
}

/// Runs until SIGTERM or SIGINT.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let _log = match telemetry::init("warn", Format::Text, None) {
        Ok(log) => log,
        Err(error) => return output::finish(Err(error.to_string().into())),
    };
    block_on(async {
        let interrupted = interrupted();
        let sandbox = match args.emulation.start(args.listen).await {
            Ok(sandbox) => sandbox,
            Err(problem) => return output::finish(Err(problem.into())),
        };
        output::print(&announcement(&sandbox.url()));
        interrupted.await;
        ExitCode::SUCCESS
    })
}

fn announcement(url: &url::Url) -> String {
    format!(
        "A sandbox of the Move API

  GraphQL    {url}
  key        {SANDBOX_KEY}

Rehearse `serve` in front of it: in gateway.yaml, in place of its `upstream`

  upstream: {{ url: \"{url}\", api_key: \"${{MOVE_API_KEY}}\" }}

and then

  MOVE_API_KEY={SANDBOX_KEY} jobs-gateway serve

Stop with Ctrl-C.
"
    )
}
