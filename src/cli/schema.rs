//! `jobs-gateway schema`

use std::process::ExitCode;

/// Prints the gateway's schema in the schema definition language, or the JSON Schema of a file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As a subgraph of Apollo Federation 2.
    #[arg(long)]
    federation: bool,
    /// The JSON Schema of gateway.yaml.
    #[arg(long, conflicts_with_all = ["federation", "policy"])]
    config: bool,
    /// The JSON Schema of a tenant's policy.
    #[arg(long, conflicts_with = "federation")]
    policy: bool,
}

/// Prints it.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    if args.config {
        println!("{:#}", crate::config::json_schema());
    } else if args.policy {
        println!("{:#}", crate::policy::json_schema());
    } else {
        print!("{}", crate::graphql::sdl(args.federation));
    }
    ExitCode::SUCCESS
}
