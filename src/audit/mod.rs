//! Audit: one record for every root field of every call, in a chain of hashes on disk.
//!
//! A mutation's intent is on disk before the call goes upstream; everything else follows through a
//! bounded queue. Refused requests are counted (`tally`), and those of strangers have a chain of their
//! own. The files are the record of truth; other sinks follow them.
//!
//! A `createJob` of `acme`'s, for example, leaves two lines (their beginnings and most members left out):
//!
//! ```text
//! ... "unmapped":{"chain":{"seq":41,"prev":"<hash of line 40>"},"phase":"intent","tenant":"acme", ...
//! ... "unmapped":{"chain":{"seq":42,"prev":"<hash of line 41>"},"phase":"outcome","tenant":"acme", ...
//! ```
//!
//! The first is on disk before Move is called: `journal` takes it, `writer` gathers what else has come, `line` prints it,
//! `ledger` appends it to the open segment and syncs, and then the call goes on. The second follows when the answer is
//! on its way. Whoever changes line 41 changes its hash, and line 42 does not go on from it any more: `verify` finds
//! that, and `chain`'s head at `/audit/head`, kept elsewhere, tells if the end was cut off.

mod actor;
mod chain;
mod event;
mod follow;
mod journal;
mod ledger;
mod line;
mod ocsf;
mod otlp;
mod print;
pub mod reader;
mod segments;
mod tally;
pub mod verify;
mod writer;

pub use chain::{Hash, Head, Link};
pub use event::{Event, Notification};
pub use follow::{Sink, SinkReport, Stdout, follow};
pub use journal::{Chain, Journal, Unavailable};
pub use line::write as write_line;
pub use otlp::{Endpoint, Otlp};
pub use segments::{Segments, compress};

use std::path::PathBuf;

use crate::settings::Choice;

/// The keeping of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file that is written; closed segments lie beside it.
    pub file: PathBuf,
    /// The size at which a segment is closed, in bytes.
    pub rotate: u64,
    /// The age at which a segment is closed.
    pub rotate_after: std::time::Duration,
    /// The number of closed segments that are kept, however old.
    pub keep: usize,
    /// The time for which closed segments are kept, however many.
    pub keep_for: std::time::Duration,
    /// The fate of a query whose record finds the queue full.
    pub on_full: OnFull,
}

impl Settings {
    /// The keeping of a command's own records, in files of their own beside these.
    #[must_use]
    pub fn beside(&self, command: &str) -> Self {
        let file = Segments::new(&self.file).named(command).current().to_owned();
        Self { file, ..self.clone() }
    }
}

/// The fate of a query whose record finds the queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// It waits.
    Wait,
    /// It goes on without its record, which is counted as dropped.
    Drop,
}

impl Choice for OnFull {
    const WORDS: &'static [(&'static str, Self)] = &[("wait", Self::Wait), ("drop", Self::Drop)];
}
