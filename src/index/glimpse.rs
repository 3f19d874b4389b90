//! A look at the file of an index from beside its gateway.

use std::path::Path;

use jiff::Timestamp;
use redb::{DatabaseError, ReadOnlyDatabase};

use super::tables;

/// The state of an index, as far as it can be seen in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glimpse {
    /// There is no file yet.
    NoFile,
    /// A gateway has it open.
    InUse,
    /// It cannot be read: it is damaged, or the gateway that had it was killed and looks after it at its next start.
    Unreadable,
    /// It is being filled.
    Filling {
        /// The jobs in it.
        jobs: u64,
    },
    /// It is complete.
    Complete {
        /// The jobs in it.
        jobs: u64,
        /// The creation of the newest of them.
        to: Timestamp,
    },
}

impl Glimpse {
    /// Looks into a file.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if !path.exists() {
            return Self::NoFile;
        }
        let read = match ReadOnlyDatabase::open(path) {
            Err(DatabaseError::DatabaseAlreadyOpen) => return Self::InUse,
            Err(_) => return Self::Unreadable,
            Ok(database) => tables::read(&database),
        };
        let Ok(Some((jobs, progress))) = read else { return Self::Unreadable };
        match progress.complete_to {
            None => Self::Filling { jobs },
            Some(to) => {
                let to = Timestamp::from_microsecond(to).unwrap_or(Timestamp::UNIX_EPOCH);
                Self::Complete { jobs, to }
            }
        }
    }
}
