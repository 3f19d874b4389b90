//! What is known of jobs, and for how long it may be said again.
//!
//! Every key holds its tenant, and every entry the [`Version`](crate::model::Version) that its
//! job's data had before it was fetched: a write changes the version, so whatever was fetched
//! earlier, or is being fetched still, is never answered again.

mod answers;
mod flights;
mod jobs;
mod lifetime;
mod presigned;
mod shared;
mod versions;

pub use answers::{Answers, Question, Root, StoredAnswer};
pub use flights::Flights;
pub use jobs::{Entry, JobCache, Key};
pub use lifetime::{Lifetime, Phase, State};
pub use shared::{SharedEntry, SharedTier, Stamp};
pub use versions::Versions;
