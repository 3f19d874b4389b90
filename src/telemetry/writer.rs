//! Standard error, written to by a thread of its own: a log that is read slowly, or by nobody, keeps no request
//! waiting.

use std::io::{self, BufWriter, Write};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait to be written, at most; calls of 600 bytes each make 6 MB of them. Further ones are lost.
const WAITING: usize = 10_000;

/// The bytes that are written at once where lines wait.
const BATCH_BYTES: usize = 64 * 1024;

/// The pause after each write, in which further lines gather: waking the thread costs more than a line does.
const GATHER: Duration = Duration::from_millis(5);

/// The count of the log's lost lines, once it is started.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// The log. Lines that still wait are written when it is dropped, unless that takes longer than a second.
#[derive(Debug)]
#[must_use = "its last lines are written when it is dropped"]
pub struct Log {
    _thread: WorkerGuard,
}

/// Starts the thread.
pub(super) fn start() -> (NonBlocking, Log) {
    let (writer, log) = writing_to(std::io::stderr());
    LOST.get_or_init(|| writer.error_counter());
    (writer, log)
}

fn writing_to(output: impl Write + Send + 'static) -> (NonBlocking, Log) {
    let (writer, thread) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(Gathering(BufWriter::with_capacity(BATCH_BYTES, output)));
    (writer, Log { _thread: thread })
}

/// An output that is flushed now and then. The thread flushes it when no line waits any more, and is woken by the next
/// one; in the pause they gather without that.
struct Gathering<W: Write>(BufWriter<W>);

impl<W: Write> Write for Gathering<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        thread::sleep(GATHER);
        Ok(())
    }
}

/// Returns how many lines were lost, since the process began.
#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
pub(super) fn lines_lost() -> f64 {
    LOST.get().map_or(0.0, |lost| lost.dropped_lines() as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;

    /// An output that takes nothing until it is opened.
    struct Stuck {
        opened: mpsc::Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Opened once, it stays open.
            let _ = self.opened.recv();
            self.taken.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_wait_for_an_output_that_is_stuck_and_further_ones_are_lost_and_counted() {
        const LINE: &[u8] = &[b'x'; 100];
        let (open, opened) = mpsc::channel();
        let taken = Arc::default();
        let (mut writer, log) = writing_to(Stuck { opened, taken: Arc::clone(&taken) });
        let lost = writer.error_counter();
        for _ in 0..2 * WAITING {
            writer.write_all(LINE).unwrap();
        }
        // Besides those that wait, a batch is on its way.
        let at_least = WAITING - BATCH_BYTES / LINE.len() - 1;
        assert!((at_least..=WAITING).contains(&lost.dropped_lines()), "{}", lost.dropped_lines());
        drop((open, log));
        let taken = taken.lock().unwrap().len() / LINE.len();
        assert_eq!(taken + lost.dropped_lines(), 2 * WAITING);
    }
}
