//! `jobs-gateway key new`

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{CredentialId, KeyHash, TenantId};

/// What every key begins with, so that scanners for leaked secrets can find one.
const PREFIX: &str = "jgw_";

/// Makes API keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key of 256 random bits and print it, once, with the lines for the tenant's policy.
    New {
        /// The tenant it is for.
        #[arg(long, value_parser = |text: &str| TenantId::parse(text))]
        tenant: Option<TenantId>,
        /// How records name the key.
        #[arg(long, default_value = "main", value_parser = |text: &str| CredentialId::parse(text))]
        id: CredentialId,
    },
}

/// Makes a key.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let Command::New { tenant, id } = &args.command;
    let mut bytes = [0; 32];
    if let Err(error) = getrandom::fill(&mut bytes) {
        eprintln!("error: the system gives no random bytes: {error}");
        return ExitCode::FAILURE;
    }
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let file = tenant
        .as_ref()
        .map_or_else(|| "its tenant's policy".into(), |tenant| format!("policies/{tenant}.yaml"));
    println!("{key}");
    eprintln!("\nThis is the key. It is shown once and kept nowhere: hand it over safely.");
    eprintln!("In {file}:\n");
    if let Some(tenant) = tenant {
        eprintln!("tenant: {tenant}");
    }
    eprintln!("auth:\n  api_keys:\n    - id: {id}");
    eprintln!("      sha256: {}", KeyHash::of(key.as_bytes()));
    ExitCode::SUCCESS
}
