//! `jobs-gateway`: parse the command line, run a command.

use std::process::ExitCode;

use clap::Parser;
use jobs_gateway::cli::{self, Cli};

/// musl's own allocator is slow with many threads. With glibc's, none that was tried was faster, and
/// all took more memory: see docs/performance.md.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
