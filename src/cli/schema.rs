//! `jobs-gateway schema`

use std::process::ExitCode;

/// Prints the gateway's schema in the schema definition language.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As a subgraph of Apollo Federation 2.
    #[arg(long)]
    federation: bool,
}

/// Prints it.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    print!("{}", crate::graphql::sdl(args.federation));
    ExitCode::SUCCESS
}
