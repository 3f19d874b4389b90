//! Policies of which some are broken: their tenants keep what they had (`reload.on_error: keep_tenant`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{DEFAULTS, Snapshot, load, load_without};
use crate::config::{self, Config};
use crate::model::{ApiKey, FieldCoordinate, Tenant, TenantId};
use crate::settings::{self, Diagnostics, Severity, Sources, Value};

/// Reads and checks all policies; where some have errors, their tenants stay as they were `before`. The
/// errors are among the findings.
///
/// # Errors
/// Everything that is wrong, if it is not the files of single tenants alone, or if what these tenants
/// had does not fit to what the others have now.
pub fn load_keeping(
    config: &Config,
    sources: &Sources<'_>,
    now: Timestamp,
    problems_of_hiding: impl Fn(&[FieldCoordinate]) -> Vec<String>,
    before: &Snapshot,
) -> Result<(Snapshot, Diagnostics), Diagnostics> {
    let found = match load(config, sources, now, &problems_of_hiding) {
        Ok(loaded) => return Ok(loaded),
        Err(found) => found,
    };
    let Some(broken) = broken_files(config, &found) else { return Err(found) };
    let kept: Option<Vec<_>> =
        broken.iter().map(|path| kept_policy(path, sources, before)).collect();
    let Some(kept) = kept else { return Err(found) };
    match load_without(config, sources, now, problems_of_hiding, &broken) {
        Ok((rest, mut findings)) => {
            let kept: Vec<_> = kept.into_iter().flatten().collect();
            if kept.iter().any(|policy| rest.clashes_with(policy)) {
                return Err(found);
            }
            findings.0.extend(found.0);
            Ok((rest.with(kept), findings))
        }
        Err(_) => Err(found),
    }
}

/// The tenants' files that have errors; `None` if there are errors elsewhere.
fn broken_files(config: &Config, found: &Diagnostics) -> Option<BTreeSet<PathBuf>> {
    let errors = found.0.iter().filter(|finding| finding.severity == Severity::Error);
    let file = |finding: &settings::Diagnostic| {
        let path = PathBuf::from(&finding.span.as_ref()?.source.name);
        let is_tenants = path.parent() == Some(config.policies.as_path())
            && path.file_name().is_some_and(|name| name != DEFAULTS);
        is_tenants.then_some(path)
    };
    errors.map(file).collect()
}

/// The policy that the tenant of a broken file had. `Some(None)` if the tenant is new; `None` if it cannot
/// be told whose file it is.
#[expect(clippy::option_option, reason = "a new tenant has nothing to keep, which is no error")]
fn kept_policy(
    path: &Path,
    sources: &Sources<'_>,
    before: &Snapshot,
) -> Option<Option<(Tenant, Vec<ApiKey>)>> {
    let source = config::read(path, sources).ok();
    let root = source.and_then(|source| settings::parse(&source).ok());
    let named = root.and_then(|root| match &root.at(&["tenant"])?.value {
        Value::Scalar { text, .. } => TenantId::parse(text).ok(),
        _ => None,
    });
    let stem = path.file_stem().and_then(|stem| TenantId::parse(stem.to_str()?).ok());
    let id = match (named, stem.filter(|id| before.tenant(id).is_some())) {
        // It is one tenant's by its name and another's by what it says: both would lose theirs.
        (Some(named), Some(stem)) if named != stem => return None,
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return None,
    };
    let Some(tenant) = before.tenant(&id) else { return Some(None) };
    let keys = before.keys().filter(|(owner, _)| owner.id == id).map(|(_, key)| key.clone());
    Some(Some(((**tenant).clone(), keys.collect())))
}
