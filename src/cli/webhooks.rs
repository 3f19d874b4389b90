//! `jobs-gateway webhooks`: Move is told where to send events, and what is told is checked.

mod check;
mod register;

use std::process::ExitCode;

use clap::Subcommand;

use super::output;
use crate::config::account_name;
use crate::model::AccountId;

/// Have Move send events, and check that they come.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an endpoint at Move, with a new secret. Asks before it does.
    Register(register::Register),
    /// Check that events can come, and tell when the last one did.
    Check(check::Check),
}

/// Runs one of them to its end.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Register(register) => output::finish(register::register(register)),
        Command::Check(check) => output::finish(check::check(check)),
    }
}

/// The path at which an account's events are taken.
fn path_of(account: &AccountId) -> String {
    format!("/webhooks/move/{account}")
}

/// Reads the name of an account on the command line.
fn account(text: &str) -> Result<AccountId, String> {
    account_name(text)
}
