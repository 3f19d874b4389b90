//! `Take` and what hangs on it.

use async_graphql::{Enum, ID, SimpleObject, Union};

use super::{AdditionalFile, AwsDateTime, AwsJson, Client, ClipWindow, File, JobProgress};

/// One recording, by one camera or several.
#[derive(Debug, Clone, SimpleObject)]
pub struct Take {
    /// Files beside the videos.
    pub additional_files: Option<Vec<Option<AdditionalFile>>>,
    /// The client it belongs to.
    pub client: Client,
    /// When it was created.
    pub created: AwsDateTime,
    /// Its id.
    pub id: ID,
    /// The owner's own value.
    pub metadata: Option<AwsJson>,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The videos and their cameras.
    pub sources: Option<Vec<Option<Source>>>,
    /// How the cameras were synchronised.
    pub sync_method: Option<SyncMethod>,
    /// One camera or several.
    pub take_type: Option<TakeType>,
    /// The video of a take with one camera.
    pub video_file: Option<File>,
    /// The calibrated space of a take with several cameras.
    pub volume: Option<Volume>,
}

/// One page of takes.
#[derive(Debug, Clone, SimpleObject)]
pub struct TakesPage {
    /// The cursor of the next page: a JSON object in a string, or null after the last page.
    pub after: Option<AwsJson>,
    /// How many takes a page holds at most.
    pub first: Option<i32>,
    /// The takes.
    pub items: Option<Vec<Option<Take>>>,
}

/// One page of volumes.
#[derive(Debug, Clone, SimpleObject)]
pub struct VolumePage {
    /// The cursor of the next page: a JSON object in a string, or null after the last page.
    pub after: Option<AwsJson>,
    /// How many volumes a page holds at most.
    pub first: Option<i32>,
    /// The volumes.
    pub items: Option<Vec<Option<Volume>>>,
}

/// One camera's video.
#[derive(Debug, Clone, SimpleObject)]
pub struct Source {
    /// How the camera was set.
    pub camera_settings: Option<CameraSettings>,
    /// Which camera it was.
    pub device_label: String,
    /// The video.
    pub file: Option<File>,
    /// The video's format.
    pub format: Option<SourceFormat>,
}

/// How a camera was set.
#[derive(Debug, Clone, SimpleObject)]
pub struct CameraSettings {
    /// Its lens.
    pub lens: String,
}

/// A video's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum SourceFormat {
    /// AVI
    #[graphql(name = "AVI")]
    Avi,
    /// QuickTime
    #[graphql(name = "MOV")]
    Mov,
    /// Move's own
    #[graphql(name = "MOVE")]
    Move,
    /// MPEG-4
    #[graphql(name = "MP4")]
    Mp4,
}

/// How cameras were synchronised.
#[derive(Debug, Clone, SimpleObject)]
pub struct SyncMethod {
    /// By a clap that all of them heard.
    pub clap_window: Option<ClapWindow>,
    /// By their timecodes.
    pub timecode_sync: Option<TimeCodeSync>,
}

/// The part of a video in which somebody claps.
#[derive(Debug, Clone, SimpleObject)]
pub struct ClapWindow {
    /// Where it ends, in seconds.
    pub end_time: f64,
    /// Where it starts, in seconds.
    pub start_time: f64,
}

/// Synchronisation by timecode.
#[derive(Debug, Clone, SimpleObject)]
pub struct TimeCodeSync {
    /// Whether timecodes are used.
    pub use_timecode: bool,
}

/// How many cameras recorded a take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum TakeType {
    /// Several.
    #[graphql(name = "MULTI_CAM")]
    MultiCam,
    /// One.
    #[graphql(name = "SINGLE_CAM")]
    SingleCam,
}

/// A calibrated space.
#[derive(Debug, Clone, Union)]
pub enum Volume {
    /// Calibrated with a person.
    HumanVolume(HumanVolume),
}

/// A space that was calibrated by a person walking through it.
#[derive(Debug, Clone, SimpleObject)]
pub struct HumanVolume {
    /// How large it is.
    pub area_type: Option<AreaType>,
    /// The part of the video that shows the person.
    pub clip_window: Option<ClipWindow>,
    /// How far its calibration has come.
    pub progress: Option<JobProgress>,
    /// The client it belongs to.
    pub client: Client,
    /// When it was created.
    pub created: AwsDateTime,
    /// The person's height, in metres.
    pub human_height: Option<f64>,
    /// Its id.
    pub id: ID,
    /// The owner's own value.
    pub metadata: Option<AwsJson>,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The files its calibration made.
    pub outputs: Option<Vec<Option<AdditionalFile>>>,
    /// The videos and their cameras.
    pub sources: Option<Vec<Source>>,
    /// The state of its calibration.
    pub state: Option<JobState>,
}

/// The size of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum AreaType {
    /// Large.
    #[graphql(name = "LARGE")]
    Large,
    /// Normal.
    #[graphql(name = "NORMAL")]
    Normal,
}

/// The state of a volume's calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum JobState {
    /// It failed.
    #[graphql(name = "FAILED")]
    Failed,
    /// It is done.
    #[graphql(name = "FINISHED")]
    Finished,
    /// It waits.
    #[graphql(name = "NOT_STARTED")]
    NotStarted,
    /// It runs.
    #[graphql(name = "RUNNING")]
    Running,
}
