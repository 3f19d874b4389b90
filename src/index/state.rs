//! The state of an index that is in memory alone.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{AccountFingerprint, JobRow, WalkProgress};

/// The most jobs that are remembered for not having been where the index has them.
const MOST_DOUBTS: usize = 1_000;

/// The most jobs that wait to be taken into the file. More are in doubt.
const MOST_SEEN: usize = 1_000;

/// The knowledge of the file, so that nobody has to read it for that, and what it is to be told.
#[derive(Debug, Default)]
pub struct IndexState {
    /// True if the file is open.
    pub is_open: bool,
    /// True if somebody would be better off with an index.
    pub is_wanted: bool,
    /// The walk's progress, as the file has it.
    pub progress: WalkProgress,
    /// The account that was seen to have these jobs, since the file was opened.
    pub account: Option<AccountFingerprint>,
    /// The moment at which no newer job was missing.
    pub joined_at: Option<Timestamp>,
    /// The number of the page of newest jobs that was taken in last.
    pub joined_page: Option<u64>,
    doubts: BTreeSet<String>,
    seen: Vec<JobRow>,
}

impl IndexState {
    /// The state before a file is open.
    pub fn new(is_wanted: bool) -> Self {
        Self { is_wanted, ..Self::default() }
    }

    /// The state after the file was thrown away.
    pub fn anew(&self) -> Self {
        Self::new(self.is_wanted)
    }

    /// The state of a file that was just opened.
    pub fn opened(&self, progress: WalkProgress) -> Self {
        Self { is_open: true, progress, ..self.anew() }
    }

    /// A job may not be where the index has it.
    pub fn doubt(&mut self, job: &str) {
        if self.doubts.len() < MOST_DOUBTS {
            self.doubts.insert(job.to_owned());
        }
    }

    /// Takes a job that may not be where the index has it.
    pub fn next_doubt(&mut self) -> Option<String> {
        self.doubts.pop_first()
    }

    /// Returns true if there are any.
    pub fn has_doubts(&self) -> bool {
        !self.doubts.is_empty()
    }

    /// A job of an account was seen outside of any page.
    pub fn see(&mut self, account: AccountFingerprint, row: JobRow) {
        if self.account != Some(account) {
            return;
        }
        if self.seen.len() < MOST_SEEN {
            self.seen.push(row);
        } else {
            self.doubt(&row.place.id);
        }
    }

    /// Returns true if any wait to be taken in.
    pub const fn has_seen(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Takes those jobs.
    pub fn take_seen(&mut self) -> Vec<JobRow> {
        std::mem::take(&mut self.seen)
    }
}
