//! Apps learn of a job's progress without asking again and again.
//!
//! Whoever waits listens at the [`Hub`]. It hears of whatever was read or written through this gateway or another
//! replica, and of what else is told to it; what nobody tells, the [`watch`]er asks Move for, in one place for all
//! who wait.

mod pace;
pub mod watch;

pub use crate::cache::{Hub, Listener};
