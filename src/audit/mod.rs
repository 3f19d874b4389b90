//! Audit: one record for every root field of every call, in a chain of hashes on disk.
//!
//! A mutation's intent is on disk before the call goes upstream; everything else follows through a
//! bounded queue. Refused requests are counted (`tally`), and those of strangers have a chain of their
//! own. The files are the record of truth; other sinks follow them.

mod chain;
mod event;
mod follow;
mod journal;
mod ledger;
mod line;
mod otlp;
pub mod reader;
mod segments;
mod tally;
pub mod verify;
mod writer;

pub use chain::{Hash, Head, Link};
pub use event::Event;
pub use follow::{Sink, Stdout, follow};
pub use journal::{Chain, Journal, Unavailable};
pub use line::write as write_line;
pub use otlp::{Endpoint, Otlp};
pub use segments::{Segments, compress};

use std::path::PathBuf;

/// The settings of the journal.
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
    /// True if a record of a query may be dropped when the queue is full; otherwise its caller waits.
    pub may_drop: bool,
}
