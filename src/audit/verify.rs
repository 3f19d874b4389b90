//! Finds any edit, removal, reordering or truncation.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::chain::{Hash, Head, Link, link_of};
use super::segments::{self, Segments};

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The number of records that are whole and in their place.
    pub records: u64,
    /// The end of the chain, as the records have it.
    pub head: Head,
    /// The first record that is kept; `None` if there are none.
    pub oldest: Option<Oldest>,
    /// Bytes of a torn last line: the end of a write that was cut short.
    pub torn: u64,
}

/// The first record that is kept. Those before it were retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oldest {
    /// Its place: after a record that is not there any more, unless it is the first ever.
    pub link: Link,
    /// The moment of what it tells of.
    pub at: Timestamp,
}

/// Why records cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// There are neither records nor a head.
    #[error("{path}: no such file")]
    NoFile {
        /// The file that is written.
        path: String,
    },
    /// A line is no record.
    #[error("{path}, line {line}: this is no record; record {seq} should be here")]
    NotARecord {
        /// The file.
        path: String,
        /// The line in it, from 1.
        line: u64,
        /// The record that should be here.
        seq: u64,
    },
    /// A record is not the one that should come here.
    #[error("{path}, line {line}: record {found} stands where record {seq} should be")]
    OutOfPlace {
        /// The file.
        path: String,
        /// The line in it, from 1.
        line: u64,
        /// The record that should be here.
        seq: u64,
        /// The record that is.
        found: u64,
    },
    /// The record before was changed.
    #[error("{path}, line {line}: record {seq} does not follow from record {} as it is: one of them was changed", seq - 1)]
    Changed {
        /// The file.
        path: String,
        /// The line in it, from 1.
        line: u64,
        /// The later of the two.
        seq: u64,
    },
    /// Records at the end are missing.
    #[error("the last record is {found}; {expected} were written: the end is missing")]
    EndMissing {
        /// The last that is there.
        found: u64,
        /// The number of them that were written.
        expected: u64,
    },
    /// Records at the beginning are missing that retention did not remove.
    #[error(
        "the first record is {found}; from {expected} on they are kept: the beginning is missing"
    )]
    BeginningMissing {
        /// The first that is there.
        found: u64,
        /// The first that should be.
        expected: u64,
    },
    /// The head is of a record that is not kept any more, so that nothing can be compared with it.
    #[error("record {seq} was retired, as records before {first} were: name a later head")]
    HeadRetired {
        /// The record that the head names.
        seq: u64,
        /// The first that is kept.
        first: u64,
    },
    /// The last record is another than the head says.
    #[error("record {seq} is not the one that was written: the head names another hash")]
    HeadDiffers {
        /// The record.
        seq: u64,
    },
    /// The journal itself found that records were missing.
    #[error("record {seq} says: {message}")]
    Told {
        /// The record.
        seq: u64,
        /// Its message.
        message: String,
    },
    /// There is no head to compare with.
    #[error(
        "there is no head: name the one that was exported (--head COUNT:HASH), or give the file beside the records back"
    )]
    NoHead,
}

/// The times that files are read which are closed meanwhile.
const READINGS: u32 = 10;

/// Verifies the files of a journal against its head, anew if one was closed meanwhile. `progress` is told the bytes that
/// were read.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(
    segments: &Segments,
    exported: Option<Head>,
    mut progress: impl FnMut(u64),
) -> Result<Report, Broken> {
    let files = || segments.files().map_err(|error| unreadable(segments.current(), error));
    for _ in 1..READINGS {
        let before = files()?;
        let verdict = verify_files(segments, exported, &before, &mut progress);
        if verdict.is_ok() || files()? == before {
            return verdict;
        }
    }
    verify_files(segments, exported, &files()?, progress)
}

fn unreadable(path: &Path, source: io::Error) -> Broken {
    Broken::Read { path: path.display().to_string(), source }
}

fn verify_files(
    segments: &Segments,
    exported: Option<Head>,
    files: &[PathBuf],
    mut progress: impl FnMut(u64),
) -> Result<Report, Broken> {
    let head_file = segments.head_file();
    let kept = segments.head().map_err(|error| unreadable(&head_file, error))?;
    let expected = match (exported, kept) {
        (Some(head), kept) => Head { first: kept.map_or(0, |kept| kept.first), ..head },
        (None, Some(head)) => head,
        (None, None) if files.is_empty() => {
            return Err(Broken::NoFile { path: segments.current().display().to_string() });
        }
        (None, None) => return Err(Broken::NoHead),
    };
    let mut chain = Chain { head: None, oldest: None, retired: 0, records: 0, torn: 0, expected };
    let last = files.len().saturating_sub(1);
    for (index, path) in files.iter().enumerate() {
        let mut text = Vec::new();
        segments::open(path)
            .and_then(|mut source| source.read_to_end(&mut text))
            .map_err(|error| unreadable(path, error))?;
        chain.read(path, &text, index == last)?;
        progress(text.len() as u64);
    }
    chain.end()
}

struct Chain {
    head: Option<Head>,
    oldest: Option<Oldest>,
    /// The last record that one of the others says was retired.
    retired: u64,
    records: u64,
    torn: u64,
    expected: Head,
}

impl Chain {
    fn read(&mut self, path: &Path, text: &[u8], is_last: bool) -> Result<(), Broken> {
        let path = path.display().to_string();
        let mut rest = text;
        let mut line_number = 0;
        while !rest.is_empty() {
            line_number += 1;
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, is_whole) = match end {
                Some(end) => (&rest[..end], true),
                None => (rest, false),
            };
            rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
            let seq = self.head.map_or(0, |head| head.count) + 1;
            // A torn line is an accident only where a crash can leave one, and only of a record
            // that the head does not know.
            if !is_whole && is_last && seq > self.expected.count && self.head.is_some() {
                self.torn = line.len() as u64;
                return Ok(());
            }
            let path = || path.clone();
            let Some(place) = link_of(line).filter(|_| is_whole) else {
                return Err(Broken::NotARecord { path: path(), line: line_number, seq });
            };
            if let Some(head) = self.head {
                if place.seq != seq {
                    let found = place.seq;
                    return Err(Broken::OutOfPlace { path: path(), line: line_number, seq, found });
                }
                if place.prev != head.hash {
                    return Err(Broken::Changed { path: path(), line: line_number, seq });
                }
            }
            self.take(place, line)?;
        }
        Ok(())
    }

    fn take(&mut self, place: Link, line: &[u8]) -> Result<(), Broken> {
        let Link { seq, prev } = place;
        let record: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let hash = Hash::of_line(line);
        if self.oldest.is_none() {
            let at =
                record["time"].as_i64().and_then(|time| Timestamp::from_millisecond(time).ok());
            let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
            self.oldest = Some(Oldest { link: place, at });
            // The head may be of the record before, which is gone, but whose hash is known.
            if seq == self.expected.count + 1 && prev != self.expected.hash {
                return Err(Broken::HeadDiffers { seq: self.expected.count });
            }
        }
        self.records += 1;
        let first = self.oldest.map_or(seq, |oldest| oldest.link.seq);
        self.head = Some(Head { count: seq, hash, first });
        if seq == self.expected.count && hash != self.expected.hash {
            return Err(Broken::HeadDiffers { seq });
        }
        let retired = record["unmapped"]["retired"].as_u64().unwrap_or_default();
        self.retired = self.retired.max(retired);
        match record["message"].as_str() {
            Some(message) if message.starts_with("records are missing") => {
                Err(Broken::Told { seq, message: message.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn end(self) -> Result<Report, Broken> {
        let head = self.head.unwrap_or_default();
        let (found, expected) = (head.count, self.expected.count);
        if found < expected {
            return Err(Broken::EndMissing { found, expected });
        }
        let found = self.oldest.map_or(1, |oldest| oldest.link.seq);
        // Both say what retention removed: the head, and records of the chain itself. Neither has to
        // be there: an exported head names no beginning, and older chains told nothing.
        let told = if self.retired > 0 { self.retired + 1 } else { 0 };
        let expected = self.expected.first.max(told);
        if expected > 0 && found > expected {
            return Err(Broken::BeginningMissing { found, expected });
        }
        if self.oldest.is_some() && self.expected.count + 1 < found {
            return Err(Broken::HeadRetired { seq: self.expected.count, first: found });
        }
        Ok(Report { records: self.records, head, oldest: self.oldest, torn: self.torn })
    }
}
