//! `jobs-gateway audit query` and `tail`

use std::collections::VecDeque;
use std::io;
use std::iter::Peekable;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::Value;

use super::columns::{Printer, Printing};
use super::filter::Filter;
use super::replicas::{Question, ReplicaAnswer, Replicas};
use super::source::{Chains, files, progress};
use super::window::SearchWindow;
use crate::audit::Segments;
use crate::audit::reader::{self, Files};

/// The pause after which new records are looked for.
const PAUSE: Duration = Duration::from_millis(200);

/// A record and its line.
struct Record {
    line: Vec<u8>,
    value: Value,
}

impl Record {
    /// The moment at which it was written, to put those of several chains in an order: a call is recorded at its end.
    fn written(&self) -> i64 {
        let part = |name: &str| self.value[name].as_i64().unwrap_or_default();
        part("time").saturating_add(part("duration"))
    }
}

/// One place that records come from.
struct Origin {
    name: String,
    records: Peekable<Box<dyn Iterator<Item = io::Result<Record>>>>,
}

impl Origin {
    /// The records among lines; those that are none are passed over, which `verify` finds.
    fn new(
        name: String,
        lines: impl Iterator<Item = io::Result<Vec<u8>>> + 'static,
        seen: impl Fn(u64) + 'static,
    ) -> Self {
        let read = move |line: io::Result<Vec<u8>>| match line {
            Ok(line) => {
                seen(line.len() as u64 + 1);
                let value = serde_json::from_slice(&line).ok()?;
                Some(Ok(Record { line, value }))
            }
            Err(error) => Some(Err(error)),
        };
        let all: Box<dyn Iterator<Item = _>> = Box::new(lines.filter_map(read));
        Self { name, records: all.peekable() }
    }
}

/// The next record of several origins, the one that was written first, and the number of its origin.
fn next(origins: &mut [Origin]) -> Option<io::Result<(usize, Record)>> {
    let written = |origin: &mut Origin| match origin.records.peek()? {
        Ok(record) => Some(record.written()),
        // To be told at once.
        Err(_) => Some(i64::MIN),
    };
    let firsts = origins.iter_mut().enumerate();
    let (_, at) = firsts.filter_map(|(at, origin)| Some((written(origin)?, at))).min()?;
    origins[at].records.next().map(|record| record.map(|record| (at, record)))
}

/// Everything that a search looks through.
struct Origins {
    all: Vec<Origin>,
    bar: ProgressBar,
    /// The reasons why something of it is missing.
    problems: Vec<String>,
}

impl Origins {
    fn of_files(chains: &Chains) -> io::Result<Self> {
        let mut named = Vec::new();
        for segments in chains.open()? {
            named.push((segments.current().display().to_string(), files(&segments)?));
        }
        let bar = progress(named.iter().map(|(_, files)| files.size()).sum())?;
        let open = |(name, files): (String, Files)| {
            let bar = bar.clone();
            Origin::new(name, files.lines(), move |bytes| bar.inc(bytes))
        };
        let all = named.into_iter().map(open).collect();
        Ok(Self { all, bar, problems: Vec::new() })
    }

    fn of_replicas(replicas: &Replicas, question: Question<'_>) -> io::Result<Self> {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for ReplicaAnswer { name, lines, problem } in replicas.ask(question)? {
            all.push(Origin::new(name, reader::lines(lines), |_| {}));
            problems.extend(problem);
        }
        Ok(Self { all, bar: ProgressBar::hidden(), problems })
    }
}

/// Prints the records that match, and says on standard error if none does, and what could not be looked through: it
/// returns false then.
///
/// # Errors
/// When files cannot be read.
pub fn query(
    filter: &Filter,
    window: SearchWindow,
    printing: &Printing,
    chains: &Chains,
    replicas: &Replicas,
) -> io::Result<bool> {
    let (strangers, texts) = (chains.strangers, filter.texts());
    let Origins { all: mut origins, bar, problems } = if replicas.is_empty() {
        Origins::of_files(chains)?
    } else {
        Origins::of_replicas(replicas, Question { window, texts: &texts, strangers })?
    };
    let names: Vec<_> = origins.iter().map(|origin| origin.name.clone()).collect();
    let mut out = Printer::new(printing, names.len() > 1);
    let mut search = filter.search();
    let (mut newest, mut is_empty) = (VecDeque::new(), true);
    while let Some(next) = next(&mut origins) {
        let (at, record) = next?;
        if !window.holds(&record.value) || !search.takes(&record.value) {
            continue;
        }
        is_empty = false;
        let Some(limit) = window.limit else {
            out.print(&record.line, &record.value, &names[at])?;
            continue;
        };
        newest.push_back((at, record));
        if newest.len() > limit {
            newest.pop_front();
        }
    }
    bar.finish_and_clear();
    for (at, Record { line, value }) in newest {
        out.print(&line, &value, &names[at])?;
    }
    out.flush()?;
    // Of records that did not come nobody knows whether they match.
    if is_empty && problems.is_empty() {
        let why = search.why_nothing(&window.told(), replicas.is_empty());
        eprintln!("nothing matches in {}: {why}", names.join(", "));
        eprintln!("{}", if strangers { SUMMARIES } else { STRANGERS });
    }
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    Ok(problems.is_empty())
}

/// A hint for who finds nothing.
const STRANGERS: &str = "(requests without a credential that is known are not among these: --strangers shows them, a minute later)";

/// A hint for who finds no stranger.
const SUMMARIES: &str = "(these are summaries, which are written each minute)";

/// Prints records as they are written.
///
/// # Errors
/// When files cannot be read.
pub fn tail(filter: &Filter, printing: &Printing, chains: &Chains) -> io::Result<bool> {
    let written =
        |segments: &Segments| Ok::<_, io::Error>(segments.head()?.map_or(0, |head| head.count));
    let mut followed = Vec::new();
    for segments in chains.open()? {
        let seen = written(&segments)?;
        followed.push((segments, seen));
    }
    let names: Vec<_> =
        followed.iter().map(|(segments, _)| segments.current().display().to_string()).collect();
    let mut out = Printer::new(printing, names.len() > 1);
    let mut search = filter.search();
    loop {
        for ((segments, seen), name) in followed.iter_mut().zip(&names) {
            let now = written(segments)?;
            if now <= *seen {
                continue;
            }
            let lines = reader::all_lines(segments.files_from(*seen + 1)?);
            for record in Origin::new(name.clone(), lines, |_| {}).records {
                let Record { line, value } = record?;
                let seq = value["unmapped"]["chain"]["seq"].as_u64();
                if seq.is_some_and(|seq| seq > *seen) && search.takes(&value) {
                    out.print(&line, &value, name)?;
                }
            }
            out.flush()?;
            *seen = now;
        }
        std::thread::sleep(PAUSE);
    }
}
