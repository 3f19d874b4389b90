//! The chains that records are read from.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use crate::audit::Segments;

/// The chains to read.
#[derive(Debug, clap::Args)]
pub struct Chains {
    /// The file that is written, or a folder for all chains in it; several for several replicas.
    #[arg(long, env = "JOBS_GATEWAY_AUDIT", default_value = "audit/audit.jsonl", num_args = 1..)]
    file: Vec<PathBuf>,
    /// Print summaries of strangers' requests instead: those that showed no credential that is
    /// known, or were refused as HTTP before it was looked at (405, 406, 413, 415, ...).
    #[arg(long)]
    strangers: bool,
}

impl Chains {
    /// The chains, calls or strangers', each with a file at least.
    ///
    /// # Errors
    /// When a file is not there, or a folder cannot be read or holds none.
    pub fn open(&self) -> io::Result<Vec<Segments>> {
        let mut chains = Vec::new();
        for path in &self.file {
            for segments in named(path)? {
                let segments = if self.strangers { segments.refused() } else { segments };
                files(&segments)?;
                chains.push(segments);
            }
        }
        Ok(chains)
    }

    /// Their names, as they were given, and of which records.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.file.iter().map(|path| path.display().to_string()).collect();
        let of = if self.strangers {
            "the summaries of strangers, written each minute, beside "
        } else {
            ""
        };
        format!("{of}{}", names.join(", "))
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
pub fn files(segments: &Segments) -> io::Result<Vec<PathBuf>> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
    let files = segments
        .files()
        .and_then(|files| if files.is_empty() { Err(missing()) } else { Ok(files) })
        // One that may not be read is told now, with its name.
        .and_then(|files| files.iter().try_for_each(|path| readable(path)).map(|()| files));
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

/// A bar over bytes, where somebody looks.
///
/// # Errors
/// When a file cannot be looked at.
pub fn progress(files: &[PathBuf]) -> io::Result<ProgressBar> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let sizes = files.iter().map(|path| path.metadata().map(|metadata| metadata.len()));
    let total = sizes.sum::<io::Result<u64>>()?;
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta}");
    Ok(ProgressBar::new(total).with_style(style.map_err(io::Error::other)?))
}
