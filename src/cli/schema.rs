//! `jobs-gateway schema`

use std::process::ExitCode;

use super::output;

/// Prints the gateway's schema in the schema definition language, or the JSON Schema of a file.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Args {
    /// As a subgraph of Apollo Federation 2.
    #[arg(long)]
    federation: bool,
    /// The JSON Schema of gateway.yaml.
    #[arg(long, group = "file", conflicts_with = "federation")]
    config: bool,
    /// The JSON Schema of a tenant's policy.
    #[arg(long, group = "file", conflicts_with = "federation")]
    policy: bool,
    /// The file's keys as a table for docs/.
    #[arg(long, requires = "file")]
    table: bool,
}

/// Prints it.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    output::finish(Ok(match (args.config, args.policy, args.table) {
        (true, _, true) => crate::config::reference(),
        (true, _, false) => format!("{:#}\n", crate::config::json_schema()),
        (_, true, true) => crate::policy::reference(),
        (_, true, false) => format!("{:#}\n", crate::policy::json_schema()),
        (false, false, _) => crate::graphql::sdl(args.federation),
    }))
}
