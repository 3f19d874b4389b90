//! The root fields: their arguments, types, descriptions and deprecations.

#![expect(
    clippy::unused_async,
    reason = "async-graphql wants resolvers; none of these is ever called"
)]

use async_graphql::{Error, ID, Object, Result};

use super::{AwsJson, ClipWindowInput, Job, JobsPage, OptionsInput, OutputType, SortDirection};

/// What can be read.
#[derive(Debug)]
pub struct Query;

/// A root field is defined here and answered by `graphql`'s executor: async-graphql's own never runs.
fn defined() -> Error {
    Error::new("this schema only defines")
}

#[Object]
#[expect(unused_variables, reason = "arguments are defined here, not read")]
impl Query {
    /// One job of the caller's own, by its id.
    #[graphql(name = "getJob")]
    async fn get_job(&self, job_id: ID) -> Result<Job> {
        Err(defined())
    }

    /// A job by its key, for a federated graph: the same jobs, to the same callers, as `getJob`. A
    /// job that is not the caller's is null.
    #[graphql(entity)]
    async fn find_job(&self, id: ID) -> Option<Job> {
        None
    }

    /// The caller's own jobs, page by page. Nullable, so that its error leaves siblings alone.
    #[graphql(name = "listJobs")]
    async fn list_jobs(
        &self,
        #[graphql(desc = "How many jobs a page holds at most; 50 if not given.")] first: Option<
            i32,
        >,
        #[graphql(desc = "The `after` of the page before.")] after: Option<AwsJson>,
        #[graphql(desc = "The order, by time of creation.")] sort_direction: Option<SortDirection>,
        #[graphql(desc = "Only the jobs of this take.")] take_id: Option<String>,
    ) -> Option<JobsPage> {
        None
    }
}

/// What can be created and changed.
#[derive(Debug)]
pub struct Mutation;

#[Object]
#[expect(unused_variables, reason = "arguments are defined here, not read")]
impl Mutation {
    /// Starts the processing of a take that one camera recorded.
    #[graphql(name = "createJob", deprecation = "Use createSingleCamJob or createMultiCamJob.")]
    async fn create_job(
        &self,
        #[graphql(desc = "The take to process.")] take_id: String,
        #[graphql(desc = "A value of the caller's own, kept with the job.")] metadata: Option<
            AwsJson,
        >,
    ) -> Result<Job> {
        Err(defined())
    }

    /// Starts the processing of a take that one camera recorded.
    #[graphql(name = "createSingleCamJob")]
    #[expect(clippy::too_many_arguments, reason = "they are the schema's")]
    async fn create_single_cam_job(
        &self,
        #[graphql(desc = "The part of the video to process.")] clip_window: Option<ClipWindowInput>,
        #[graphql(desc = "The take to process.")] take_id: String,
        #[graphql(desc = "A value of the caller's own, kept with the job.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "A name for the job.")] name: Option<String>,
        #[graphql(desc = "How to process it.")] options: Option<OptionsInput>,
        #[graphql(desc = "The files to make.")] outputs: Option<Vec<Option<OutputType>>>,
    ) -> Result<Job> {
        Err(defined())
    }

    /// Starts the processing of a take that several cameras recorded.
    #[graphql(name = "createMultiCamJob")]
    #[expect(clippy::too_many_arguments, reason = "they are the schema's")]
    async fn create_multi_cam_job(
        &self,
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
    ) -> Result<Job> {
        Err(defined())
    }

    /// Changes a job's metadata or name; what is not given stays as it is.
    #[graphql(name = "updateJob")]
    async fn update_job(
        &self,
        #[graphql(desc = "The job to change.")] id: String,
        #[graphql(desc = "The new value; it replaces the old one whole.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "The new name.")] name: Option<String>,
    ) -> Result<Job> {
        Err(defined())
    }
}
