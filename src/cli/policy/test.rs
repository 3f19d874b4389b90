//! `jobs-gateway policy test`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::expectation::{Expectation, read, verdict};
use crate::cli::config::ConfigFile;
use crate::cli::findings::escaped;
use crate::cli::output::{self, CommandError};
use crate::settings::Item;

/// Checks expectations of who may do what.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The form of the results.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// A file of expectations, or a folder of them.
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A line an expectation.
    Text,
    /// JUnit's XML, which CI servers show as tests.
    Junit,
}

/// An expectation, and what is so instead if it is not met.
type Judged = (Item<Expectation>, Result<(), String>);

/// Checks all expectations; fails if one is not met, or there is none.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let judged = match judge(args) {
        Ok(judged) => judged,
        Err(failure) => return output::finish(Err(failure)),
    };
    output::print(&match args.format {
        Format::Text => text(&judged),
        Format::Junit => junit(&judged),
    });
    if failures(&judged) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn judge(args: &Args) -> Result<Vec<Judged>, CommandError> {
    let loaded = args.config.load()?;
    let expectations = read(&args.folder)?;
    if expectations.is_empty() {
        let folder = args.folder.display();
        return Err(format!("{folder} holds no expectation: they stand in files *.yaml").into());
    }
    let judge = |item: Item<Expectation>| {
        let met = verdict(&loaded, &item.settings);
        (item, met)
    };
    Ok(expectations.into_iter().map(judge).collect())
}

fn failures(judged: &[Judged]) -> usize {
    judged.iter().filter(|(_, met)| met.is_err()).count()
}

fn text(judged: &[Judged]) -> String {
    let mut text = String::new();
    for (Item { settings, span }, met) in judged {
        match met {
            Ok(()) => text.push_str(&format!("ok      {}\n", settings.name)),
            Err(instead) => {
                text.push_str(&format!("FAILED  {} ({span}): {instead}\n", settings.name));
            }
        }
    }
    let failed = failures(judged);
    text.push_str(&format!("{} passed, {failed} failed\n", judged.len() - failed));
    text
}

fn junit(judged: &[Judged]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"jobs-gateway policy test\" tests=\"{}\" failures=\"{}\">\n",
        judged.len(),
        failures(judged)
    );
    for (Item { settings, span }, met) in judged {
        let (name, file) = (escaped(&settings.name), escaped(&span.source.name));
        let _ = write!(xml, "<testcase name=\"{name}\" classname=\"{file}\"");
        let _ = match met {
            Ok(()) => writeln!(xml, "/>"),
            Err(instead) => {
                let told = escaped(&format!("{span}: {instead}"));
                writeln!(xml, "><failure message=\"{told}\"/></testcase>")
            }
        };
    }
    xml.push_str("</testsuite>\n");
    xml
}
