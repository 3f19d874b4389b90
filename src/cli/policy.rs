//! `jobs-gateway policy test`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::auth::{self, what_if};
use crate::config;
use crate::model::{Caller, Clock, ErrorCode, RootField};
use crate::policy::{Changes, TenantName};
use crate::reload::{ConfigSource, Loaded};
use crate::settings::forms::{JsonMapping, Text, hidden};
use crate::settings::{
    Choice, Context, Diagnostic, Diagnostics, Item, Items, OneOf, Optional, Section, Sources, Sub,
    ValueKind,
};
use crate::{scalars, settings};

/// Works with policies.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell what one folder of policies has that another has not: tenants, keys, rights, limits. Ends with 1 if
    /// they differ.
    Diff {
        /// The configuration.
        #[arg(long, default_value = "gateway.yaml")]
        config: PathBuf,
        /// The folder as it was.
        before: PathBuf,
        /// The folder as it will be.
        after: PathBuf,
    },
    /// Check expectations of who may do what: YAML files in a folder.
    Test {
        /// The configuration.
        #[arg(long, default_value = "gateway.yaml")]
        config: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
}

settings! {
    /// A file of expectations.
    struct ExpectationFile {
        /// Expectations.
        tests: Items<Expectation>,
    }
}

settings! {
    /// An expectation: a caller, an operation, the verdict.
    struct Expectation {
        /// A sentence.
        name: Text,
        /// The caller.
        caller: Sub<Asking>,
        /// The operation that it asks for.
        operation: Operation,
        /// The verdict.
        expect: OneOf<Verdict>,
        /// The code of the refusal.
        code: Optional<Text>,
    }
}

settings! {
    /// The caller.
    struct Asking {
        /// A tenant.
        tenant: TenantName,
        /// One of its keys, by its id.
        key: Optional<Text>,
        /// The claims of a token.
        claims: Optional<JsonMapping>,
    }
}

/// The verdict on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is carried out.
    Allow,
    /// It is refused.
    Deny,
}

impl Choice for Verdict {
    const WORDS: &'static [(&'static str, Self)] = &[("allow", Self::Allow), ("deny", Self::Deny)];
}

scalars! {
    /// The name of an operation.
    Operation(RootField): ValueKind::Word, operation, hidden;
}

fn operation(text: &str) -> Result<RootField, String> {
    RootField::from_name(text).ok_or_else(|| "must be an operation such as getJob".to_owned())
}

/// Runs the command.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Diff { config, before, after } => diff(config, before, after),
        Command::Test { config, folder } => test(config, folder),
    }
}

/// Prints a line for each difference between two folders.
fn diff(config: &Path, before: &Path, after: &Path) -> ExitCode {
    let load = |folder: &Path| {
        let origin = ConfigSource::new(config, Arc::new(|name| std::env::var(name).ok()));
        origin.with_policies(folder).load(Clock::system().now())
    };
    let (before, after) = match (load(before), load(after)) {
        (Ok(before), Ok(after)) => (before.policies, after.policies),
        (Err(found), _) | (_, Err(found)) => {
            eprint!("{found}");
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
        ('~', "limits", &changes.limits_changed),
    ] {
        names.iter().for_each(|name| text.push_str(&format!("{sign} {what} {name}\n")));
    }
    print!("{text}");
    if text.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks all expectations; fails if one is not met.
fn test(config: &Path, folder: &Path) -> ExitCode {
    let origin = ConfigSource::new(config, Arc::new(|name| std::env::var(name).ok()));
    let read =
        origin.load(Clock::system().now()).and_then(|loaded| Ok((loaded, expectations(folder)?)));
    let (loaded, expectations) = match read {
        Ok(read) => read,
        Err(problems) => {
            eprint!("{problems}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = 0;
    for Item { settings: expectation, span } in &expectations {
        let met = verdict(&loaded, expectation);
        match &met {
            Ok(()) => println!("ok      {}", expectation.name),
            Err(instead) => {
                failed += 1;
                println!("FAILED  {} ({span}): {instead}", expectation.name);
            }
        }
    }
    println!("{} passed, {failed} failed", expectations.len() - failed);
    if failed == 0 && !expectations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(loaded: &Loaded, expectation: &Expectation) -> Result<(), String> {
    let caller = caller(loaded, &expectation.caller);
    if let Ok(Caller { tenant, .. }) = &caller
        && tenant.id != expectation.caller.tenant
    {
        return Err(format!("the token is one of tenant `{}`", tenant.id));
    }
    let (verdict, code) = match caller {
        Ok(caller) if caller.may(expectation.operation) => (Verdict::Allow, None),
        Ok(_) => (Verdict::Deny, Some(ErrorCode::Forbidden)),
        Err(_) => (Verdict::Deny, Some(ErrorCode::Unauthenticated)),
    };
    let code = code.map(ErrorCode::as_str);
    let is_code_right = expectation.code.is_none() || expectation.code.as_deref() == code;
    if verdict == expectation.expect && is_code_right {
        return Ok(());
    }
    let verdict = if verdict == Verdict::Allow { "allowed" } else { "denied" };
    Err(format!("{} is {verdict} {}", expectation.operation, code.unwrap_or_default()))
}

fn caller(loaded: &Loaded, asking: &Asking) -> Result<Caller, auth::Error> {
    let Loaded { config, policies, .. } = loaded;
    let Asking { tenant, key, claims } = asking;
    let now = Clock::system().now();
    match (key, claims) {
        (Some(key), _) => what_if::with_key(policies, tenant, key, now),
        (None, Some(claims)) => what_if::with_claims(&config.issuers, policies, claims),
        (None, None) => policies.tenant(tenant).map(what_if::of_tenant).ok_or(auth::Error::Unknown),
    }
}

fn expectations(folder: &Path) -> Result<Vec<Item<Expectation>>, Diagnostics> {
    let sources = Sources::new(&|_| None);
    let context = Context::of_policies(&sources);
    let mut expectations = Vec::new();
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
        Err(error) => {
            let message = format!("cannot read the folder {}: {error}", folder.display());
            return Err(Diagnostics(vec![Diagnostic::error(message, None)]));
        }
    };
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "yaml")) {
        let source = config::read(path, &sources)?;
        match settings::parse(&source) {
            Ok(root) => {
                let file = Section::new(&context, "", &root).read::<ExpectationFile>();
                expectations.extend(file.into_iter().flat_map(|file| file.tests));
            }
            Err(problem) => context.report(problem),
        }
    }
    let found = context.finish();
    if found.has_errors() { Err(found) } else { Ok(expectations) }
}
