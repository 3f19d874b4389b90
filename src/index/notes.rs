//! Word for whoever keeps an index, left beside its file by another process: the file is open in one process alone.
//!
//! `jobs-gateway adopt` writes the ids of the jobs that it gave an owner, one a line, into `index.redb.adopted`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::model::EntityId;

/// The ending of the file's name.
const ADOPTED: &str = "adopted";

/// The same while it is read.
const TAKEN: &str = "taken";

/// Leaves word that jobs were given an owner, for the index in a file. Without one there is nobody to read it.
///
/// # Errors
/// If it cannot be written.
pub fn leave(index: &Path, jobs: &[EntityId]) -> io::Result<()> {
    if jobs.is_empty() || !index.exists() {
        return Ok(());
    }
    let lines: Vec<_> = jobs.iter().map(EntityId::as_str).collect();
    let path = index.with_added_extension(ADOPTED);
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    writeln!(file, "{}", lines.join("\n"))
}

/// Reads the word that was left. It is there again after a crash, until it is [`done`].
///
/// # Errors
/// If it cannot be read.
pub fn take(index: &Path) -> io::Result<Vec<String>> {
    let taken = index.with_added_extension(TAKEN);
    // Whoever leaves word meanwhile begins another file.
    let text = match fs::read_to_string(&taken) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match fs::rename(index.with_added_extension(ADOPTED), &taken) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                renamed => renamed?,
            }
            fs::read_to_string(&taken)?
        }
        text => text?,
    };
    Ok(text.lines().map(str::to_owned).collect())
}

/// Removes what [`take`] read: it was heeded.
///
/// # Errors
/// If it cannot be removed.
pub fn done(index: &Path) -> io::Result<()> {
    fs::remove_file(index.with_added_extension(TAKEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntityKind;

    #[test]
    fn word_is_read_until_it_was_heeded() {
        let folder = tempfile::tempdir().expect("a folder");
        let index = folder.path().join("index.redb");
        let job = |id| EntityId::parse(EntityKind::Job, id).expect("an id");
        leave(&index, &[job("job-0")]).expect("nobody to read it");
        fs::write(&index, "").expect("written");
        leave(&index, &[job("job-1"), job("job-2")]).expect("left");
        leave(&index, &[job("job-3")]).expect("left");
        assert_eq!(take(&index).expect("read"), ["job-1", "job-2", "job-3"]);
        leave(&index, &[job("job-4")]).expect("left");
        assert_eq!(take(&index).expect("read"), ["job-1", "job-2", "job-3"]);
        done(&index).expect("removed");
        assert_eq!(take(&index).expect("read"), ["job-4"]);
        done(&index).expect("removed");
        assert_eq!(take(&index).expect("read"), <[&str; 0]>::default());
    }
}
