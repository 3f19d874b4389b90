//! `jobs-gateway audit`

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::Value;

use crate::audit::verify::{Broken, Oldest, Report};
use crate::audit::{Hash, Head, Segments, reader, verify};
use crate::settings::values;

mod filter;

use filter::{Filter, HEADER, row};

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
    /// Print the records that match, oldest first.
    Query {
        #[command(flatten)]
        filter: Filter,
        /// Not older than this: 15m, 1h, 7d, or a time such as 2030-01-01T00:00:00Z.
        #[arg(long, value_parser = moment)]
        since: Option<Timestamp>,
        /// Not younger than this, written like `--since`.
        #[arg(long, value_parser = moment)]
        until: Option<Timestamp>,
        /// At most so many, the newest.
        #[arg(long)]
        limit: Option<usize>,
        #[command(flatten)]
        source: Source,
    },
    /// Print records as they are written, until interrupted.
    Tail {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        source: Source,
    },
}

/// The source of records, and the format in which they are printed.
#[derive(Debug, clap::Args)]
struct Source {
    /// The format in which they are printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The file that is written.
    #[arg(long, default_value = "audit/audit.jsonl")]
    file: PathBuf,
    /// Print summaries of strangers' requests instead: those that showed no credential that is
    /// known, or were refused as HTTP before it was looked at (405, 406, 413, 415, ...).
    #[arg(long)]
    strangers: bool,
}

impl Source {
    fn segments(&self) -> Segments {
        let segments = Segments::new(&self.file);
        if self.strangers { segments.refused() } else { segments }
    }

    /// Some of the files.
    ///
    /// # Errors
    /// When there are none, or their folder cannot be read.
    fn files(
        &self,
        list: impl Fn(&Segments) -> io::Result<Vec<PathBuf>>,
    ) -> io::Result<Vec<PathBuf>> {
        let segments = self.segments();
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        let files = list(&segments)
            .and_then(|files| if files.is_empty() { Err(missing()) } else { Ok(files) });
        files.map_err(|error| {
            let text = format!("{}: {error}; name it with --file", segments.current().display());
            io::Error::new(error.kind(), text)
        })
    }
}

/// A time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    let wanted = "must be a duration such as 15m or 7d, or a time such as 2030-01-01T00:00:00Z";
    match values::duration(text) {
        Ok(ago) => Timestamp::now().checked_sub(ago).map_err(|_| wanted.to_owned()),
        Err(_) => text.parse().map_err(|_| wanted.to_owned()),
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A line for people.
    Table,
    /// The record as it is.
    Json,
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
        Command::Query { filter, since, until, limit, source } => {
            query(filter, (*since, *until), limit.unwrap_or(usize::MAX), source)
        }
        Command::Tail { filter, source } => tail(filter, source),
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
        let calls = Segments::new(path);
        let strangers = calls.refused();
        all_good &= verify_one(&calls, head)?;
        // An exported head is of calls.
        if strangers.current().exists() {
            all_good &= verify_one(&strangers, None)?;
        }
    }
    Ok(all_good)
}

fn verify_one(segments: &Segments, head: Option<Head>) -> io::Result<bool> {
    let path = segments.current().display();
    let files = segments.files().map_err(|error| at(segments.current(), &error))?;
    let bar = progress(&files)?;
    let report = verify::verify(segments, head, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    match report {
        Ok(Report { records, head: Head { count, hash, .. }, oldest, torn }) => {
            println!("{path}: {records} records, {count}:{hash}");
            if let Some(Oldest { link, at }) = oldest {
                println!("  from {at} on{}", before(link.seq, link.prev));
            }
            if torn > 0 {
                println!("  and {torn} bytes of a line that a crash cut short");
            }
            Ok(true)
        }
        Err(missing @ Broken::NoFile { .. }) => {
            eprintln!("error: {missing}");
            Ok(false)
        }
        Err(broken) => {
            println!("{path}: BROKEN: {broken}");
            Ok(false)
        }
    }
}

/// Tells what was there before the oldest record.
fn before(first: u64, prev: Hash) -> String {
    match first {
        1 => ": none was retired".to_owned(),
        first => format!("; older ones were retired, the last of them {}:{prev}", first - 1),
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
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

fn query(
    filter: &Filter,
    (since, until): (Option<Timestamp>, Option<Timestamp>),
    limit: usize,
    source: &Source,
) -> io::Result<bool> {
    let files = source.files(Segments::files)?;
    let bar = progress(&files)?;
    let mut out = printer(source.format);
    let mut newest = VecDeque::new();
    for line in reader::all_lines(files) {
        let line = line?;
        bar.inc(line.len() as u64 + 1);
        let Ok(record) = serde_json::from_slice::<Value>(&line) else { continue };
        let time = record["time"].as_i64().unwrap_or_default();
        let is_wanted = since.is_none_or(|since| time >= since.as_millisecond())
            && until.is_none_or(|until| time <= until.as_millisecond())
            && filter.takes(&record);
        if !is_wanted {
            continue;
        }
        if limit == usize::MAX {
            out.print(&line, &record)?;
            continue;
        }
        newest.push_back((line, record));
        if newest.len() > limit {
            newest.pop_front();
        }
    }
    bar.finish_and_clear();
    for (line, record) in newest {
        out.print(&line, &record)?;
    }
    Ok(true)
}

fn tail(filter: &Filter, source: &Source) -> io::Result<bool> {
    source.files(Segments::files)?;
    let segments = source.segments();
    let mut seen = segments.head()?.map_or(0, |head| head.count);
    let mut out = printer(source.format);
    loop {
        let written = segments.head()?.map_or(0, |head| head.count);
        if written > seen {
            for line in reader::all_lines(source.files(|segments| segments.files_from(seen + 1))?) {
                let line = line?;
                let record: Value = serde_json::from_slice(&line).unwrap_or_default();
                let seq = record["unmapped"]["chain"]["seq"].as_u64();
                if seq.is_some_and(|seq| seq > seen) && filter.takes(&record) {
                    out.print(&line, &record)?;
                }
            }
            out.to.flush()?;
            seen = written;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Standard output, where records are printed.
struct Printer {
    to: io::StdoutLock<'static>,
    format: Format,
    /// Set until the first line is printed, where people look.
    needs_header: bool,
}

fn printer(format: Format) -> Printer {
    let to = io::stdout().lock();
    let needs_header = matches!(format, Format::Table) && to.is_terminal();
    Printer { to, format, needs_header }
}

impl Printer {
    fn print(&mut self, line: &[u8], record: &Value) -> io::Result<()> {
        if std::mem::take(&mut self.needs_header) {
            writeln!(self.to, "{}", row(HEADER))?;
        }
        match self.format {
            Format::Json => {
                self.to.write_all(line)?;
                self.to.write_all(b"\n")
            }
            Format::Table => writeln!(self.to, "{}", filter::row_of(record)),
        }
    }
}
