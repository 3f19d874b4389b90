//! The index of jobs: which tenant has which jobs of the shared account, in the order of a listing. Takes and volumes have
//! the same, each kind an [`Index`] of its own; what is said of jobs here holds for them.
//!
//! It is derived data and no authority. It says which ids to look at, and what Move said of them last; whose they are is
//! read out of that each time. An account has these jobs, for example:
//!
//! | created | id | owner | take |
//! |---|---|---|---|
//! | 09:00 | `job-a` | acme | `take-1` |
//! | 09:01 | `job-b` | globex | `take-2` |
//! | 09:02 | `job-c` | acme | `take-1` |
//!
//! A listing of acme's, newest first, is the rows of acme from the end: `job-c`, `job-a`, however many of globex's lie
//! between. One walk through the account fills the index (the backfill), and the same walk goes on for ever and slowly,
//! to notice what was changed or deleted past the gateway. Until the first walk is at its end, nothing is answered
//! from it. A file that cannot be read is thrown away and filled anew.

mod changes;
mod file;
mod glimpse;
mod knowledge;
pub mod notes;
mod progress;
mod reads;
mod scan;
mod state;
mod tables;
mod writes;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use file::{Extended, Index, IndexLost, NewestPage};
pub use glimpse::Glimpse;
pub use progress::{WalkProgress, WalkStep};

pub use crate::redb_file::OpenError;

use crate::model::TenantId;
use crate::settings;
use crate::settings::Optional;
use crate::settings::forms::{Boolean, FilePath, UnitsPerTime};

settings! {
    /// The index of jobs, by which listings find what is their tenant's.
    pub struct IndexSettings: Default {
        /// The file of the index: derived data, made anew if it is lost; one process's alone. Those of takes and volumes
        /// lie beside it.
        file: Optional<FilePath> | "`index.redb`, beside the file of idempotency keys",
        /// Calls to Move, at most, while the index is filled.
        calls: UnitsPerTime = (NonZeroU32::MIN.saturating_add(1), Duration::from_secs(1)),
        /// `false`: listings read all pages of the account, as without an index.
        enabled: Boolean = true,
    }
}

impl IndexSettings {
    /// The least time between two calls of the backfill.
    #[must_use]
    pub fn pause(&self) -> Duration {
        let (calls, per) = self.calls;
        per / calls.get()
    }
}

/// The place of a job in listings. Move orders by creation alone; among jobs of one moment the id decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobPlace {
    /// The moment of its creation, in microseconds since 1970.
    #[serde(rename = "c")]
    pub created: i64,
    /// Its id.
    #[serde(rename = "i")]
    pub id: String,
}

/// The owner that a job is filed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filed {
    /// The tenant that its envelope names.
    Of(TenantId),
    /// Nobody: it has no envelope.
    Nobody,
    /// Its metadata could not be read: it may be anybody's.
    Unknown,
    /// Its metadata could not be read, and neither when it was asked for again: it is shown to nobody.
    Unreadable,
}

impl Filed {
    /// Returns it as the tables have it: no tenant has such a name as the others.
    fn as_str(&self) -> &str {
        match self {
            Self::Of(tenant) => tenant.as_str(),
            Self::Nobody => "",
            Self::Unknown => "?",
            Self::Unreadable => "!",
        }
    }
}

/// A job of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its place.
    pub place: JobPlace,
    /// Its owner.
    pub owner: Filed,
    /// The id of its take, or nothing.
    pub take: String,
    /// The news of it; what is known already stays, if it is `None`.
    pub known: Option<KnownJob>,
}

/// Move's words about a job, as far as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownJob {
    /// The moment at which it began to be asked for, in microseconds since 1970: nothing in the text is older.
    pub seen: i64,
    /// The job as Move sent it, JSON.
    pub text: Box<str>,
}

/// The judgement on a job by what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is wanted.
    Wanted,
    /// It is not.
    NotWanted,
    /// It has to be asked for.
    Open,
}

/// Judges a job by the moment at which it was seen (in microseconds since 1970) and its text.
pub type Judge = Box<dyn Fn(i64, &str) -> Judgement + Send>;

/// A question for places.
pub struct PlaceQuery {
    /// The owners whose jobs are wanted.
    pub owners: Vec<Filed>,
    /// The take whose jobs are wanted; all, if it is `None`.
    pub take: Option<String>,
    /// True if the oldest come first.
    pub ascending: bool,
    /// The place behind which to begin.
    pub after: Option<JobPlace>,
    /// The moments, in microseconds since 1970, later than which and earlier than which they were created.
    pub created: (Option<i64>, Option<i64>),
    /// The most places.
    pub most: usize,
    /// The most rows that are gone through for each owner; long jobs that a filter reads count as several.
    pub most_rows: usize,
    /// The judge of jobs; all are wanted, if there is none.
    pub judge: Option<Judge>,
    /// True if those that are wanted are only counted.
    pub is_count: bool,
}

/// The answer to a question.
#[derive(Debug, Default)]
pub struct Found {
    /// The places, in the order of the listing.
    pub places: Vec<FoundPlace>,
    /// The number of those that were only counted.
    pub count: usize,
    /// The number of rows that were looked through; long jobs that a filter read count as several.
    pub rows: usize,
    /// The last place that was looked at, if there are more rows than one question may go through.
    pub cut: Option<JobPlace>,
    /// The number of changes before it: see [`Index::changes`].
    pub changes: u64,
}

/// A place that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPlace {
    /// The place.
    pub place: JobPlace,
    /// True if it may be anybody's.
    pub is_unknown: bool,
    /// The knowledge of the job.
    pub known: Option<KnownJob>,
}

/// An account and its key, hashed.
pub type AccountFingerprint = [u8; 32];
