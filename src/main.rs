//! `jobs-gateway`: parse the command line, run a command.

use std::process::ExitCode;

use clap::Parser;
use jobs_gateway::cli::{self, Cli};

/// The allocator. A request's allocations live shorter than what is cached of it; glibc's allocator
/// asks the system for more at nearly every one, and musl's is slow with several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
