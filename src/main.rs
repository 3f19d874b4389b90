//! `jobs-gateway`: parse the command line, run a command.

use std::process::ExitCode;

use clap::Parser;
use jobs_gateway::cli::{self, Cli};

/// Every request makes some dozen small allocations; see docs/performance.md for what this saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
