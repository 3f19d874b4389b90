//! The keys of a policy as text, by their names: what two states of the policies are compared by.
//!
//! Every field is taken apart here by name, so that a new one cannot be forgotten.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::model::{
    ApiKey, CachePolicy, ClientView, FieldCoordinate, MetadataPolicy, Rate, RateLimits, RootFields,
    Tenant, UnclaimedJobs,
};
use crate::settings::forms::show_url;

/// The values of keys, by their names.
pub type Figures = BTreeMap<String, String>;

/// Limits, by the names of their keys below `rate_limit`.
pub fn of_limits(limits: &RateLimits) -> Figures {
    let RateLimits {
        queries,
        mutations,
        operations,
        introspection,
        credential_queries,
        credential_mutations,
        max_cost,
        max_in_flight,
        max_streams,
        max_per_connection,
    } = limits;
    let rate = |rate: &Rate| format!("{rate} (burst {})", rate.burst);
    let classes = [
        ("queries", queries),
        ("mutations", mutations),
        ("introspection", introspection),
        ("per_credential.queries", credential_queries),
        ("per_credential.mutations", credential_mutations),
    ];
    let classes =
        classes.into_iter().filter_map(|(name, own)| Some((name.to_owned(), rate(&(*own)?))));
    let single = operations.iter();
    let single = single.map(|(field, own)| (format!("operations.{field}"), rate(own)));
    let numbers = [
        ("max_cost", max_cost),
        ("max_in_flight", max_in_flight),
        ("subscriptions.max", max_streams),
        ("subscriptions.max_per_connection", max_per_connection),
    ];
    let numbers = numbers.map(|(name, number)| (name.to_owned(), number.to_string()));
    classes.chain(single).chain(numbers).collect()
}

/// The other keys of a tenant: all but its rights, its limits and its API keys. Of its Move account's key nothing is told.
pub fn of_tenant(tenant: &Tenant) -> Figures {
    let Tenant {
        id: _,
        operations: _,
        rate_limit: _,
        scopes,
        sources,
        issuers,
        hidden_fields,
        introspection,
        client: ClientView { portal, metadata: client_metadata },
        metadata: MetadataPolicy { namespace, stamp, max_bytes, unclaimed_jobs },
        unclaimed_takes,
        cache,
        account,
    } = tenant;
    let hidden = |field: &FieldCoordinate| format!("{}.{}", field.type_name, field.field);
    let unclaimed_jobs = match unclaimed_jobs {
        UnclaimedJobs::Hide => "hide",
        UnclaimedJobs::Read => "read",
    };
    let single = [
        ("auth.sources", list(sources.iter())),
        ("auth.issuers", list(issuers.iter())),
        ("hidden_fields", list(hidden_fields.iter().map(hidden))),
        ("introspection", introspection.to_string()),
        ("client.portal", portal.to_string()),
        ("client.metadata", client_metadata.to_string()),
        ("metadata.namespace", namespace.to_string()),
        ("metadata.stamp", stamp.as_deref().unwrap_or("none").to_owned()),
        ("metadata.max_bytes", max_bytes.to_string()),
        ("metadata.unclaimed_jobs", unclaimed_jobs.to_owned()),
        ("takes.unclaimed", unclaimed_takes.name().to_owned()),
        ("upstream.url", show_url(&account.url)),
    ];
    let single = single.map(|(name, text)| (name.to_owned(), text));
    let scopes = scopes.iter();
    let scopes = scopes.map(|(scope, granted)| (format!("scopes.{scope}"), rights(*granted)));
    single.into_iter().chain(scopes).chain(of_cache(cache)).collect()
}

/// The keys of an API key: all but its hash and its rights.
pub fn of_key(key: &ApiKey) -> Figures {
    let ApiKey { id: _, hash: _, operations: _, expires, owner, description, sources } = key;
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or("none").to_owned();
    let all = [
        ("expires", expires.map_or_else(|| "never".to_owned(), |end| end.to_string())),
        ("owner", text(owner)),
        ("description", text(description)),
        ("sources", list(sources.iter())),
    ];
    all.map(|(name, text)| (name.to_owned(), text)).into()
}

fn of_cache(cache: &CachePolicy) -> impl Iterator<Item = (String, String)> + use<> {
    let CachePolicy {
        unfinished,
        finished,
        not_found,
        stale_while_revalidate,
        stale_if_error,
        no_cache,
    } = cache;
    let times = [
        ("unfinished", unfinished),
        ("finished", finished),
        ("not_found", not_found),
        ("stale_while_revalidate", stale_while_revalidate),
        ("stale_if_error", stale_if_error),
    ];
    let times = times.map(|(name, time)| (format!("cache.get_job.{name}"), format!("{time:?}")));
    times.into_iter().chain([("cache.get_job.no_cache".to_owned(), no_cache.to_string())])
}

/// Several values; "none" where there are none.
fn list(values: impl Iterator<Item = impl Display>) -> String {
    let all: Vec<_> = values.map(|value| value.to_string()).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(" ") }
}

fn rights(granted: RootFields) -> String {
    if granted == RootFields::STAR { "*".to_owned() } else { list(granted.iter()) }
}
