//! The chains that records are read from.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use crate::audit::Segments;
use crate::audit::reader::Files;

/// The file of records that is looked for where none is named.
const USUAL: &str = "audit/audit.jsonl";

/// The chains to read.
#[derive(Debug, clap::Args)]
pub struct Chains {
    /// The file that is written, or a folder for all chains in it; several for several replicas. Without it the one that
    /// the variable JOBS_GATEWAY_AUDIT names, or else audit/audit.jsonl.
    #[arg(long, num_args = 1..)]
    file: Vec<PathBuf>,
    /// Print summaries of strangers' requests instead: those that showed no credential that is
    /// known, or were refused as HTTP before it was looked at (405, 406, 413, 415, ...).
    #[arg(long)]
    pub strangers: bool,
}

impl Chains {
    fn paths(&self) -> Vec<PathBuf> {
        if !self.file.is_empty() {
            return self.file.clone();
        }
        let usual = || PathBuf::from(USUAL);
        vec![std::env::var_os("JOBS_GATEWAY_AUDIT").map_or_else(usual, PathBuf::from)]
    }

    /// The chains, calls or strangers', each with a file at least.
    ///
    /// # Errors
    /// When a file is not there, or a folder cannot be read or holds none.
    pub fn open(&self) -> io::Result<Vec<Segments>> {
        let mut chains = Vec::new();
        for path in self.paths() {
            for segments in named(&path)? {
                let is_asked_for = !self.strangers || segments.are_of_strangers();
                let segments = if is_asked_for { segments } else { segments.refused() };
                files(&segments)?;
                chains.push(segments);
            }
        }
        Ok(chains)
    }
}

/// The chains of calls that a path names: one, or all of a folder.
///
/// # Errors
/// When a folder cannot be read or holds none.
pub fn named(path: &Path) -> io::Result<Vec<Segments>> {
    if !path.is_dir() {
        return Ok(vec![Segments::new(path)]);
    }
    let chains = Segments::in_folder(path).map_err(|error| at(path, &error))?;
    if chains.is_empty() {
        let message = format!("{} holds no audit records", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok(chains)
}

/// The files of a chain, oldest first.
///
/// # Errors
/// When there are none, or they cannot be looked at.
pub fn files(segments: &Segments) -> io::Result<Files> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
    let files = Files::open(segments)
        .and_then(|files| if files.is_empty() { Err(missing()) } else { Ok(files) })
        // One that may not be read is told now, with its name.
        .and_then(|files| {
            files.closed().iter().try_for_each(|path| readable(path)).map(|()| files)
        });
    files.map_err(|error| {
        let text = format!("{}: {error}; --file names it", segments.current().display());
        io::Error::new(error.kind(), text)
    })
}

fn readable(path: &Path) -> io::Result<()> {
    match File::open(path) {
        // It is being compressed: it has another name now.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// An error with the path that it is about.
pub fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A bar over so many bytes, where somebody looks.
///
/// # Errors
/// When its form is none.
pub fn progress(total: u64) -> io::Result<ProgressBar> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta}");
    Ok(ProgressBar::new(total).with_style(style.map_err(io::Error::other)?))
}
