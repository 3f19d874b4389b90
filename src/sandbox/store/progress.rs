//! The states of what Move works on, jobs and volumes, by the clock.

use std::time::Duration;

use jiff::Timestamp;

/// A job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Submitted.
    NotStarted,
    /// Sent to a server.
    Started,
    /// Running there.
    Running,
    /// Some output exists.
    Finished,
    /// No output came of it.
    Failed,
}

impl State {
    /// As Move writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::Started => "STARTED",
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
        }
    }

    /// Returns whether the files of its outputs are known, though perhaps not there yet.
    #[must_use]
    pub const fn has_outputs(self) -> bool {
        matches!(self, Self::Running | Self::Finished)
    }
}

/// The time at which states are asked for, and the pace at which they change.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time of day.
    pub now: Timestamp,
    /// The time spent in each state but the last.
    pub step: Duration,
}

impl Pace {
    /// The state of work submitted at `created`, and how much of it is done, from 0 to 100.
    pub fn progress(self, created: Timestamp, pinned: Option<State>, fails: bool) -> (State, i32) {
        let elapsed = self.now.duration_since(created).as_millis().max(0);
        let step = i128::try_from(self.step.as_millis()).unwrap_or(i128::MAX).max(1);
        let state = pinned.unwrap_or(match elapsed / step {
            0 => State::NotStarted,
            1 => State::Started,
            2 => State::Running,
            _ if fails => State::Failed,
            _ => State::Finished,
        });
        let percentage = match state {
            State::NotStarted | State::Started => 0,
            State::Running | State::Failed => {
                // Never 100: that is for what is finished.
                let running = elapsed.saturating_sub(step.saturating_mul(2));
                i32::try_from(running.saturating_mul(100) / step).unwrap_or(i32::MAX).clamp(0, 99)
            }
            State::Finished => 100,
        };
        (state, percentage)
    }
}
