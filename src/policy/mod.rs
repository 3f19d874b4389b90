//! `policies/`: one file a tenant, laid over `defaults.yaml`, into one immutable [`Snapshot`].

mod changes;
mod check;
mod figures;
mod file;
mod forms;
mod kept;
mod snapshot;
mod tenant;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use changes::{Changes, Names};
pub use forms::TenantName;
pub use kept::load_keeping;
pub use snapshot::Snapshot;
pub use tenant::Policy;

use crate::config::{self, Config};
use crate::model::{Account, AccountId, ApiKey, FieldCoordinate, KeyHash, Tenant, TenantId};
use crate::settings::{
    self, Context, Diagnostic, Diagnostics, Keys, Node, Section, Source, Sources, Span,
};
use file::PolicyFile;

/// The file that is laid under every tenant's.
const DEFAULTS: &str = "defaults.yaml";

/// Reads and checks all policies of a configuration. `problems_of_hiding`
/// knows the schema.
///
/// # Errors
/// Everything that is wrong with any of them, at once.
pub fn load(
    config: &Config,
    sources: &Sources<'_>,
    now: Timestamp,
    problems_of_hiding: impl Fn(&[FieldCoordinate]) -> Vec<String>,
) -> Result<(Snapshot, Diagnostics), Diagnostics> {
    load_without(config, sources, now, problems_of_hiding, &BTreeSet::new())
}

/// The same without some of the tenants' files.
fn load_without(
    config: &Config,
    sources: &Sources<'_>,
    now: Timestamp,
    problems_of_hiding: impl Fn(&[FieldCoordinate]) -> Vec<String>,
    left_out: &BTreeSet<PathBuf>,
) -> Result<(Snapshot, Diagnostics), Diagnostics> {
    let context = Context::of_policies(sources);
    let mut digest = Sha256::new();
    let nodes = nodes(&context, config, sources, &mut digest, left_out);
    let shared = Arc::new(Account {
        id: AccountId::Shared,
        url: config.upstream.url.clone(),
        api_key: config.upstream.api_key.clone(),
    });
    let policies: Vec<_> = nodes
        .iter()
        .filter_map(|node| {
            tenant::read(&context, Section::new(&context, "", node), config, &shared)
        })
        .collect();
    check::all(&context, config, &policies, now, problems_of_hiding);
    if left_out.is_empty() {
        check::accounts_of_webhooks(&context, config, &policies);
    }
    let found = context.finish();
    if found.has_errors() {
        return Err(found);
    }
    let version = KeyHash(digest.finalize().into()).to_string().chars().take(12).collect();
    let tenants: Vec<(Tenant, Vec<ApiKey>)> =
        policies.into_iter().map(|policy| (policy.tenant, policy.keys)).collect();
    Ok((Snapshot::new(tenants, version), found))
}

/// A tenant's policy as it stands in its files, defaults laid under it: every value knows its place.
/// `None` if there is no such tenant or its file cannot be read.
#[must_use]
pub fn trace(config: &Config, sources: &Sources<'_>, tenant: &TenantId) -> Option<Node> {
    let context = Context::of_policies(sources);
    let none = BTreeSet::new();
    let mut nodes = nodes(&context, config, sources, &mut Sha256::new(), &none).into_iter();
    nodes.find(|node| {
        let name = node.at(&["tenant"]);
        name.and_then(|name| context.text("tenant", name)).as_deref() == Some(tenant.as_str())
    })
}

/// All tenants' files, each laid over the defaults.
fn nodes(
    context: &Context<'_>,
    config: &Config,
    sources: &Sources<'_>,
    digest: &mut Sha256,
    left_out: &BTreeSet<PathBuf>,
) -> Vec<Node> {
    let (defaults, tenants) = files(context, &config.policies, sources, left_out);
    let mut read = |source: &Arc<Source>| {
        digest.update(source.text.as_bytes());
        read(context, source)
    };
    let defaults = defaults.and_then(|source| read(&source));
    if let Some(defaults) = &defaults {
        for path in [&["tenant"][..], &["auth", "api_keys"]] {
            if let Some(node) = defaults.at(path) {
                let message = format!("`{}` belongs in a tenant's own file", path.join("."));
                context.error(&node.span, message);
            }
        }
    }
    let laid_under = |own| match &defaults {
        Some(defaults) => defaults.merged_under(&own),
        None => own,
    };
    tenants.iter().filter_map(read).map(laid_under).collect()
}

/// A JSON Schema of a policy, `defaults.yaml` included.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let mut schema = settings::schema("A tenant's policy", &Keys::of::<PolicyFile>());
    // What a tenant's file leaves out, `defaults.yaml` may say; that file has no tenant.
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
    }
    settings::without_references(&mut schema);
    schema
}

/// Its keys as a table.
#[must_use]
pub fn reference() -> String {
    settings::table(&Keys::of::<PolicyFile>())
}

fn read(context: &Context<'_>, source: &Arc<Source>) -> Option<Node> {
    settings::parse(source).map_err(|problem| context.report(problem)).ok()
}

/// The folder's policy files: the defaults and the tenants', in the order of their names.
fn files(
    context: &Context<'_>,
    folder: &Path,
    sources: &Sources<'_>,
    left_out: &BTreeSet<PathBuf>,
) -> (Option<Arc<Source>>, Vec<Arc<Source>>) {
    let paths = match sources.folder(folder) {
        Ok(paths) => paths,
        Err(error) => {
            let message = format!("cannot read the folder {}: {error}", folder.display());
            context.report(Diagnostic::error(message, None));
            return (None, Vec::new());
        }
    };
    let mut defaults = None;
    let mut tenants = Vec::new();
    for path in paths.into_iter().filter(|path| !left_out.contains(path)) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            warn_of_folder(context, &path);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "yaml") {
            let message =
                format!("{} is no policy: its name does not end in .yaml", path.display());
            context.report(Diagnostic::warning(message, None));
            continue;
        }
        match config::read(&path, sources) {
            Ok(source) if name == DEFAULTS => defaults = Some(source),
            Ok(source) => tenants.push(source),
            Err(problems) => {
                // It has a place, so that it is known whose tenant's it is.
                let source = Source { name: path.display().to_string(), text: String::new() };
                let span = Span::start_of(&Arc::new(source));
                let placed = |problem| Diagnostic { span: Some(span.clone()), ..problem };
                problems.0.into_iter().map(placed).for_each(|problem| context.report(problem));
            }
        }
    }
    (defaults, tenants)
}

/// Policies lie in the folder itself: one in a folder below it would be passed over without a word.
fn warn_of_folder(context: &Context<'_>, folder: &Path) {
    let is_policy = |path: &Path| {
        path.extension().is_some_and(|extension| extension == "yaml")
            && path.is_file()
            && std::fs::read_to_string(path)
                .is_ok_and(|text| text.lines().any(|line| line.starts_with("tenant:")))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    if let Some(policy) = entries.map(|entry| entry.path()).find(|path| is_policy(path)) {
        let message =
            format!("{} is passed over: policies lie in the folder itself", policy.display());
        context.report(Diagnostic::warning(message, None));
    }
}
