//! Files of settings: YAML whose every value knows its place, read with all findings at once.

mod diagnostic;
mod reader;
mod schema;
mod sources;
pub mod values;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Place, Severity, Source};
pub use reader::{Context, Form, Read, Section, nearest};
pub(crate) use schema::describe;
pub use schema::{Described, build as schema, table, without_references};
pub use sources::{Env, Fingerprint, Sources};
pub use yaml::{Key, Node, Value, parse};
