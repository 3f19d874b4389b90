//! Those who wait for jobs, as far as the questions to Move are concerned.

use crate::model::Caller;

/// Somebody who listens.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Its number.
    pub id: u64,
    /// In whose name Move is asked.
    pub caller: Caller,
    /// The part of the job that it reads.
    pub need: Need,
}

/// The part of a job that those who wait for it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Its state.
    State,
    /// Its progress as well, of which Move does not tell by itself.
    Progress,
}
