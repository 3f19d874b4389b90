//! `jobs-gateway policy test`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::auth::{self, what_if};
use crate::config::{self, Context, Diagnostics, Section, Sources, values};
use crate::model::{Caller, Clock, ErrorCode, RootField, TenantId};
use crate::reload::{ConfigSource, Loaded};

/// Works with policies.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check expectations of who may do what: YAML files in a folder.
    Test {
        /// The configuration.
        #[arg(long, default_value = "gateway.yaml")]
        config: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
}

/// Who asks for what, and what should come of it.
#[derive(Debug)]
struct Expectation {
    name: String,
    tenant: TenantId,
    key: Option<String>,
    claims: Option<Map<String, Value>>,
    operation: RootField,
    allow: bool,
    code: Option<String>,
    place: config::Place,
}

/// Checks all expectations; fails if one is not met.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let Command::Test { config, folder } = &args.command;
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
    for expectation in &expectations {
        let met = verdict(&loaded, expectation);
        match &met {
            Ok(()) => println!("ok      {}", expectation.name),
            Err(instead) => {
                failed += 1;
                println!("FAILED  {} ({}): {instead}", expectation.name, expectation.place);
            }
        }
    }
    println!("{} passed, {failed} failed", expectations.len() - failed);
    if failed == 0 && !expectations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(loaded: &Loaded, expectation: &Expectation) -> Result<(), String> {
    let caller = caller(loaded, expectation);
    if let Ok(Caller { tenant, .. }) = &caller
        && tenant.id != expectation.tenant
    {
        return Err(format!("the token is one of tenant `{}`", tenant.id));
    }
    let (allowed, code) = match caller {
        Ok(caller) if caller.may(expectation.operation) => (true, None),
        Ok(_) => (false, Some(ErrorCode::Forbidden)),
        Err(_) => (false, Some(ErrorCode::Unauthenticated)),
    };
    let code = code.map(ErrorCode::as_str);
    let is_code_right = expectation.code.is_none() || expectation.code.as_deref() == code;
    if allowed == expectation.allow && is_code_right {
        return Ok(());
    }
    let verdict = if allowed { "allowed" } else { "denied" };
    Err(format!("{} is {verdict} {}", expectation.operation, code.unwrap_or_default()))
}

fn caller(loaded: &Loaded, expectation: &Expectation) -> Result<Caller, auth::Error> {
    let Loaded { config, policies, .. } = loaded;
    let Expectation { tenant, key, claims, .. } = expectation;
    let now = Clock::system().now();
    match (key, claims) {
        (Some(key), _) => what_if::with_key(policies, tenant, key, now),
        (None, Some(claims)) => what_if::with_claims(&config.issuers, policies, claims),
        (None, None) => policies.tenant(tenant).map(what_if::of_tenant).ok_or(auth::Error::Unknown),
    }
}

fn expectations(folder: &Path) -> Result<Vec<Expectation>, Diagnostics> {
    let sources = Sources::new(&|_| None);
    let context = Context::of_policies(&sources);
    let mut expectations = Vec::new();
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
        Err(error) => {
            let message = format!("cannot read the folder {}: {error}", folder.display());
            return Err(Diagnostics(vec![config::Diagnostic::error(message, None)]));
        }
    };
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "yaml")) {
        let source = config::read(path, &sources)?;
        match config::parse(&source) {
            Ok(root) => {
                let mut top = Section::new(&context, "", &root);
                for node in top.items("tests").unwrap_or_default() {
                    expectations.extend(expectation(&context, node));
                }
                top.finish();
            }
            Err(problem) => context.report(problem),
        }
    }
    let found = context.finish();
    if found.has_errors() { Err(found) } else { Ok(expectations) }
}

fn expectation(context: &Context<'_>, node: &config::Node) -> Option<Expectation> {
    let mut section = Section::new(context, "tests[]", node);
    let name = section.need("name", values::text);
    let (mut tenant, mut key, mut claims) = (None, None, None);
    match section.section("caller") {
        Some(mut caller) => {
            tenant = caller
                .need("tenant", |text| TenantId::parse(text).map_err(|error| error.to_string()));
            key = caller.get("key", values::text);
            let claims_node = caller.node("claims");
            claims = claims_node.and_then(|node| context.json("claims", node));
            caller.finish();
        }
        None => context.error(section.place(), "`caller` must be set"),
    }
    let operation = section.need("operation", |text| {
        RootField::from_name(text).ok_or_else(|| "must be an operation such as getJob".to_owned())
    });
    let allow = section.need("expect", |text| match text {
        "allow" => Ok(true),
        "deny" => Ok(false),
        _ => Err("must be `allow` or `deny`".to_owned()),
    });
    let code = section.get("code", values::text);
    section.finish();
    Some(Expectation {
        name: name?,
        tenant: tenant?,
        key,
        claims: claims.and_then(|claims| claims.as_object().cloned()),
        operation: operation?,
        allow: allow?,
        code,
        place: node.place.clone(),
    })
}
