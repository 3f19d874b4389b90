//! `jobs-gateway audit query` and `tail`

use std::collections::VecDeque;
use std::io;
use std::iter::Peekable;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::columns::{Printer, Printing};
use super::filter::Filter;
use super::source::{Chains, files, progress};
use crate::audit::{Segments, reader};

/// The pause after which new records are looked for.
const PAUSE: Duration = Duration::from_millis(200);

/// The records that are looked at, and how many of them are printed.
#[derive(Debug, Clone, Copy)]
pub struct SearchWindow {
    /// The oldest time.
    pub since: Option<Timestamp>,
    /// The youngest time.
    pub until: Option<Timestamp>,
    /// The greatest number of records, the newest.
    pub limit: Option<usize>,
}

impl SearchWindow {
    fn holds(&self, record: &Value) -> bool {
        let time = record["time"].as_i64().unwrap_or_default();
        self.since.is_none_or(|since| time >= since.as_millisecond())
            && self.until.is_none_or(|until| time <= until.as_millisecond())
    }
}

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

type Records = Peekable<Box<dyn Iterator<Item = io::Result<Record>>>>;

/// The records of a chain; lines that are none are passed over, which `verify` finds.
fn records(files: Vec<std::path::PathBuf>, seen: impl Fn(u64) + 'static) -> Records {
    let read = move |line: io::Result<Vec<u8>>| match line {
        Ok(line) => {
            seen(line.len() as u64 + 1);
            let value = serde_json::from_slice(&line).ok()?;
            Some(Ok(Record { line, value }))
        }
        Err(error) => Some(Err(error)),
    };
    let all: Box<dyn Iterator<Item = _>> = Box::new(reader::all_lines(files).filter_map(read));
    all.peekable()
}

/// The next record of several chains: the one that was written first.
fn next(chains: &mut [Records]) -> Option<io::Result<Record>> {
    if let [chain] = chains {
        return chain.next();
    }
    let written = |chain: &mut Records| match chain.peek()? {
        Ok(record) => Some(record.written()),
        // To be told at once.
        Err(_) => Some(i64::MIN),
    };
    let firsts = chains.iter_mut().enumerate();
    let (_, at) = firsts.filter_map(|(at, chain)| Some((written(chain)?, at))).min()?;
    chains[at].next()
}

/// Prints the records that match, and says on standard error if none does.
///
/// # Errors
/// When files cannot be read.
pub fn query(
    filter: &Filter,
    window: SearchWindow,
    printing: &Printing,
    chains: &Chains,
) -> io::Result<bool> {
    let files = chains.open()?.iter().map(files).collect::<io::Result<Vec<_>>>()?;
    let bar = progress(&files.concat())?;
    let mut chains_of_records: Vec<_> = files
        .into_iter()
        .map(|files| {
            let bar = bar.clone();
            records(files, move |bytes| bar.inc(bytes))
        })
        .collect();
    let mut out = Printer::new(printing);
    let mut search = filter.search();
    let (mut newest, mut is_empty) = (VecDeque::new(), true);
    while let Some(record) = next(&mut chains_of_records) {
        let record = record?;
        if !window.holds(&record.value) || !search.takes(&record.value) {
            continue;
        }
        is_empty = false;
        let Some(limit) = window.limit else {
            out.print(&record.line, &record.value)?;
            continue;
        };
        newest.push_back(record);
        if newest.len() > limit {
            newest.pop_front();
        }
    }
    bar.finish_and_clear();
    for Record { line, value } in newest {
        out.print(&line, &value)?;
    }
    out.flush()?;
    if is_empty {
        eprintln!("nothing matches in {}: {}", chains.names(), search.why_nothing());
    }
    Ok(true)
}

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
    let mut out = Printer::new(printing);
    let mut search = filter.search();
    loop {
        for (segments, seen) in &mut followed {
            let now = written(segments)?;
            if now <= *seen {
                continue;
            }
            for record in records(segments.files_from(*seen + 1)?, |_| {}) {
                let Record { line, value } = record?;
                let seq = value["unmapped"]["chain"]["seq"].as_u64();
                if seq.is_some_and(|seq| seq > *seen) && search.takes(&value) {
                    out.print(&line, &value)?;
                }
            }
            out.flush()?;
            *seen = now;
        }
        std::thread::sleep(PAUSE);
    }
}
