//! The heart: what a tenant may do with jobs. No HTTP and no GraphQL engine in here.
//!
//! Every way in ends in [`OwnedJob`], which only the ownership check makes.

mod create;
mod cursor;
mod envelope;
mod error;
#[cfg(fuzzing)]
#[expect(clippy::expect_used, reason = "a fuzz target panics to say what it found")]
pub mod fuzz;
mod get;
mod list;
mod needs;
mod ownership;
mod present;
mod update;

use std::sync::Arc;

use moka::sync::Cache;

pub use cursor::CursorKey;
pub use error::Error;
pub use list::ListArguments;
pub use ownership::OwnedJob;
pub use update::Update;

use crate::model::{Clock, JobId, TenantId};
use crate::upstream::{FieldError, Upstream};

/// What the operations need besides their caller and arguments.
#[derive(Debug, Clone)]
pub struct Jobs {
    upstream: Arc<Upstream>,
    cursor_key: CursorKey,
    clock: Clock,
    /// Jobs whose owner was checked before. A job never changes its owner.
    proven: Cache<(TenantId, JobId), ()>,
}

/// How many jobs' owners are remembered.
const PROVEN: u64 = 100_000;

/// A value, with errors of some of its fields: partial data stays partial.
#[derive(Debug)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// Errors below it, in Move's order.
    pub errors: Vec<FieldError>,
}

impl Jobs {
    /// Binds the operations to an upstream, the key that seals cursors, and a clock.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, cursor_key: CursorKey, clock: Clock) -> Self {
        Self { upstream, cursor_key, clock, proven: Cache::new(PROVEN) }
    }
}
