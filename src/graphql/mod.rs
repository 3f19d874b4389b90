//! The one executor: an operation's normal form and a plan in, an answer out.
//!
//! How a root field is added: its definition in `types::roots`, its name and facts in `model::RootField`, its
//! call of the heart in [`roots`]. All else reads the schema.

mod answer;
mod errors;
mod execute;
mod place;
mod plan;
mod roots;
mod schemas;
mod write;

pub use answer::{Answer, Completeness};
pub use errors::{ApiError, forbidden};
pub use execute::ChangeEvent;
pub use roots::{Change, Following, following};
pub use schemas::{Schemas, problems_of_hiding, schema_without};

pub use crate::types::sdl;

#[cfg(test)]
mod tests;
