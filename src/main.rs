//! `jobs-gateway`: parse the command line, run a command.

use std::process::ExitCode;

use clap::Parser;
use jobs_gateway::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
