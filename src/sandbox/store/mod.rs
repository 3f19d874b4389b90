//! One Move account and everything in it.

pub mod file;
pub mod job;
pub mod progress;
pub mod sharing;
pub mod table;
pub mod take;
pub mod volume;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use file::{Content, File, Uploads, output_id};
use job::Job;
use progress::{Pace, State};
use sharing::ShareCodes;
use table::Table;
use take::{Source, Take};
use volume::Volume;

/// One account.
#[derive(Debug)]
pub struct Account {
    /// `Client`, as JSON.
    pub client: Value,
    /// Files. Outputs of jobs and volumes are among them.
    pub files: Table<File>,
    /// Takes.
    pub takes: Table<Take>,
    /// Human volumes.
    pub volumes: Table<Volume>,
    /// Links to files.
    pub share_codes: ShareCodes,
    /// `WebhookEndpoint`s by their `uid`, as JSON, without `client`.
    pub endpoints: HashMap<String, Value>,
    /// The secrets that sign what is sent to them, by their `uid`.
    pub endpoint_secrets: HashMap<String, String>,
    jobs: Table<Job>,
    uploads: Uploads,
}

impl Account {
    /// An account with this client and nothing else.
    #[must_use]
    pub fn new(client: Value) -> Self {
        Self {
            client,
            files: Table::default(),
            takes: Table::default(),
            volumes: Table::default(),
            share_codes: ShareCodes::default(),
            endpoints: HashMap::new(),
            endpoint_secrets: HashMap::new(),
            jobs: Table::default(),
            uploads: Uploads::default(),
        }
    }

    /// The client's id.
    pub fn id(&self) -> &str {
        self.client["id"].as_str().unwrap_or_default()
    }

    /// Its jobs.
    pub const fn jobs(&self) -> &Table<Job> {
        &self.jobs
    }

    /// Adds a job and the files of its outputs; a job with the same id goes.
    pub fn add_job(&mut self, job: Job) {
        for format in &job.outputs {
            self.files.insert(File::output(&job.id, format, job.created));
        }
        self.jobs.insert(job);
    }

    /// Takes a job away; the files of its outputs stay.
    pub fn remove_job(&mut self, id: &str) {
        self.jobs.remove(id);
    }

    /// Finds a job by its id, to change it.
    pub fn job_mut(&mut self, id: &str) -> Option<&mut Job> {
        self.jobs.get_mut(id)
    }

    /// Adds a volume and the files of its outputs; a volume with the same id goes.
    pub fn add_volume(&mut self, volume: Volume) {
        for format in volume::OUTPUTS {
            self.files.insert(File::output(&volume.id, format, volume.created));
        }
        self.volumes.insert(volume);
    }

    /// Pins the state of a job or volume.
    pub fn set_state(&mut self, id: &str, state: State) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.pinned = Some(state);
        }
        if let Some(volume) = self.volumes.get_mut(id) {
            volume.pinned = Some(state);
        }
    }

    /// The files that a job or volume makes, beside their formats.
    pub fn outputs(&self, of: &str, formats: &[impl AsRef<str>]) -> Vec<(String, Arc<File>)> {
        let file = |format: &str| self.files.get(&output_id(of, format)).cloned();
        let formats = formats.iter().map(AsRef::as_ref);
        formats.filter_map(|format| Some((format.to_owned(), file(format)?))).collect()
    }

    /// Reads the bytes of a file; `None` if there are none yet.
    pub fn content(&self, file: &File, pace: Pace) -> Option<Bytes> {
        match &file.content {
            Content::Awaited => None,
            Content::Uploaded(bytes) => Some(bytes.clone()),
            Content::OutputOf(id) => self.is_finished(id, pace).then(|| stand_in(file)),
            Content::Seeded => Some(stand_in(file)),
        }
    }

    /// Returns whether the bytes of all these films are there: without them nothing comes of a job or
    /// of a calibration.
    pub fn are_there(&self, sources: &[Source], pace: Pace) -> bool {
        sources.iter().all(|source| {
            self.files.get(&source.file).is_some_and(|file| self.content(file, pace).is_some())
        })
    }

    fn is_finished(&self, id: &str, pace: Pace) -> bool {
        let job = self.jobs.get(id).map(|job| job.progress(pace));
        let progress = job.or_else(|| self.volumes.get(id).map(|volume| volume.progress(pace)));
        progress.is_some_and(|(state, _)| state == State::Finished)
    }

    /// Keeps the bytes of an upload; `None` if there is no such file.
    pub fn upload(&mut self, id: &str, bytes: Bytes) -> Option<()> {
        let file = self.files.get_mut(id)?;
        let size = bytes.len();
        file.content = Content::Uploaded(bytes);
        for gone in self.uploads.add(id, size) {
            if let Some(file) = self.files.get_mut(&gone) {
                file.content = Content::Awaited;
            }
        }
        Some(())
    }
}

/// A line of text in the place of a film or of motion data.
fn stand_in(file: &File) -> Bytes {
    Bytes::from(format!("{} made by the sandbox: {}\n", file.file_type, file.id))
}
