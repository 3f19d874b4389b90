//! Reads records: over closed and compressed segments, a line at a time.

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use super::segments;

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
