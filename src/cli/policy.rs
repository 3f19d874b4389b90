//! `jobs-gateway policy`

mod expectation;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::config::ConfigFile;
use super::output::{self, CommandError};
use crate::model::Clock;
use crate::policy::Changes;

/// Works with policies.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell what one folder of policies has that another has not: tenants, keys, rights, limits, and every
    /// other key with its figures. Ends with 1 if they differ.
    Diff {
        #[command(flatten)]
        config: ConfigFile,
        /// The folder as it was.
        before: PathBuf,
        /// The folder as it will be.
        after: PathBuf,
    },
    /// Check expectations of who may do what: YAML files in a folder.
    Test(test::Args),
}

/// Runs the command.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Diff { config, before, after } => diff(config, before, after),
        Command::Test(args) => test::run(args),
    }
}

/// Prints a line for each difference between two folders.
fn diff(config: &ConfigFile, before: &Path, after: &Path) -> ExitCode {
    let load = |folder: &Path| config.source().with_policies(folder).load(Clock::system().now());
    let (before, after) = match (load(before), load(after)) {
        (Ok(before), Ok(after)) => (before.policies, after.policies),
        (Err(found), _) | (_, Err(found)) => {
            eprintln!("{}", CommandError::from(found));
            return ExitCode::from(2);
        }
    };
    let changes = Changes::between(&before, &after);
    let mut text = String::new();
    for (sign, what, names) in [
        ('+', "tenant", &changes.tenants_added),
        ('-', "tenant", &changes.tenants_removed),
        ('+', "key", &changes.keys_added),
        ('-', "key", &changes.keys_removed),
        ('+', "right", &changes.rights_added),
        ('-', "right", &changes.rights_removed),
        ('~', "limit", &changes.limits),
        ('~', "setting", &changes.settings),
    ] {
        names.iter().for_each(|name| text.push_str(&format!("{sign} {what} {name}\n")));
    }
    output::print(&text);
    if text.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
