//! `jobs-gateway audit verify`

use std::io;
use std::path::PathBuf;

use super::source::{at, named, progress};
use crate::audit::verify::{self, Broken, Oldest, Report};
use crate::audit::{Hash, Head, Segments};
use crate::cli::output::print;

/// Verifies chains, and says of each how it is; false if one of them is broken.
///
/// # Errors
/// When files cannot be looked at.
pub fn verify(paths: &[PathBuf], head: Option<Head>) -> io::Result<bool> {
    let mut chains = Vec::new();
    for path in paths {
        chains.extend(named(path)?);
    }
    if head.is_some() && chains.len() > 1 {
        return Err(io::Error::other("--head is of one chain: name its file alone"));
    }
    let mut all_good = true;
    for calls in chains {
        let strangers = calls.refused();
        all_good &= verify_one(&calls, head)?;
        // An exported head is of calls.
        if strangers.current().exists() || strangers.head_file().exists() {
            all_good &= verify_one(&strangers, None)?;
        }
    }
    Ok(all_good)
}

fn verify_one(segments: &Segments, head: Option<Head>) -> io::Result<bool> {
    let path = segments.current().display();
    let files = segments.files().map_err(|error| at(segments.current(), &error))?;
    let sizes = files.iter().map(|path| path.metadata().map(|metadata| metadata.len()));
    let bar = progress(sizes.sum::<io::Result<u64>>()?)?;
    let report = verify::verify(segments, head, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    match report {
        Ok(Report { records, head: Head { count, hash, .. }, oldest, torn }) => {
            let mut text = format!("{path}: {records} records, {count}:{hash}\n");
            if let Some(Oldest { link, at }) = oldest {
                text.push_str(&format!("  from {at} on{}\n", before(link.seq, link.prev)));
            }
            if torn > 0 {
                text.push_str(&format!("  and {torn} bytes of a line that a crash cut short\n"));
            }
            print(&text);
            Ok(true)
        }
        Err(missing @ Broken::NoFile { .. }) => {
            eprintln!("error: {missing}");
            Ok(false)
        }
        Err(broken) => {
            print(&format!("{path}: BROKEN: {broken}\n"));
            Ok(false)
        }
    }
}

/// Tells what was there before the oldest record.
fn before(first: u64, prev: Hash) -> String {
    match first {
        1 => ": none was retired".to_owned(),
        first => format!("; older ones were retired, the last of them {}:{prev}", first - 1),
    }
}
