//! `jobs-gateway healthcheck`: for containers without a shell.

use std::process::ExitCode;
use std::time::Duration;

use super::output;
use crate::telemetry;

/// The time that the gateway gets to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks a gateway on this machine whether it is well; fails if not.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The URL to ask.
    #[arg(long, default_value = "http://127.0.0.1:9090/livez")]
    url: reqwest::Url,
}

/// Prints what the gateway says.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let asked = reqwest::blocking::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .and_then(|http| http.get(args.url.clone()).send());
    match asked {
        Ok(answer) => {
            let is_well = answer.status().is_success();
            output::print(&answer.text().unwrap_or_default());
            if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            // Whoever asks gave the URL, and may see it; what it lacks is the cause.
            eprintln!("error: {}", telemetry::causes(&error));
            ExitCode::FAILURE
        }
    }
}
