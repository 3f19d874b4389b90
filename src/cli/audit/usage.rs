//! The use of credentials, as audit records show it.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use super::source::{files, named};

/// The use of one credential.
#[derive(Debug)]
pub struct Usage {
    /// The beginning of its last call.
    pub last: Timestamp,
    /// The number of its calls, whatever became of them.
    pub calls: u64,
    /// The last call: its records stand together, one for each root field.
    request: String,
}

/// The use of each credential, by its tenant and its id.
pub type Usages = HashMap<(String, String), Usage>;

/// Reads the use of all credentials from files or folders of records.
///
/// # Errors
/// When there are none, or they cannot be read.
pub fn read(paths: &[PathBuf]) -> io::Result<Usages> {
    let mut usages = Usages::new();
    for path in paths {
        for segments in named(path)? {
            for line in files(&segments)?.lines() {
                if let Ok(record) = serde_json::from_slice(&line?) {
                    note(&mut usages, &record);
                }
            }
        }
    }
    Ok(usages)
}

fn note(usages: &mut Usages, record: &Value) -> Option<()> {
    let own = &record["unmapped"];
    if own["phase"] != "outcome" {
        return None;
    }
    let credential = record["actor"]["user"]["credential_uid"].as_str()?;
    let request = record["api"]["request"]["uid"].as_str()?;
    let at = Timestamp::from_millisecond(record["time"].as_i64()?).ok()?;
    let of = (own["tenant"].as_str()?.to_owned(), credential.to_owned());
    let usage =
        usages.entry(of).or_insert_with(|| Usage { last: at, calls: 0, request: String::new() });
    usage.last = usage.last.max(at);
    if usage.request != request {
        usage.calls += 1;
        request.clone_into(&mut usage.request);
    }
    Some(())
}
