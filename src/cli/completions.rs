//! `jobs-gateway completions`, `jobs-gateway man`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, output};

/// Prints the completions of a shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

/// Writes manual pages, one for each command.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The folder to write them into; it is made if it is not there.
    folder: PathBuf,
}

/// Prints completions.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    // It panics where it cannot write: into memory it can.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "jobs-gateway", &mut script);
    output::finish(Ok(String::from_utf8_lossy(&script).into_owned()))
}

/// Writes manual pages.
#[must_use]
pub fn man(args: &ManArgs) -> ExitCode {
    let written = std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.folder));
    let failed = |error| format!("cannot write to {}: {error}", args.folder.display()).into();
    output::finish(written.map(|()| String::new()).map_err(failed))
}
