//! The sources of configuration: files, folders and the environment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Source;

/// Reads environment variables; injected, so that tests need not change the process's own.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The longest file that is read, in bytes: `/dev/zero` has no end.
const MAX_FILE: u64 = 64 << 20;

/// Files, folders and environment variables, and what was found in them.
///
/// All that configuration is made of is read through one of these, so that its
/// [fingerprint](Sources::fingerprint) is complete: what is read is what is watched.
pub struct Sources<'a> {
    env: Env<'a>,
    seen: RefCell<Fingerprint>,
    reserved: RefCell<BTreeSet<String>>,
    settings: RefCell<BTreeMap<PathBuf, Arc<Source>>>,
    instead: Option<Instead<'a>>,
}

/// Policies that are read in place of those that lie in a folder.
#[derive(Clone, Copy)]
struct Instead<'a> {
    folder: &'a Path,
    texts: &'a BTreeMap<String, String>,
}

impl Instead<'_> {
    /// The text that is read in place of a file; `None` if the file itself is read.
    fn text_of(self, path: &Path) -> Option<io::Result<Vec<u8>>> {
        let name = path.file_name().filter(|name| is_policy(name))?;
        let is_inside = path.parent() == Some(self.folder);
        let text = || name.to_str().and_then(|name| self.texts.get(name));
        is_inside
            .then(|| text().map(|text| text.clone().into_bytes()).ok_or(ErrorKind::NotFound.into()))
    }
}

impl<'a> Sources<'a> {
    /// Nothing read yet.
    #[must_use]
    pub fn new(env: Env<'a>) -> Self {
        Self {
            env,
            seen: RefCell::default(),
            reserved: RefCell::default(),
            settings: RefCell::default(),
            instead: None,
        }
    }

    /// Reads policies with these names and texts instead of those in `folder`. All else is read as it is.
    #[must_use]
    pub fn with_policies(self, folder: &'a Path, texts: &'a BTreeMap<String, String>) -> Self {
        Self { instead: Some(Instead { folder, texts }), ..self }
    }

    /// Reads a file of UTF-8.
    ///
    /// # Errors
    /// When it cannot be read, or is not UTF-8.
    pub fn text(&self, path: &Path) -> io::Result<String> {
        String::from_utf8(self.bytes(path)?).map_err(|_| {
            io::Error::new(ErrorKind::InvalidData, "stream did not contain valid UTF-8")
        })
    }

    /// Reads a file of settings.
    ///
    /// # Errors
    /// When it cannot be read, or is not UTF-8.
    pub fn settings(&self, path: &Path) -> io::Result<Arc<Source>> {
        let source = Source { name: path.display().to_string(), text: self.text(path)? };
        let source = Arc::new(source);
        self.settings.borrow_mut().insert(path.to_owned(), Arc::clone(&source));
        Ok(source)
    }

    /// The policies of a folder that were read so far, by the names of their files.
    #[must_use]
    pub fn policies_in(&self, folder: &Path) -> BTreeMap<String, Arc<Source>> {
        let settings = self.settings.borrow();
        let policies = settings.iter().filter_map(|(path, source)| {
            let name = path.file_name().filter(|name| is_policy(name))?.to_str()?;
            (path.parent() == Some(folder)).then(|| (name.to_owned(), Arc::clone(source)))
        });
        policies.collect()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let instead = self.instead.and_then(|instead| instead.text_of(path));
        let bytes = instead.unwrap_or_else(|| read(path));
        self.note(path, Contents::of_file(bytes.as_ref().map(Vec::as_slice)));
        bytes
    }

    /// Lists a folder in the order of its names, without hidden ones and backups.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn folder(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let instead = self.instead.filter(|instead| instead.folder == path);
        let names = match instead {
            Some(instead) => Ok(instead.texts.keys().map(OsString::from).collect()),
            None => list(path),
        };
        self.note(path, Contents::of_folder(names.as_ref().map(Vec::as_slice)));
        Ok(names?.into_iter().map(|name| path.join(name)).collect())
    }

    /// Reads an environment variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    /// Keeps a reference (`NAME` or `file:/path`) for gateway.yaml: no policy may use it.
    pub fn reserve(&self, reference: &str) {
        self.reserved.borrow_mut().insert(reference.to_owned());
    }

    /// Returns true if gateway.yaml uses this reference.
    #[must_use]
    pub fn is_reserved(&self, reference: &str) -> bool {
        self.reserved.borrow().contains(reference)
    }

    /// Everything that was read so far.
    #[must_use]
    pub fn fingerprint(self) -> Fingerprint {
        self.seen.into_inner()
    }

    /// The first reading counts: a later one that differs is a change.
    fn note(&self, path: &Path, contents: Contents) {
        self.seen.borrow_mut().0.entry(path.to_owned()).or_insert(contents);
    }
}

/// The contents of files and folders when they were read, as hashes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, Contents>);

/// Hashes of files may be hashes of secrets.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Contents {
    File(Result<[u8; 32], ErrorKind>),
    Folder(Result<Vec<OsString>, ErrorKind>),
}

impl Contents {
    fn of_file(bytes: Result<&[u8], &io::Error>) -> Self {
        Self::File(bytes.map(|bytes| Sha256::digest(bytes).into()).map_err(io::Error::kind))
    }

    /// Only policies count: another file beside them is no change.
    fn of_folder(names: Result<&[OsString], &io::Error>) -> Self {
        let policies =
            |names: &[OsString]| names.iter().filter(|name| is_policy(name)).cloned().collect();
        Self::Folder(names.map(policies).map_err(io::Error::kind))
    }
}

fn is_policy(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(b".yaml")
}

impl Fingerprint {
    /// Returns the SHA-256 of a file as it was read; `None` if it was not, or could not be.
    #[must_use]
    pub fn digest_of(&self, path: &Path) -> Option<[u8; 32]> {
        match self.0.get(path)? {
            Contents::File(digest) => digest.ok(),
            Contents::Folder(_) => None,
        }
    }

    /// Reads everything again.
    #[must_use]
    pub fn taken_again(&self) -> Self {
        let again = |(path, contents): (&PathBuf, &Contents)| {
            let contents = match contents {
                Contents::File(_) => Contents::of_file(read(path).as_ref().map(Vec::as_slice)),
                Contents::Folder(_) => Contents::of_folder(list(path).as_ref().map(Vec::as_slice)),
            };
            (path.clone(), contents)
        };
        Self(self.0.iter().map(again).collect())
    }

    /// Returns true if both know this file and it held something else.
    #[must_use]
    pub fn differs_in(&self, other: &Self, path: &Path) -> bool {
        let (own, others) = (self.0.get(path), other.0.get(path));
        own.is_some() && others.is_some() && own != others
    }

    /// The files, and the folders whose listing was read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// The folders whose listing was read.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        let folders = self.0.iter().filter(|(_, held)| matches!(held, Contents::Folder(_)));
        folders.map(|(path, _)| path.as_path())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    // Reading a pipe would wait for its writer, for ever.
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// The names of a folder but hidden ones, editors' backups, and the `..data` folders of Kubernetes'
/// mounts.
fn list(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let bytes = name.as_encoded_bytes();
        if !bytes.starts_with(b".") && !bytes.ends_with(b"~") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_changes_with_contents_and_listings_and_with_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (file, missing) = (folder.path().join("a.yaml"), folder.path().join("missing"));
        fs::write(&file, "one").unwrap();
        let sources = Sources::new(&|_| None);
        assert_eq!(sources.text(&file).unwrap(), "one");
        assert!(sources.text(&missing).is_err());
        assert_eq!(sources.folder(folder.path()).unwrap(), std::slice::from_ref(&file));
        let seen = sources.fingerprint();
        fs::write(&file, "one").unwrap();
        fs::write(folder.path().join(".hidden"), "").unwrap();
        assert!(seen == seen.taken_again(), "the same contents are the same");
        fs::write(&file, "two").unwrap();
        let changed = seen.taken_again();
        assert!(seen != changed && seen.differs_in(&changed, &file));
        fs::write(folder.path().join("b.yaml"), "").unwrap();
        assert!(changed != changed.taken_again(), "another file in the folder");
        let listed = changed.taken_again();
        fs::write(&missing, "").unwrap();
        assert!(listed.differs_in(&listed.taken_again(), &missing), "a file that was missing");
        assert!(!format!("{seen:?}").contains("File("), "no hash is printed");
    }

    #[test]
    fn a_file_that_is_too_large_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("large.yaml");
        fs::File::create(&path).and_then(|file| file.set_len(MAX_FILE + 1)).expect("a file");
        let sources = Sources::new(&|_| None);
        let error = sources.bytes(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_pipe_or_a_device_is_refused_and_not_waited_for() {
        assert!(read(Path::new("/dev/zero")).is_err());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe.yaml");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        let error = read(&path).expect_err("a pipe");
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
}
