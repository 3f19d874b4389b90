//! The last good copy of the policies, on disk: where those that lie there at a start are broken, it stands in
//! (`reload.last_good`).
//!
//! It is sealed with the gateway's `cursor_key`: whoever can write the volume cannot let anybody in. It holds what the
//! policies hold, which are hashes of keys and references to secrets, never a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::seal::Seal;
use crate::settings::Source;

/// The longest time for which a copy may have been out of force: a key that was taken away meanwhile would come back
/// with it.
const LONGEST: Duration = Duration::from_hours(24);

/// The purpose of the seal, and the version of what is sealed.
const PURPOSE: &str = "jobs-gateway last good policies v1";

/// Why a copy is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It cannot be opened.
    #[error("it is torn, or was made with another `cursor_key`")]
    Seal,
    /// Policies mean something beside the configuration that they were read with.
    #[error("it was made beside another gateway.yaml")]
    OtherConfig,
    /// It is too old.
    #[error("it was last in force at {0}, more than a day ago")]
    Old(Timestamp),
    /// Its policies are not good any more, by the number of errors in them.
    #[error("it has {0} errors of its own")]
    Broken(usize),
}

/// A place for the copy, and what seals it.
#[derive(Debug, Clone)]
pub struct LastGood {
    path: PathBuf,
    seal: Seal,
}

/// Policies that were in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Copy {
    /// The SHA-256 of the gateway.yaml that they were read with.
    config: [u8; 32],
    /// The last moment at which they are known to have been in force.
    pub in_force: Timestamp,
    /// Their texts, by the names of their files.
    pub texts: BTreeMap<String, String>,
}

impl Copy {
    /// Copies the policies that are in force from now on, `read` beside a gateway.yaml of this SHA-256. Of `kept` files,
    /// whose tenants keep what they had, it has what the copy `before` has.
    #[must_use]
    pub fn new(
        config: [u8; 32],
        read: &BTreeMap<String, Arc<Source>>,
        kept: &BTreeSet<String>,
        before: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let held = |name: &String| before.and_then(|before| before.texts.get(name)).cloned();
        let good = read.iter().filter(|(name, _)| !kept.contains(*name));
        let good = good.map(|(name, source)| (name.clone(), source.text.clone()));
        let texts = good.chain(kept.iter().filter_map(|name| Some((name.clone(), held(name)?))));
        let texts = texts.collect();
        Self { config, in_force: now, texts }
    }
}

impl LastGood {
    /// The place that a configuration names, if it names one.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let path = config.reload.last_good.clone()?;
        // A configuration without the key is refused.
        Some(Self { path, seal: Seal::new(config.cursor_key.as_ref()?, PURPOSE) })
    }

    /// Reads the copy, for a gateway with this SHA-256 of its gateway.yaml.
    ///
    /// # Errors
    /// When there is none, or none that may be used.
    pub fn read(&self, config: Option<[u8; 32]>, now: Timestamp) -> Result<Copy, Unusable> {
        let sealed = fs::read(&self.path)?;
        let text = self.seal.open(b"", &sealed).ok_or(Unusable::Seal)?;
        let copy: Copy = serde_json::from_slice(&text).map_err(|_| Unusable::Seal)?;
        if Some(copy.config) != config {
            return Err(Unusable::OtherConfig);
        }
        let age = Duration::try_from(now.duration_since(copy.in_force)).unwrap_or_default();
        if age > LONGEST {
            return Err(Unusable::Old(copy.in_force));
        }
        Ok(copy)
    }

    /// Writes the copy: whole and on disk, or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, copy: &Copy) -> io::Result<()> {
        let text = serde_json::to_vec(copy)?;
        let sealed = self.seal.seal(b"", &text).ok_or(ErrorKind::Other)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut draft = self.path.clone().into_os_string();
        draft.push(".draft");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: [u8; 32] = [1; 32];

    fn place(folder: &Path, key: u8) -> LastGood {
        LastGood { path: folder.join("state/policies"), seal: Seal::new(&[key; 32], PURPOSE) }
    }

    fn copy() -> Copy {
        let texts = [("acme.yaml".to_owned(), "tenant: acme\n".to_owned())].into();
        Copy { config: CONFIG, in_force: Timestamp::UNIX_EPOCH, texts }
    }

    #[test]
    fn a_copy_is_given_back_to_its_own_gateway_within_a_day_and_to_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let last_good = place(folder.path(), 7);
        let at = |hours: i64| Timestamp::from_second(hours * 3_600).unwrap();
        let problem = |place: &LastGood, config, hours| {
            place
                .read(Some(config), at(hours))
                .map_or_else(|error| error.to_string(), |_| "none".to_owned())
        };
        assert!(problem(&last_good, CONFIG, 0).contains("No such file"));
        last_good.write(&copy()).unwrap();
        assert_eq!(last_good.read(Some(CONFIG), at(24)).unwrap().texts, copy().texts);
        assert!(problem(&last_good, CONFIG, 25).contains("1970-01-01T00:00:00Z, more than a day"));
        assert!(problem(&last_good, [2; 32], 0).contains("another gateway.yaml"));
        assert!(problem(&place(folder.path(), 8), CONFIG, 0).contains("another `cursor_key`"));
    }

    #[test]
    fn a_copy_that_is_torn_or_was_tampered_with_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let last_good = place(folder.path(), 7);
        last_good.write(&copy()).unwrap();
        let whole = fs::read(&last_good.path).unwrap();
        assert!(!whole.windows(4).any(|part| part == b"acme"), "nobody else reads it");
        for length in [0, 10, whole.len() / 2, whole.len() - 1] {
            fs::write(&last_good.path, &whole[..length]).unwrap();
            assert!(last_good.read(Some(CONFIG), Timestamp::UNIX_EPOCH).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn only_its_owner_may_read_a_copy() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let last_good = place(folder.path(), 7);
        last_good.write(&copy()).unwrap();
        for (path, mode) in [(&*last_good.path, 0o600), (last_good.path.parent().unwrap(), 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
