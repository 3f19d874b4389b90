//! `jobs-gateway check`

mod live;
mod paths;

use std::process::ExitCode;
use std::sync::Arc;

use super::config::ConfigFile;
use super::findings::{self, Form};
use super::output::print;
use crate::app::App;
use crate::model::{RootField, RootFields, Tenant};
use crate::policy::Snapshot;
use crate::reload::Loaded;
use crate::settings::{Diagnostic, Diagnostics, Severity};

/// Checks the configuration and all policies: everything that would stop a start.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The form of the findings.
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
    /// Also ask everything that the gateway would speak to: Move with each account's key, Redis, issuers, collectors
    /// and audit sinks. It takes ten seconds at most, and changes nothing.
    #[arg(long)]
    live: bool,
}

/// The findings of a check, and what is told besides in text.
struct Checked {
    found: Diagnostics,
    /// The version of the policies and the numbers of what they hold, if they could be read.
    policies: Option<(Arc<str>, String)>,
    notes: String,
}

/// Prints all findings and a summary; fails if any of them is an error.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let Checked { found, policies, notes } = check(args);
    print(&match args.format {
        Form::Text => format!("{notes}{}", summary(&found, policies)),
        Form::Json => format!("{:#}\n", findings::json(&found)),
        Form::Sarif => format!("{:#}\n", findings::sarif(&found)),
        Form::Junit => findings::junit(&found),
    });
    if found.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn check(args: &Args) -> Checked {
    let (config, policies, mut found) = match args.config.load() {
        Ok(Loaded { config, policies, warnings, .. }) => (config, policies, warnings),
        Err(found) => return Checked { found, policies: None, notes: String::new() },
    };
    let counts = format!(
        "{}, {}, ",
        counted(policies.tenant_count(), "tenant"),
        counted(policies.key_count(), "key")
    );
    let told = Some((Arc::clone(policies.version()), counts));
    found.0.extend(paths::warnings(&config));
    let mut notes = beside_jobs(&policies);
    let asked = if args.live { live::ask(&config, &policies) } else { Ok(Vec::new()) };
    if let Err(problem) = App::rehearse(&config, policies) {
        found.0.push(Diagnostic::error(problem, None));
    }
    match asked {
        Ok(asked) => {
            for live::Asked { who, answer } in asked {
                match answer {
                    Ok(answer) => notes.push_str(&format!("ok: {who}: {answer}\n")),
                    Err(cause) => found.0.push(Diagnostic::error(format!("{who}: {cause}"), None)),
                }
            }
        }
        Err(problem) => found.0.push(Diagnostic::error(problem, None)),
    }
    Checked { found, policies: told, notes }
}

/// Tells which operations beside those on jobs `"*"` grants, if any tenant has it.
fn beside_jobs(policies: &Snapshot) -> String {
    let has_star =
        |tenant: &&Arc<Tenant>| tenant.operations.intersect(RootFields::STAR) == RootFields::STAR;
    let mut tenants: Vec<_> =
        policies.tenants().filter(has_star).map(|own| own.id.as_str()).collect();
    tenants.sort_unstable();
    if tenants.is_empty() {
        return String::new();
    }
    let names: Vec<_> = RootFields::star_beside_jobs().iter().map(RootField::name).collect();
    format!(
        "note: `\"*\"` grants more than the group `jobs`: also {} (tenants: {})\n",
        names.join(", "),
        tenants.join(", ")
    )
}

/// All findings, the version of the policies as metrics have it, and how many there are of what.
fn summary(found: &Diagnostics, policies: Option<(Arc<str>, String)>) -> String {
    let mut text = found.to_string();
    let (errors, warnings) = (found.count(Severity::Error), found.count(Severity::Warning));
    if let Some((version, counts)) = policies {
        text.push_str(&format!("policy version {version}\n{counts}"));
    }
    text.push_str(&format!("{}, {}\n", counted(errors, "error"), counted(warnings, "warning")));
    text
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
