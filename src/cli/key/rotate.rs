//! `jobs-gateway key rotate`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::super::output::{self, CommandError};
use super::edit::{self, Replacement, Rotated};
use super::{Fresh, expiry, say_once};
use crate::model::{CredentialId, TenantId};
use crate::settings::values;

#[derive(Debug, clap::Args)]
pub struct Rotate {
    /// The tenant.
    #[arg(long, value_parser = |text: &str| TenantId::parse(text))]
    tenant: TenantId,
    /// The key that another takes the place of, by its id.
    #[arg(long, value_parser = |text: &str| CredentialId::parse(text))]
    id: CredentialId,
    /// The time for which the old key stays good, such as 24h or 7d. It is never made longer than it was.
    #[arg(long, default_value = "24h", value_parser = values::duration)]
    grace: Duration,
    /// The id of the new key; without, the old one's with the next number: main, main-2, main-3.
    #[arg(long, value_parser = |text: &str| CredentialId::parse(text))]
    new_id: Option<CredentialId>,
    /// The end of the new key: a time such as 2030-01-01T00:00:00Z, or so many days from now, such as 90d.
    #[arg(long, value_parser = expiry)]
    expires: Option<Timestamp>,
    /// The tenant's policy; without, policies/TENANT.yaml.
    #[arg(long)]
    file: Option<PathBuf>,
}

/// Writes a new key into the policy and prints it.
///
/// # Errors
/// When the policy has no such key, or cannot be written: there is no key without it.
pub fn run(rotate: &Rotate) -> Result<String, CommandError> {
    let named = || PathBuf::from("policies").join(format!("{}.yaml", rotate.tenant));
    let path = rotate.file.clone().unwrap_or_else(named);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}; --file names it", path.display()))?;
    let Fresh { key, hash } = Fresh::make()?;
    let ends = Timestamp::now().checked_add(rotate.grace).ok();
    let ends = ends.and_then(|ends| Timestamp::from_second(ends.as_second()).ok());
    let replacement = Replacement {
        tenant: &rotate.tenant,
        old: &rotate.id,
        old_ends: ends.ok_or("that grace is too long")?,
        new: rotate.new_id.as_ref(),
        hash,
        expires: rotate.expires,
    };
    let Rotated { text, new, old_ends, had_end } = edit::rotate(&path, &text, &replacement)?;
    replace(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    output::print(&format!("{key}\n"));
    say_once();
    eprintln!(
        "It is `{new}` in {}. `{}` is good until {old_ends}: take its lines out after that, when \
         `jobs-gateway audit query --tenant {} --key {}` shows nobody using it.",
        path.display(),
        rotate.id,
        rotate.tenant,
        rotate.id
    );
    if had_end && rotate.expires.is_none() {
        eprintln!(
            "`{new}` has no end, as `{}` had one: `expires` beside it, or --expires, gives it one.",
            rotate.id
        );
    }
    Ok(String::new())
}

/// Puts a whole text in place of a file's: whoever reads meanwhile reads the one or the other. A link stays
/// one, and the file's permissions stay.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The gateway passes hidden files over.
    let draft = path.with_file_name(format!(".{name}.new"));
    let written = fs::write(&draft, text)
        .and_then(|()| fs::set_permissions(&draft, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}
