//! `jobs-gateway tenants`, `jobs-gateway keys`

use std::process::ExitCode;
use std::sync::Arc;

use super::caller::no_tenant;
use super::config::ConfigFile;
use super::output::{self, CommandError};
use crate::model::{ApiKey, RootField, RootFields, Tenant, TenantId};
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
            [
                tenant.id.to_string(),
                keys_of(tenant),
                or_dash(&tenant.issuers),
                account.to_owned(),
                names(tenant.operations),
            ]
        };
        let rows = tenants.into_iter().map(row).collect();
        Ok(table(["tenant", "keys", "issuers", "account", "may call"], rows))
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
        let is_wanted =
            |owner: &Tenant| args.tenant.as_ref().is_none_or(|tenant| owner.id == *tenant);
        let mut keys: Vec<_> = policies.keys().filter(|(owner, _)| is_wanted(owner)).collect();
        keys.sort_by(|(one, key), (other, own)| (&one.id, &key.id).cmp(&(&other.id, &own.id)));
        let row = |(tenant, key): (&Arc<Tenant>, &ApiKey)| {
            let sources: Vec<_> = key.sources.iter().map(ToString::to_string).collect();
            [
                tenant.id.to_string(),
                key.id.to_string(),
                key.expires.map_or_else(|| "never".to_owned(), |expires| expires.to_string()),
                or_dash(key.owner.as_slice()),
                if sources.is_empty() { "anywhere".to_owned() } else { sources.join(", ") },
                names(key.operations),
                or_dash(key.description.as_slice()),
            ]
        };
        let header = ["tenant", "key", "expires", "owner", "from", "may call", "description"];
        Ok(table(header, keys.into_iter().map(row).collect()))
    })
}

fn list(
    config: &ConfigFile,
    show: impl FnOnce(&Snapshot) -> Result<String, CommandError>,
) -> ExitCode {
    let loaded = config.load().map_err(CommandError::from);
    output::finish(loaded.and_then(|loaded| show(&loaded.policies)))
}

/// Lines of columns; the last one is as long as it is.
fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let widths: Vec<_> = (0..N)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
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
    or_dash(&fields.iter().map(RootField::name).collect::<Vec<_>>())
}
