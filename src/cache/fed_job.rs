//! The jobs of a feed.

use crate::model::Progress;

/// A job, as far as a feed knows it.
#[derive(Debug, Default)]
pub(super) struct FedJob {
    /// Its number among those that the feed has come to know.
    pub number: u64,
    /// The newest of what was told of it.
    pub progress: Progress,
    /// As far as it was ever told to those who listen.
    pub furthest: Progress,
    /// Its place in the log.
    pub place: Option<u64>,
    /// The place at which it was written last, or may have been.
    pub written: u64,
    /// The place at which it was seen to be new.
    pub made: u64,
    /// The place at which its state was another one than before.
    pub moved: u64,
    /// True if its next sighting is a change, whatever it shows.
    pub is_news: bool,
    /// True if it is known when it was created.
    pub is_dated: bool,
}
