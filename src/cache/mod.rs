//! Caches of entities and of whole answers, and the lifetimes of what is in them.
//!
//! Every key holds its tenant, and every entry the [`Version`](crate::model::Version) of its entity: a
//! write changes the version, and so does a read that is told. So whatever was fetched earlier, or is
//! being fetched still, is never answered again, and nobody sees anything go back in time.
//!
//! `acme` reads `job-1`, for example, while it is changed:
//!
//! | moment | what happens | version of `job-1` | entry |
//! |---|---|---|---|
//! | 0 ms | A asks; nothing is cached, and a fetch begins | 7 | none |
//! | 10 ms | B asks for no more than A: it joins the fetch | 7 | none |
//! | 20 ms | the fetch lands, and its job is told to A and B | 8 | of version 8 |
//! | 30 ms | C gets the entry | 8 | of version 8 |
//! | 40 ms | a second fetch begins, as D wants more fields | 8 | of version 8 |
//! | 50 ms | `updateJob` is about to be sent | 9 | void |
//! | 60 ms | the second fetch lands: D gets its job, and nobody else, as it began before the write | 9 | none |

mod claim;
mod entities;
mod fed_job;
mod feed;
mod feed_log;
mod feed_place;
mod hub;
mod in_flight;
mod key;
mod lifetime;
mod log_place;
mod presigned;
mod responses;
mod shared;
mod shared_feed;
mod sightings;
mod touched;
mod turn;
mod versions;
mod waiting;

pub use claim::CLAIMED;
pub use entities::{EntityCache, Entry};
pub use feed::FeedStep;
pub use feed_place::FeedChange;
pub use hub::{Due, FeedListener, FollowedTenant, Hub, Listener, Pace};
pub use in_flight::{InFlight, Terms};
pub use key::Key;
pub use lifetime::{Lifetime, Phase, State};
pub use log_place::{LogPlace, OpenedLog};
pub use responses::{CachedResponse, KeptFrom, ResponseCache, ResponseKey, Root};
pub use shared::{SharedEntry, SharedTier, Stamp};
pub use sightings::Sightings;
pub use touched::{Touched, TouchedJobs};
pub use turn::SharedTurn;
pub use versions::{FetchSpan, Versions};
pub use waiting::Need;

/// The size of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSize {
    /// The number of its entries.
    pub entries: u64,
    /// Their approximate size, in bytes.
    pub bytes: u64,
}
