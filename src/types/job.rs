//! `Job` and what hangs on it.

use async_graphql::{ID, SimpleObject};

use super::{AwsDateTime, AwsJson, AwsUrl, MocapModel, Take};

/// The processing of a take into motion data.
#[derive(Debug, Clone, SimpleObject)]
pub struct Job {
    /// The client it belongs to.
    pub client: Client,
    /// When it was created.
    pub created: Option<AwsDateTime>,
    /// Its id.
    pub id: ID,
    /// What it was created with.
    pub inputs: Option<JobInputs>,
    /// The caller's own value, exactly as it was stored.
    pub metadata: Option<AwsJson>,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The files it has made so far.
    pub outputs: Option<Vec<Option<AdditionalFile>>>,
    /// How far it has come, from 0 to 100; the same as `progress.percentageComplete`.
    pub percentage_complete: Option<i32>,
    /// How far it has come.
    pub progress: Option<JobProgress>,
    /// The rig it uses.
    pub rig: Option<Rig>,
    /// NOT_STARTED, STARTED, RUNNING, FINISHED or FAILED; `progress.state` supersedes it.
    pub state: Option<String>,
    /// The take it processes.
    pub take: Option<Take>,
}

/// What a job was created with.
#[derive(Debug, Clone, SimpleObject)]
pub struct JobInputs {
    /// The part of the video that it processes.
    pub clip_window: Option<ClipWindow>,
    /// How many actors it looks for.
    pub number_of_actors: Option<i32>,
    /// How it is processed.
    pub options: Option<JobOptions>,
}

/// A part of a video.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "ClipWindowJobInputType")]
pub struct ClipWindow {
    /// Where it ends, in seconds.
    pub end_time: f64,
    /// Where it starts, in seconds.
    pub start_time: f64,
}

/// How a job is processed.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "OptionsInputType")]
pub struct JobOptions {
    /// Whether the floor is found.
    pub floor_plane: Option<bool>,
    /// The model in use.
    pub mocap_model: Option<MocapModel>,
    /// Whether a ball is followed.
    pub track_ball: Option<bool>,
    /// Whether fingers are followed.
    pub track_fingers: Option<bool>,
    /// Whether numbers on jerseys are read.
    pub track_jersey_numbers: Option<bool>,
}

/// A file beside a take or a job, and what it is.
#[derive(Debug, Clone, SimpleObject)]
pub struct AdditionalFile {
    /// The file.
    pub file: File,
    /// What it is, such as `fbx`.
    pub format: Option<String>,
    /// The older name of `format`.
    pub key: Option<String>,
}

/// How far a job or a volume has come.
#[derive(Debug, Clone, SimpleObject)]
pub struct JobProgress {
    /// From 0 to 100.
    pub percentage_complete: Option<i32>,
    /// NOT_STARTED, STARTED, RUNNING, FINISHED or FAILED; others may come.
    pub state: Option<String>,
}

/// The skeleton that motion is fitted to.
#[derive(Debug, Clone, SimpleObject)]
pub struct Rig {
    /// Its name.
    pub name: String,
}

/// The account that a job, take or file belongs to.
#[derive(Debug, Clone, SimpleObject)]
pub struct Client {
    /// When it was created.
    pub created: AwsDateTime,
    /// Its id.
    pub id: ID,
    /// Not the Move account's: the gateway's policy says what stands here.
    pub metadata: Option<AwsJson>,
    /// Its name.
    pub name: String,
    /// Not the Move account's: the gateway's policy says what stands here.
    pub portal: Option<AwsUrl>,
}

/// A file of a take or a job.
#[derive(Debug, Clone, SimpleObject)]
pub struct File {
    /// The client it belongs to.
    pub client: Option<Client>,
    /// When it was created.
    pub created: Option<AwsDateTime>,
    /// Its id.
    pub id: ID,
    /// The owner's own value.
    pub metadata: Option<AwsJson>,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where its content is. The URL expires, and whoever holds it can read the file.
    pub presigned_url: Option<AwsUrl>,
    /// Where its thumbnail is, if it has one.
    pub thumbnail_url: Option<AwsUrl>,
    /// Its type, such as `mp4`.
    #[graphql(name = "type")]
    pub file_type: String,
}

/// One page of jobs.
#[derive(Debug, Clone, SimpleObject)]
pub struct JobsPage {
    /// The cursor of the next page: a JSON object in a string, or null after the last page.
    pub after: Option<AwsJson>,
    /// How many jobs a page holds at most.
    pub first: Option<i32>,
    /// The jobs.
    pub items: Option<Vec<Option<Job>>>,
    /// How many jobs there are on all pages: the caller's own, as far as `takeId` and `filter` leave them. The gateway's
    /// own; needs its index of jobs.
    pub total_count: Option<i32>,
}
