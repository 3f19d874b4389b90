//! A database of redb in a file that is this process's alone.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Database, DatabaseError};

/// The first bytes of a database in a file: redb's "magic number", which is written last when the file is made.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another gateway has it open: each needs a file of its own")]
    Taken,
    /// It holds something else.
    #[error("it holds something else, and is left as it is: name another file, or remove this one")]
    Foreign,
    /// It or its folder cannot be made or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no database.
    #[error(transparent)]
    Database(#[from] redb::Error),
}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Taken,
            error => Self::Database(error.into()),
        }
    }
}

/// A database, open or not: after an error of the disk it answers nothing until it is opened again.
#[derive(Debug)]
pub struct RedbFile {
    path: PathBuf,
    /// The memory for its pages, in bytes; the library's choice, if it is `None`.
    cache: Option<usize>,
    database: RwLock<Option<Database>>,
}

impl RedbFile {
    /// A file that is not open yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, cache: None, database: RwLock::new(None) }
    }

    /// Takes no more memory for its pages than this, in bytes.
    #[must_use]
    pub fn with_cache(self, bytes: usize) -> Self {
        Self { cache: Some(bytes), ..self }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, in a folder and a file that are nobody else's to read; makes them if they are not there.
    ///
    /// # Errors
    /// If another process has it, or it is no database.
    pub fn open(&self) -> Result<(), OpenError> {
        if is_foreign(&self.path)? {
            return Err(OpenError::Foreign);
        }
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).mode(0o600).open(&self.path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        drop(file);
        let database = self.create()?;
        *self.write() = Some(database);
        Ok(())
    }

    fn create(&self) -> Result<Database, DatabaseError> {
        let mut builder = Database::builder();
        if let Some(bytes) = self.cache {
            builder.set_cache_size(bytes);
        }
        builder.create(&self.path)
    }

    /// Does something with the database; `None` if it is not open.
    pub fn with<T>(&self, task: impl FnOnce(&Database) -> T) -> Option<T> {
        self.read().as_ref().map(task)
    }

    /// Does something with the database; opens it again if the last time ended with an error.
    ///
    /// # Errors
    /// Those of the task, and of opening it.
    pub fn run<T>(
        &self,
        task: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        if self.read().is_none() {
            let mut database = self.write();
            if database.is_none() {
                *database = Some(self.create()?);
            }
        }
        let done = self.with(task).unwrap_or(Err(redb::Error::DatabaseClosed));
        if done.is_err() {
            self.close();
        }
        done
    }

    /// Closes it, as soon as nobody does anything with it.
    pub fn close(&self) {
        *self.write() = None;
    }

    /// Closes it and removes the file.
    ///
    /// # Errors
    /// If the file is still there.
    pub fn remove(&self) -> io::Result<()> {
        // Nobody else may take it before it is gone.
        let mut database = self.write();
        let removed = std::fs::remove_file(&self.path);
        *database = None;
        removed
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if a file is there that never was a database.
///
/// # Errors
/// If it cannot be read.
pub fn is_foreign(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut head = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    // One that was being made when its process died begins with zeros.
    Ok(!MAGIC.starts_with(&head) && head.iter().any(|byte| *byte != 0))
}

#[cfg(test)]
mod tests {
    use redb::TableDefinition;

    use super::*;

    fn write(database: &Database) -> Result<(), redb::Error> {
        let begun = database.begin_write()?;
        begun.open_table(TableDefinition::<u64, u64>::new("numbers"))?.insert(1, 2)?;
        begun.commit()?;
        Ok(())
    }

    #[test]
    fn a_file_is_opened_again_after_an_error_and_nobody_else_reads_or_takes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("below").join("numbers.redb");
        let file = RedbFile::new(path.clone());
        assert!(file.with(write).is_none(), "not open");
        file.open().expect("opened");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(RedbFile::new(path.clone()).open(), Err(OpenError::Taken)));
        let failed: Result<(), _> = file.run(|_| Err(redb::Error::DatabaseClosed));
        assert!(failed.is_err() && file.with(write).is_none(), "closed");
        file.run(write).expect("opened again");
        file.remove().expect("removed");
        assert!(!path.exists() && file.with(write).is_none());
    }

    #[test]
    fn a_file_that_holds_something_else_is_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gateway.yaml");
        std::fs::write(&path, "policies: ./policies\n").expect("written");
        let mode = || std::fs::metadata(&path).expect("it is there").permissions().mode();
        let before = mode();
        assert!(matches!(RedbFile::new(path.clone()).open(), Err(OpenError::Foreign)));
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "policies: ./policies\n");
        assert_eq!(mode(), before);
        for head in [&b""[..], &[0; 4096], &MAGIC[..3]] {
            std::fs::write(&path, head).expect("written");
            assert!(!is_foreign(&path).expect("read"), "one that was being made");
        }
    }
}
