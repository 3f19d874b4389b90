//! The root fields: what a call does in an account.

use std::cell::RefCell;

use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::{JsonMap, JsonValue};
use serde_json::{Value, json};

use super::objects::{JobObject, JsonObject, Page, World};
use super::seed::FAILING_TAKE;
use super::store::{Account, Job, State};

/// The jobs on a page that asks for no number.
const DEFAULT_PAGE: i64 = 50;

/// The most jobs on a page.
const MAX_PAGE: i64 = 100;

/// An AppSync error. The engine carries one text for an error: this, as JSON.
pub fn fail(error_type: &str, message: &str) -> FieldError {
    carry(&json!({
        "errorType": error_type, "errorInfo": null, "data": null, "message": message,
    }))
}

fn carry(error: &Value) -> FieldError {
    FieldError { message: error.to_string() }
}

fn not_found() -> FieldError {
    fail("MoveNotFoundError", "Resource not found in move-ugc-api.")
}

fn invalid(what: &str) -> FieldError {
    fail("ValidationError", &format!("Validation error of type WrongType: {what}"))
}

/// `Query` or `Mutation`.
pub struct Root<'a> {
    /// Which of them.
    pub type_name: &'static str,
    /// What resolvers need to know.
    pub world: &'a World<'a>,
    /// The account that is asked.
    pub account: RefCell<&'a mut Account>,
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
                Ok(ResolvedValue::object(JsonObject::new("Take", self.world, &take)))
            }
            "listJobs" => self.list(arguments),
            "createJob" | "createSingleCamJob" | "createMultiCamJob" => self.create(arguments),
            "updateJob" => self.update(arguments),
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
            return Err(carry(&json!({
                "errorType": "MoveJobFailedError",
                "message": "The job failed.",
                "errorInfo": {"suggestions": ["Film the whole body."]},
                "data": {"progress": {"state": "FAILED", "percentageComplete": percentage}},
            })));
        }
        Ok(ResolvedValue::object(JobObject::new(self.world, &account, job.clone())))
    }

    fn list(&self, arguments: Arguments<'_>) -> Result<ResolvedValue<'_>, FieldError> {
        let first = arguments.0.get("first").and_then(JsonValue::as_i64).unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&first) {
            return Err(invalid("first must be from 1 to 100"));
        }
        let after = match arguments.text("after") {
            Some(text) if text.trim() != "null" => {
                let key: Value = serde_json::from_str(text).unwrap_or_default();
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
        let mut job = Job {
            take: take.to_owned(),
            fails: take == FAILING_TAKE,
            metadata: arguments.text("metadata").map(str::to_owned),
            name: arguments.text("name").and_then(given),
            rig: arguments.text("rig").and_then(given),
            inputs: json!({
                "clipWindow": arguments.plain("clipWindow"),
                "numberOfActors": arguments.plain("numberOfActors"),
                "options": arguments.plain("options"),
            }),
            ..Job::new(self.world.now)
        };
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

    fn update(&self, arguments: Arguments<'_>) -> Result<ResolvedValue<'_>, FieldError> {
        let id = arguments.text("id").unwrap_or_default();
        {
            let mut account = self.account.borrow_mut();
            let job = account.job_mut(id).ok_or_else(not_found)?;
            if let Some(metadata) = arguments.text("metadata") {
                job.metadata = Some(metadata.to_owned());
            }
            if let Some(name) = arguments.text("name") {
                job.name = given(name);
            }
        }
        self.job(id)
    }
}

/// Move's Python client says "" for what its caller did not give.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A field's arguments, coerced.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a JsonMap);

impl<'a> Arguments<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(JsonValue::as_str)
    }

    fn plain(self, name: &str) -> Value {
        self.0.get(name).and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
    }
}
