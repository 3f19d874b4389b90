//! Calls to Move: one document, one answer, one deadline.

mod client;
mod documents;
mod error;
mod features;
mod queue;
mod wire;

pub use client::{Settings, Upstream};
pub use documents::{Call, Listing, NewJob};
pub use error::Error;
pub use wire::{FieldError, PathSegment, Reply};
