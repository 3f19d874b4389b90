//! Root fields that create and change.

use async_graphql::{Context, Object};

use super::errors::ApiError;
use super::query::{authorize, job};
use super::selection;
use crate::jobs::{OwnedJob, Update};
use crate::model::{JobId, RootField, TakeId};
use crate::types::{AwsJson, ClipWindowInput, Job, OptionsInput, OutputType};
use crate::upstream::NewJob;

/// What can be created and changed.
#[derive(Debug)]
pub struct Mutation;

#[Object]
impl Mutation {
    /// Starts the processing of a take that one camera recorded.
    #[graphql(name = "createJob", deprecation = "Use createSingleCamJob or createMultiCamJob.")]
    async fn create_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The take to process.")] take_id: String,
        #[graphql(desc = "A value of the caller's own, kept with the job.")] metadata: Option<
            AwsJson,
        >,
    ) -> Result<Job, ApiError> {
        let new = NewJob { metadata: text(metadata), ..NewJob::on(TakeId::parse(&take_id)?) };
        create(ctx, RootField::CreateJob, new).await
    }

    /// Starts the processing of a take that one camera recorded.
    #[graphql(name = "createSingleCamJob")]
    #[expect(clippy::too_many_arguments, reason = "they are the schema's")]
    async fn create_single_cam_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The part of the video to process.")] clip_window: Option<ClipWindowInput>,
        #[graphql(desc = "The take to process.")] take_id: String,
        #[graphql(desc = "A value of the caller's own, kept with the job.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "A name for the job.")] name: Option<String>,
        #[graphql(desc = "How to process it.")] options: Option<OptionsInput>,
        #[graphql(desc = "The files to make.")] outputs: Option<Vec<Option<OutputType>>>,
    ) -> Result<Job, ApiError> {
        let new = NewJob {
            metadata: text(metadata),
            name,
            clip_window,
            options,
            outputs,
            ..NewJob::on(TakeId::parse(&take_id)?)
        };
        create(ctx, RootField::CreateSingleCamJob, new).await
    }

    /// Starts the processing of a take that several cameras recorded.
    #[graphql(name = "createMultiCamJob")]
    #[expect(clippy::too_many_arguments, reason = "they are the schema's")]
    async fn create_multi_cam_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The part of the video to process.")] clip_window: Option<ClipWindowInput>,
        #[graphql(desc = "The take to process.")] take_id: String,
        #[graphql(desc = "A value of the caller's own, kept with the job.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "A name for the job.")] name: Option<String>,
        #[graphql(desc = "How many actors to look for.")] number_of_actors: Option<i32>,
        #[graphql(desc = "How to process it.")] options: Option<OptionsInput>,
        #[graphql(desc = "The files to make.")] outputs: Option<Vec<Option<OutputType>>>,
        #[graphql(desc = "The rig to use.")] rig: Option<String>,
    ) -> Result<Job, ApiError> {
        let new = NewJob {
            metadata: text(metadata),
            name,
            clip_window,
            options,
            outputs,
            number_of_actors,
            rig,
            take: TakeId::parse(&take_id)?,
        };
        create(ctx, RootField::CreateMultiCamJob, new).await
    }

    /// Changes a job's metadata or name; what is not given stays as it is.
    #[graphql(name = "updateJob")]
    async fn update_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job to change.")] id: String,
        #[graphql(desc = "The new value; it replaces the old one whole.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "The new name.")] name: Option<String>,
    ) -> Result<Job, ApiError> {
        let (jobs, request, trail) = authorize(ctx, RootField::UpdateJob)?;
        let id = JobId::parse(&id)?;
        let update = Update { metadata: text(metadata), name };
        let answer =
            jobs.update(request, &trail, &id, update, &selection::below(&ctx.field())).await;
        trail.end();
        job(ctx, answer, OwnedJob::into_job)
    }
}

async fn create(ctx: &Context<'_>, field: RootField, new: NewJob) -> Result<Job, ApiError> {
    let (jobs, request, trail) = authorize(ctx, field)?;
    let answer = jobs.create(request, &trail, new, &selection::below(&ctx.field())).await;
    trail.end();
    job(ctx, answer, OwnedJob::into_job)
}

fn text(metadata: Option<AwsJson>) -> Option<String> {
    metadata.map(|json| json.0)
}
