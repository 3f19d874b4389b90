//! Root fields that read.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};

use super::errors::{self, ApiError};
use super::plan::Fetched;
use super::selection;
use crate::jobs::{Answer, Jobs, ListArguments, Wanted};
use crate::model::{ErrorCode, JobId, RequestContext, RootField, TakeId, Trail};
use crate::types::{Job, JobsPage, JsonOrObject, SortDirection};

/// What can be read.
#[derive(Debug)]
pub struct Query;

#[Object]
impl Query {
    /// One job of the caller's own, by its id.
    #[graphql(name = "getJob")]
    async fn get_job(&self, ctx: &Context<'_>, job_id: ID) -> Result<Job, ApiError> {
        let (jobs, request, trail) = authorize(ctx, RootField::GetJob)?;
        let id = JobId::parse(&job_id)?;
        let fetched = ctx.data_opt::<Fetched>().and_then(Fetched::take);
        let answer = if let Some(fetched) = fetched {
            fetched
        } else {
            let wanted = Wanted::of_job(selection::below(&ctx.field()));
            jobs.get(request, &trail, &id, &wanted).await
        };
        trail.end();
        job(ctx, answer, |job| Arc::unwrap_or_clone(job).into_job())
    }

    /// A job by its key, for a federated graph: the same jobs, to the same callers, as `getJob`. A
    /// job that is not the caller's is null.
    #[graphql(entity)]
    async fn find_job(&self, ctx: &Context<'_>, id: ID) -> Option<Job> {
        self.get_job(ctx, id).await.map_err(|error| errors::add(ctx, error)).ok()
    }

    /// The caller's own jobs, page by page. Nullable, so that its error leaves siblings alone.
    #[graphql(name = "listJobs")]
    async fn list_jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many jobs a page holds at most; 50 if not given.")] first: Option<
            i32,
        >,
        #[graphql(desc = "The `after` of the page before.")] after: Option<JsonOrObject>,
        #[graphql(desc = "The order, by time of creation.")] sort_direction: Option<SortDirection>,
        #[graphql(desc = "Only the jobs of this take.")] take_id: Option<String>,
    ) -> Option<Result<JobsPage, ApiError>> {
        Some(list(ctx, first, after, sort_direction, take_id).await)
    }
}

async fn list(
    ctx: &Context<'_>,
    first: Option<i32>,
    after: Option<JsonOrObject>,
    sort_direction: Option<SortDirection>,
    take_id: Option<String>,
) -> Result<JobsPage, ApiError> {
    let (jobs, request, trail) = authorize(ctx, RootField::ListJobs)?;
    let take = take_id.as_deref().map(TakeId::parse).transpose()?;
    let after = after.map(|cursor| cursor.0);
    let arguments = ListArguments { first, after, sort_direction, take };
    let item = selection::of_subfield(&ctx.field(), "items");
    let listed = jobs.list(request, &trail, arguments, &item).await;
    trail.end();
    match listed {
        Ok(Answer { value, errors }) => {
            errors::beside_value(ctx, &errors);
            Ok(value)
        }
        Err(error) => Err(errors::at_field(ctx, error)),
    }
}

/// The heart, the request and the field's trail, if policy lets the caller use this root field.
pub fn authorize<'a>(
    ctx: &'a Context<'_>,
    field: RootField,
) -> Result<(&'a Jobs, &'a RequestContext, Trail), ApiError> {
    let (Some(jobs), Some(request)) = (ctx.data_opt::<Jobs>(), ctx.data_opt::<RequestContext>())
    else {
        return Err(ApiError::new(ErrorCode::Internal, "The gateway is not set up."));
    };
    if !request.caller.may(field) {
        return Err(ApiError::forbidden(field));
    }
    let asked = ctx.field();
    let trail = request.trail(asked.alias().unwrap_or(asked.name()), field);
    trail.begin();
    Ok((jobs, request, trail))
}

/// A job for the engine to resolve, and its errors beside it.
pub fn job<T>(
    ctx: &Context<'_>,
    answer: Result<Answer<T>, crate::jobs::Error>,
    into_job: impl FnOnce(T) -> Job,
) -> Result<Job, ApiError> {
    match answer {
        Ok(Answer { value, errors }) => {
            errors::beside_value(ctx, &errors);
            Ok(into_job(value))
        }
        Err(error) => Err(errors::at_field(ctx, error)),
    }
}
