//! The objects below the root fields, resolved field by field: most callers want little of them.

mod endpoint;
mod file;
mod job;
mod page;
mod take;
mod volume;

use std::cell::RefCell;

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::JsonValue;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::presign::Signer;
use super::store::Account;
use super::store::progress::Pace;
use super::{SandboxOptions, State};

pub use endpoint::EndpointObject;
pub use file::{FileObject, ShareCodeObject, THUMBNAIL};
pub use job::JobObject;
pub use page::{Items, PageObject};
pub use take::TakeObject;
pub use volume::VolumeObject;

/// The value of a field, or its error.
pub type Resolved<'a> = Result<ResolvedValue<'a>, FieldError>;

/// The account and its surroundings: all that resolvers know besides the object itself.
pub struct World<'a> {
    /// The sandbox's behaviour.
    pub options: &'a SandboxOptions,
    /// The signer of URLs.
    pub signer: &'a Signer,
    /// The time of day.
    pub now: Timestamp,
    /// The account that is asked.
    pub account: &'a RefCell<Account>,
}

impl World<'_> {
    /// The time and the pace of work.
    pub const fn pace(&self) -> Pace {
        Pace { now: self.now, step: self.options.step }
    }

    /// Resolves the owner of every object in the account.
    pub fn client(&self) -> ResolvedValue<'_> {
        json_value("Client", &self.account.borrow().client)
    }
}

/// Resolves a text, or null.
pub fn optional<'a>(text: Option<&str>) -> ResolvedValue<'a> {
    ResolvedValue::leaf(text.map_or(JsonValue::Null, JsonValue::from))
}

/// Resolves `JobProgress`.
pub fn progress<'a>((state, percentage): (State, i32)) -> ResolvedValue<'a> {
    let value = json!({"state": state.name(), "percentageComplete": percentage});
    json_value("JobProgress", &value)
}

/// An object that is plain JSON, with everything below it.
pub struct JsonObject {
    type_name: String,
    value: Value,
}

impl ObjectValue for JsonObject {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Resolved<'a> {
        let type_name = info.field_definition().ty.inner_named_type().as_str();
        Ok(json_value(type_name, &self.value[info.field_name()]))
    }
}

/// Resolves plain JSON as a value of a type.
pub fn json_value<'a>(type_name: &str, value: &Value) -> ResolvedValue<'a> {
    match value {
        Value::Object(_) => ResolvedValue::object(JsonObject {
            type_name: type_name.to_owned(),
            value: value.clone(),
        }),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| json_value(type_name, item)).collect();
            ResolvedValue::list(items)
        }
        // The engine wants a Float to be one, and callers write whole numbers too.
        Value::Number(number) if type_name == "Float" => {
            ResolvedValue::leaf(number.as_f64().map_or(JsonValue::Null, JsonValue::from))
        }
        leaf => ResolvedValue::leaf(JsonValue::from(leaf.clone())),
    }
}
