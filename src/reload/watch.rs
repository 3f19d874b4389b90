//! Hints that a file may have changed. They make a change count sooner and decide nothing: the contents
//! are compared whether a hint comes or not.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::settings::Fingerprint;

/// The paths to watch to hear of changes of files and folders.
#[derive(Debug, Default)]
struct Watched {
    /// Folders, and the folders in which files and links lie: editors and mounts replace files, folders
    /// and links rather than write into them.
    folders: HashSet<PathBuf>,
    /// The files, folders and links in them that count, and those on the way to them.
    names: HashSet<PathBuf>,
}

impl Watched {
    fn new(fingerprint: &Fingerprint) -> Self {
        let mut watched = Self::default();
        for path in fingerprint.paths() {
            let Ok(path) = std::path::absolute(path) else { continue };
            watched.folders.extend(path.parent().map(Path::to_owned));
            watched.follow(path);
        }
        let listed = fingerprint.folders().filter_map(|path| std::path::absolute(path).ok());
        watched.folders.extend(listed);
        watched
    }

    /// Adds a path, the links on its way, and where they lead.
    fn follow(&mut self, path: PathBuf) {
        if self.names.contains(&path) {
            return;
        }
        let parent = path.parent().map(Path::to_owned);
        let target = std::fs::read_link(&path).ok();
        self.names.insert(path);
        let Some(parent) = parent else { return };
        if let Some(target) = target {
            self.folders.insert(parent.clone());
            self.follow(parent.join(target));
        }
        self.follow(parent);
    }
}

/// Watches until it is dropped, and gives a hint whenever something that counts may have changed.
///
/// # Errors
/// When the system watches nothing. A single folder that cannot be watched is passed over.
pub fn watch(fingerprint: &Fingerprint, hint: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let Watched { folders, names } = Watched::new(fingerprint);
    let listed: HashSet<PathBuf> =
        fingerprint.folders().filter_map(|path| std::path::absolute(path).ok()).collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let counts = |path: &PathBuf| {
            names.contains(path) || path.parent().is_some_and(|folder| listed.contains(folder))
        };
        let is_hint = match &event {
            Ok(event) if event.kind.is_access() => false,
            Ok(event) => event.need_rescan() || event.paths.iter().any(counts),
            // It may have hidden a change.
            Err(_) => true,
        };
        if is_hint {
            hint.notify_one();
        }
    })?;
    for folder in folders {
        // One that is missing is noticed when it is there: contents are compared anyway.
        let _ = watcher.watch(&folder, RecursiveMode::NonRecursive);
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::settings::Sources;

    #[test]
    fn links_on_the_way_and_where_they_lead_are_watched() {
        let folder = tempfile::tempdir().unwrap();
        let (root, beside) = (folder.path().join("root"), folder.path().join("beside"));
        std::fs::create_dir_all(root.join("releases/1")).unwrap();
        std::fs::create_dir(&beside).unwrap();
        std::fs::write(root.join("releases/1/a.yaml"), "").unwrap();
        symlink("releases/1", root.join("current")).unwrap();
        symlink(root.join("current"), beside.join("policies")).unwrap();
        let sources = Sources::new(&|_| None);
        sources.folder(&beside.join("policies")).unwrap();
        sources.bytes(&beside.join("policies/a.yaml")).unwrap();
        let watched = Watched::new(&sources.fingerprint());
        for folder in [&beside, &root, &beside.join("policies")] {
            assert!(watched.folders.contains(folder), "{folder:?} {watched:?}");
        }
        for name in [root.join("current"), root.join("releases/1"), beside.join("policies")] {
            assert!(watched.names.contains(&name), "{name:?} {watched:?}");
        }
        assert!(!watched.names.contains(&root.join("h")));
    }

    #[test]
    fn links_that_lead_round_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        symlink("self/x", folder.path().join("self")).unwrap();
        let sources = Sources::new(&|_| None);
        for name in ["a", "self"] {
            assert!(sources.bytes(&folder.path().join(name)).is_err());
        }
        assert!(Watched::new(&sources.fingerprint()).folders.contains(folder.path()));
    }
}
