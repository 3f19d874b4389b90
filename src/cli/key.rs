//! `jobs-gateway key`

mod edit;
mod new;
mod rotate;

use std::io::{self, Read as _};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use super::output::{self, CommandError};
use crate::model::{Group, KeyHash, RootField};
use crate::settings::KEY_PREFIX;

/// Makes, rotates and hashes API keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key of 256 random bits; print it, once, on stdout, and the tenant's policy on stderr.
    New(new::New),
    /// Write a new key beside one of a policy's, which ends after a grace; print the new one, once, on stdout.
    Rotate(rotate::Rotate),
    /// Read a key from stdin and print its SHA-256, as policies hold it.
    Hash,
}

/// Makes, rotates or hashes a key.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    output::finish(match &args.command {
        Command::New(new) => new::make(new),
        Command::Rotate(rotate) => rotate::run(rotate),
        Command::Hash => hash(),
    })
}

/// An API key that was just made, and its hash.
struct Fresh {
    key: String,
    hash: KeyHash,
}

impl Fresh {
    /// Makes a key of 256 random bits.
    ///
    /// # Errors
    /// When the system has no random bytes.
    fn make() -> Result<Self, CommandError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let key = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let hash = KeyHash::of(key.as_bytes());
        Ok(Self { key, hash })
    }
}

/// Says that a key which was printed is printed no second time.
fn say_once() {
    eprintln!("\nThis is the key. It is shown once and kept nowhere: hand it over safely.");
}

fn hash() -> Result<String, CommandError> {
    let mut key = String::new();
    io::stdin().read_to_string(&mut key).map_err(|error| format!("cannot read stdin: {error}"))?;
    // The newline that `echo` adds is not part of a key.
    let key = key.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        return Err("there is no key on stdin".into());
    }
    Ok(format!("{}\n", KeyHash::of(key.as_bytes())))
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

/// Takes what a policy's list of operations takes, as YAML.
fn operation(name: &str) -> Result<String, String> {
    if name == "*" {
        return Ok("\"*\"".to_owned());
    }
    if RootField::from_name(name).is_some() || Group::from_name(name).is_some() {
        return Ok(name.to_owned());
    }
    let groups = Group::ALL.into_iter().map(Group::name);
    let names: Vec<_> = groups.chain(RootField::ALL.into_iter().map(RootField::name)).collect();
    Err(format!("wanted \"*\" or one of {}", names.join(" ")))
}
