//! `jobs-gateway key new`, `jobs-gateway key hash`

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use crate::model::{CredentialId, KeyHash, RootField, TenantId};

/// The prefix of every key, by which scanners for leaked secrets find one.
const PREFIX: &str = "jgw_";

/// Makes and hashes API keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key of 256 random bits; print it, once, on stdout, and the tenant's policy on stderr.
    New(New),
    /// Read a key from stdin and print its SHA-256, as policies hold it.
    Hash,
}

#[derive(Debug, clap::Args)]
struct New {
    /// The tenant it is for: prints a whole policy instead of the key's lines alone.
    #[arg(long, value_parser = |text: &str| TenantId::parse(text))]
    tenant: Option<TenantId>,
    /// The name of the key in records.
    #[arg(long, default_value = "main", value_parser = |text: &str| CredentialId::parse(text))]
    id: CredentialId,
    /// The end of the key: a time such as 2030-01-01T00:00:00Z, or so many days from now, such as 90d.
    #[arg(long, value_parser = expiry)]
    expires: Option<Timestamp>,
    /// The root fields it may call, separated by commas; without, what its tenant may.
    #[arg(long, value_delimiter = ',', value_parser = operation)]
    operations: Vec<RootField>,
    /// Write the policy into this new file instead of stderr.
    #[arg(long, requires = "tenant")]
    file: Option<PathBuf>,
}

/// Makes or hashes a key.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let done = match &args.command {
        Command::New(new) => make(new),
        Command::Hash => hash(),
    };
    done.map_or_else(
        |problem| {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn make(new: &New) -> Result<(), String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system gives no random bytes: {error}"))?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let policy = policy(new, KeyHash::of(key.as_bytes()));
    if let Some(path) = &new.file {
        // A policy that exists is somebody's work: its key is added by hand.
        let written = OpenOptions::new().write(true).create_new(true).open(path);
        let written = written.and_then(|mut file| file.write_all(policy.as_bytes()));
        written.map_err(|error| {
            let path = path.display();
            match error.kind() {
                io::ErrorKind::AlreadyExists => format!(
                    "{path} exists: leave out --file and --tenant, and add the lines that are printed to it"
                ),
                _ => format!("cannot write {path}: {error}"),
            }
        })?;
    }
    println!("{key}");
    eprintln!("\nThis is the key. It is shown once and kept nowhere: hand it over safely.");
    match (&new.file, &new.tenant) {
        (Some(path), _) => eprintln!("The policy is in {}.", path.display()),
        (None, Some(tenant)) => eprintln!("In policies/{tenant}.yaml:\n\n{policy}"),
        (None, None) => eprintln!("In its tenant's policy:\n\n{policy}"),
    }
    Ok(())
}

/// Returns the lines of a policy for this key: a whole one where its tenant is known.
fn policy(new: &New, hash: KeyHash) -> String {
    let mut text = String::new();
    if let Some(tenant) = &new.tenant {
        text += &format!("tenant: {tenant}\n");
    }
    text += &format!("auth:\n  api_keys:\n    - id: {}\n      sha256: {hash}\n", new.id);
    if let Some(expires) = new.expires {
        text += &format!("      expires: {expires}\n");
    }
    if !new.operations.is_empty() {
        let names: Vec<_> = new.operations.iter().map(|field| field.name()).collect();
        text += &format!("      operations: [{}]\n", names.join(", "));
    }
    if new.tenant.is_some() {
        text += "operations: [\"*\"]\n";
    }
    text
}

fn hash() -> Result<(), String> {
    let mut key = String::new();
    io::stdin().read_to_string(&mut key).map_err(|error| format!("cannot read stdin: {error}"))?;
    // The newline that `echo` adds is not part of a key.
    let key = key.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        return Err("there is no key on stdin".to_owned());
    }
    println!("{}", KeyHash::of(key.as_bytes()));
    Ok(())
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    let expires = match text.strip_suffix('d').map(str::parse::<i64>) {
        Some(Ok(days)) => days
            .checked_mul(24)
            .and_then(SignedDuration::try_from_hours)
            .and_then(|time| Timestamp::now().checked_add(time).ok())
            .and_then(|at| Timestamp::from_second(at.as_second()).ok())
            .ok_or("that is too far away")?,
        _ => text.parse().map_err(|_| "wanted a time such as 2030-01-01T00:00:00Z, or 90d")?,
    };
    if expires <= Timestamp::now() {
        return Err("that is in the past".to_owned());
    }
    Ok(expires)
}

fn operation(name: &str) -> Result<RootField, String> {
    RootField::from_name(name).ok_or_else(|| {
        RootField::ALL.iter().fold("wanted one of".to_owned(), |mut text, field| {
            let _ = write!(text, " {field}");
            text
        })
    })
}
