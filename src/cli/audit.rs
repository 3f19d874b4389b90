//! `jobs-gateway audit`

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::Value;

use crate::audit::{Hash, Head, Segments, reader, verify};
use crate::config::values;

/// Verifies, searches and follows audit records.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Find any edit, removal, reordering or truncation.
    Verify {
        /// The files that are written; closed segments beside them are verified too.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// The head that was exported, COUNT:HASH; without it the file beside the records.
        #[arg(long, value_parser = head)]
        head: Option<Head>,
    },
    /// Print the records that match.
    Query {
        #[command(flatten)]
        filter: Filter,
        /// How they are printed.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        /// The file that is written.
        #[arg(long, default_value = "audit/audit.jsonl")]
        file: PathBuf,
    },
    /// Print records as they are written, until interrupted.
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// How they are printed.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        /// The file that is written.
        #[arg(long, default_value = "audit/audit.jsonl")]
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A line for people.
    Table,
    /// The record as it is.
    Json,
}

/// Which records.
#[derive(Debug, clap::Args)]
struct Filter {
    /// Of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Not older than this: 15m, 1h, 7d.
    #[arg(long, value_parser = values::duration)]
    since: Option<Duration>,
    /// Of this operation.
    #[arg(long)]
    operation: Option<String>,
    /// With this outcome: `success`, a decision (`allowed`, `denied`, `limited`), or an error code.
    #[arg(long)]
    outcome: Option<String>,
    /// About this job.
    #[arg(long)]
    job: Option<String>,
}

fn head(text: &str) -> Result<Head, String> {
    let (count, hash) = text.split_once(':').ok_or("must be COUNT:HASH")?;
    let count = count.parse().map_err(|_| "must be COUNT:HASH")?;
    Ok(Head { count, hash: hash.parse::<Hash>()?, first: 0 })
}

/// Runs it.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let outcome = match &args.command {
        Command::Verify { paths, head } => verify_all(paths, *head),
        Command::Query { filter, format, file } => query(filter, *format, file),
        Command::Tail { filter, format, file } => tail(filter, *format, file),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn verify_all(paths: &[PathBuf], head: Option<Head>) -> io::Result<bool> {
    let mut all_good = true;
    for path in paths {
        let segments = Segments::of(path);
        let bar = progress(&segments.files()?)?;
        let report = verify::verify(&segments, head, |bytes| bar.inc(bytes));
        bar.finish_and_clear();
        match report {
            Ok(report) => {
                println!(
                    "{}: {} records, {}:{}",
                    path.display(),
                    report.records,
                    report.head.count,
                    report.head.hash
                );
                if report.torn > 0 {
                    println!("  and {} bytes of a line that a crash cut short", report.torn);
                }
            }
            Err(broken) => {
                all_good = false;
                println!("{}: BROKEN: {broken}", path.display());
            }
        }
    }
    Ok(all_good)
}

/// A bar over bytes, where somebody looks.
fn progress(files: &[PathBuf]) -> io::Result<ProgressBar> {
    let sizes = files.iter().map(|path| path.metadata().map(|metadata| metadata.len()));
    let total = sizes.sum::<io::Result<u64>>()?;
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta}");
    Ok(ProgressBar::new(total).with_style(style.map_err(io::Error::other)?))
}

fn query(filter: &Filter, format: Format, file: &std::path::Path) -> io::Result<bool> {
    let since = filter.since.and_then(|since| Timestamp::now().checked_sub(since).ok());
    let files = Segments::of(file).files()?;
    if files.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{}: no such file", file.display()),
        ));
    }
    let bar = progress(&files)?;
    let mut out = io::stdout().lock();
    for line in reader::all_lines(files) {
        let line = line?;
        bar.inc(line.len() as u64 + 1);
        print(&mut out, filter, since, format, &line)?;
    }
    bar.finish_and_clear();
    Ok(true)
}

fn tail(filter: &Filter, format: Format, file: &std::path::Path) -> io::Result<bool> {
    let segments = Segments::of(file);
    let mut seen = segments.head()?.map_or(0, |head| head.count);
    let mut out = io::stdout().lock();
    loop {
        let written = segments.head()?.map_or(0, |head| head.count);
        if written > seen {
            for line in reader::all_lines(segments.files_from(seen + 1)?) {
                let line = line?;
                let record: Value = serde_json::from_slice(&line).unwrap_or_default();
                if record["unmapped"]["chain"]["seq"].as_u64().is_some_and(|seq| seq > seen) {
                    print(&mut out, filter, None, format, &line)?;
                }
            }
            out.flush()?;
            seen = written;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn print(
    out: &mut impl Write,
    filter: &Filter,
    since: Option<Timestamp>,
    format: Format,
    line: &[u8],
) -> io::Result<()> {
    let Ok(record) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
    if !filter.takes(&record, since) {
        return Ok(());
    }
    match format {
        Format::Json => {
            out.write_all(line)?;
            out.write_all(b"\n")
        }
        Format::Table => writeln!(out, "{}", row(&record)),
    }
}

impl Filter {
    fn takes(&self, record: &Value, since: Option<Timestamp>) -> bool {
        let own = &record["unmapped"];
        let is = |wanted: &Option<String>, value: &Value| match wanted {
            Some(wanted) => value.as_str() == Some(wanted),
            None => true,
        };
        let time = record["time"].as_i64().unwrap_or_default();
        let resources = record["resources"].as_array().into_iter().flatten();
        let names_job = match &self.job {
            Some(job) => resources.into_iter().any(|r| r["uid"].as_str() == Some(job)),
            None => true,
        };
        let outcome = match self.outcome.as_deref() {
            None => true,
            Some("success") => record["status_id"] == 1,
            Some(outcome) => {
                own["decision"] == outcome
                    || record["status_code"]
                        .as_str()
                        .is_some_and(|c| c.eq_ignore_ascii_case(outcome))
            }
        };
        since.is_none_or(|since| time >= since.as_millisecond())
            && is(&self.tenant, &own["tenant"])
            && is(&self.operation, &record["api"]["operation"])
            && outcome
            && names_job
    }
}

fn row(record: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let time = record["time"].as_i64().and_then(|time| Timestamp::from_millisecond(time).ok());
    let own = &record["unmapped"];
    let resource = record["resources"].as_array().and_then(|all| all.first());
    format!(
        "{:<24} {:<12} {:<20} {:<20} {:<8} {:<8} {:<20} {}",
        time.map_or("-".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()),
        text(&own["tenant"]),
        text(&record["actor"]["user"]["credential_uid"]),
        text(&record["api"]["operation"]),
        text(&own["phase"]),
        text(&own["decision"]),
        text(&record["status_code"]),
        resource.map_or("-".to_owned(), |resource| text(&resource["uid"])),
    )
}
