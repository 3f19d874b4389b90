//! The journal: a queue, and one thread that writes what is in it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::Settings;
use super::chain::Head;
use super::event::Event;
use super::line;
use super::segments::{self, Segments};
use crate::model::{CallRecord, RequestContext, Trail};
use crate::telemetry::metrics;

/// How many records may wait for the writer.
const QUEUE: usize = 8_192;

/// How many are written at once.
const BATCH: usize = 1_024;

/// How long the records of queries are gathered.
const GATHER: Duration = Duration::from_millis(5);

/// The priority at which closed segments are compressed (`nice`).
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

/// How long a mutation waits for its intent to be on disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the writer waits after a failure before it tries again what it could not write.
const AGAIN: Duration = Duration::from_millis(250);

/// The intent could not be recorded, so the mutation must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call cannot be recorded")]
pub struct Unavailable;

/// Where records go. Clones are the same journal.
#[derive(Debug, Clone, Default)]
pub struct Journal(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    queue: mpsc::Sender<Message>,
    may_drop: bool,
    head: Arc<ArcSwap<Head>>,
    writer: Thread,
    /// Whether the last write failed: until one succeeds no mutation is let through.
    failing: Arc<AtomicBool>,
}

enum Message {
    Call(Box<CallRecord>),
    Intent(Box<Event>, oneshot::Sender<()>),
    Flush(oneshot::Sender<()>),
}

impl Journal {
    /// A journal that keeps nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Opens a journal and goes on with its chain.
    ///
    /// # Errors
    /// When its files cannot be read or written.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let writer = Writer::open(settings.clone())?;
        let (head, failing) = (Arc::clone(&writer.shown), Arc::clone(&writer.failing));
        let (queue, messages) = mpsc::channel(QUEUE);
        let running = thread::Builder::new().name("audit".to_owned());
        let writer = running.spawn(move || writer.run(messages))?.thread().clone();
        metrics::audit_writable(true);
        let may_drop = settings.may_drop;
        Ok(Self(Some(Arc::new(Open { queue, may_drop, head, writer, failing }))))
    }

    /// Records a finished call. When the queue is full its caller waits, or the record of a query is
    /// dropped and counted, as the configuration says.
    pub async fn record(&self, record: Box<CallRecord>) {
        let Some(open) = &self.0 else { return };
        let is_mutation = record.kind == Some(crate::model::Kind::Mutation);
        let message = Message::Call(record);
        if let Err(mpsc::error::TrySendError::Full(message)) = open.queue.try_send(message) {
            if open.may_drop && !is_mutation {
                metrics::audit_dropped();
            } else {
                // The caller waits; its record is kept also if it goes away meanwhile.
                let queue = open.queue.clone();
                let _ = tokio::spawn(async move { queue.send(message).await }).await;
            }
        }
    }

    /// Records that a mutation is about to be sent, and waits until that is on disk.
    ///
    /// # Errors
    /// When it is not, within five seconds.
    pub async fn intent(
        &self,
        request: &RequestContext,
        trail: &Trail,
        at: Timestamp,
    ) -> Result<(), Unavailable> {
        let Some(open) = &self.0 else { return Ok(()) };
        if open.failing.load(Ordering::SeqCst) {
            return Err(Unavailable);
        }
        let (done, written) = oneshot::channel();
        let message = Message::Intent(Box::new(Event::intent(request, trail, at)), done);
        let recorded = async {
            open.queue.send(message).await.map_err(|_| Unavailable)?;
            open.writer.unpark();
            written.await.map_err(|_| Unavailable)
        };
        tokio::time::timeout(PATIENCE, recorded).await.unwrap_or(Err(Unavailable))
    }

    /// Waits until everything that was recorded so far is on disk, or `patience` is over.
    pub async fn flush(&self, patience: Duration) {
        let Some(open) = &self.0 else { return };
        let (done, written) = oneshot::channel();
        let flushed = async {
            if open.queue.send(Message::Flush(done)).await.is_ok() {
                open.writer.unpark();
                let _ = written.await;
            }
        };
        let _ = tokio::time::timeout(patience, flushed).await;
    }

    /// How many records wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.as_ref().map_or(0, |open| open.queue.max_capacity() - open.queue.capacity())
    }

    /// The end of the chain; `None` if nothing is kept.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.0.as_ref().map(|open| **open.head.load())
    }
}

/// The thread that writes.
struct Writer {
    settings: Settings,
    segments: Segments,
    file: File,
    /// The length of the file that is written: whole lines.
    length: u64,
    /// The number of its first line.
    first: u64,
    opened: Instant,
    head: Head,
    shown: Arc<ArcSwap<Head>>,
    failing: Arc<AtomicBool>,
}

impl Writer {
    fn open(settings: Settings) -> io::Result<Self> {
        let segments = Segments::of(&settings.file);
        let file = segments.open_current()?;
        let (line, length, torn) = segments::last_line(segments.current())?;
        let is_empty = line.is_none();
        let line = match line {
            Some(line) => Some(line),
            None => match segments.closed()?.last() {
                Some((_, path)) => segments::last_line(path)?.0,
                None => None,
            },
        };
        let known = segments.head()?;
        let mut head = match line.as_deref().and_then(super::chain::link_of) {
            Some(last) => Head { count: last.seq - 1, hash: last.prev, first: 1 },
            None => Head::default(),
        };
        if let Some(line) = &line {
            head = head.after(line);
        }
        head.first = known.map_or(1, |known| known.first.max(1));
        let first = if is_empty { head.count + 1 } else { first_of(&segments)? };
        if torn > 0 {
            // The end of a write that a crash cut short: nobody was told that it was on disk.
            tracing::warn!(bytes = torn, "the audit file ended in a torn line, which is removed");
            file.set_len(length)?;
        }
        let shown = Arc::new(ArcSwap::from_pointee(head));
        let opened = Instant::now();
        let mut writer = Self {
            settings,
            segments,
            file,
            length,
            first,
            opened,
            head,
            shown,
            failing: Arc::default(),
        };
        if let Some(known) = known.filter(|known| known.count > head.count) {
            let message = format!(
                "records are missing: {} were written ({}), {} are there",
                known.count, known.hash, head.count
            );
            tracing::error!(message, "the audit files were changed");
            writer.write(&[Event::of_journal(message, Timestamp::now())])?;
        }
        Ok(writer)
    }

    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while messages.blocking_recv_many(&mut waiting, BATCH) > 0 {
            // Nobody waits for the records of queries: they are written many at once. Whoever waits
            // wakes this thread.
            let are_calls = waiting.iter().all(|message| matches!(message, Message::Call(_)));
            if are_calls && waiting.len() < BATCH {
                thread::park_timeout(GATHER);
                while waiting.len() < QUEUE
                    && let Ok(message) = messages.try_recv()
                {
                    waiting.push(message);
                }
            }
            let mut events = Vec::with_capacity(waiting.len());
            let mut told = Vec::new();
            for message in waiting.drain(..) {
                match message {
                    Message::Call(record) => events.extend(Event::of_call(&record)),
                    Message::Intent(event, done) => {
                        events.push(*event);
                        told.push(done);
                    }
                    Message::Flush(done) => told.push(done),
                }
            }
            self.insist(&events, told);
        }
    }

    /// Writes a batch, and tries again until it can be written. At the first failure the mutations
    /// that wait are refused; their intents are written all the same, and their outcomes say it.
    fn insist(&mut self, events: &[Event], mut told: Vec<oneshot::Sender<()>>) {
        let mut failed = false;
        loop {
            let written = self
                .write(events)
                .and_then(|()| if told.is_empty() { Ok(()) } else { self.file.sync_data() });
            match written {
                Ok(()) => break,
                Err(error) => {
                    if !failed {
                        tracing::error!(%error, "audit records cannot be written");
                        metrics::audit_writable(false);
                    }
                    failed = true;
                    self.failing.store(true, Ordering::SeqCst);
                    told.clear();
                    thread::sleep(AGAIN);
                }
            }
        }
        if failed {
            tracing::info!("audit records can be written again");
            metrics::audit_writable(true);
            self.failing.store(false, Ordering::SeqCst);
        }
        for done in told {
            let _ = done.send(());
        }
        if let Err(error) = self.rotate() {
            tracing::error!(%error, "the audit file cannot be rotated");
        }
    }

    /// Writes records at the end of the chain: all of them, or none.
    fn write(&mut self, events: &[Event]) -> io::Result<()> {
        let mut batch = Vec::with_capacity(events.len() * 1_024);
        let mut head = self.head;
        for event in events {
            let begin = batch.len();
            line::of(event, head.next(), &mut batch);
            head = head.after(&batch[begin..]);
            batch.push(b'\n');
        }
        segments::append(&mut self.file, &batch, self.length)?;
        self.length += batch.len() as u64;
        self.head = head;
        self.shown.store(Arc::new(head));
        metrics::audit_records(events.len() as u64);
        // After the records: a head that is older than they are is no sign of a cut. One that cannot
        // be written now is written with the next batch.
        if let Err(error) = self.segments.write_head(&head) {
            tracing::warn!(%error, "the head of the audit chain cannot be written");
        }
        Ok(())
    }

    /// Closes a segment that is large or old enough.
    fn rotate(&mut self) -> io::Result<()> {
        let Settings { rotate, rotate_after, keep, .. } = self.settings;
        let is_due = self.length >= rotate || self.opened.elapsed() >= rotate_after;
        if !is_due || self.length == 0 {
            return Ok(());
        }
        let message = format!("segment sealed after {} records", self.head.count + 2 - self.first);
        self.write(&[Event::of_journal(message, Timestamp::now())])?;
        self.file.sync_data()?;
        let closed = self.segments.close(self.first)?;
        self.file = self.segments.open_current()?;
        (self.length, self.first, self.opened) = (0, self.head.count + 1, Instant::now());
        if let Some(first) = self.segments.retain(keep)? {
            self.head.first = first;
            self.segments.write_head(&self.head)?;
        }
        thread::spawn(move || {
            // Requests go first. On Linux this is about this thread alone; where it is refused, they share.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::setpriority_process(None, LOWEST);
            if let Err(error) = segments::compress(&closed) {
                tracing::warn!(%error, "a closed audit segment cannot be compressed");
            }
        });
        Ok(())
    }
}

/// The number of the first line of the file that is written.
fn first_of(segments: &Segments) -> io::Result<u64> {
    let mut lines = super::reader::lines(segments::open(segments.current())?);
    let first = lines.next().transpose()?.and_then(|line| super::chain::link_of(&line));
    Ok(first.map_or(1, |link| link.seq))
}
