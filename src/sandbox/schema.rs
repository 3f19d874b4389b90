//! `schema/move.graphql` with resolvers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use apollo_compiler::executable::OperationType;
use apollo_compiler::request::RequestError;
use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::{ExecutionResponse, JsonMap, JsonValue};
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::{Account, Job, State};
use super::{SandboxOptions, lock, presign};

const SDL: &str = include_str!("../../schema/move.graphql");

/// The most jobs on a page.
const MAX_PAGE: i64 = 100;

/// The schema, and the documents that were validated against it.
pub struct MoveSchema {
    schema: Valid<Schema>,
    documents: Mutex<HashMap<String, Arc<Valid<ExecutableDocument>>>>,
}

impl fmt::Debug for MoveSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MoveSchema(…)")
    }
}

/// What resolvers need of the world.
pub struct World<'a> {
    /// How the sandbox behaves.
    pub options: &'a SandboxOptions,
    /// The time of day.
    pub now: Timestamp,
}

impl MoveSchema {
    /// Reads the schema, with or without the older `createJob`.
    pub fn new(create_job: bool) -> Result<Self, String> {
        let mut schema = Schema::parse(SDL, "move.graphql").map_err(|e| e.errors.to_string())?;
        if !create_job
            && let Some(mutation) = schema.types.get_mut("Mutation")
            && let apollo_compiler::schema::ExtendedType::Object(mutation) = mutation
        {
            mutation.make_mut().fields.shift_remove("createJob");
        }
        let schema = schema.validate().map_err(|e| e.errors.to_string())?;
        Ok(Self { schema, documents: Mutex::default() })
    }

    /// Parses and validates a document; the error is for people.
    pub fn document(&self, text: &str) -> Result<Arc<Valid<ExecutableDocument>>, String> {
        if let Some(known) = lock(&self.documents).get(text) {
            return Ok(Arc::clone(known));
        }
        let document = ExecutableDocument::parse_and_validate(&self.schema, text, "document")
            .map_err(|invalid| match invalid.errors.iter().next() {
                Some(error) => error.error.to_string(),
                None => "invalid".to_owned(),
            })?;
        let document = Arc::new(document);
        lock(&self.documents).insert(text.to_owned(), Arc::clone(&document));
        Ok(document)
    }

    /// Executes an operation in an account.
    pub fn execute(
        &self,
        world: &World<'_>,
        account: &mut Account,
        document: &Valid<ExecutableDocument>,
        name: Option<&str>,
        variables: &JsonMap,
    ) -> Result<ExecutionResponse, RequestError> {
        let operation = document.operations.get(name)?;
        let type_name = match operation.operation_type {
            OperationType::Mutation => "Mutation",
            _ => "Query",
        };
        Execution::new(&self.schema, document)
            .operation(operation)
            .raw_variable_values(variables)
            .enable_schema_introspection(true)
            .execute_sync(&Root { type_name, world, account: RefCell::new(account) })
    }
}

/// An AppSync error. The engine carries one text for an error: this, as JSON.
fn appsync(error_type: &str, message: &str) -> Value {
    json!({"errorType": error_type, "errorInfo": null, "data": null, "message": message})
}

fn fail(error: &Value) -> FieldError {
    FieldError { message: error.to_string() }
}

fn not_found() -> FieldError {
    fail(&appsync("MoveNotFoundError", "Resource not found in move-ugc-api."))
}

fn invalid(what: &str) -> FieldError {
    fail(&appsync("ValidationError", &format!("Validation error of type WrongType: {what}")))
}

struct Root<'a> {
    type_name: &'static str,
    world: &'a World<'a>,
    account: RefCell<&'a mut Account>,
}

impl ObjectValue for Root<'_> {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let arguments = Arguments(info.arguments());
        match info.field_name() {
            "getJob" => self.job(arguments.text("jobId").unwrap_or_default()),
            "getTake" => {
                let take = self.account.borrow().take(arguments.text("takeId").unwrap_or_default());
                let take = take.ok_or_else(not_found)?;
                Ok(ResolvedValue::object(Json::new("Take", self.world, &take)))
            }
            "listJobs" => self.list(arguments),
            "createJob" | "createSingleCamJob" | "createMultiCamJob" => self.create(arguments),
            "updateJob" => {
                let id = arguments.text("id").unwrap_or_default();
                let metadata = arguments.json_text("metadata")?;
                {
                    let mut account = self.account.borrow_mut();
                    let job = account.job_mut(id).ok_or_else(not_found)?;
                    job.metadata = metadata.or(job.metadata.take());
                    job.name = arguments.text("name").map(str::to_owned).or(job.name.take());
                }
                self.job(id)
            }
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

impl Root<'_> {
    fn job(&self, id: &str) -> Result<ResolvedValue<'_>, FieldError> {
        let account = self.account.borrow();
        let job = account.job(id).ok_or_else(not_found)?;
        let (state, percentage) = job.state(self.world.now, self.world.options.step);
        if state == State::Failed && self.world.options.failed_as_error {
            return Err(fail(&json!({
                "errorType": "MoveJobFailedError",
                "message": "The job failed.",
                "errorInfo": {"suggestions": ["Film the whole body."]},
                "data": {"progress": {"state": "FAILED", "percentageComplete": percentage}},
            })));
        }
        Ok(ResolvedValue::object(JobObject::new(self.world, &account, job.clone())))
    }

    fn list(&self, arguments: Arguments<'_>) -> Result<ResolvedValue<'_>, FieldError> {
        let first = arguments.0.get("first").and_then(JsonValue::as_i64).unwrap_or(50);
        if !(1..=MAX_PAGE).contains(&first) {
            return Err(invalid("first must be from 1 to 100"));
        }
        let after = match arguments.json_text("after")? {
            Some(text) if text != "null" => {
                let key: Value = serde_json::from_str(&text).map_err(|_| invalid("after"))?;
                Some(key["id"].as_str().ok_or_else(|| invalid("after"))?.to_owned())
            }
            _ => None,
        };
        let account = self.account.borrow();
        let page = account
            .page(
                usize::try_from(first).unwrap_or(1),
                after.as_deref(),
                arguments.text("sortDirection") == Some("ASC"),
                arguments.text("takeId"),
            )
            .ok_or_else(|| invalid("after"))?;
        let after = page
            .next
            .map(|job| json!({"id": job.id, "created": job.created.to_string()}).to_string());
        let jobs = page.jobs.into_iter();
        let jobs = jobs.map(|job| JobObject::new(self.world, &account, job)).collect();
        Ok(ResolvedValue::object(Page { first, after, jobs }))
    }

    fn create(&self, arguments: Arguments<'_>) -> Result<ResolvedValue<'_>, FieldError> {
        let take = arguments.text("takeId").unwrap_or_default();
        if self.account.borrow().take(take).is_none() {
            return Err(not_found());
        }
        let mut job = Job::new(self.world.now);
        take.clone_into(&mut job.take);
        job.metadata = arguments.json_text("metadata")?;
        job.name = arguments.text("name").filter(|name| !name.is_empty()).map(str::to_owned);
        job.rig = arguments.text("rig").filter(|rig| !rig.is_empty()).map(str::to_owned);
        job.inputs = json!({
            "clipWindow": arguments.plain("clipWindow"),
            "numberOfActors": arguments.plain("numberOfActors"),
            "options": arguments.plain("options"),
        });
        if let Value::Array(outputs) = arguments.plain("outputs")
            && !outputs.is_empty()
        {
            let names = outputs.iter().filter_map(Value::as_str);
            job.outputs = names.map(str::to_ascii_lowercase).collect();
        }
        let id = job.id.clone();
        self.account.borrow_mut().insert(job);
        self.job(&id)
    }
}

/// A field's arguments, coerced.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a JsonMap);

impl<'a> Arguments<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(JsonValue::as_str)
    }

    /// An AWSJSON argument: a string that holds JSON text.
    fn json_text(self, name: &str) -> Result<Option<String>, FieldError> {
        match self.0.get(name) {
            None | Some(JsonValue::Null) => Ok(None),
            Some(JsonValue::String(text)) => {
                serde_json::from_str::<&serde_json::value::RawValue>(text.as_str())
                    .map(|_| Some(text.as_str().to_owned()))
                    .map_err(|_| invalid(&format!("{name} is not valid AWSJSON")))
            }
            Some(_) => Err(invalid(&format!("{name} is not valid AWSJSON"))),
        }
    }

    fn plain(self, name: &str) -> Value {
        self.0.get(name).and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
    }
}

struct Page<'a> {
    first: i64,
    after: Option<String>,
    jobs: Vec<JobObject<'a>>,
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

/// A job, resolved field by field: most callers want little of it.
#[derive(Clone)]
struct JobObject<'a> {
    world: &'a World<'a>,
    job: Job,
    client: Arc<Value>,
    take: Option<Arc<Value>>,
}

impl<'w> JobObject<'w> {
    fn new(world: &'w World<'w>, account: &Account, job: Job) -> Self {
        let (client, take) = (Arc::clone(&account.client), account.take(&job.take));
        Self { world, job, client, take }
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
                "client": &*self.client,
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
            "client" => Ok(json_value(self.world, "Client", &self.client)),
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
struct Json<'a> {
    type_name: String,
    world: &'a World<'a>,
    value: Value,
}

impl<'w> Json<'w> {
    fn new(type_name: &str, world: &'w World<'w>, value: &Value) -> Self {
        let type_name = value["__typename"].as_str().unwrap_or(type_name).to_owned();
        Self { type_name, world, value: value.clone() }
    }
}

fn json_value<'a>(world: &'a World<'a>, type_name: &str, value: &Value) -> ResolvedValue<'a> {
    match value {
        Value::Object(_) => ResolvedValue::object(Json::new(type_name, world, value)),
        Value::Array(items) => {
            let items: Vec<_> =
                items.iter().map(|item| json_value(world, type_name, item)).collect();
            ResolvedValue::list(items)
        }
        leaf => ResolvedValue::leaf(JsonValue::from(leaf.clone())),
    }
}

impl ObjectValue for Json<'_> {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let field = info.field_name();
        if self.type_name == "File" && field == "presignedUrl" {
            if self.value["pending"] == true {
                return Err(fail(&appsync("MoveFileError", "File object does not exist")));
            }
            let text = |name: &str| self.value[name].as_str().unwrap_or_default();
            let SandboxOptions { url_style, url_lifetime, .. } = *self.world.options;
            let url =
                presign::url(url_style, text("id"), text("type"), self.world.now, url_lifetime);
            return Ok(ResolvedValue::leaf(url));
        }
        let type_name = info.field_definition().ty.inner_named_type().as_str();
        Ok(json_value(self.world, type_name, &self.value[field]))
    }
}
