//! Jobs.

use jiff::Timestamp;
use serde_json::Value;

use super::progress::{Pace, State};
use super::table::Row;
use crate::sandbox::seed::SINGLECAM_TAKE;

/// A job as it is stored.
#[derive(Debug, Clone)]
pub struct Job {
    /// `job-<uuid4>`
    pub id: String,
    /// The time of its creation.
    pub created: Timestamp,
    /// JSON text, to the letter; `None` is null.
    pub metadata: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its take.
    pub take: String,
    /// The state it stays in; `None` for one that moves with time.
    pub pinned: Option<State>,
    /// Set if it ends as FAILED in place of FINISHED.
    pub fails: bool,
    /// `JobInputs`, as JSON.
    pub inputs: Value,
    /// The rig's name.
    pub rig: Option<String>,
    /// The formats of its outputs, in lower case.
    pub outputs: Vec<String>,
}

impl Job {
    /// A job on the single-camera take of the seed, with a random id.
    #[must_use]
    pub fn new(created: Timestamp) -> Self {
        Self {
            id: format!("job-{}", uuid::Uuid::new_v4()),
            created,
            metadata: None,
            name: None,
            take: SINGLECAM_TAKE.to_owned(),
            pinned: None,
            fails: false,
            inputs: Value::Null,
            rig: None,
            outputs: vec!["mp4".to_owned(), "fbx".to_owned()],
        }
    }

    /// Its state, and how much of it is done, from 0 to 100.
    #[must_use]
    pub fn progress(&self, pace: Pace) -> (State, i32) {
        pace.progress(self.created, self.pinned, self.fails)
    }
}

impl Row for Job {
    fn id(&self) -> &str {
        &self.id
    }

    fn created(&self) -> Timestamp {
        self.created
    }
}
