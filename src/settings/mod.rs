//! Files of settings: YAML whose every value knows its place, read with all findings at once.
//!
//! A key is declared once, by the room that uses it:
//!
//! ```
//! use jobs_gateway::settings::forms::{Bytes, PositiveTime};
//! use std::time::Duration;
//!
//! jobs_gateway::settings! {
//!     /// Requests as they come in.
//!     pub struct Intake: Default {
//!         /// Longest request body.
//!         max_body: Bytes = 256 << 10,
//!         /// The time one request may take.
//!         request_timeout: PositiveTime = Duration::from_secs(15),
//!     }
//! }
//!
//! assert_eq!(Intake::default().max_body, 262_144);
//! ```
//!
//! That is the struct, its defaults, its reader with all diagnostics, its part of the JSON Schema and its
//! rows in docs/. A form ([`Form`]) says how a value is written; [`forms`] has those that several
//! files use.

mod context;
mod declare;
mod diagnostic;
mod form;
pub mod forms;
mod keys;
mod kind;
mod schema;
mod section;
mod shapes;
mod sources;
pub mod values;
mod yaml;

pub use context::Context;
pub use declare::{Settings, unset};
pub use diagnostic::{Diagnostic, Diagnostics, KEY_PREFIX, Severity, Source, Span};
pub use form::{Choice, Form, KeyText, OneOf, Scalar};
pub use keys::{DeclaredKey, Keys};
pub use kind::ValueKind;
pub use schema::{build as schema, table, without_references};
pub use section::{Section, nearest};
pub use shapes::{Flat, Item, Items, List, Optional, SomeOf, Spanned, SpannedList, Sub};
pub use sources::{Env, Fingerprint, Sources};
pub use yaml::{Key, Node, Value, parse};
