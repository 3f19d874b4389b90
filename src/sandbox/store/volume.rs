//! Human volumes: spaces that cameras are calibrated for by somebody of known height in them.

use jiff::Timestamp;
use serde_json::Value;

use super::progress::{Pace, State};
use super::table::Row;
use super::take::Source;

/// The formats of a calibrated volume's outputs.
pub const OUTPUTS: [&str; 3] = ["pkl", "volume_definition", "volume_report"];

/// A `HumanVolume` as it is stored.
#[derive(Debug, Clone)]
pub struct Volume {
    /// `volume-<uuid4>`
    pub id: String,
    /// The time of its creation.
    pub created: Timestamp,
    /// JSON text, to the letter; `None` is null.
    pub metadata: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// NORMAL or LARGE.
    pub area_type: String,
    /// Metres.
    pub human_height: f64,
    /// `ClipWindowJobInputType`, as JSON.
    pub clip_window: Value,
    /// The films of the cameras.
    pub sources: Vec<Source>,
    /// The state it stays in; `None` for one that moves with time.
    pub pinned: Option<State>,
    /// Set if it ends as FAILED in place of FINISHED.
    pub fails: bool,
}

impl Volume {
    /// A volume without sources, with a random id.
    #[must_use]
    pub fn new(created: Timestamp) -> Self {
        Self {
            id: format!("volume-{}", uuid::Uuid::new_v4()),
            created,
            metadata: None,
            name: None,
            area_type: "NORMAL".to_owned(),
            human_height: 1.75,
            clip_window: Value::Null,
            sources: Vec::new(),
            pinned: None,
            fails: false,
        }
    }

    /// The state of its calibration, and how much of that is done, from 0 to 100. `JobState`, the type
    /// of a volume's state, knows no STARTED.
    #[must_use]
    pub fn progress(&self, pace: Pace) -> (State, i32) {
        match pace.progress(self.created, self.pinned, self.fails) {
            (State::Started, percentage) => (State::Running, percentage),
            progress => progress,
        }
    }
}

impl Row for Volume {
    fn id(&self) -> &str {
        &self.id
    }

    fn created(&self) -> Timestamp {
        self.created
    }
}
