//! A ledger: one chain of records on disk, which only grows at its end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use super::chain::{Head, link_of};
use super::event::{Event, JournalNote};
use super::line;
use super::segments::{self, Segments};
use crate::telemetry::metrics;

/// The rules by which a file is closed and later removed.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// The size at which it is closed, in bytes.
    pub size: u64,
    /// The age at which it is closed.
    pub age: Duration,
    /// The number of closed ones that are kept, however old.
    pub keep: usize,
    /// The time for which closed ones are kept, however many.
    pub keep_for: Duration,
}

/// A chain of records and the files that hold it.
pub struct Ledger {
    segments: Segments,
    rotation: Rotation,
    file: File,
    /// The length of the file that is written: whole lines.
    length: u64,
    /// Set after a failed write, which may have left half a line behind.
    is_torn: bool,
    /// The number of the first line of the file that is written.
    first: u64,
    opened: Instant,
    head: Head,
    shown: Arc<ArcSwap<Head>>,
    /// Notes that go with the next records.
    notes: Vec<Event>,
}

impl Ledger {
    /// Opens the files, or makes them, and goes on with their chain. `shown` gets its end, now and
    /// after each write.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn open(
        segments: Segments,
        rotation: Rotation,
        shown: Arc<ArcSwap<Head>>,
    ) -> io::Result<Self> {
        let file = segments.open_current()?;
        let (last, length, torn) = segments::last_line(segments.current())?;
        let closed = segments.closed()?;
        let is_empty = last.is_none();
        let last = match (last, closed.last()) {
            (None, Some((_, path))) => segments::last_line(path)?.0,
            (last, _) => last,
        };
        let mut head = last.as_deref().map(end_of).unwrap_or_default();
        let mut notes = Vec::new();
        let known = segments.head().unwrap_or_else(|error| {
            tracing::warn!(%error, "the head of the audit chain cannot be read");
            None
        });
        match known {
            Some(known) => {
                head.first = known.first.max(1);
                if known.count > head.count {
                    let Head { count, hash, .. } = known;
                    let message = format!(
                        "records are missing: {count} were written ({hash}), {} are there",
                        head.count
                    );
                    tracing::error!(message, "the audit files were changed");
                    notes.push(note(message));
                }
            }
            None if head.count > 0 => {
                head.first = closed.first().map_or(1, |(first, _)| *first);
                let Head { count, first, .. } = head;
                let message = format!("the head was missing: records {first} to {count} are there");
                tracing::warn!(message, "the audit files were changed");
                notes.push(note(message));
            }
            None => {
                head.first = 1;
                // From now on one that is missing was removed.
                if let Err(error) = segments.write_head(&head) {
                    tracing::warn!(%error, "the head of the audit chain cannot be written");
                }
            }
        }
        if torn > 0 {
            // The end of a write that a crash cut short: nobody was told that it was on disk.
            tracing::warn!(bytes = torn, "the audit file ended in a torn line, which is removed");
        }
        let first = if is_empty { head.count + 1 } else { first_of(&segments)? };
        shown.store(Arc::new(head));
        let opened = Instant::now();
        let is_torn = torn > 0;
        let mut ledger =
            Self { segments, rotation, file, length, is_torn, first, opened, head, shown, notes };
        ledger.mend()?;
        if !ledger.notes.is_empty() {
            ledger.append(&[], false)?;
        }
        Ok(ledger)
    }

    /// Writes records at the end of the chain, all of them or none; with `sync` they are on disk
    /// then.
    ///
    /// # Errors
    /// When none of them was written: they can be tried again.
    pub fn append(&mut self, events: &[Event], sync: bool) -> io::Result<()> {
        self.mend()?;
        let mut batch = Vec::with_capacity((events.len() + self.notes.len()) * 1_024);
        let mut head = self.head;
        for event in self.notes.iter().chain(events) {
            let begin = batch.len();
            line::write(event, head.next(), &mut batch);
            head = head.after(&batch[begin..]);
            batch.push(b'\n');
        }
        // Also where it is the sync that fails: what the disk has of it then, nobody knows.
        self.is_torn = true;
        self.file.write_all(&batch)?;
        if sync {
            self.file.sync_data()?;
        }
        self.is_torn = false;
        self.length += batch.len() as u64;
        self.head = head;
        self.shown.store(Arc::new(head));
        metrics::audit_records((events.len() + self.notes.len()) as u64);
        self.notes.clear();
        // After the records: a head that is older than they are is no sign of a cut. One that cannot
        // be written now is written with the next batch.
        if let Err(error) = self.segments.write_head(&head) {
            tracing::warn!(%error, "the head of the audit chain cannot be written");
        }
        Ok(())
    }

    /// Removes what a failed write left behind the last whole line.
    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Closes a file that is large or old enough, and removes those whose time is over.
    ///
    /// # Errors
    /// When a file cannot be closed or removed; records can be written all the same.
    pub fn rotate(&mut self) -> io::Result<()> {
        let is_due =
            self.length >= self.rotation.size || self.opened.elapsed() >= self.rotation.age;
        if !is_due || self.length == 0 {
            return Ok(());
        }
        let sealed = format!("segment sealed after {} records", self.head.count + 2 - self.first);
        self.append(&[note(sealed)], true)?;
        let closed = self.segments.close(self.first)?;
        self.file = self.segments.open_current()?;
        (self.length, self.first, self.opened) = (0, self.head.count + 1, Instant::now());
        compress_aside(closed);
        self.retire(self.rotation.keep)?;
        if self.notes.is_empty() { Ok(()) } else { self.append(&[], false) }
    }

    /// Gives up what may be given up so that there is room on the disk: closed files that are older
    /// than `keep_for`. Tells whether there was one.
    pub fn make_room(&mut self) -> bool {
        let first = self.head.first;
        if let Err(error) = self.retire(0) {
            tracing::warn!(%error, "old audit files cannot be removed");
        }
        self.head.first > first
    }

    /// Removes the oldest closed files: all but `keep` that are older than `keep_for`.
    fn retire(&mut self, keep: usize) -> io::Result<()> {
        let until = SystemTime::now().checked_sub(self.rotation.keep_for);
        let outdated = self.segments.outdated(keep, until.unwrap_or(SystemTime::UNIX_EPOCH))?;
        let Some((newest, _)) = outdated.last() else { return Ok(()) };
        let left = self.segments.closed()?.into_iter().find(|(first, _)| first > newest);
        let first = left.map_or(self.first, |(first, _)| first);
        self.head.first = first;
        // Before they go: a head that names fewer records than there are is no sign of a cut. Where
        // there is no room for it, it follows with the next records.
        let told = self.segments.write_head(&self.head);
        for (first, _) in &outdated {
            self.segments.remove(*first)?;
        }
        let retired = first - 1;
        tracing::info!(files = outdated.len(), retired, "audit files were retired");
        let message = format!("records up to {retired} were retired: their time was over");
        self.notes.push(Event::Journal(JournalNote::new(message, Some(retired))));
        self.shown.store(Arc::new(self.head));
        told.or_else(|_| self.segments.write_head(&self.head))
    }
}

fn note(message: String) -> Event {
    Event::Journal(JournalNote::new(message, None))
}

/// The end of a chain whose last line this is.
fn end_of(line: &[u8]) -> Head {
    let before = link_of(line).map_or_else(Head::default, |last| Head {
        count: last.seq - 1,
        hash: last.prev,
        first: 1,
    });
    before.after(line)
}

/// The number of the first line of the file that is written.
fn first_of(segments: &Segments) -> io::Result<u64> {
    let mut lines = super::reader::lines(segments::open(segments.current())?);
    let first = lines.next().transpose()?.and_then(|line| link_of(&line));
    Ok(first.map_or(1, |link| link.seq))
}

/// The priority at which closed files are compressed (`nice`).
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

/// Compresses a closed file on a thread of its own.
pub fn compress_aside(closed: std::path::PathBuf) {
    thread::spawn(move || {
        // Requests go first. On Linux this is about this thread alone; where it is refused, they share.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, LOWEST);
        if let Err(error) = segments::compress(&closed) {
            tracing::warn!(%error, "a closed audit file cannot be compressed");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::verify;
    use super::*;

    fn rotation(keep_for: Duration) -> Rotation {
        Rotation { size: 1, age: Duration::from_hours(24), keep: 100, keep_for }
    }

    /// A ledger with this many closed files.
    fn ledger(folder: &std::path::Path, keep_for: Duration, closed: usize) -> Ledger {
        let segments = Segments::new(&folder.join("audit.jsonl"));
        let mut ledger = Ledger::open(segments, rotation(keep_for), Arc::default()).unwrap();
        for n in 0..closed {
            ledger.append(&[note(format!("record {n}"))], false).unwrap();
            ledger.rotate().unwrap();
        }
        ledger
    }

    #[test]
    fn a_full_volume_is_given_what_is_past_its_time_and_nothing_else() {
        for (keep_for, is_given) in [(Duration::from_hours(24), false), (Duration::ZERO, true)] {
            let folder = tempfile::tempdir().unwrap();
            let mut ledger = ledger(folder.path(), keep_for, 5);
            ledger.append(&[note("the newest".to_owned())], false).unwrap();
            assert_eq!(ledger.make_room(), is_given);
            let left = ledger.segments.closed().unwrap().len();
            assert_eq!(left, if is_given { 0 } else { 5 });
            ledger.append(&[note("after it".to_owned())], false).unwrap();
            let report = verify::verify(&ledger.segments, None, |_| {}).unwrap();
            assert_eq!(report.oldest.unwrap().link.seq, if is_given { 11 } else { 1 });
        }
    }

    #[test]
    fn what_a_failed_write_left_is_removed_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path(), Duration::ZERO, 0);
        ledger.append(&[note("whole".to_owned())], true).unwrap();
        ledger.file.write_all(b"{\"half\": ").unwrap();
        ledger.is_torn = true;
        ledger.append(&[note("next".to_owned())], true).unwrap();
        assert_eq!(verify::verify(&ledger.segments, None, |_| {}).unwrap().records, 2);
    }

    #[test]
    fn a_file_that_is_closed_while_it_is_verified_is_no_break_in_the_chain() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path(), Duration::from_hours(24), 2);
        ledger.append(&[note("not closed yet".to_owned())], false).unwrap();
        let segments = ledger.segments.clone();
        let mut closings = 0..3;
        let verdict = verify::verify(&segments, None, |_| {
            if closings.next().is_some() {
                ledger.append(&[note("meanwhile".to_owned())], false).unwrap();
                ledger.rotate().unwrap();
            }
        });
        assert!(closings.next().is_none());
        verdict.unwrap();
    }

    #[test]
    fn a_head_that_is_missing_or_unreadable_is_told_in_the_chain() {
        for text in [None, Some("")] {
            let folder = tempfile::tempdir().unwrap();
            let segments = Segments::new(&folder.path().join("audit.jsonl"));
            let mut ledger = ledger(folder.path(), Duration::ZERO, 0);
            ledger.append(&[note("first".to_owned())], false).unwrap();
            match text {
                Some(text) => std::fs::write(segments.head_file(), text).unwrap(),
                None => std::fs::remove_file(segments.head_file()).unwrap(),
            }
            let again = Ledger::open(segments.clone(), rotation(Duration::ZERO), Arc::default());
            assert_eq!(again.unwrap().head.count, 2);
            let text = std::fs::read_to_string(segments.current()).unwrap();
            assert!(text.contains("the head was missing: records 1 to 1 are there"), "{text}");
        }
    }
}
