//! What can be read: the root fields of `Query`, their arguments, types and descriptions.

#![expect(
    clippy::unused_async,
    reason = "async-graphql wants resolvers; none of these is ever called"
)]

use async_graphql::{ID, Object, Result};

use super::{
    AwsJson, CameraSettingsPage, Client, File, HumanVolume, Job, JobFilter, JobsPage, RigsPage,
    SortDirection, Take, TakesPage, Volume, VolumePage, defined,
};

/// What can be read.
#[derive(Debug)]
pub struct Query;

#[Object]
#[expect(unused_variables, reason = "arguments are defined here, not read")]
impl Query {
    /// The account, as the gateway's policy shows it.
    async fn client(&self) -> Result<Client> {
        Err(defined())
    }

    /// One job of the caller's own, by its id.
    #[graphql(name = "getJob")]
    async fn get_job(&self, job_id: ID) -> Result<Job> {
        Err(defined())
    }

    /// One file of the caller's own, by its id: one that it made, or one of a job, take or volume of its own that
    /// was read before.
    #[graphql(name = "getFile")]
    async fn get_file(&self, file_id: ID) -> Result<File> {
        Err(defined())
    }

    /// One take of the caller's own, by its id.
    #[graphql(name = "getTake")]
    async fn get_take(&self, take_id: ID) -> Result<Take> {
        Err(defined())
    }

    /// One volume of the caller's own, by its id.
    #[graphql(name = "getVolume")]
    async fn get_volume(&self, id: ID) -> Result<Volume> {
        Err(defined())
    }

    /// A job by its key, for a federated graph: the same jobs, to the same callers, as `getJob`. A
    /// job that is not the caller's is null.
    #[graphql(entity)]
    async fn find_job(&self, id: ID) -> Option<Job> {
        None
    }

    /// A file by its key, for a federated graph: as `getFile`.
    #[graphql(entity)]
    async fn find_file(&self, id: ID) -> Option<File> {
        None
    }

    /// A take by its key, for a federated graph: as `getTake`.
    #[graphql(entity)]
    async fn find_take(&self, id: ID) -> Option<Take> {
        None
    }

    /// A volume by its key, for a federated graph: as `getVolume`.
    #[graphql(entity)]
    async fn find_human_volume(&self, id: ID) -> Option<HumanVolume> {
        None
    }

    /// The lenses that cameras may have.
    #[graphql(name = "listCameraSettings")]
    async fn list_camera_settings(&self) -> Option<CameraSettingsPage> {
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
        #[graphql(
            desc = "Only the jobs that have this. The gateway's own; needs its index of jobs."
        )]
        filter: Option<JobFilter>,
    ) -> Option<JobsPage> {
        None
    }

    /// The rigs that motion can be fitted to.
    #[graphql(name = "listRigs")]
    async fn list_rigs(&self) -> Option<RigsPage> {
        None
    }

    /// The caller's own takes, page by page.
    #[graphql(name = "listTakes")]
    async fn list_takes(
        &self,
        #[graphql(desc = "How many takes a page holds at most; 50 if not given.")] first: Option<
            i32,
        >,
        #[graphql(desc = "The `after` of the page before.")] after: Option<AwsJson>,
        #[graphql(desc = "The order, by time of creation.")] sort_direction: Option<SortDirection>,
    ) -> Option<TakesPage> {
        None
    }

    /// The caller's own volumes, page by page.
    #[graphql(name = "listVolumes")]
    async fn list_volumes(
        &self,
        #[graphql(desc = "How many volumes a page holds at most; 50 if not given.")] first: Option<
            i32,
        >,
        #[graphql(desc = "The `after` of the page before.")] after: Option<AwsJson>,
        #[graphql(desc = "The order, by time of creation.")] sort_direction: Option<SortDirection>,
    ) -> Result<VolumePage> {
        Err(defined())
    }
}
