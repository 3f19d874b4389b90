//! Reads records: over closed and compressed segments, a line at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::segments::{self, Segments};

/// The time by which a file may seem older than its last record.
const CLOCKS_DIFFER_BY: Duration = Duration::from_mins(1);

/// The lines of a file, without their newlines; a torn last line is one of them.
pub fn lines(source: impl Read) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    BufReader::new(source).split(b'\n')
}

/// The lines of several files, one after the other.
pub fn all_lines(files: Vec<PathBuf>) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    files.into_iter().flat_map(|path| -> Box<dyn Iterator<Item = io::Result<Vec<u8>>>> {
        match segments::open(&path) {
            Ok(source) => Box::new(lines(source)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    })
}

/// The files of a chain as they are at one moment. A rotation while they are read takes no record out of sight and
/// shows none twice.
#[derive(Debug)]
pub struct Files {
    /// The closed ones, oldest first.
    closed: Vec<PathBuf>,
    /// The one that was written at that moment, whatever its name is by now.
    current: Option<File>,
}

impl Files {
    /// Opens the files of a chain.
    ///
    /// # Errors
    /// When the folder or the file that is written cannot be read.
    pub fn open(segments: &Segments) -> io::Result<Self> {
        loop {
            let current = match File::open(segments.current()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                file => Some(file?),
            };
            let closed = segments.closed()?.into_iter().map(|(_, path)| path).collect();
            // Closed in between, it would be among those too.
            if current.as_ref().is_none_or(|file| is_at(file, segments.current())) {
                return Ok(Self { closed, current });
            }
        }
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.current.is_none()
    }

    /// The closed ones, oldest first.
    #[must_use]
    pub fn closed(&self) -> &[PathBuf] {
        &self.closed
    }

    /// The size of all of them as they lie on the disk, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let of_closed = self.closed.iter().filter_map(|path| path.metadata().ok());
        let of_current = self.current.iter().filter_map(|file| file.metadata().ok());
        of_closed.chain(of_current).map(|metadata| metadata.len()).sum()
    }

    /// Leaves out the closed files whose last record was written before this time.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> Self {
        let oldest = time.checked_sub(CLOCKS_DIFFER_BY).unwrap_or(SystemTime::UNIX_EPOCH);
        let is_older = |path: &PathBuf| {
            let written = path.metadata().and_then(|metadata| metadata.modified());
            written.is_ok_and(|written| written < oldest)
        };
        self.closed.retain(|path| !is_older(path));
        self
    }

    /// Their lines, oldest first, without newlines: whole ones, so that neither what a crash cut short nor what is
    /// being written is among them. A closed file that retention has removed meanwhile is passed over.
    pub fn lines(self) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        let closed = self.closed.into_iter().filter_map(|path| match segments::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            source => Some(WholeLines(source.map(BufReader::new).map_err(Some))),
        });
        let current: Option<Box<dyn Read + Send>> = match self.current {
            Some(file) => Some(Box::new(file)),
            None => None,
        };
        closed.chain(current.map(|file| WholeLines(Ok(BufReader::new(file))))).flatten()
    }
}

/// Returns true if a file has this name.
fn is_at(file: &File, path: &Path) -> bool {
    let of = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), path.metadata()) {
        (Ok(one), Ok(other)) => of(one) == of(other),
        _ => false,
    }
}

/// The whole lines of a source, or why there is none.
struct WholeLines(Result<BufReader<Box<dyn Read + Send>>, Option<io::Error>>);

impl Iterator for WholeLines {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let source = match &mut self.0 {
            Ok(source) => source,
            Err(error) => return error.take().map(Err),
        };
        let mut line = Vec::new();
        match source.read_until(b'\n', &mut line) {
            Ok(_) => line.pop_if(|last| *last == b'\n').map(|_| Ok(line)),
            Err(error) => {
                self.0 = Err(None);
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::*;

    fn texts(files: Files) -> Vec<String> {
        files.lines().map(|line| String::from_utf8(line.unwrap()).unwrap()).collect()
    }

    #[test]
    fn a_rotation_while_files_are_read_hides_nothing_and_repeats_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let segments = Segments::new(&folder.path().join("audit.jsonl"));
        let closed = |first: u64| folder.path().join(format!("audit.{first:020}.jsonl"));
        fs::write(closed(1), "1\n2\n").unwrap();
        fs::write(closed(3), "3\n").unwrap();
        fs::write(segments.current(), "4\n5\nhalf a li").unwrap();
        let files = Files::open(&segments).unwrap();
        // What is open is closed, what is closed is compressed, what is oldest is retired.
        fs::rename(segments.current(), closed(4)).unwrap();
        let mut written = OpenOptions::new().append(true).open(closed(4)).unwrap();
        written.write_all(b"ne\n").unwrap();
        fs::write(segments.current(), "7\n").unwrap();
        segments::compress(&closed(3)).unwrap();
        fs::remove_file(closed(1)).unwrap();
        assert_eq!(texts(files), ["3", "4", "5", "half a line"]);
        assert_eq!(texts(Files::open(&segments).unwrap()), ["3", "4", "5", "half a line", "7"]);
    }

    #[test]
    fn closed_files_that_are_too_old_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let segments = Segments::new(&folder.path().join("audit.jsonl"));
        let old = folder.path().join(format!("audit.{:020}.jsonl", 1));
        fs::write(&old, "old\n").unwrap();
        fs::write(segments.current(), "new\n").unwrap();
        let now = SystemTime::now();
        let file = OpenOptions::new().write(true).open(&old).unwrap();
        file.set_modified(now - Duration::from_hours(2)).unwrap();
        let since =
            |hours| Files::open(&segments).unwrap().since(now - Duration::from_hours(hours));
        assert_eq!(texts(since(1)), ["new"]);
        assert_eq!(texts(since(3)), ["old", "new"]);
    }
}
