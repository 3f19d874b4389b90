//! The objects below the root fields, resolved field by field: most callers want little of them.

use std::sync::Arc;

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::JsonValue;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::resolve::fail;
use super::store::{Account, Job, State};
use super::{SandboxOptions, presign};

/// What resolvers need to know besides the object itself.
pub struct World<'a> {
    /// How the sandbox behaves.
    pub options: &'a SandboxOptions,
    /// The time of day.
    pub now: Timestamp,
    /// The account's `Client`: the owner of every object in it.
    pub client: Arc<Value>,
}

/// `JobsPage`
pub struct Page<'a> {
    /// How many jobs were asked for.
    pub first: i64,
    /// The cursor of the next page.
    pub after: Option<String>,
    /// The jobs.
    pub jobs: Vec<JobObject<'a>>,
}

impl ObjectValue for Page<'_> {
    fn type_name(&self) -> &'static str {
        "JobsPage"
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "first" => Ok(ResolvedValue::leaf(self.first)),
            "after" => Ok(optional(self.after.clone())),
            "items" => Ok(ResolvedValue::list(
                self.jobs.iter().map(|job| ResolvedValue::object(job.clone())),
            )),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

fn optional<'a>(text: Option<String>) -> ResolvedValue<'a> {
    ResolvedValue::leaf(text.map_or(JsonValue::Null, JsonValue::from))
}

/// `Job`
#[derive(Clone)]
pub struct JobObject<'a> {
    world: &'a World<'a>,
    job: Job,
    take: Option<Arc<Value>>,
}

impl<'w> JobObject<'w> {
    /// A job with its take, if there still is one.
    pub fn new(world: &'w World<'w>, account: &Account, job: Job) -> Self {
        let take = account.take(&job.take);
        Self { world, job, take }
    }

    /// The files that exist so far: from RUNNING on they are known, when FINISHED they can be read.
    fn outputs(&self, state: State) -> Value {
        let Job { id, created, outputs, .. } = &self.job;
        if matches!(state, State::NotStarted | State::Started | State::Failed) {
            return json!([]);
        }
        let file = |format: &String| {
            let seed = format!("{id}/{format}");
            let file = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, seed.as_bytes());
            json!({"key": format, "format": format, "file": {
                "id": format!("file-{file}"),
                "name": null,
                "type": format.rsplit('_').next().unwrap_or(format),
                "created": created.to_string(),
                "metadata": "{}",
                "thumbnailUrl": null,
                "pending": state != State::Finished,
            }})
        };
        outputs.iter().map(file).collect()
    }
}

impl ObjectValue for JobObject<'_> {
    fn type_name(&self) -> &'static str {
        "Job"
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let Job { id, created, metadata, name, inputs, rig, .. } = &self.job;
        let (state, percentage) = self.job.state(self.world.now, self.world.options.step);
        match info.field_name() {
            "id" => Ok(ResolvedValue::leaf(id.as_str())),
            "created" => Ok(ResolvedValue::leaf(created.to_string())),
            "metadata" => Ok(optional(metadata.clone())),
            "name" => Ok(optional(name.clone())),
            "state" => Ok(ResolvedValue::leaf(state.name())),
            "progress" => {
                let progress = json!({"state": state.name(), "percentageComplete": percentage});
                Ok(json_value(self.world, "JobProgress", &progress))
            }
            "client" => Ok(json_value(self.world, "Client", &self.world.client)),
            "take" => match &self.take {
                Some(take) => Ok(json_value(self.world, "Take", take)),
                None => Ok(ResolvedValue::null()),
            },
            "inputs" => Ok(json_value(self.world, "JobInputs", inputs)),
            "rig" => {
                let rig = rig.as_ref().map_or(Value::Null, |name| json!({"name": name}));
                Ok(json_value(self.world, "Rig", &rig))
            }
            "outputs" => Ok(json_value(self.world, "AdditionalFile", &self.outputs(state))),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

/// An object that is plain JSON.
pub struct JsonObject<'a> {
    type_name: String,
    world: &'a World<'a>,
    value: Value,
}

impl<'w> JsonObject<'w> {
    /// An object of a type; a `__typename` in the value goes before it.
    pub fn new(type_name: &str, world: &'w World<'w>, value: &Value) -> Self {
        let type_name = value["__typename"].as_str().unwrap_or(type_name).to_owned();
        Self { type_name, world, value: value.clone() }
    }

    /// A URL for the file, made anew at each read.
    fn presigned_url(&self) -> Result<ResolvedValue<'_>, FieldError> {
        if self.value["pending"] == true {
            return Err(fail("MoveFileError", "File object does not exist"));
        }
        let text = |name: &str| self.value[name].as_str().unwrap_or_default();
        let SandboxOptions { url_style, url_lifetime, .. } = *self.world.options;
        let url = presign::url(url_style, text("id"), text("type"), self.world.now, url_lifetime);
        Ok(ResolvedValue::leaf(url))
    }
}

impl ObjectValue for JsonObject<'_> {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let type_name = info.field_definition().ty.inner_named_type().as_str();
        match info.field_name() {
            "presignedUrl" => self.presigned_url(),
            "client" => Ok(json_value(self.world, type_name, &self.world.client)),
            field => Ok(json_value(self.world, type_name, &self.value[field])),
        }
    }
}

fn json_value<'a>(world: &'a World<'a>, type_name: &str, value: &Value) -> ResolvedValue<'a> {
    match value {
        Value::Object(_) => ResolvedValue::object(JsonObject::new(type_name, world, value)),
        Value::Array(items) => {
            let items: Vec<_> =
                items.iter().map(|item| json_value(world, type_name, item)).collect();
            ResolvedValue::list(items)
        }
        leaf => ResolvedValue::leaf(JsonValue::from(leaf.clone())),
    }
}
