//! `jobs-gateway key new`

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::super::output::{self, CommandError};
use super::{Fresh, expiry, operation, say_once};
use crate::model::{CredentialId, KeyHash, TenantId};

#[derive(Debug, clap::Args)]
pub struct New {
    /// The tenant it is for: prints a whole policy instead of the key's lines alone.
    #[arg(long, value_parser = |text: &str| TenantId::parse(text))]
    tenant: Option<TenantId>,
    /// The name of the key in records.
    #[arg(long, default_value = "main", value_parser = |text: &str| CredentialId::parse(text))]
    id: CredentialId,
    /// The end of the key: a time such as 2030-01-01T00:00:00Z, or so many days from now, such as 90d.
    #[arg(long, value_parser = expiry)]
    expires: Option<Timestamp>,
    /// The operations it may call, by name, by groups of them or "*", separated by commas; without, what its tenant may.
    #[arg(long, value_delimiter = ',', value_parser = operation)]
    operations: Vec<String>,
    /// Write the policy into this new file, `<tenant>.yaml`, instead of stderr.
    #[arg(long, requires = "tenant")]
    file: Option<PathBuf>,
}

/// Makes a key and prints it; its policy goes into its file, or to stderr.
///
/// # Errors
/// When the policy's file cannot be made: there is no key without it.
pub fn make(new: &New) -> Result<String, CommandError> {
    if let (Some(path), Some(tenant)) = (&new.file, &new.tenant) {
        check_name(path, tenant)?;
    }
    let Fresh { key, hash } = Fresh::make()?;
    let policy = policy(new, hash);
    if let Some(path) = &new.file {
        write(path, &policy)?;
    }
    output::print(&format!("{key}\n"));
    say_once();
    match (&new.file, &new.tenant) {
        (Some(path), _) => eprintln!("The policy is in {}.", path.display()),
        (None, Some(tenant)) if has_policy(tenant) => eprintln!(
            "policies/{tenant}.yaml exists. Add these lines below `api_keys` there:\n\n{}",
            entry(new, hash)
        ),
        (None, Some(tenant)) => eprintln!("In policies/{tenant}.yaml:\n\n{policy}"),
        (None, None) => eprintln!(
            "In its tenant's policy (an operator's: its entry alone, below `admin.audit_keys`):\n\n{policy}"
        ),
    }
    Ok(String::new())
}

/// Returns true if the tenant has a policy where it is looked for.
fn has_policy(tenant: &TenantId) -> bool {
    Path::new("policies").join(format!("{tenant}.yaml")).exists()
}

/// Refuses a file in which nobody would look for this tenant.
fn check_name(path: &Path, tenant: &TenantId) -> Result<(), CommandError> {
    let wanted = format!("{tenant}.yaml");
    if path.file_name().is_some_and(|name| name == wanted.as_str()) {
        return Ok(());
    }
    let better = path.with_file_name(wanted);
    Err(format!(
        "{}: a policy's file is called like its tenant: {}",
        path.display(),
        better.display()
    )
    .into())
}

/// Writes a policy where there is none: one that exists is somebody's work.
fn write(path: &Path, policy: &str) -> Result<(), CommandError> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    let written = written.and_then(|mut file| file.write_all(policy.as_bytes()));
    written.map_err(|error| {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => format!(
                "{path} exists: leave out --file and --tenant, and add the lines that are printed to it"
            ),
            _ => format!("cannot write {path}: {error}"),
        }
        .into()
    })
}

/// Returns the lines of a policy for this key: a whole one where its tenant is known.
fn policy(new: &New, hash: KeyHash) -> String {
    let mut text = String::new();
    if let Some(tenant) = &new.tenant {
        text += &format!("tenant: {tenant}\n");
    }
    text += "auth:\n  api_keys:\n";
    text += &entry(new, hash);
    if new.tenant.is_some() {
        text += "operations: [\"*\"]\n";
    }
    text
}

/// Returns the lines of a key among others.
fn entry(new: &New, hash: KeyHash) -> String {
    let mut text = format!("    - id: {}\n      sha256: {hash}\n", new.id);
    if let Some(expires) = new.expires {
        text += &format!("      expires: {expires}\n");
    }
    if !new.operations.is_empty() {
        text += &format!("      operations: [{}]\n", new.operations.join(", "));
    }
    text
}
