//! The thread that writes: what a journal's queue holds, into its ledgers.

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::event::{Event, Intent, JournalNote, Notification};
use super::ledger::Ledger;
use super::tally::{Summaries, Tally};
use crate::model::CallRecord;
use crate::telemetry::metrics;

/// The number of records that are written at once.
const BATCH: usize = 1_024;

/// The time for which the records of queries are gathered.
const GATHER: Duration = Duration::from_millis(1);

/// The time for which the writer waits after a failure before it tries again what it could not write.
const AGAIN: Duration = Duration::from_millis(250);

/// The number of panics in a row that end the writer, and with it the process.
const PANICS: u32 = 3;

/// The time for which the writer works until a panic is the first in a row again.
const LASTING: Duration = Duration::from_mins(1);

/// An item of the queue.
pub enum Message {
    /// A call that is over.
    Call(Box<CallRecord>),
    /// A mutation that is about to be sent; its caller waits until that is on disk.
    Intent(Box<Intent>, oneshot::Sender<()>),
    /// An event of Move's that was looked into.
    Notification(Box<Notification>),
    /// Something about the files.
    Note(Box<JournalNote>),
    /// Somebody waits until everything before this is on disk.
    Flush(oneshot::Sender<()>),
    /// It is time to tell what was counted.
    Summarize,
    #[cfg(test)]
    Panic,
}

/// Opens the ledgers; again after a panic, as nobody knows in what state that left them.
pub type Open = Box<dyn Fn() -> io::Result<Ledgers> + Send>;

/// The two chains of a journal.
pub struct Ledgers {
    /// The records of holders of credentials.
    pub calls: Ledger,
    /// The records of strangers. Nothing depends on their being written.
    pub strangers: Ledger,
}

/// The writer between two messages.
pub struct Writer {
    ledgers: Ledgers,
    tally: Arc<Tally>,
    /// Set while records cannot be written: no mutation is let through.
    failing: Arc<AtomicBool>,
    work: Work,
}

/// The messages that were taken from the queue and are not written yet.
#[derive(Default)]
struct Work {
    /// In reverse.
    taken: Vec<Message>,
    calls: Vec<Event>,
    strangers: Vec<Event>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Writer {
    pub fn new(ledgers: Ledgers, tally: Arc<Tally>, failing: Arc<AtomicBool>) -> Self {
        Self { ledgers, tally, failing, work: Work::default() }
    }

    /// Writes until the queue is closed, also after a panic. After several in a row it gives up and
    /// closes the queue.
    pub fn run(mut self, open: &Open, mut messages: mpsc::Receiver<Message>) {
        let mut panics = 0;
        loop {
            let began = Instant::now();
            let ran = catch_unwind(AssertUnwindSafe(|| self.write_all(&mut messages)));
            if ran.is_ok() {
                return;
            }
            panics = if began.elapsed() < LASTING { panics + 1 } else { 1 };
            self.fails(&"the writer panicked");
            self.work.waiting.clear();
            if panics == PANICS {
                let lost = self.work.calls.len() + self.work.taken.len() + messages.len();
                tracing::error!(lost, "the audit writer panicked again and again: it ends");
                return;
            }
            thread::sleep(AGAIN);
            self.ledgers = opened(open);
        }
    }

    fn write_all(&mut self, messages: &mut mpsc::Receiver<Message>) {
        // What a panic left.
        self.work_off();
        loop {
            // Where they are kept, a panic does not lose them.
            let taken = &mut self.work.taken;
            if messages.blocking_recv_many(taken, BATCH) == 0 {
                return;
            }
            // Nobody waits for the records of queries: they are written many at once. Whoever waits
            // wakes this thread.
            let are_calls = taken.iter().all(|message| matches!(message, Message::Call(_)));
            if are_calls && taken.len() < BATCH {
                thread::park_timeout(GATHER);
                while taken.len() < messages.max_capacity()
                    && let Ok(message) = messages.try_recv()
                {
                    taken.push(message);
                }
            }
            taken.reverse();
            self.work.calls.reserve(self.work.taken.len());
            self.work_off();
        }
    }

    fn work_off(&mut self) {
        while let Some(message) = self.work.taken.pop() {
            self.take(message);
        }
        self.write();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Call(record) => self.work.calls.extend(Event::of_call(&record)),
            Message::Intent(intent, done) => {
                self.work.calls.push(Event::Intent(*intent));
                self.work.waiting.push(done);
            }
            Message::Notification(event) => self.work.calls.push(Event::Notification(event)),
            Message::Note(note) => self.work.calls.push(Event::Journal(*note)),
            Message::Flush(done) => {
                self.summarize();
                self.work.waiting.push(done);
            }
            Message::Summarize => self.summarize(),
            #[cfg(test)]
            Message::Panic => panic!("a test asked for it"),
        }
    }

    fn summarize(&mut self) {
        let Summaries { holders, strangers } = self.tally.summaries();
        self.work.calls.extend(holders);
        self.work.strangers.extend(strangers);
    }

    /// Writes what was taken, and tries again until it can be written. At the first failure the
    /// mutations that wait are refused; their intents are written all the same, and their outcomes say
    /// it.
    fn write(&mut self) {
        while let Err(error) = self.write_calls() {
            self.fails(&error);
            self.work.waiting.clear();
            if is_full(&error) && !self.ledgers.strangers.make_room() {
                self.ledgers.calls.make_room();
            }
            thread::sleep(AGAIN);
        }
        self.work.calls.clear();
        if self.failing.swap(false, Ordering::SeqCst) {
            tracing::info!("audit records can be written again");
            metrics::audit_writable(true);
        }
        self.write_strangers();
        for done in mem::take(&mut self.work.waiting) {
            let _ = done.send(());
        }
        for ledger in [&mut self.ledgers.calls, &mut self.ledgers.strangers] {
            if let Err(error) = ledger.rotate() {
                tracing::error!(%error, "the audit file cannot be rotated");
            }
        }
    }

    fn write_calls(&mut self) -> io::Result<()> {
        let Work { calls, waiting, .. } = &self.work;
        if calls.is_empty() && waiting.is_empty() {
            return Ok(());
        }
        self.ledgers.calls.append(calls, !waiting.is_empty())
    }

    /// Writes the summaries of strangers' requests. Those that cannot be written are lost: they may
    /// not keep anybody else's waiting.
    fn write_strangers(&mut self) {
        let events = mem::take(&mut self.work.strangers);
        if events.is_empty() {
            return;
        }
        if let Err(error) = self.ledgers.strangers.append(&events, false) {
            tracing::warn!(%error, lost = events.len(), "records of strangers cannot be written");
        }
    }

    /// Lets no mutation through from now on.
    fn fails(&self, error: &dyn std::fmt::Display) {
        if !self.failing.swap(true, Ordering::SeqCst) {
            tracing::error!(%error, "audit records cannot be written");
            metrics::audit_writable(false);
        }
    }
}

/// The ledgers, as soon as they can be opened.
fn opened(open: &Open) -> Ledgers {
    loop {
        match open() {
            Ok(ledgers) => return ledgers,
            Err(error) => {
                tracing::error!(%error, "the audit files cannot be opened again");
                thread::sleep(AGAIN);
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
