//! Files that the gateway will write, looked at by the user who runs the check.

use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::{Config, StoreFile};
use crate::settings::Diagnostic;

/// Warns of each file that cannot be written: it may be another machine that will serve.
pub fn warnings(config: &Config) -> Vec<Diagnostic> {
    let audit = config.audit.as_ref().map(|audit| ("audit.sinks", audit.journal.file.as_path()));
    let keys = match &config.idempotency.file {
        StoreFile::Named(file) => Some(("idempotency.file", file.as_path())),
        StoreFile::Usual(_) | StoreFile::Memory => None,
    };
    let copy = config.reload.last_good.as_deref().map(|file| ("reload.last_good", file));
    let index = config.index.file.as_deref().filter(|_| config.index.enabled);
    let index = index.map(|file| ("index.file", file));
    let written = [audit, keys, copy, index].into_iter().flatten();
    let warnings = written.filter_map(|(key, file)| {
        let problem = problem(file)?;
        let told = format!("`{key}`: {} cannot be written here: {problem}", file.display());
        Some(Diagnostic::warning(told, None))
    });
    warnings.collect()
}

/// Says what keeps a file from being written or made, with the folders before it.
fn problem(file: &Path) -> Option<String> {
    let there = file.ancestors().find(|path| path.as_os_str().is_empty() || path.exists())?;
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    match (there == file, there.is_dir()) {
        (true, true) => return Some("it is a folder".to_owned()),
        (false, false) => return Some(format!("{} is no folder", there.display())),
        (true, false) | (false, true) => {}
    }
    let denied = access(there, Access::WRITE_OK).err()?;
    Some(format!("{}: {}", there.display(), std::io::Error::from(denied)))
}
