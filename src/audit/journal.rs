//! The journal: a queue, and one thread that writes what is in it.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::actor::Actor;
use super::chain::Head;
use super::event::{Intent, JournalNote, Notification};
use super::follow::{SinkReport, SinkState};
use super::ledger::{Ledger, Rotation, compress_aside};
use super::segments::Segments;
use super::tally::Tally;
use super::writer::{Ledgers, Message, Open, Writer};
use super::{OnFull, Settings};
use crate::model::{CallRecord, CredentialId, RequestContext, Trail};
use crate::telemetry::metrics;

/// The number of records that may wait for the writer.
const QUEUE: usize = 8_192;

/// The time for which a mutation waits for its intent to be on disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The interval at which refused requests that were only counted are told.
const SUMMARIZE_EVERY: Duration = Duration::from_mins(1);

/// The size at which a file of strangers' requests is closed, in bytes: with the number of files that
/// are kept, all that strangers can take of the disk.
const STRANGERS_FILE: u64 = 16 << 20;

/// The intent could not be recorded, so the mutation must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call cannot be recorded")]
pub struct Unavailable;

/// The queue that records go into. Clones are the same journal.
#[derive(Debug, Clone, Default)]
pub struct Journal(Option<Arc<Opened>>);

#[derive(Debug)]
struct Opened {
    queue: mpsc::Sender<Message>,
    tally: Arc<Tally>,
    on_full: OnFull,
    /// The chain of calls, then that of strangers' requests.
    chains: [Chain; 2],
    writer: Thread,
    /// Set while records cannot be written: no mutation is let through.
    failing: Arc<AtomicBool>,
    /// The sinks that follow.
    sinks: Mutex<Vec<Arc<SinkState>>>,
}

/// The files of a chain, and its end as it is now.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The files.
    pub segments: Segments,
    head: Arc<ArcSwap<Head>>,
}

impl Opened {
    fn sinks(&self) -> MutexGuard<'_, Vec<Arc<SinkState>>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chain {
    fn new(segments: Segments) -> Self {
        Self { segments, head: Arc::default() }
    }

    /// The end of the chain.
    #[must_use]
    pub fn head(&self) -> Head {
        **self.head.load()
    }
}

impl Journal {
    /// A journal that keeps nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Opens a journal and goes on with its chains. Its files are this process's until it ends.
    ///
    /// # Errors
    /// When its files cannot be read or written, or another process has them.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let calls = Chain::new(Segments::new(&settings.file));
        let strangers = Chain::new(calls.segments.refused());
        let lock = calls.segments.lock().map_err(|error| at(&calls, &error))?;
        let open = opening(settings, calls.clone(), strangers.clone());
        let (tally, failing) = (Arc::<Tally>::default(), Arc::<AtomicBool>::default());
        let writer = Writer::new(open()?, Arc::clone(&tally), Arc::clone(&failing));
        for chain in [&calls, &strangers] {
            let left = chain.segments.uncompressed().map_err(|error| at(chain, &error))?;
            left.into_iter().for_each(compress_aside);
        }
        let (queue, messages) = mpsc::channel(QUEUE);
        let running = thread::Builder::new().name("audit".to_owned());
        let writer = running.spawn(move || run(writer, &open, messages, lock))?.thread().clone();
        metrics::audit_writable(true);
        let on_full = settings.on_full;
        let chains = [calls, strangers];
        Ok(Self(Some(Arc::new(Opened {
            queue,
            tally,
            on_full,
            chains,
            writer,
            failing,
            sinks: Mutex::default(),
        }))))
    }

    /// Records a finished call, or counts it if it was refused. When the queue is full its caller
    /// waits, or the record of a query is dropped and counted, as the configuration says.
    pub async fn record(&self, record: Box<CallRecord>) {
        let Some(opened) = &self.0 else { return };
        if opened.tally.takes(&record) {
            return;
        }
        let is_mutation = record.kind == Some(crate::model::Kind::Mutation);
        let is_kept = match opened.queue.try_send(Message::Call(record)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) if opened.on_full == OnFull::Drop && !is_mutation => false,
            Err(TrySendError::Full(message)) => {
                // The caller waits; its record is kept also if it goes away meanwhile.
                let queue = opened.queue.clone();
                let sent = tokio::spawn(async move { queue.send(message).await }).await;
                matches!(sent, Ok(Ok(())))
            }
            // The writer gave up, and the process is about to end.
            Err(TrySendError::Closed(_)) => false,
        };
        if !is_kept {
            metrics::audit_dropped();
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
        let Some(opened) = &self.0 else { return Ok(()) };
        if opened.failing.load(Ordering::SeqCst) {
            return Err(Unavailable);
        }
        let (done, written) = oneshot::channel();
        let message = Message::Intent(Box::new(Intent::new(request, trail, at)), done);
        let recorded = async {
            opened.queue.send(message).await.map_err(|_| Unavailable)?;
            opened.writer.unpark();
            written.await.map_err(|_| Unavailable)
        };
        tokio::time::timeout(PATIENCE, recorded).await.unwrap_or(Err(Unavailable))
    }

    /// Records an event of Move's that was looked into. It waits while the queue is full.
    pub async fn notify(&self, event: Notification) {
        let Some(opened) = &self.0 else { return };
        if opened.queue.send(Message::Notification(Box::new(event))).await.is_err() {
            metrics::audit_dropped();
        }
    }

    /// Records that an operator reads the records, without waiting: who looks for the reason why nothing can be
    /// written may read them all the same, and the drop is counted.
    pub fn note_reading(&self, operator: &CredentialId, source: Option<IpAddr>, message: String) {
        let Some(opened) = &self.0 else { return };
        let (actor, source) = (Actor::Operator(operator.clone()), source.into());
        let note = JournalNote { actor, source, ..JournalNote::new(message, None) };
        if opened.queue.try_send(Message::Note(Box::new(note))).is_err() {
            metrics::audit_dropped();
        }
    }

    /// Tells refused requests that were only counted, every minute, for as long as it is polled.
    pub async fn summarize(&self) {
        let Some(opened) = &self.0 else { return std::future::pending().await };
        loop {
            tokio::time::sleep(SUMMARIZE_EVERY).await;
            if opened.queue.send(Message::Summarize).await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Ends when nothing is recorded any more, because the writer failed for good.
    pub async fn broken(&self) {
        match &self.0 {
            Some(opened) => opened.queue.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until everything that was recorded or counted so far is on disk. Returns whether it is,
    /// within `patience`.
    pub async fn flush(&self, patience: Duration) -> bool {
        let Some(opened) = &self.0 else { return true };
        let (done, written) = oneshot::channel();
        let flushed = async {
            if opened.queue.send(Message::Flush(done)).await.is_err() {
                return false;
            }
            opened.writer.unpark();
            written.await.is_ok()
        };
        tokio::time::timeout(patience, flushed).await.unwrap_or(false)
    }

    /// Returns the number of records that wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.as_ref().map_or(0, |opened| opened.queue.max_capacity() - opened.queue.capacity())
    }

    /// Returns true if records can be written; `None` if nothing is kept.
    #[must_use]
    pub fn is_writable(&self) -> Option<bool> {
        self.0.as_ref().map(|opened| !opened.failing.load(Ordering::SeqCst))
    }

    /// The sinks that follow, as they are now.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkReport> {
        let Some(opened) = &self.0 else { return Vec::new() };
        opened.sinks().iter().map(|state| state.report()).collect()
    }

    /// Adds a sink to those that follow.
    pub(super) fn followed_by(&self, sink: &Arc<SinkState>) {
        if let Some(opened) = &self.0 {
            opened.sinks().push(Arc::clone(sink));
        }
    }

    /// The end of the chain of calls; `None` if nothing is kept.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.chains().first().map(Chain::head)
    }

    /// The chains that are written: that of calls, then that of strangers' requests.
    #[must_use]
    pub fn chains(&self) -> &[Chain] {
        self.0.as_ref().map_or(&[], |opened| &opened.chains)
    }
}

/// Writes until the journal is dropped; the files are free again then.
fn run(writer: Writer, open: &Open, messages: mpsc::Receiver<Message>, lock: File) {
    writer.run(open, messages);
    drop(lock);
}

/// Makes the function that opens the two ledgers.
fn opening(settings: &Settings, calls: Chain, strangers: Chain) -> Open {
    let Settings { rotate, rotate_after, keep, keep_for, .. } = *settings;
    let of_calls = Rotation { size: rotate, age: rotate_after, keep, keep_for };
    let size = rotate.min(STRANGERS_FILE);
    let of_strangers = Rotation { size, keep_for: Duration::ZERO, ..of_calls };
    Box::new(move || {
        let open = |chain: &Chain, rotation| {
            let (segments, head) = (chain.segments.clone(), Arc::clone(&chain.head));
            Ledger::open(segments, rotation, head).map_err(|error| at(chain, &error))
        };
        Ok(Ledgers { calls: open(&calls, of_calls)?, strangers: open(&strangers, of_strangers)? })
    })
}

/// An error with the file that it is about.
fn at(chain: &Chain, error: &io::Error) -> io::Error {
    let file = chain.segments.current().display();
    io::Error::new(error.kind(), format!("{file}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::verify;
    use crate::model::RequestId;

    fn settings(folder: &std::path::Path) -> Settings {
        Settings {
            file: folder.join("audit.jsonl"),
            rotate: 1 << 20,
            rotate_after: Duration::from_hours(24),
            keep: 30,
            keep_for: Duration::ZERO,
            on_full: super::OnFull::Wait,
        }
    }

    fn record() -> Box<CallRecord> {
        let mut record = CallRecord::begin(RequestId::new(), Timestamp::UNIX_EPOCH);
        let tenant = crate::model::TenantId::parse("acme").unwrap();
        record.held_by(tenant, crate::model::CredentialId::parse("main").unwrap());
        Box::new(record)
    }

    async fn panics(journal: &Journal) {
        let opened = journal.0.as_ref().unwrap();
        opened.queue.send(Message::Panic).await.ok().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_writer_that_panics_goes_on_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&settings(folder.path())).unwrap();
        for _ in 0..20 {
            journal.record(record()).await;
        }
        panics(&journal).await;
        for _ in 0..20 {
            journal.record(record()).await;
        }
        assert!(journal.flush(Duration::from_secs(20)).await);
        let report = verify::verify(&journal.chains()[0].segments, None, |_| {}).unwrap();
        assert_eq!(report.records, 40);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_writer_that_panics_again_and_again_ends_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&settings(folder.path())).unwrap();
        for _ in 0..3 {
            panics(&journal).await;
        }
        journal.broken().await;
        let failing = &journal.0.as_ref().unwrap().failing;
        assert!(failing.load(Ordering::SeqCst), "no mutation is let through");
        journal.record(record()).await;
        assert!(!journal.flush(Duration::from_secs(1)).await);
    }
}
