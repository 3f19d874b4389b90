//! `jobs-gateway check`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::findings::{self, Form};
use crate::app::App;
use crate::model::{Clock, RootField, RootFields, Tenant};
use crate::policy::Snapshot;
use crate::reload::{ConfigSource, Loaded};
use crate::settings::{Diagnostic, Diagnostics, Severity};

/// Checks the configuration and all policies: everything that would stop a start.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, default_value = "gateway.yaml")]
    config: PathBuf,
    /// The form of the findings.
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
}

/// Prints all findings and a summary; fails if any of them is an error.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let origin = ConfigSource::new(&args.config, Arc::new(|name| std::env::var(name).ok()));
    let (found, counts) = match origin.load(Clock::system().now()) {
        Ok(Loaded { config, policies, mut warnings, .. }) => {
            let counts = (policies.tenant_count(), policies.key_count());
            let added = added(&policies);
            if let Err(problem) = App::rehearse(&config, policies) {
                warnings.0.push(Diagnostic::error(problem, None));
            }
            (warnings, Some((counts, added)))
        }
        Err(found) => (found, None),
    };
    match args.format {
        Form::Text => {
            let (counts, added) = counts.unzip();
            print!("{}{}", added.unwrap_or_default(), summary(&found, counts));
        }
        Form::Json => println!("{:#}", findings::json(&found)),
        Form::Sarif => println!("{:#}", findings::sarif(&found)),
        Form::Junit => print!("{}", findings::junit(&found)),
    }
    if found.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Tells which operations this version added to the `"*"` of policies, if any tenant has it.
fn added(policies: &Snapshot) -> String {
    let has_star =
        |tenant: &&Arc<Tenant>| tenant.operations.intersect(RootFields::STAR) == RootFields::STAR;
    let mut tenants: Vec<_> =
        policies.tenants().filter(has_star).map(|own| own.id.as_str()).collect();
    tenants.sort_unstable();
    if tenants.is_empty() {
        return String::new();
    }
    let names: Vec<_> = RootFields::added_to_star().iter().map(RootField::name).collect();
    format!(
        "note: since this version `\"*\"` is also {} (tenants: {})\n",
        names.join(", "),
        tenants.join(", ")
    )
}

/// All findings, and how many of what there are.
fn summary(found: &Diagnostics, counts: Option<(usize, usize)>) -> String {
    let mut text = found.to_string();
    let (errors, warnings) = (found.count(Severity::Error), found.count(Severity::Warning));
    let counts = counts.map_or_else(String::new, |(tenants, keys)| {
        format!("{}, {}, ", counted(tenants, "tenant"), counted(keys, "key"))
    });
    text.push_str(&format!(
        "{counts}{}, {}\n",
        counted(errors, "error"),
        counted(warnings, "warning")
    ));
    text
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
