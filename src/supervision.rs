//! Supervision of background tasks: one that panics is told, counted and started again; one that does
//! so again and again ends the process, because a gateway whose rules or keys stand still is worse
//! than one that starts anew.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::telemetry::metrics;

/// The pause before a task starts again; each failure in a row doubles it.
const PAUSE: Duration = Duration::from_secs(1);

/// The number of failures in a row that are too many: the sixth comes half a minute after the first.
const TOO_MANY: u32 = 6;

/// A task that ran this long was well: its next failure is a first one.
const WELL_AFTER: Duration = Duration::from_mins(10);

/// A background task failed too often in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the background task `{0}` failed {TOO_MANY} times in a row")]
pub struct GaveUp(&'static str);

/// Starts background tasks and watches over them.
#[derive(Debug, Clone)]
pub struct Supervisor(Arc<watch::Sender<Option<GaveUp>>>);

/// A background task, which ends when this is dropped.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Supervisor {
    /// Runs a task that is to go on for ever: `run` is called again whenever its future panics or
    /// ends. Needs a runtime.
    pub fn start<F, R>(&self, name: &'static str, run: F) -> Task
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Task(tokio::spawn(self.clone().keep_going(name, run)))
    }

    /// Resolves when a task failed too often; the process should end then.
    pub async fn gave_up(&self) -> GaveUp {
        let mut failures = self.0.subscribe();
        match failures.wait_for(Option::is_some).await.map(|failure| *failure) {
            Ok(Some(failure)) => failure,
            // The sender lives as long as `self`, and the value is one.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    async fn keep_going<F, R>(self, name: &'static str, mut run: F)
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            // A task of its own, which ends with this one, so that its panic ends there.
            let mut attempt = JoinSet::new();
            attempt.spawn(run());
            let problem = match attempt.join_next().await {
                Some(Err(error)) => message(error),
                Some(Ok(())) | None => "it ended".to_owned(),
            };
            metrics::background_task_failed(name);
            failures = if began.elapsed() >= WELL_AFTER { 1 } else { failures + 1 };
            if failures >= TOO_MANY {
                tracing::error!(task = name, problem, "a background task failed too often");
                self.0.send_replace(Some(GaveUp(name)));
                return;
            }
            let pause = PAUSE * 2_u32.pow(failures - 1);
            tracing::error!(
                task = name,
                problem,
                ?pause,
                "a background task failed and starts again"
            );
            sleep(pause).await;
        }
    }
}

/// Returns the last words of a task that failed: the text of its panic.
#[must_use]
pub fn message(error: JoinError) -> String {
    error.try_into_panic().map_or_else(|_| "it was stopped".to_owned(), panic_text)
}

/// The text of a panic.
#[must_use]
pub fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("a panic", |text| text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::timeout;

    use super::*;

    /// A task that panics the first `failures` times, each after `run_for`.
    fn failing(
        supervisor: &Supervisor,
        failures: usize,
        run_for: Duration,
    ) -> (Task, Arc<AtomicUsize>) {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        let task = supervisor.start("test", move || {
            let start = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(run_for).await;
                assert!(start >= failures, "a bug");
                std::future::pending::<()>().await;
            }
        });
        (task, starts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_starts_again_after_a_pause_and_is_counted() {
        let supervisor = Supervisor::default();
        let (_task, starts) = failing(&supervisor, 3, Duration::ZERO);
        let gave_up = timeout(Duration::from_mins(5), supervisor.gave_up()).await;
        assert!(gave_up.is_err(), "it runs again");
        assert_eq!(starts.load(Ordering::SeqCst), 4);
        let text = metrics::prometheus_text();
        assert!(
            text.contains("jobs_gateway_background_task_failures_total{task=\"test\"}"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_again_and_again_is_given_up_within_a_minute() {
        let supervisor = Supervisor::default();
        let (_task, starts) = failing(&supervisor, usize::MAX, Duration::ZERO);
        let gave_up = timeout(Duration::from_mins(1), supervisor.gave_up()).await;
        assert_eq!(gave_up, Ok(GaveUp("test")));
        assert_eq!(starts.load(Ordering::SeqCst), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_lie_far_apart_do_not_add_up() {
        let supervisor = Supervisor::default();
        let (_task, starts) = failing(&supervisor, 20, WELL_AFTER);
        let gave_up = timeout(Duration::from_hours(10), supervisor.gave_up()).await;
        assert!(gave_up.is_err());
        assert_eq!(starts.load(Ordering::SeqCst), 21);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_is_as_bad_as_one_that_panics() {
        let supervisor = Supervisor::default();
        let _task = supervisor.start("test", async || {});
        let gave_up = timeout(Duration::from_mins(1), supervisor.gave_up()).await;
        assert_eq!(gave_up, Ok(GaveUp("test")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_dropped_ends_and_is_no_failure() {
        let supervisor = Supervisor::default();
        let alive = Arc::new(());
        let held = Arc::downgrade(&alive);
        let task = supervisor.start("test", move || {
            let alive = Arc::clone(&alive);
            async move {
                std::future::pending::<()>().await;
                drop(alive);
            }
        });
        sleep(Duration::from_secs(1)).await;
        drop(task);
        sleep(Duration::from_secs(1)).await;
        assert!(held.upgrade().is_none(), "nothing of it is left");
        assert_eq!(*supervisor.0.borrow(), None);
    }
}
