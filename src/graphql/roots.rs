//! The root fields: arguments in, a call of the heart, entities out.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::errors::ApiError;
use super::plan::RootPlan;
use crate::jobs::{self, JobFilter, Jobs, ListArguments, Owned, Page, Seat, Update};
use crate::json::JsonRef;
use crate::model::{EntityId, EntityKind, ErrorCode, RequestContext, RootField, Trail};
use crate::operation::{ArgumentError, Operation, Unit};
use crate::types::SortDirection;
use crate::upstream::{self, Creation, FieldError};

/// The value of one root field.
#[derive(Debug)]
pub enum Resolved {
    /// One entity.
    Entity(Arc<Owned>),
    /// A page of entities.
    Page(Page),
    /// An object that belongs to an entity that was checked.
    Plain(upstream::Entity),
    /// A job that changed.
    Event(JobEvent),
}

/// An event of `jobsUpdated`.
#[derive(Debug)]
pub struct JobEvent {
    /// Its place in the stream.
    pub cursor: String,
    /// The job as it is now.
    pub job: Arc<Owned>,
}

/// A job that changed, of which a stream is to tell.
#[derive(Debug, Clone)]
pub struct Change {
    /// The job.
    pub job: EntityId,
    /// Its place in the stream.
    pub cursor: String,
    /// The take whose jobs alone are told of.
    pub take: Option<EntityId>,
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
struct PageArguments {
    first: Option<i32>,
    after: Option<String>,
    sort_direction: Option<SortDirection>,
    take_id: Option<String>,
    filter: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShareArguments {
    file_id: String,
}

#[derive(Deserialize)]
struct UpdateArguments {
    id: String,
    metadata: Option<String>,
    name: Option<String>,
}

/// Does what one unit of an operation asks for. A read with a `seat` goes up together with the operation's others.
pub async fn resolve(
    jobs: &Jobs,
    request: &RequestContext,
    trail: &Trail,
    plan: &RootPlan,
    operation: &Operation,
    unit: &Unit,
    seat: Option<Seat>,
) -> Outcome {
    let field = unit.field;
    let kind = field.entity();
    // There is none of what the schema has, and the tenant's lacks.
    let wanted = || plan.wanted(kind).ok_or_else(ApiError::internal);
    match field {
        RootField::GetJob
        | RootField::GetTake
        | RootField::GetFile
        | RootField::GetVolume
        | RootField::Client
        | RootField::ListRigs
        | RootField::ListCameraSettings => {
            let id = match (unit.entity, kind.id_argument()) {
                (Some(place), _) => representation(operation, unit.root, place)?,
                (None, None) => EntityId::the(kind),
                (None, Some(argument)) => {
                    let given: Map<String, Value> = arguments(operation, unit)?;
                    let text = given.get(argument).and_then(Value::as_str).unwrap_or_default();
                    jobs::id(argument, kind, text)?
                }
            };
            let answer = jobs.get(request, trail, &id, wanted()?, seat).await?;
            Ok((Resolved::Entity(answer.value), answer.errors))
        }
        RootField::ListJobs | RootField::ListTakes | RootField::ListVolumes => {
            let arguments = listing(plan, arguments(operation, unit)?)?;
            let answer = jobs.list(request, trail, kind, arguments, plan.wanted(kind)).await?;
            Ok((Resolved::Page(answer.value), answer.errors))
        }
        RootField::CreateJob
        | RootField::CreateSingleCamJob
        | RootField::CreateMultiCamJob
        | RootField::CreateSingleCamTake
        | RootField::CreateMultiCamTake
        | RootField::CreateFile
        | RootField::CreateVolumeWithHuman => {
            let mut arguments: Map<String, Value> = arguments(operation, unit)?;
            let metadata = match arguments.remove("metadata") {
                Some(Value::String(metadata)) => Some(metadata),
                _ => None,
            };
            let creation = Creation { field, arguments, metadata };
            let answer = jobs.create(request, trail, creation, wanted()?).await?;
            Ok((Resolved::Entity(Arc::new(answer.value)), answer.errors))
        }
        RootField::UpdateJob | RootField::UpdateTake | RootField::UpdateFile => {
            let UpdateArguments { id, metadata, name } = arguments(operation, unit)?;
            let id = jobs::id("id", kind, &id)?;
            let update = Update { field, id, metadata, name };
            let answer = jobs.update(request, trail, update, wanted()?).await?;
            Ok((Resolved::Entity(Arc::new(answer.value)), answer.errors))
        }
        RootField::GenerateShareCode => {
            let ShareArguments { file_id } = arguments(operation, unit)?;
            let file = jobs::id("fileId", kind, &file_id)?;
            let answer = jobs.share(request, trail, &file, &plan.plain).await?;
            Ok((Resolved::Plain(answer.value), answer.errors))
        }
        RootField::UpdateClient => Err(ApiError::new(ErrorCode::Forbidden, NO_CLIENT).into()),
        RootField::UpsertWebhookEndpoint => {
            Err(ApiError::new(ErrorCode::Forbidden, NO_WEBHOOKS).into())
        }
    }
}

/// The arguments of a subscription to a tenant's jobs.
#[derive(Debug)]
pub struct Following {
    /// The take whose jobs alone are told of.
    pub take: Option<EntityId>,
    /// The cursor behind which it goes on.
    pub after: Option<String>,
}

/// Reads the arguments of a subscription to a tenant's jobs.
///
/// # Errors
/// When they do not fit.
pub fn following(operation: &Operation) -> Result<Following, ApiError> {
    let given = operation.arguments(0).map_err(|error| bad_argument(&error))?;
    let text = |name| given.get(name).and_then(Value::as_str);
    let take = text("takeId").map(|take| jobs::id("takeId", EntityKind::Take, take));
    Ok(Following { take: take.transpose()?, after: text("after").map(str::to_owned) })
}

/// Reads a job that changed, with a `seat` together with others; `None` if the stream does not tell of it: it is gone, or
/// another take's.
pub async fn changed(
    jobs: &Jobs,
    request: &RequestContext,
    trail: &Trail,
    plan: &RootPlan,
    change: &Change,
    seat: Option<Seat>,
) -> Option<Outcome> {
    let Some(wanted) = plan.wanted(EntityKind::Job) else {
        return Some(Err(ApiError::internal().into()));
    };
    let answer = match jobs.get(request, trail, &change.job, wanted, seat).await {
        Ok(answer) => answer,
        Err(jobs::Error::NotFound(_)) => return None,
        Err(error) => return Some(Err(error.into())),
    };
    if let Some(take) = &change.take {
        let own = answer.value.json().get("take");
        let has_none = answer.errors.is_empty() && own.is_some_and(JsonRef::is_null);
        let own = own.and_then(|own| own.text_of("id"));
        // Where Move does not tell the take, its caller learns that.
        if has_none || own.is_some_and(|own| *own != *take.as_str()) {
            return None;
        }
    }
    let event = JobEvent { cursor: change.cursor.clone(), job: answer.value };
    Some(Ok((Resolved::Event(event), answer.errors)))
}

/// The arguments of a listing, each of them read.
fn listing(plan: &RootPlan, given: PageArguments) -> Result<ListArguments, jobs::Error> {
    let PageArguments { first, after, sort_direction, take_id, filter } = given;
    let take = take_id.map(|take| jobs::id("takeId", EntityKind::Take, &take)).transpose()?;
    let filter = filter.map(JobFilter::read).transpose()?;
    let is_counted = plan.is_counted();
    Ok(ListArguments { first, after, sort_direction, take, filter, is_counted })
}

/// Why the account's own value is not changed: it would be everybody's.
const NO_CLIENT: &str = "The client's metadata is what the tenant's policy says (client.metadata): ask the \
                         platform team to change it there.";

/// Why no endpoint is made: Move would tell it of everybody's jobs.
const NO_WEBHOOKS: &str = "Webhooks of Move's tell of everything in the account, so the gateway makes none. Subscribe \
                           to jobUpdated or jobsUpdated instead, or ask with `Prefer: wait=15` (live updates).";

/// The arguments of a unit's root field: validated, so of the shape that the schema has.
fn arguments<T: DeserializeOwned>(operation: &Operation, unit: &Unit) -> Result<T, Failed> {
    let given = operation.arguments(unit.root).map_err(|error| bad_argument(&error))?;
    serde_json::from_value(Value::Object(given)).map_err(|_| ApiError::internal().into())
}

fn bad_argument(error: &ArgumentError) -> ApiError {
    let message = format!("Bad argument \"{}\": expected {}.", error.name, error.problem);
    ApiError::new(ErrorCode::BadUserInput, message)
}

/// The entity that a representation in `_entities` names.
fn representation(operation: &Operation, root: usize, place: usize) -> Result<EntityId, Failed> {
    let representations = operation.representations(root);
    let members = representations.get(place).and_then(Value::as_object);
    let text = |members: &Map<String, Value>, name: &str| {
        members.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    let typename = members.and_then(|members| text(members, "__typename"));
    // An ID may be written as a whole number (GraphQL specification, section 3.5.5).
    let id = members.and_then(|members| match members.get("id")? {
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::String(id) => Some(id.clone()),
        _ => None,
    });
    let kind = typename.as_deref().and_then(EntityKind::from_type_name);
    if let (Some(kind), Some(id)) = (kind.filter(|kind| kind.has_owner()), id) {
        return Ok(jobs::id("representations", kind, &id)?);
    }
    let message = "A representation is {\"__typename\": \"Job\", \"id\": \"…\"}: Job, Take, File and HumanVolume \
                   have keys here.";
    Err(ApiError::new(ErrorCode::BadUserInput, message).into())
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
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
