//! `jobs-gateway check`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Diagnostics, Env, Notice, Severity};
use crate::model::Clock;
use crate::policy;

/// Checks the configuration and all policies: everything that would stop a start.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, default_value = "gateway.yaml")]
    config: PathBuf,
}

/// Prints all findings and a summary; fails if any of them is an error.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let report = report(&args.config, &|name| std::env::var(name).ok(), Clock::system());
    print!("{}", report.text);
    if report.has_errors { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Report {
    text: String,
    has_errors: bool,
}

fn report(path: &Path, env: Env<'_>, clock: Clock) -> Report {
    let (config, mut found) = match config::load(path, env) {
        Ok((config, warnings)) => (config, warnings),
        Err(found) => return summary(&found, &[], None),
    };
    match policy::load(&config, env, clock.now()) {
        Ok((policies, warnings)) => {
            found.0.extend(warnings.0);
            let notices: Vec<Notice> =
                config.notices.iter().chain(&policies.notices).cloned().collect();
            summary(&found, &notices, Some((policies.tenant_count(), policies.key_count())))
        }
        Err(more) => {
            found.0.extend(more.0);
            summary(&found, &[], None)
        }
    }
}

fn summary(found: &Diagnostics, notices: &[Notice], counts: Option<(usize, usize)>) -> Report {
    let mut text = found.to_string();
    for notice in notices {
        text.push_str(&format!("note: {notice}\n"));
    }
    let (errors, warnings) = (found.count(Severity::Error), found.count(Severity::Warning));
    let counts = counts.map_or_else(String::new, |(tenants, keys)| {
        format!("{}, {}, ", counted(tenants, "tenant"), counted(keys, "key"))
    });
    text.push_str(&format!(
        "{counts}{}, {}\n",
        counted(errors, "error"),
        counted(warnings, "warning")
    ));
    Report { text, has_errors: errors > 0 }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
