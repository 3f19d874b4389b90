//! The files: one that is written, and closed ones beside it.
//!
//! `audit.jsonl` is written. At rotation it becomes `audit.<number of its first line>.jsonl`, and
//! then `audit.<number>.jsonl.gz`. `audit.jsonl.head` holds the [`Head`]. All of them are their owner's
//! alone to read.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::chain::{Head, link_of};

/// The length of a head's line, which blanks fill: more than its numbers ever take, so that no rest of an older head
/// follows it.
const HEAD_BYTES: usize = 160;

/// The times a head that changes while it is read is read again.
const HEAD_READS: usize = 5;

/// The files of one journal.
#[derive(Debug, Clone)]
pub struct Segments {
    file: PathBuf,
}

impl Segments {
    /// The files around the one that is written.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// The chains of a folder, in the order of their names; those of strangers' requests are not told, as they lie
    /// beside the others.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn in_folder(folder: &Path) -> io::Result<Vec<Self>> {
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            files.extend(written_file(&name).map(|name| folder.join(name)));
        }
        let chains: Vec<_> = files.iter().map(|file| Self::new(file)).collect();
        let is_beside =
            |chain: &Self| chains.iter().any(|other| other.refused().file == chain.file);
        Ok(chains.iter().filter(|chain| !is_beside(chain)).cloned().collect())
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
        let read = || match File::open(self.head_file()) {
            Ok(file) => {
                let mut text = Vec::new();
                file.take(2 * HEAD_BYTES as u64).read_to_end(&mut text).map(|_| Some(text))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        // It may be written just now: what reads the same twice is whole.
        let mut text = read()?;
        for _ in 0..HEAD_READS {
            let again = read()?;
            if again == text {
                break;
            }
            text = again;
        }
        let head = text.map(|text| serde_json::from_slice(&text).map_err(io::Error::other));
        head.transpose()
    }

    /// Writes the head over the old one. It is one write within a sector of the disk, which a crash leaves as
    /// it was or as it is to be; a new file in its place would be flushed to the disk by each batch of records.
    pub(super) fn write_head(&self, head: &Head) -> io::Result<()> {
        let text = serde_json::to_string(head).map_err(io::Error::other)?;
        let line = format!("{text:HEAD_BYTES$}\n");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(PRIVATE);
        let file = options.open(self.head_file())?;
        file.write_all_at(line.as_bytes(), 0)?;
        let length = line.len() as u64;
        if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
    }

    /// The files of refused requests that have no records of their own, beside these.
    #[must_use]
    pub fn refused(&self) -> Self {
        self.named("refused")
    }

    /// Returns true if these are the files of refused requests, by their name.
    #[must_use]
    pub fn are_of_strangers(&self) -> bool {
        self.stem().ends_with(".refused")
    }

    /// Files of another chain, beside these.
    pub(super) fn named(&self, chain: &str) -> Self {
        let extension = self.file.extension().unwrap_or_default().to_string_lossy();
        Self { file: self.file.with_file_name(format!("{}.{chain}.{extension}", self.stem())) }
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
        let mut closed = self.numbered()?;
        closed.retain(|(_, path)| !path.as_os_str().as_bytes().ends_with(b"~"));
        closed.sort();
        // While one is being compressed, or after a crash in that, both are there: the plain one
        // is whole.
        closed.dedup_by(|later, earlier| later.0 == earlier.0);
        Ok(closed)
    }

    /// The files that have the number of their first line in their name, drafts too.
    fn numbered(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let folder = match self.file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let prefix = format!("{}.", self.stem());
        let mut numbered = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let number = name.strip_prefix(&prefix).and_then(|rest| rest.split('.').next());
            if let Some(first) = number.and_then(|number| number.parse().ok()) {
                numbered.push((first, path));
            }
        }
        Ok(numbered)
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

    /// The closed segments that retention may remove, oldest first: all but the newest `keep`, as far
    /// as their last record was written before `until`. They are the beginning of the chain without a
    /// gap.
    pub(super) fn outdated(
        &self,
        keep: usize,
        until: SystemTime,
    ) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut closed = self.closed()?;
        closed.truncate(closed.len().saturating_sub(keep));
        let mut outdated = Vec::new();
        for (first, path) in closed {
            if last_written(&path)? > until {
                break;
            }
            outdated.push((first, path));
        }
        Ok(outdated)
    }

    /// Removes a closed segment, also what a crash left of its compression.
    pub(super) fn remove(&self, first: u64) -> io::Result<()> {
        let plain = self.closed_name(first);
        for path in [compressed_name(&plain), plain] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Closed segments that a crash kept from being compressed; what it left of that is removed, also of
    /// segments that are gone since. To be called before any is compressed.
    pub(super) fn uncompressed(&self) -> io::Result<Vec<PathBuf>> {
        for (first, path) in self.numbered()? {
            if path == draft_of(&compressed_name(&self.closed_name(first))) {
                fs::remove_file(path)?;
            }
        }
        let closed = self.closed()?.into_iter();
        let plain = closed.filter(|(first, path)| *path == self.closed_name(*first));
        Ok(plain.map(|(_, path)| path).collect())
    }

    /// Opens the file that is written, at its end.
    pub(super) fn open_current(&self) -> io::Result<File> {
        self.make_folder()?;
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).read(true).mode(PRIVATE).open(&self.file)?;
        // For those who find no lock file. A writer that takes over after a panic of its own finds it
        // locked: it is this process's all the same.
        let _is_first = file.try_lock();
        Ok(file)
    }

    /// Takes the files for this process, until what is returned is dropped or the process ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] if another process has them; others if they cannot be locked.
    pub(super) fn lock(&self) -> io::Result<File> {
        self.make_folder()?;
        let mut name = self.file.as_os_str().to_owned();
        name.push(".lock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(PRIVATE).open(name)?;
        try_lock(&file)?;
        // The lock file may have been removed beneath whoever has it.
        match File::open(&self.file) {
            Ok(current) => try_lock(&current)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(file)
    }

    fn make_folder(&self) -> io::Result<()> {
        match self.file.parent() {
            Some(folder) if folder != Path::new("") => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)
            }
            _ => Ok(()),
        }
    }
}

/// The name of the file that is written, of which this may be the name of a closed one or of the head. Other files
/// than `….jsonl` are known by their head.
fn written_file(name: &str) -> Option<String> {
    if let Some(written) = name.strip_suffix(".head") {
        return Some(written.to_owned());
    }
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".jsonl")?;
    let number = stem.rsplit_once('.').filter(|(_, number)| {
        number.len() == 20 && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    Some(format!("{}.jsonl", number.map_or(stem, |(stem, _)| stem)))
}

fn try_lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(fs::TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another gateway writes it: each needs an audit file of its own",
        )),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// The mode of files: their owner may read and write them.
const PRIVATE: u32 = 0o600;

/// Puts a whole file in place of an old one.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = draft_of(path);
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(PRIVATE).open(&draft)?;
    file.write_all(text)?;
    fs::rename(draft, path)
}

fn compressed_name(plain: &Path) -> PathBuf {
    let mut name = plain.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// Compresses a closed segment. The plain file goes away when the other is whole and on disk.
///
/// # Errors
/// When one of the two cannot be read or written, or another thread compresses it.
pub fn compress(plain: &Path) -> io::Result<()> {
    let target = compressed_name(plain);
    let draft = draft_of(&target);
    let file = OpenOptions::new().create_new(true).write(true).mode(PRIVATE).open(&draft)?;
    let compressed = compress_into(file, plain).and_then(|()| {
        // Retention may have been quicker.
        if plain.exists() { fs::rename(&draft, &target) } else { fs::remove_file(&draft) }
    });
    if compressed.is_err() {
        // It takes room that may be what is missing.
        let _ = fs::remove_file(draft);
        return compressed;
    }
    match fs::remove_file(plain) {
        // Retention came between: a segment that it took away does not come back.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::remove_file(target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        removed => removed,
    }
}

fn compress_into(file: File, plain: &Path) -> io::Result<()> {
    let mut source = File::open(plain)?;
    let mut encoder = GzEncoder::new(file, Compression::fast());
    io::copy(&mut source, &mut encoder)?;
    let file = encoder.finish()?;
    // Retention goes by it.
    file.set_times(FileTimes::new().set_modified(source.metadata()?.modified()?))?;
    file.sync_all()
}

fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push("~");
    draft.into()
}

/// The time of a closed segment's last record, also if it was compressed since its name was looked up:
/// compression keeps it.
fn last_written(path: &Path) -> io::Result<SystemTime> {
    let metadata = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => compressed_name(path).metadata(),
        metadata => metadata,
    };
    metadata?.modified()
}

/// Opens a segment for reading, compressed or not, or compressed since its name was looked up.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Box::new(MultiGzDecoder::new(File::open(compressed_name(path))?)));
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

#[cfg(test)]
mod tests {
    use super::super::chain::Hash;
    use super::*;

    #[test]
    fn what_a_crash_left_of_a_compression_is_removed_and_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let segments = Segments::new(&folder.path().join("audit.jsonl"));
        let (plain, done) = (segments.closed_name(1), segments.closed_name(7));
        fs::write(&plain, "records").unwrap();
        fs::write(draft_of(&compressed_name(&plain)), "half of th").unwrap();
        fs::write(compressed_name(&done), "as it is").unwrap();
        let gone = draft_of(&compressed_name(&segments.closed_name(3)));
        fs::write(&gone, "half of a segment that retention has removed since").unwrap();
        assert!(compress(&plain).is_err(), "somebody is at it, for all it knows");
        assert_eq!(segments.uncompressed().unwrap(), std::slice::from_ref(&plain));
        assert!(!gone.exists());
        // As old as its records are, for retention.
        let past = SystemTime::now() - std::time::Duration::from_hours(48);
        File::options().write(true).open(&plain).unwrap().set_modified(past).unwrap();
        compress(&plain).unwrap();
        assert_eq!(last_written(&plain).unwrap(), past, "compressed since its name was looked up");
        let mut text = String::new();
        open(&plain).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "records");
        assert!(!plain.exists() && segments.uncompressed().unwrap().is_empty());
    }

    #[test]
    fn a_head_is_written_over_the_one_before_whatever_their_lengths() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let segments = Segments::new(&folder.path().join("audit.jsonl"));
        let head = |count, first| Head { count, hash: Hash::of_line(b"a line"), first };
        // As a version before this one left it, and somebody who wrote to it.
        let old = serde_json::to_string(&head(8, 1)).unwrap();
        fs::write(segments.head_file(), format!("{old}{:>200}", "more")).unwrap();
        let file = || segments.head_file().metadata().unwrap().ino();
        let before = file();
        for head in [head(9, 1), head(u64::MAX, u64::MAX), head(10, 2)] {
            segments.write_head(&head).unwrap();
            assert_eq!(segments.head().unwrap(), Some(head));
        }
        assert_eq!(file(), before, "no file takes the place of another");
    }

    #[test]
    fn a_lock_file_that_is_removed_lets_no_second_writer_in() {
        let folder = tempfile::tempdir().unwrap();
        let segments = Segments::new(&folder.path().join("audit.jsonl"));
        let (lock, current) = (segments.lock().unwrap(), segments.open_current().unwrap());
        fs::remove_file(folder.path().join("audit.jsonl.lock")).unwrap();
        assert_eq!(segments.lock().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop((lock, current));
        segments.lock().unwrap();
    }
}
