//! The root fields: arguments in, a call of the heart, jobs out.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::errors::ApiError;
use super::plan::RootPlan;
use crate::jobs::{self, Jobs, ListArguments, OwnedJob, Page, Update};
use crate::model::{ErrorCode, JobId, RequestContext, RootField, TakeId, Trail};
use crate::operation::{Operation, Unit};
use crate::types::{ClipWindowInput, OptionsInput, OutputType, SortDirection};
use crate::upstream::{FieldError, NewJob};

/// The value of one root field.
#[derive(Debug)]
pub enum Resolved {
    /// A job.
    Job(Arc<OwnedJob>),
    /// A page of jobs.
    Page(Page),
}

/// Why a root field has no value.
#[derive(Debug)]
pub enum Failed {
    /// For a reason of the gateway's.
    Api(ApiError),
    /// Move said so.
    Refused(Vec<FieldError>),
}

/// The end of a root field: a value with errors below it, or none.
pub type Outcome = Result<(Resolved, Vec<FieldError>), Failed>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobArguments {
    job_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageArguments {
    first: Option<i32>,
    after: Option<String>,
    sort_direction: Option<SortDirection>,
    take_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewJobArguments {
    take_id: String,
    metadata: Option<String>,
    name: Option<String>,
    clip_window: Option<ClipWindowInput>,
    options: Option<OptionsInput>,
    outputs: Option<Vec<Option<OutputType>>>,
    number_of_actors: Option<i32>,
    rig: Option<String>,
}

#[derive(Deserialize)]
struct UpdateArguments {
    id: String,
    metadata: Option<String>,
    name: Option<String>,
}

/// Does what one unit of an operation asks for.
pub async fn resolve(
    jobs: &Jobs,
    request: &RequestContext,
    trail: &Trail,
    plan: &RootPlan,
    operation: &Operation,
    unit: &Unit,
) -> Outcome {
    let wanted = &plan.wanted;
    match unit.field {
        RootField::GetJob => {
            let id = match unit.entity {
                Some(place) => representation(operation, unit.root, place)?,
                None => JobId::parse(&arguments::<JobArguments>(operation, unit)?.job_id)?,
            };
            let answer = jobs.get(request, trail, &id, wanted).await?;
            Ok((Resolved::Job(answer.value), answer.errors))
        }
        RootField::ListJobs => {
            let PageArguments { first, after, sort_direction, take_id } =
                arguments(operation, unit)?;
            let take = take_id.as_deref().map(TakeId::parse).transpose()?;
            let arguments = ListArguments { first, after, sort_direction, take };
            let answer = jobs.list(request, trail, arguments, wanted).await?;
            Ok((Resolved::Page(answer.value), answer.errors))
        }
        RootField::CreateJob | RootField::CreateSingleCamJob | RootField::CreateMultiCamJob => {
            let given: NewJobArguments = arguments(operation, unit)?;
            let new = NewJob {
                take: TakeId::parse(&given.take_id)?,
                metadata: given.metadata,
                name: given.name,
                clip_window: given.clip_window,
                options: given.options,
                outputs: given.outputs,
                number_of_actors: given.number_of_actors,
                rig: given.rig,
            };
            let answer = jobs.create(request, trail, new, wanted).await?;
            Ok((Resolved::Job(Arc::new(answer.value)), answer.errors))
        }
        RootField::UpdateJob => {
            let UpdateArguments { id, metadata, name } = arguments(operation, unit)?;
            let id = JobId::parse(&id)?;
            let answer =
                jobs.update(request, trail, &id, Update { metadata, name }, wanted).await?;
            Ok((Resolved::Job(Arc::new(answer.value)), answer.errors))
        }
    }
}

/// The arguments of a unit's root field: validated, so of the shape that the schema has.
fn arguments<T: DeserializeOwned>(operation: &Operation, unit: &Unit) -> Result<T, Failed> {
    let given = operation.arguments(unit.root).map_err(|error| {
        let message = format!("Bad argument \"{}\": expected {}.", error.name, error.problem);
        ApiError::new(ErrorCode::BadUserInput, message)
    })?;
    serde_json::from_value(Value::Object(given)).map_err(|_| ApiError::internal().into())
}

/// The job that a representation in `_entities` names.
fn representation(operation: &Operation, root: usize, place: usize) -> Result<JobId, Failed> {
    let representations = operation.representations(root);
    let members = representations.get(place).and_then(Value::as_object);
    let text = |members: &Map<String, Value>, name: &str| {
        members.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    let typename = members.and_then(|members| text(members, "__typename"));
    let id = members.and_then(|members| text(members, "id"));
    if let (Some("Job"), Some(id)) = (typename.as_deref(), id) {
        return Ok(JobId::parse(&id)?);
    }
    let message = "A representation is {\"__typename\": \"Job\", \"id\": \"…\"}: no other type has a \
                   key here.";
    Err(ApiError::new(ErrorCode::BadUserInput, message).into())
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<crate::model::IdError> for Failed {
    fn from(error: crate::model::IdError) -> Self {
        Self::Api(error.into())
    }
}

impl From<jobs::Error> for Failed {
    fn from(error: jobs::Error) -> Self {
        match error {
            jobs::Error::Refused(errors) if !errors.is_empty() => Self::Refused(errors),
            error => Self::Api(error.into()),
        }
    }
}
