//! Sinks: each follows the file from a position of its own that outlives the process, so that one
//! that was down catches up. A record is given at least once.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::chain::link_of;
use super::{Chain, Journal, Segments, segments};
use crate::telemetry::metrics;

/// The interval at which a sink that has everything looks for more.
const LOOK: Duration = Duration::from_millis(200);

/// The time for which a sink that failed is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// The number of records that are given at once.
const BATCH: usize = 500;

/// A destination of records besides the file.
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

/// The state of a sink.
#[derive(Debug)]
pub(super) struct SinkState {
    name: &'static str,
    is_failing: AtomicBool,
    behind: AtomicU64,
}

/// A sink as it is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkReport {
    /// Its name.
    pub name: &'static str,
    /// True if it took what it was given last.
    pub is_well: bool,
    /// The number of records it has not taken yet.
    pub behind: u64,
}

impl SinkState {
    const fn new(name: &'static str) -> Self {
        Self { name, is_failing: AtomicBool::new(false), behind: AtomicU64::new(0) }
    }

    pub(super) fn report(&self) -> SinkReport {
        let is_well = !self.is_failing.load(Ordering::Relaxed);
        SinkReport { name: self.name, is_well, behind: self.behind.load(Ordering::Relaxed) }
    }

    /// Notes what a round brought.
    fn went(&self, given: &io::Result<()>, behind: u64) {
        self.behind.store(behind, Ordering::Relaxed);
        metrics::audit_lag(self.name, behind);
        if self.is_failing.swap(given.is_err(), Ordering::Relaxed) != given.is_err() {
            tell(self.name, given);
        }
    }
}

/// Follows the journal's chains on a thread of its own until `stop`; then gives what is left, once.
///
/// # Errors
/// When the thread cannot be started.
pub fn follow(
    journal: &Journal,
    mut sink: Box<dyn Sink>,
    stop: Arc<AtomicBool>,
) -> io::Result<JoinHandle<()>> {
    let mut cursors: Vec<_> =
        journal.chains().iter().map(|chain| Cursor::new(chain.clone(), sink.name())).collect();
    let state = Arc::new(SinkState::new(sink.name()));
    journal.followed_by(&state);
    std::thread::Builder::new().name(format!("audit {}", sink.name())).spawn(move || {
        loop {
            let is_last = stop.load(Ordering::SeqCst);
            let mut given = Ok(());
            for cursor in &mut cursors {
                // What it was giving when it panicked comes again.
                let caught_up = catch_unwind(AssertUnwindSafe(|| cursor.catch_up(&mut *sink)));
                let panicked = |_| Err(io::Error::other("it panicked"));
                given = given.and(caught_up.unwrap_or_else(panicked));
            }
            state.went(&given, cursors.iter().map(Cursor::behind).sum());
            if is_last {
                return;
            }
            std::thread::sleep(if given.is_err() { AGAIN } else { LOOK });
        }
    })
}

/// Says that a sink begins or ends to fail.
fn tell(sink: &str, given: &io::Result<()>) {
    match given {
        Ok(()) => tracing::info!(sink, "an audit sink takes records again"),
        Err(error) => tracing::warn!(
            sink,
            %error,
            "an audit sink does not take records; they wait for it"
        ),
    }
}

fn position_file(segments: &Segments, sink: &str) -> PathBuf {
    let mut name = segments.current().as_os_str().to_owned();
    name.push(format!(".{sink}"));
    name.into()
}

/// The place that a sink has reached in a chain.
struct Cursor {
    chain: Chain,
    /// The file that keeps it.
    position: PathBuf,
    /// The number of the last record that was given.
    given: u64,
    open: Option<BufReader<Box<dyn Read + Send>>>,
}

impl Cursor {
    fn new(chain: Chain, sink: &str) -> Self {
        let position = position_file(&chain.segments, sink);
        let given = fs::read_to_string(&position).ok().and_then(|text| text.trim().parse().ok());
        Self { chain, position, given: given.unwrap_or(0), open: None }
    }

    /// Returns the number of records the sink has not taken yet.
    fn behind(&self) -> u64 {
        self.chain.head().count.saturating_sub(self.given)
    }

    fn catch_up(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        while self.behind() > 0 {
            let before = self.given;
            let (mut lines, mut last) = self.batch()?;
            if lines.is_empty() {
                // The end of a segment: the next one follows.
                self.open = None;
                (lines, last) = self.batch()?;
                if lines.is_empty() {
                    return Ok(());
                }
            }
            if let Err(error) = self.give(sink, &lines, last) {
                self.given = before;
                self.open = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn give(&mut self, sink: &mut dyn Sink, lines: &[Vec<u8>], last: u64) -> io::Result<()> {
        sink.take(lines)?;
        self.given = last;
        segments::replace(&self.position, last.to_string().as_bytes())
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
        let closed = self.chain.segments.closed()?;
        let current = self.chain.segments.current();
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::Settings;
    use super::*;
    use crate::model::{CallRecord, CredentialId, RequestId, TenantId};

    /// A sink that panics at first.
    struct Panics(Arc<Mutex<Vec<u64>>>, bool);

    impl Sink for Panics {
        fn name(&self) -> &'static str {
            "test"
        }

        fn take(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
            assert!(std::mem::replace(&mut self.1, true), "a test asked for it");
            let seqs = lines.iter().filter_map(|line| link_of(line)).map(|link| link.seq);
            self.0.lock().unwrap().extend(seqs);
            Ok(())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sink_that_panics_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&Settings {
            file: folder.path().join("audit.jsonl"),
            rotate: 1 << 20,
            rotate_after: Duration::from_hours(24),
            keep: 30,
            keep_for: Duration::ZERO,
            on_full: crate::audit::OnFull::Wait,
        })
        .unwrap();
        let mut record = CallRecord::begin(RequestId::new(), jiff::Timestamp::UNIX_EPOCH);
        let tenant = TenantId::parse("acme").unwrap();
        record.held_by(tenant, CredentialId::parse("main").unwrap());
        journal.record(Box::new(record)).await;
        assert!(journal.flush(Duration::from_secs(20)).await);
        let (taken, stop) = (Arc::<Mutex<Vec<u64>>>::default(), Arc::<AtomicBool>::default());
        let sink = Box::new(Panics(Arc::clone(&taken), false));
        let following = follow(&journal, sink, Arc::clone(&stop)).unwrap();
        while taken.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.store(true, Ordering::SeqCst);
        following.join().unwrap();
        assert_eq!(*taken.lock().unwrap(), [1]);
    }
}
