//! Places among the changes of a tenant's jobs in Redis.

use std::fmt;

use crate::model::{EntityId, Progress};

/// A place in a tenant's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace(u64, u64);

impl LogPlace {
    /// Reads what [`fmt::Display`] writes, which is as Redis has it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (time, number) = text.split_once('-')?;
        Some(Self(time.parse().ok()?, number.parse().ok()?))
    }
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// A tenant's stream, when somebody begins to follow.
#[derive(Debug)]
pub struct OpenedLog {
    /// The place of the last change.
    pub end: LogPlace,
    /// The moment at which it began, in microseconds since 1970, if that is known.
    pub begins: Option<i64>,
    /// The jobs that are not over, as far as they are known.
    pub known: Vec<(EntityId, Progress)>,
}
