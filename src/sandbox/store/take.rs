//! Takes: what the cameras filmed.

use jiff::Timestamp;
use serde_json::Value;

use super::table::Row;

/// The number of cameras of a take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeKind {
    /// One.
    SingleCam,
    /// Several, in a calibrated volume.
    MultiCam,
}

impl TakeKind {
    /// As Move writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SingleCam => "SINGLE_CAM",
            Self::MultiCam => "MULTI_CAM",
        }
    }
}

/// The film of one camera.
#[derive(Debug, Clone)]
pub struct Source {
    /// The camera's label.
    pub device_label: String,
    /// A `SourceFormat`.
    pub format: String,
    /// The lens, where it was said.
    pub lens: Option<String>,
    /// The id of the film.
    pub file: String,
}

/// A take as it is stored.
#[derive(Debug, Clone)]
pub struct Take {
    /// `take-<uuid4>`
    pub id: String,
    /// The time of its creation.
    pub created: Timestamp,
    /// JSON text, to the letter; `None` is null.
    pub metadata: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// By one camera or by several.
    pub kind: TakeKind,
    /// The films.
    pub sources: Vec<Source>,
    /// `SyncMethod`, as JSON.
    pub sync_method: Value,
    /// The id of the volume it was filmed in.
    pub volume: Option<String>,
    /// The id of its video, which takes of an older kind have.
    pub video_file: Option<String>,
    /// Formats and ids of more files, which takes of an older kind have.
    pub additional_files: Vec<(String, String)>,
}

impl Take {
    /// A take of nothing by one camera, with a random id.
    #[must_use]
    pub fn new(created: Timestamp) -> Self {
        Self {
            id: format!("take-{}", uuid::Uuid::new_v4()),
            created,
            metadata: None,
            name: None,
            kind: TakeKind::SingleCam,
            sources: Vec::new(),
            sync_method: Value::Null,
            volume: None,
            video_file: None,
            additional_files: Vec::new(),
        }
    }
}

impl Row for Take {
    fn id(&self) -> &str {
        &self.id
    }

    fn created(&self) -> Timestamp {
        self.created
    }
}
