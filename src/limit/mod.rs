//! May this be done now? Rates (GCRA) per tenant, per credential and per operation; requests at
//! once per tenant.

mod bucket;
mod settle;
mod shared;
mod slot;
mod strangers;
mod streams;
mod tenant;

pub use bucket::{Bucket, BucketScope, Remaining};
pub use shared::Limiter;
pub use slot::{Slot, UNFINISHED_BODIES, UNWRITTEN_ANSWERS};
pub use strangers::{Stranger, Strangers};
pub use streams::StreamPlace;
pub use tenant::{Charge, Limits, TenantLimits};

use std::sync::Arc;
use std::time::Duration;

use crate::model::Decision;

/// The right to do one request now. Only this module makes one.
#[derive(Debug)]
pub struct Permit {
    /// The buckets that were charged, and what is left in each.
    levels: Vec<(Arc<Bucket>, Remaining)>,
    slot: Slot,
}

/// Why a request may not be done now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A rate is used up.
    #[error("The limit of {name} ({rate}) is used up. Come back in {} s.", seconds(*.wait))]
    Rate {
        /// Which.
        name: Box<str>,
        /// The rate as the policy has it.
        rate: Box<str>,
        /// The moment at which there is enough again.
        wait: Duration,
        /// The bucket's level, for the answer's head.
        level: Remaining,
        /// The bucket's policy, for the answer's head.
        policy: Box<str>,
    },
    /// The request costs more than its bucket ever holds.
    #[error(
        "This request costs {cost} units of {name}, of which there are never more than {burst}. Ask for less at once."
    )]
    NeverEnough {
        /// Which.
        name: Box<str>,
        /// The cost of the request.
        cost: u32,
        /// The size of the bucket.
        burst: u32,
    },
    /// The request costs more than one request may.
    #[error("This request costs {cost} units; one request may cost {max}. Ask for less at once.")]
    TooCostly {
        /// The cost of the request.
        cost: u32,
        /// The greatest cost of one request.
        max: u32,
    },
    /// The tenant's requests at once are all under way.
    #[error(
        "{max} requests are under way, which is as many as there may be at once. Come back in 1 s."
    )]
    InFlight {
        /// The number that there may be.
        max: u32,
    },
    /// The tenant's long polls and streams are all open.
    #[error(
        "{max} streams and long polls are open, which is as many as there may be at once. End one first."
    )]
    Streams {
        /// The number that there may be.
        max: u32,
    },
    /// All that one connection may have are open.
    #[error(
        "{max} streams are open on this connection, which is as many as there may be. End one first."
    )]
    Connection {
        /// The number that there may be.
        max: usize,
    },
    /// Everybody's are.
    #[error("The gateway has as many streams and long polls open as it may. Come back in 1 s.")]
    AllStreams,
    /// The tenant's unfinished request bodies take too much memory together.
    #[error(
        "The request bodies under way take {max} bytes, which is as much as they may. Come back in 1 s."
    )]
    Bodies {
        /// The number of bytes they may take.
        max: usize,
    },
    /// The tenant's answers that are not written yet take too much memory together.
    #[error(
        "The answers that wait to be read take {max} bytes, which is as much as they may. Read the answers that are waiting."
    )]
    Answers {
        /// The number of bytes they may take.
        max: usize,
    },
}

impl Permit {
    /// Returns what is left in the buckets, and the request's place among its tenant's.
    #[must_use]
    pub fn into_parts(self) -> (Vec<(Arc<Bucket>, Remaining)>, Slot) {
        (self.levels, self.slot)
    }
}

impl LimitError {
    /// As records and metrics know it.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match self {
            Self::Rate { .. } | Self::NeverEnough { .. } => Decision::RateLimited,
            Self::TooCostly { .. } => Decision::TooCostly,
            Self::InFlight { .. }
            | Self::Streams { .. }
            | Self::Connection { .. }
            | Self::AllStreams
            | Self::Bodies { .. }
            | Self::Answers { .. } => Decision::TooManyInFlight,
        }
    }

    /// Returns the time to wait before it is worth another try; `None` if waiting does not help.
    #[must_use]
    pub const fn wait(&self) -> Option<Duration> {
        match self {
            Self::Rate { wait, .. } => Some(*wait),
            Self::InFlight { .. }
            | Self::Streams { .. }
            | Self::Connection { .. }
            | Self::AllStreams
            | Self::Bodies { .. }
            | Self::Answers { .. } => Some(Duration::from_secs(1)),
            Self::NeverEnough { .. } | Self::TooCostly { .. } => None,
        }
    }
}

/// Whole seconds, at least one, never too few.
#[must_use]
pub const fn seconds(time: Duration) -> u64 {
    let whole = time.as_secs() + (time.subsec_nanos() > 0) as u64;
    if whole == 0 { 1 } else { whole }
}
