//! Lines of refused calls: the log has a few of them, and a number instead of the others, so that nobody
//! can fill it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::line::TARGET;
use crate::model::{CallRecord, RefusedCaller};

/// The number of refused calls of strangers, and that of holders of credentials, which have a line in a
/// [`WINDOW`].
const LINES: u32 = 60;

/// The time that [`LINES`] is about.
const WINDOW: Duration = Duration::from_mins(1);

static STRANGERS: Mutex<Window> = Mutex::new(Window::new());
static HOLDERS: Mutex<Window> = Mutex::new(Window::new());

/// Lines of one kind of caller.
#[derive(Debug)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    /// Calls without a line since the last report.
    silent: u64,
}

impl Window {
    const fn new() -> Self {
        Self { began: None, lines: 0, silent: 0 }
    }

    fn takes(&mut self, now: Instant) -> bool {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            (self.began, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.silent += 1;
            return false;
        }
        self.lines += 1;
        true
    }
}

/// Returns true if a call gets a line of its own: all but refused ones, when there are many.
pub fn may_log(record: &CallRecord) -> bool {
    let window = match record.refused_caller() {
        None => return true,
        Some(RefusedCaller::Stranger) => &STRANGERS,
        Some(RefusedCaller::Holder(..)) => &HOLDERS,
    };
    window.lock().unwrap_or_else(PoisonError::into_inner).takes(record.began + record.took)
}

/// Returns true if a stranger who was refused at the operators' listener gets a line of its own.
pub fn may_log_stranger() -> bool {
    STRANGERS.lock().unwrap_or_else(PoisonError::into_inner).takes(Instant::now())
}

/// Logs how many refused calls had no line since the last time. To be called now and then.
pub fn report() {
    for (callers, window) in [("strangers", &STRANGERS), ("tenants", &HOLDERS)] {
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = std::mem::take(&mut window.silent);
        drop(window);
        if calls > 0 {
            tracing::info!(target: TARGET, calls, callers, "refused calls without a line each");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_lines_and_the_next_one_again() {
        let (mut window, now) = (Window::new(), Instant::now());
        let lines = (0..1_000).filter(|_| window.takes(now)).count();
        assert_eq!((lines, window.silent), (60, 940));
        assert!(window.takes(now + WINDOW));
    }
}
