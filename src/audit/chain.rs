//! The chain: every line names its number and the SHA-256 of the line before it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::model::write_hex;

/// SHA-256 of a line without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of a line.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl std::str::FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        crate::model::KeyHash::parse(text)
            .map(|hash| Self(hash.0))
            .ok_or_else(|| "must be 64 hexadecimal digits".to_owned())
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The place of a line in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number, from 1.
    pub seq: u64,
    /// The hash of the line before it; zeros for the first.
    pub prev: Hash,
}

/// The end of the chain, and where what is kept of it begins. Kept apart from the records, so that
/// a cut end (or beginning) is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// The number of lines that were ever written.
    pub count: u64,
    /// The hash of the last.
    pub hash: Hash,
    /// The number of the first that is kept: retention removes older ones.
    pub first: u64,
}

impl Head {
    /// Returns the place of the next line.
    #[must_use]
    pub const fn next(&self) -> Link {
        Link { seq: self.count + 1, prev: self.hash }
    }

    /// The head after this line was written.
    #[must_use]
    pub fn after(&self, line: &[u8]) -> Self {
        Self { count: self.count + 1, hash: Hash::of_line(line), first: self.first.max(1) }
    }
}

/// The members of a line that its verification reads.
#[derive(Debug, Deserialize)]
struct Line {
    unmapped: Unmapped,
}

#[derive(Debug, Deserialize)]
struct Unmapped {
    chain: Link,
}

/// Reads the place that a line gives itself; `None` if it is no record.
#[must_use]
pub fn link_of(line: &[u8]) -> Option<Link> {
    serde_json::from_slice::<Line>(line).ok().map(|line| line.unmapped.chain)
}
