//! Arguments' enums and input objects.

use async_graphql::{Enum, InputObject};
use serde::{Deserialize, Serialize};

use super::{AwsDateTime, AwsJson, SourceFormat};

/// The order of a listing, by time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
pub enum SortDirection {
    /// Oldest first.
    #[graphql(name = "ASC")]
    #[serde(rename = "ASC")]
    Asc,
    /// Newest first.
    #[graphql(name = "DESC")]
    #[serde(rename = "DESC")]
    Desc,
}

/// The jobs that are wanted of a listing: those that have all that is given here. The gateway's own: Move has no such
/// argument, and is not sent it.
#[derive(Debug, Clone, InputObject)]
pub struct JobFilter {
    /// Created earlier than this.
    pub created_before: Option<AwsDateTime>,
    /// Created later than this.
    pub created_after: Option<AwsDateTime>,
    /// With this member of the caller's own metadata.
    pub metadata: Option<JobMetadataFilter>,
    /// With a name that begins so, in upper and lower case as it is.
    pub name_prefix: Option<String>,
    /// In one of these states: NOT_STARTED, STARTED, RUNNING, FINISHED, FAILED. Others may come, so any word is taken.
    pub state: Option<Vec<String>>,
}

/// A member of the caller's own metadata, where that is a JSON object.
#[derive(Debug, Clone, InputObject)]
pub struct JobMetadataFilter {
    /// Its value, as JSON text. The order of members does not matter, and numbers are compared as they are written.
    pub equals: AwsJson,
    /// Its name, at the top level.
    pub key: String,
}

/// The motion-capture model that processes a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "MocapModelOptionsInput")]
pub enum MocapModel {
    /// Multi-camera, first generation.
    #[graphql(name = "M1")]
    M1,
    /// Multi-camera, second generation.
    #[graphql(name = "M2")]
    M2,
    /// Single-camera, first generation.
    #[graphql(name = "S1")]
    S1,
    /// Single-camera, second generation.
    #[graphql(name = "S2")]
    S2,
}

macro_rules! output_types {
    ($($variant:ident = $name:literal, $doc:literal;)+) => {
        /// A kind of file that a job can make.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
        pub enum OutputType {
            $(#[doc = $doc] #[graphql(name = $name)] $variant,)+
        }
    };
}

output_types! {
    AllBlend = "ALL_BLEND", "All actors, Blender.";
    AllBvh = "ALL_BVH", "All actors, BVH.";
    AllC3d = "ALL_C3D", "All actors, C3D.";
    AllFbx = "ALL_FBX", "All actors, FBX.";
    AllGlb = "ALL_GLB", "All actors, binary glTF.";
    AllUsdc = "ALL_USDC", "All actors, binary USD.";
    AllUsdz = "ALL_USDZ", "All actors, zipped USD.";
    MainBlend = "MAIN_BLEND", "The main actor, Blender.";
    MainFbx = "MAIN_FBX", "The main actor, FBX.";
    MainGlb = "MAIN_GLB", "The main actor, binary glTF.";
    MainUsdc = "MAIN_USDC", "The main actor, binary USD.";
    MainUsdz = "MAIN_USDZ", "The main actor, zipped USD.";
    MotionData = "MOTION_DATA", "The motion as data.";
    RenderOverlayVideo = "RENDER_OVERLAY_VIDEO", "A video of the motion drawn over the footage.";
    RenderVideo = "RENDER_VIDEO", "A video of the motion.";
    SyncData = "SYNC_DATA", "How the cameras were synchronised.";
}

/// The part of the video to process.
#[derive(Debug, Clone, Copy, PartialEq, InputObject)]
pub struct ClipWindowInput {
    /// Where the clip ends, in seconds.
    pub end_time: f64,
    /// Where the clip starts, in seconds.
    pub start_time: f64,
}

/// How a job is to be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, InputObject)]
pub struct OptionsInput {
    /// Whether to find the floor.
    pub floor_plane: Option<bool>,
    /// The model to use.
    pub mocap_model: Option<MocapModel>,
    /// Whether to follow a ball.
    pub track_ball: Option<bool>,
    /// Whether to follow fingers.
    pub track_fingers: Option<bool>,
    /// Whether to read the numbers on jerseys.
    pub track_jersey_numbers: Option<bool>,
}

/// One camera's video.
#[derive(Debug, Clone, InputObject)]
pub struct SourceInput {
    /// How the camera was set.
    pub camera_settings: Option<CameraSettingsInput>,
    /// Which camera it was.
    pub device_label: String,
    /// The video: a file of the caller's own.
    pub file_id: String,
    /// The video's format.
    pub format: SourceFormat,
}

/// How a camera was set.
#[derive(Debug, Clone, InputObject)]
pub struct CameraSettingsInput {
    /// Its lens: one of `listCameraSettings`.
    pub lens: String,
}

/// How cameras were synchronised.
#[derive(Debug, Clone, InputObject)]
pub struct SyncMethodInput {
    /// By a clap that all of them heard.
    pub clap_window: Option<ClapWindowInput>,
    /// By their timecodes.
    pub timecode_sync: Option<TimeCodeSyncInput>,
}

/// The part of a video in which somebody claps.
#[derive(Debug, Clone, InputObject)]
pub struct ClapWindowInput {
    /// Where it ends, in seconds.
    pub end_time: f64,
    /// Where it starts, in seconds.
    pub start_time: f64,
}

/// Synchronisation by timecode.
#[derive(Debug, Clone, InputObject)]
pub struct TimeCodeSyncInput {
    /// Whether timecodes are used.
    pub use_timecode: bool,
}
