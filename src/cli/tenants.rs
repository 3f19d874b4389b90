//! `jobs-gateway tenants`, `jobs-gateway keys`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::audit::usage::{self, Usages};
use super::caller::no_tenant;
use super::config::ConfigFile;
use super::output::{self, CommandError};
use crate::model::{ApiKey, Group, RootField, RootFields, Tenant, TenantId};
use crate::policy::Snapshot;

/// Lists the tenants and what each may do.
#[derive(Debug, clap::Args)]
pub struct TenantsArgs {
    #[command(flatten)]
    config: ConfigFile,
}

/// Lists the API keys. Keys themselves are kept nowhere: a hash stands for each.
#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    #[command(flatten)]
    config: ConfigFile,
    /// Only those of this tenant.
    #[arg(long, value_parser = |text: &str| TenantId::parse(text))]
    tenant: Option<TenantId>,
    /// Also tell when each was last used (UTC) and for how many calls, by these audit records: files that are
    /// written, or folders, of all replicas.
    #[arg(long, num_args = 1..)]
    audit: Vec<PathBuf>,
}

/// Prints a line a tenant.
#[must_use]
pub fn tenants(args: &TenantsArgs) -> ExitCode {
    list(&args.config, |policies| {
        let mut tenants: Vec<_> = policies.tenants().collect();
        tenants.sort_by(|one, other| one.id.cmp(&other.id));
        let keys_of = |tenant: &Tenant| {
            policies.keys().filter(|(owner, _)| owner.id == tenant.id).count().to_string()
        };
        let row = |tenant: &Arc<Tenant>| {
            let account = if tenant.account.is_shared() { "shared" } else { "its own" };
            vec![
                tenant.id.to_string(),
                keys_of(tenant),
                or_dash(&tenant.issuers),
                account.to_owned(),
                names(tenant.operations),
            ]
        };
        let header = ["tenant", "keys", "issuers", "account", "may call"];
        Ok(table(&header, tenants.into_iter().map(row)))
    })
}

/// Prints a line a key.
#[must_use]
pub fn keys(args: &KeysArgs) -> ExitCode {
    list(&args.config, |policies| {
        if let Some(tenant) = &args.tenant
            && policies.tenant(tenant).is_none()
        {
            return Err(no_tenant(tenant, policies));
        }
        let usages = (!args.audit.is_empty()).then(|| usage::read(&args.audit)).transpose();
        let usages = usages.map_err(|error| error.to_string())?;
        let is_wanted =
            |owner: &Tenant| args.tenant.as_ref().is_none_or(|tenant| owner.id == *tenant);
        let mut keys: Vec<_> = policies.keys().filter(|(owner, _)| is_wanted(owner)).collect();
        keys.sort_by(|(one, key), (other, own)| (&one.id, &key.id).cmp(&(&other.id, &own.id)));
        let header = ["tenant", "key", "expires", "owner", "from", "may call", "description"];
        let used = ["last used", "calls"];
        let header = match usages {
            Some(_) => [&header[..3], &used, &header[3..]].concat(),
            None => header.to_vec(),
        };
        let row = |(tenant, key): (&Arc<Tenant>, &ApiKey)| row_of_key(tenant, key, usages.as_ref());
        Ok(table(&header, keys.into_iter().map(row)))
    })
}

fn row_of_key(tenant: &Tenant, key: &ApiKey, usages: Option<&Usages>) -> Vec<String> {
    let sources: Vec<_> = key.sources.iter().map(ToString::to_string).collect();
    let mut row = vec![
        tenant.id.to_string(),
        key.id.to_string(),
        key.expires.map_or_else(|| "never".to_owned(), |expires| expires.to_string()),
    ];
    if let Some(usages) = usages {
        let usage = usages.get(&(tenant.id.to_string(), key.id.to_string()));
        let last = usage.map(|usage| usage.last.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        row.push(last.unwrap_or_else(|| "-".to_owned()));
        row.push(usage.map_or(0, |usage| usage.calls).to_string());
    }
    row.extend([
        or_dash(key.owner.as_slice()),
        if sources.is_empty() { "anywhere".to_owned() } else { sources.join(", ") },
        names(key.operations),
        or_dash(key.description.as_slice()),
    ]);
    row
}

fn list(
    config: &ConfigFile,
    show: impl FnOnce(&Snapshot) -> Result<String, CommandError>,
) -> ExitCode {
    let loaded = config.load().map_err(CommandError::from);
    output::finish(loaded.and_then(|loaded| show(&loaded.policies)))
}

/// Lines of columns; the last one is as long as it is.
fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..rows[0].len()).filter_map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

fn or_dash(texts: &[impl AsRef<str>]) -> String {
    if texts.is_empty() {
        return "-".to_owned();
    }
    texts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

fn names(fields: RootFields) -> String {
    if fields == RootFields::ALL {
        return "everything".to_owned();
    }
    let groups = Group::ALL.map(|group| (group.name(), group.fields()));
    let (mut names, mut left) = (Vec::new(), fields);
    for (name, set) in std::iter::once(("\"*\"", RootFields::STAR)).chain(groups) {
        if fields.intersect(set) == set && !left.intersect(set).is_empty() {
            names.push(name);
            left = left.iter().filter(|field| !set.contains(*field)).collect();
        }
    }
    names.extend(left.iter().map(RootField::name));
    or_dash(&names)
}
