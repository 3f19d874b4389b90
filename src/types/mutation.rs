//! What can be created and changed: the root fields of `Mutation`, their arguments, types, descriptions and
//! deprecations.

#![expect(
    clippy::unused_async,
    reason = "async-graphql wants resolvers; none of these is ever called"
)]

use async_graphql::{Object, Result};

use super::{
    AreaType, AwsJson, Client, ClipWindowInput, File, HumanVolume, Job, OptionsInput, OutputType,
    ShareCode, SourceInput, SyncMethodInput, Take, WebhookEndpoint, defined,
};

/// What can be created and changed.
#[derive(Debug)]
pub struct Mutation;

#[Object]
#[expect(unused_variables, reason = "arguments are defined here, not read")]
impl Mutation {
    /// Makes a file to be filled: its `presignedUrl` takes the bytes by one PUT, without headers of the caller's own.
    #[graphql(name = "createFile")]
    async fn create_file(
        &self,
        #[graphql(name = "type", desc = "Its type, such as `mp4`.")] file_type: String,
        #[graphql(desc = "A value of the caller's own, kept with the file.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "A name for the file.")] name: Option<String>,
    ) -> Result<File> {
        Err(defined())
    }

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

    /// Makes a take of the videos of several cameras.
    #[graphql(name = "createMultiCamTake")]
    async fn create_multi_cam_take(
        &self,
        #[graphql(desc = "The videos and their cameras: files of the caller's own.")]
        sources: Option<Vec<SourceInput>>,
        #[graphql(desc = "How the cameras were synchronised.")] sync_method: Option<
            SyncMethodInput,
        >,
        #[graphql(desc = "A value of the caller's own, kept with the take.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "A name for the take.")] name: Option<String>,
        #[graphql(desc = "The calibrated space: a volume of the caller's own.")] volume_id: String,
    ) -> Result<Take> {
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

    /// Makes a take of the video of one camera.
    #[graphql(name = "createSingleCamTake")]
    async fn create_single_cam_take(
        &self,
        #[graphql(desc = "The video and its camera: a file of the caller's own.")] sources: Option<
            Vec<SourceInput>,
        >,
        #[graphql(desc = "A value of the caller's own, kept with the take.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "A name for the take.")] name: Option<String>,
    ) -> Result<Take> {
        Err(defined())
    }

    /// Starts the calibration of a space by a person who walks through it.
    #[graphql(name = "createVolumeWithHuman")]
    #[expect(clippy::too_many_arguments, reason = "they are the schema's")]
    async fn create_volume_with_human(
        &self,
        #[graphql(desc = "The part of the video that shows the person.")] clip_window: Option<
            ClipWindowInput,
        >,
        #[graphql(desc = "The videos and their cameras: files of the caller's own.")]
        sources: Option<Vec<SourceInput>>,
        #[graphql(desc = "How the cameras were synchronised.")] sync_method: Option<
            SyncMethodInput,
        >,
        #[graphql(desc = "The person's height, in metres.")] human_height: f64,
        #[graphql(desc = "How large the space is.")] area_type: AreaType,
        #[graphql(desc = "A value of the caller's own, kept with the volume.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "A name for the volume.")] name: Option<String>,
    ) -> Result<HumanVolume> {
        Err(defined())
    }

    /// Makes a link by which anybody can read a file, until it expires.
    #[graphql(name = "generateShareCode")]
    async fn generate_share_code(
        &self,
        #[graphql(desc = "A file of the caller's own.")] file_id: String,
    ) -> Result<ShareCode> {
        Err(defined())
    }

    /// Move's mutation for the account's own value. The gateway's policy says what stands there, so it is refused.
    #[graphql(name = "updateClient")]
    async fn update_client(
        &self,
        #[graphql(desc = "The new value.")] metadata: AwsJson,
    ) -> Result<Client> {
        Err(defined())
    }

    /// Changes a file's metadata or name; what is not given stays as it is.
    #[graphql(name = "updateFile")]
    async fn update_file(
        &self,
        #[graphql(desc = "The file to change.")] id: String,
        #[graphql(desc = "The new value; it replaces the old one whole.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "The new name.")] name: Option<String>,
    ) -> Result<File> {
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

    /// Changes a take's metadata or name; what is not given stays as it is.
    #[graphql(name = "updateTake")]
    async fn update_take(
        &self,
        #[graphql(desc = "The take to change.")] id: String,
        #[graphql(desc = "The new value; it replaces the old one whole.")] metadata: Option<
            AwsJson,
        >,
        #[graphql(desc = "The new name.")] name: Option<String>,
    ) -> Result<Take> {
        Err(defined())
    }

    /// Move's mutation for an endpoint that hears of everything in the account, so it is refused.
    #[graphql(name = "upsertWebhookEndpoint")]
    #[expect(clippy::too_many_arguments, reason = "they are the schema's")]
    async fn upsert_webhook_endpoint(
        &self,
        #[graphql(desc = "For people.")] description: Option<String>,
        #[graphql(desc = "What it wants to hear of.")] events: Option<Vec<String>>,
        #[graphql(desc = "A value of the caller's own.")] metadata: Option<AwsJson>,
        #[graphql(desc = "Its name, of the caller's choice.")] uid: String,
        #[graphql(desc = "Where it is.")] url: String,
        #[graphql(desc = "What signs what is sent to it.")] secret: Option<String>,
    ) -> Result<WebhookEndpoint> {
        Err(defined())
    }
}
