//! Files that the gateway will write, looked at by the user who runs the check.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::app;
use crate::config::{Config, StoreFile};
use crate::jobs::KINDS;
use crate::redb_file::is_foreign;
use crate::settings::Diagnostic;

/// The files that are databases.
const DATABASES: [&str; 3] = [KEYS, EVENTS, INDEX];
const KEYS: &str = "`idempotency.file`";
const EVENTS: &str = "`webhooks`, the events that wait";
const INDEX: &str = "`index.file`";

/// Warns of each file that cannot be written, or is something else: it may be another machine that will serve.
pub fn warnings(config: &Config) -> Vec<Diagnostic> {
    let audit = config.audit.as_ref().map(|audit| audit.journal.file.clone());
    let keys = match &config.idempotency.file {
        _ if config.shared_state.is_some() => None,
        StoreFile::Named(file) | StoreFile::Usual(file) => Some(file.clone()),
        StoreFile::Memory => None,
    };
    let written: [(&str, Option<PathBuf>); 4] = [
        ("`audit.sinks`", audit),
        (KEYS, keys),
        (EVENTS, app::events_file(config)),
        ("`reload.last_good`", config.reload.last_good.clone()),
    ];
    let indexes = KINDS.map(|kind| (INDEX, app::index_file(config, kind)));
    let written = written.into_iter().chain(indexes);
    let written: Vec<_> = written.filter_map(|(key, file)| Some((key, file?))).collect();
    let shared = written.iter().enumerate().filter_map(|(at, (key, file))| {
        let (other, _) = written[..at].iter().find(|(_, other)| other == file)?;
        Some(format!("{key}: {} is the file of {other}, too", file.display()))
    });
    let not_written = written.iter().filter_map(|(key, file)| {
        let problem = problem(file)?;
        Some(format!("{key}: {} cannot be written here: {problem}", file.display()))
    });
    let databases = written.iter().filter(|(key, _)| DATABASES.contains(key));
    let foreign = databases.filter(|(_, file)| is_foreign(file).unwrap_or(false));
    let foreign =
        foreign.map(|(key, file)| format!("{key}: {} holds something else", file.display()));
    let told = shared.chain(not_written).chain(foreign);
    told.map(|told| Diagnostic::warning(told, None)).collect()
}

/// Says what keeps a file from being written or made, with the folders before it.
fn problem(file: &Path) -> Option<String> {
    let there = file.ancestors().find(|path| path.as_os_str().is_empty() || path.exists())?;
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let written = match (there == file, there.is_dir()) {
        (true, true) => return Some("it is a folder".to_owned()),
        (false, false) => return Some(format!("{} is no folder", there.display())),
        (true, false) => access(there, Access::WRITE_OK).map_err(io::Error::from),
        (false, true) => make_in(there),
    };
    written.err().map(|error| format!("{}: {error}", there.display()))
}

/// Makes a file in a folder and removes it: rights alone do not tell if a file system takes files.
fn make_in(folder: &Path) -> io::Result<()> {
    let file = folder.join(format!(".jobs-gateway-check-{}", uuid::Uuid::new_v4()));
    drop(File::create_new(&file)?);
    std::fs::remove_file(&file)
}
