//! Calls to Move: one document, one answer, one deadline.

mod accounts;
mod breaker;
mod client;
mod documents;
mod error;
mod features;
mod queue;
mod retry;
mod wire;

pub use breaker::{BreakerSettings, Condition};
pub use client::{Settings, Upstream};
pub use documents::{Call, JobDocument, Listing, NewJob};
pub use error::Error;
pub use retry::RetrySettings;
pub use wire::{FieldError, PathSegment, Reply, read};
