//! Calls to Move: one document, one answer, one deadline.

mod accounts;
mod breaker;
mod client;
mod documents;
mod error;
mod exchange;
mod features;
mod field_error;
mod objects;
mod queue;
mod retry;
mod retry_after;
mod window;
mod wire;

pub use breaker::{BreakerReport, BreakerSettings, BreakerState};
pub use client::{Settings, Upstream, show_breakers};
pub use documents::{Call, Creation, EntityDocument, Listing, of_kind};
pub use error::{Error, ErrorKind};
pub use field_error::{FieldError, PathSegment};
pub use objects::{After, Batch, Described, Entity, EntityPage, Object};
pub use retry::RetrySettings;
pub use wire::{Reply, read};
