//! Caches of jobs and of whole answers, and the lifetimes of what is in them.
//!
//! Every key holds its tenant, and every entry the [`Version`](crate::model::Version) of its job: a
//! write changes the version, and so does a read that is told. So whatever was fetched earlier, or is
//! being fetched still, is never answered again, and nobody sees a job go back in time.

mod responses;
mod in_flight;
mod jobs;
mod lifetime;
mod presigned;
mod shared;
mod versions;

pub use in_flight::{InFlight, Terms};
pub use jobs::{EntityCache, Entry, Key};
pub use lifetime::{Lifetime, Phase, State};
pub use responses::{CachedResponse, ResponseCache, ResponseKey, Root};
pub use shared::{SharedEntry, SharedTier, Stamp};
pub use versions::Versions;
