//! Files that the gateway will write, looked at by the user who runs the check.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::app;
use crate::config::{Config, StoreFile};
use crate::model::EntityKind;
use crate::settings::Diagnostic;

/// Warns of each file that cannot be written: it may be another machine that will serve.
pub fn warnings(config: &Config) -> Vec<Diagnostic> {
    let audit = config.audit.as_ref().map(|audit| audit.journal.file.clone());
    let keys = match &config.idempotency.file {
        _ if config.shared_state.is_some() => None,
        StoreFile::Named(file) | StoreFile::Usual(file) => Some(file.clone()),
        StoreFile::Memory => None,
    };
    let written: [(&str, Option<PathBuf>); 5] = [
        ("`audit.sinks`", audit),
        ("`idempotency.file`", keys),
        ("`webhooks`, the events that wait", app::events_file(config)),
        ("`index.file`", app::index_file(config, EntityKind::Job)),
        ("`reload.last_good`", config.reload.last_good.clone()),
    ];
    let warnings = written.into_iter().filter_map(|(key, file)| {
        let file = file?;
        let problem = problem(&file)?;
        let told = format!("{key}: {} cannot be written here: {problem}", file.display());
        Some(Diagnostic::warning(told, None))
    });
    warnings.collect()
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
