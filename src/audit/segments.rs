//! The files: one that is written, and closed ones beside it.
//!
//! `audit.jsonl` is written. At rotation it becomes `audit.<number of its first line>.jsonl`, and
//! then `audit.<number>.jsonl.gz`. `audit.jsonl.head` holds the [`Head`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::chain::{Head, link_of};

/// The files of one journal.
#[derive(Debug, Clone)]
pub struct Segments {
    file: PathBuf,
}

impl Segments {
    /// The files around the one that is written.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// The file that is written.
    #[must_use]
    pub fn current(&self) -> &Path {
        &self.file
    }

    /// The file that holds the head.
    #[must_use]
    pub fn head_file(&self) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        name.push(".head");
        name.into()
    }

    /// The head as it was last written; `None` if there is none yet.
    ///
    /// # Errors
    /// When it cannot be read, or is no head.
    pub fn head(&self) -> io::Result<Option<Head>> {
        match fs::read(self.head_file()) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the head: a whole file in place of the old one.
    pub(super) fn write_head(&self, head: &Head) -> io::Result<()> {
        let draft = self.head_file().with_extension("head~");
        fs::write(&draft, serde_json::to_vec(head).map_err(io::Error::other)?)?;
        fs::rename(draft, self.head_file())
    }

    fn stem(&self) -> String {
        self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn closed_name(&self, first: u64) -> PathBuf {
        let extension = self.file.extension().unwrap_or_default().to_string_lossy();
        self.file.with_file_name(format!("{}.{first:020}.{extension}", self.stem()))
    }

    /// The closed segments, oldest first: the number of their first line, and where they are.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn closed(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let folder = match self.file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let prefix = format!("{}.", self.stem());
        let mut closed = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let number = name.strip_prefix(&prefix).and_then(|rest| rest.split('.').next());
            let is_whole = !name.ends_with('~');
            if let Some(first) = number.and_then(|number| number.parse().ok()).filter(|_| is_whole)
            {
                closed.push((first, path));
            }
        }
        closed.sort();
        // While one is being compressed, or after a crash in that, both are there: the plain one
        // is whole.
        closed.dedup_by(|later, earlier| later.0 == earlier.0);
        Ok(closed)
    }

    /// All files with records, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files: Vec<_> = self.closed()?.into_iter().map(|(_, path)| path).collect();
        if self.file.exists() {
            files.push(self.file.clone());
        }
        Ok(files)
    }

    /// The files with records from this number on, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn files_from(&self, seq: u64) -> io::Result<Vec<PathBuf>> {
        let closed = self.closed()?;
        let holds = closed.iter().rposition(|(first, _)| *first <= seq).unwrap_or(0);
        let mut files: Vec<_> = closed.into_iter().skip(holds).map(|(_, path)| path).collect();
        if self.file.exists() {
            files.push(self.file.clone());
        }
        Ok(files)
    }

    /// Closes the file that is written: `first` is the number of its first line.
    pub(super) fn close(&self, first: u64) -> io::Result<PathBuf> {
        let closed = self.closed_name(first);
        fs::rename(&self.file, &closed)?;
        Ok(closed)
    }

    /// Removes the oldest closed segments; gives the number of the first line that is left.
    pub(super) fn retain(&self, keep: usize) -> io::Result<Option<u64>> {
        let closed = self.closed()?;
        let surplus = closed.len().saturating_sub(keep);
        for (_, path) in closed.iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(closed.get(surplus).map(|(first, _)| *first))
    }

    /// Opens the file that is written, at its end.
    pub(super) fn open_current(&self) -> io::Result<File> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new().create(true).append(true).read(true).open(&self.file)
    }
}

/// Compresses a closed segment. The plain file goes away when the other is whole and on disk.
///
/// # Errors
/// When one of the two cannot be read or written.
pub fn compress(plain: &Path) -> io::Result<()> {
    let mut name = plain.as_os_str().to_owned();
    name.push(".gz");
    let (target, draft) = (PathBuf::from(&name), {
        name.push("~");
        PathBuf::from(name)
    });
    let mut encoder = GzEncoder::new(File::create(&draft)?, Compression::fast());
    io::copy(&mut File::open(plain)?, &mut encoder)?;
    let file = encoder.finish()?;
    file.sync_all()?;
    fs::rename(draft, target)?;
    fs::remove_file(plain)
}

/// Opens a segment for reading, compressed or not, or compressed since its name was looked up.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut name = path.as_os_str().to_owned();
            name.push(".gz");
            return Ok(Box::new(MultiGzDecoder::new(File::open(name)?)));
        }
        file => file?,
    };
    Ok(if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

/// The last whole line of a file and where it ends; what is behind that is torn.
pub(super) fn last_line(path: &Path) -> io::Result<(Option<Vec<u8>>, u64, u64)> {
    let mut text = Vec::new();
    open(path)?.read_to_end(&mut text)?;
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = (text.len() - end) as u64;
    let line = text[..end].trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    let line = line.filter(|line| link_of(line).is_some()).map(<[u8]>::to_vec);
    Ok((line, end as u64, torn))
}

/// Writes a batch whole or not at all: after a failure the file ends where it did.
pub(super) fn append(file: &mut File, batch: &[u8], good: u64) -> io::Result<()> {
    let written = file.write_all(batch);
    if written.is_err() {
        file.set_len(good)?;
    }
    written
}
