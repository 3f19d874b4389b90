//! `jobs-gateway schema`

use std::process::ExitCode;

/// Prints the gateway's schema in the schema definition language.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints it.
#[must_use]
pub fn run(_: &Args) -> ExitCode {
    print!("{}", crate::graphql::sdl());
    ExitCode::SUCCESS
}
