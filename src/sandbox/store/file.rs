//! Files, and the bytes behind them.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;

use super::table::Row;

/// The bytes of uploads that an account keeps. The oldest go first; a larger one is refused.
pub const MAX_UPLOADS: usize = 256 * 1024 * 1024;

/// The origin of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// From an upload that has not come yet, or of which the bytes are no longer kept.
    Awaited,
    /// From an upload.
    Uploaded(Bytes),
    /// From the job or volume with this id, once that is finished.
    OutputOf(String),
    /// From the sandbox: a line of text takes the place of a film.
    Seeded,
}

/// A file as it is stored.
#[derive(Debug, Clone)]
pub struct File {
    /// `file-<uuid4>`
    pub id: String,
    /// The time of its creation.
    pub created: Timestamp,
    /// JSON text, to the letter; `None` is null.
    pub metadata: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its type, which is its extension: `mp4`.
    pub file_type: String,
    /// Its bytes.
    pub content: Content,
}

impl File {
    /// A file of a type that awaits its upload, with a random id.
    #[must_use]
    pub fn new(file_type: &str, created: Timestamp) -> Self {
        Self {
            id: format!("file-{}", uuid::Uuid::new_v4()),
            created,
            metadata: None,
            name: None,
            file_type: file_type.to_owned(),
            content: Content::Awaited,
        }
    }

    /// The file of a job's or volume's output. Its id follows from both: it is the same file at each
    /// read.
    #[must_use]
    pub fn output(of: &str, format: &str, created: Timestamp) -> Self {
        let file_type = format.rsplit('_').next().unwrap_or(format);
        Self {
            id: output_id(of, format),
            metadata: Some("{}".to_owned()),
            content: Content::OutputOf(of.to_owned()),
            ..Self::new(file_type, created)
        }
    }
}

/// The id of the file that a job or volume makes in a format.
pub fn output_id(of: &str, format: &str) -> String {
    let seed = format!("{of}/{format}");
    format!("file-{}", uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, seed.as_bytes()))
}

impl Row for File {
    fn id(&self) -> &str {
        &self.id
    }

    fn created(&self) -> Timestamp {
        self.created
    }
}

/// The uploads whose bytes are kept, oldest first.
#[derive(Debug, Default)]
pub struct Uploads {
    kept: VecDeque<(String, usize)>,
    bytes: usize,
}

impl Uploads {
    /// Counts an upload and returns the ids of the files whose bytes have to go for it.
    pub fn add(&mut self, id: &str, size: usize) -> Vec<String> {
        if let Some(at) = self.kept.iter().position(|(kept, _)| kept == id)
            && let Some((_, before)) = self.kept.remove(at)
        {
            self.bytes -= before;
        }
        self.kept.push_back((id.to_owned(), size));
        self.bytes += size;
        let mut gone = Vec::new();
        while self.bytes > MAX_UPLOADS
            && let Some((oldest, size)) = self.kept.pop_front()
        {
            self.bytes -= size;
            gone.push(oldest);
        }
        gone
    }
}
