//! Sinks: each follows the file from a position of its own that outlives the process, so that one
//! that was down catches up. A record is given at least once.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::chain::link_of;
use super::{Journal, Segments, segments};
use crate::telemetry::{http_causes, metrics};

/// How often a sink that has everything looks for more.
const LOOK: Duration = Duration::from_millis(200);

/// How long a sink that failed is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// How many records are given at once.
const BATCH: usize = 500;

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where records go besides the file.
pub trait Sink: Send {
    /// Its name in metrics and in its position file.
    fn name(&self) -> &'static str;

    /// Takes some records, one line of JSON each.
    ///
    /// # Errors
    /// When they were not taken: they come again.
    fn take(&mut self, lines: &[Vec<u8>]) -> io::Result<()>;
}

/// Standard output.
#[derive(Debug)]
pub struct Stdout;

impl Sink for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn take(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for line in lines {
            out.write_all(line)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

/// A receiver of OpenTelemetry logs: OTLP over HTTP, in JSON.
/// <https://opentelemetry.io/docs/specs/otlp/#otlphttp>
#[derive(Debug)]
pub struct Otlp {
    http: reqwest::Client,
    url: url::Url,
    runtime: tokio::runtime::Handle,
}

impl Otlp {
    /// Gives records to this endpoint (`…/v1/logs`). Needs a runtime.
    #[must_use]
    pub fn new(http: reqwest::Client, url: url::Url) -> Self {
        Self { http, url, runtime: tokio::runtime::Handle::current() }
    }
}

impl Sink for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn take(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        let record = |line: &Vec<u8>| {
            let text = String::from_utf8_lossy(line);
            let time = serde_json::from_str::<Value>(&text).ok();
            let time = time.and_then(|record| record["time"].as_i64()).unwrap_or_default();
            json!({
                "timeUnixNano": (i128::from(time) * 1_000_000).to_string(),
                "severityNumber": 9,
                "severityText": "INFO",
                "body": {"stringValue": text},
                "attributes": [{"key": "event.name", "value": {"stringValue": "audit"}}],
            })
        };
        let service = json!({"key": "service.name", "value": {"stringValue": "jobs-gateway"}});
        let body = json!({"resourceLogs": [{
            "resource": {"attributes": [service]},
            "scopeLogs": [{
                "scope": {"name": "jobs-gateway.audit"},
                "logRecords": lines.iter().map(record).collect::<Vec<_>>(),
            }],
        }]});
        let request = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/json")
            .timeout(PATIENCE)
            .body(body.to_string());
        let response = self.runtime.block_on(async { request.send().await });
        let response = response.map_err(|error| io::Error::other(http_causes(error)))?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("HTTP {}", response.status().as_u16())))
        }
    }
}

/// Follows the journal on a thread of its own until `stop`; then gives what is left, once.
///
/// # Errors
/// When the thread cannot be started.
pub fn follow(
    segments: Segments,
    journal: Journal,
    mut sink: Box<dyn Sink>,
    stop: Arc<AtomicBool>,
) -> io::Result<JoinHandle<()>> {
    let position = position_file(&segments, sink.name());
    std::thread::Builder::new().name(format!("audit {}", sink.name())).spawn(move || {
        let given = fs::read_to_string(&position).ok().and_then(|text| text.trim().parse().ok());
        let mut cursor = Cursor { segments, given: given.unwrap_or(0), open: None };
        loop {
            let is_last = stop.load(Ordering::SeqCst);
            let written = journal.head().map_or(0, |head| head.count);
            let outcome = cursor.catch_up(written, &mut *sink, &position);
            metrics::audit_lag(sink.name(), written.saturating_sub(cursor.given));
            if is_last {
                return;
            }
            let pause = match outcome {
                Ok(()) => LOOK,
                Err(error) => {
                    let sink = sink.name();
                    tracing::warn!(sink, %error, "an audit sink does not take records");
                    AGAIN
                }
            };
            std::thread::sleep(pause);
        }
    })
}

fn position_file(segments: &Segments, sink: &str) -> PathBuf {
    let mut name = segments.current().as_os_str().to_owned();
    name.push(format!(".{sink}"));
    name.into()
}

/// Where a sink is.
struct Cursor {
    segments: Segments,
    /// The number of the last record that was given.
    given: u64,
    open: Option<BufReader<Box<dyn Read + Send>>>,
}

impl Cursor {
    fn catch_up(&mut self, written: u64, sink: &mut dyn Sink, position: &Path) -> io::Result<()> {
        while self.given < written {
            let before = self.given;
            let (lines, last) = self.batch()?;
            if lines.is_empty() {
                // The end of a segment: the next one follows.
                self.open = None;
                let (lines, last) = self.batch()?;
                if lines.is_empty() {
                    return Ok(());
                }
                self.give(sink, &lines, last, position)?;
                continue;
            }
            if let Err(error) = self.give(sink, &lines, last, position) {
                self.given = before;
                self.open = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn give(
        &mut self,
        sink: &mut dyn Sink,
        lines: &[Vec<u8>],
        last: u64,
        position: &Path,
    ) -> io::Result<()> {
        sink.take(lines).inspect_err(|_| self.open = None)?;
        self.given = last;
        let draft = position.with_extension("position~");
        fs::write(&draft, last.to_string())?;
        fs::rename(draft, position)
    }

    /// The next records, and the number of the last of them.
    fn batch(&mut self) -> io::Result<(Vec<Vec<u8>>, u64)> {
        let mut last = self.given;
        let source = match &mut self.open {
            Some(source) => source,
            None => self.open.insert(BufReader::new(segments::open(&self.file()?)?)),
        };
        let mut lines = Vec::new();
        while lines.len() < BATCH {
            let mut line = Vec::new();
            source.read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                // The end, or a line that is being written: it is read again from its beginning.
                if !line.is_empty() {
                    self.open = None;
                }
                break;
            }
            if let Some(link) = link_of(&line).filter(|link| link.seq > last) {
                last = link.seq;
                lines.push(line);
            }
        }
        Ok((lines, last))
    }

    /// The segment that holds the next record.
    fn file(&self) -> io::Result<PathBuf> {
        let closed = self.segments.closed()?;
        let current = self.segments.current();
        let first_of_current = match segments::open(current) {
            Ok(source) => super::reader::lines(source).next().transpose()?,
            Err(_) => None,
        };
        let first_of_current = first_of_current.and_then(|line| link_of(&line));
        if first_of_current.is_some_and(|link| link.seq <= self.given + 1) {
            return Ok(current.to_owned());
        }
        let holds = closed.iter().rev().find(|(first, _)| *first <= self.given + 1);
        // What retention removed before it was given is lost to this sink.
        let file = holds.or_else(|| closed.first()).map(|(_, path)| path.clone());
        Ok(file.unwrap_or_else(|| current.to_owned()))
    }
}
