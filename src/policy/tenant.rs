//! One tenant's policy, defaults laid under it.

use std::sync::Arc;

use super::file::{Auth, Client, KeyFile, Metadata, PolicyFile, RateLimit, Subscriptions, Takes};
use crate::config::Config;
use crate::model::{
    Account, AccountId, ApiKey, ClientView, FieldCoordinate, Kind, MetadataPolicy, Namespace, Rate,
    RateLimits, RootField, RootFields, Tenant, TenantId, UnclaimedTakes, Weights,
};
use crate::settings::{Context, Item, Section, Source, Span};

/// A tenant with its keys and what the checks across tenants need.
#[derive(Debug)]
pub struct Policy {
    /// The tenant.
    pub tenant: Tenant,
    /// Its keys.
    pub keys: Vec<ApiKey>,
    /// The places of the keys' hashes.
    pub key_spans: Vec<Span>,
    /// The places of the keys' ends, of those that have one.
    pub expiry_spans: Vec<Option<Span>>,
    /// The issuers it lists.
    pub issuers: Vec<(String, Span)>,
    /// The fields it hides, as they are listed.
    pub hidden_fields: Vec<(FieldCoordinate, Span)>,
    /// The place that its namespace follows from.
    pub namespace_span: Span,
    /// The place of its account, if it has one of its own.
    pub account_span: Option<Span>,
    /// The place of its definition.
    pub span: Span,
}

/// Reads a policy; `None` only after an error was reported.
pub fn read(
    context: &Context<'_>,
    top: Section<'_, '_>,
    config: &Config,
    shared: &Arc<Account>,
) -> Option<Policy> {
    let (limits_span, account_span) = (top.span_of("rate_limit"), top.span_of("upstream"));
    let own_file = Arc::clone(&top.span().source);
    let file: PolicyFile = top.read()?;
    let (id, span) = file.tenant;
    let (keys, key_spans) = keys(context, &file.auth, file.operations);
    let expiry_span = |key: &Item<KeyFile>| Some(key.settings.expires.as_ref()?.1.clone());
    let expiry_spans = file.auth.api_keys.iter().map(expiry_span).collect();
    let Auth { issuers, sources, .. } = file.auth;
    let mut hidden_fields: Vec<_> =
        file.hidden_fields.iter().map(|(field, _)| field.clone()).collect();
    // In order, so that the same set is the same schema.
    hidden_fields.sort();
    hidden_fields.dedup();
    let rate_limit = rate_limits(file.rate_limit, &file.subscriptions);
    check_bursts(context, &limits_span, &rate_limit, &config.weights);
    let namespace_span = match &file.metadata.namespace {
        Some((_, span)) => span.clone(),
        None => span.clone(),
    };
    let account_span = file.upstream.is_some().then_some(account_span);
    let account = match file.upstream {
        None => Arc::clone(shared),
        Some(own) => Arc::new(Account {
            id: AccountId::Tenant(id.clone()),
            url: own.url.unwrap_or_else(|| shared.url.clone()),
            api_key: own.api_key,
        }),
    };
    let tenant = Tenant {
        operations: file.operations,
        scopes: file.scopes,
        sources,
        issuers: issuers.iter().map(|(name, _)| name.clone()).collect(),
        hidden_fields,
        introspection: file.introspection,
        client: client(file.client, config),
        metadata: metadata(file.metadata, &id)?,
        unclaimed_takes: unclaimed_takes(&file.takes, &own_file),
        rate_limit,
        cache: file.cache.get_job,
        account,
        id,
    };
    let hidden_fields = file.hidden_fields;
    Some(Policy {
        tenant,
        keys,
        key_spans,
        expiry_spans,
        issuers,
        hidden_fields,
        namespace_span,
        account_span,
        span,
    })
}

/// The keys, none wider than what is granted, and the places of their hashes.
fn keys(context: &Context<'_>, auth: &Auth, granted: RootFields) -> (Vec<ApiKey>, Vec<Span>) {
    let (mut keys, mut spans): (Vec<ApiKey>, Vec<Span>) = (Vec::new(), Vec::new());
    for item in &auth.api_keys {
        let KeyFile { id, description, owner, sha256, expires, operations, sources } =
            &item.settings;
        if let Some(own) = operations
            && let Some(wider) = own.iter().find(|field| !granted.contains(*field))
            && *own != RootFields::STAR
        {
            let message =
                format!("this key may call {wider} and its tenant may not: a key is never wider");
            context.error(&item.span, message);
        }
        if keys.iter().any(|known| known.id == *id) {
            context.error(&item.span, format!("the key id `{id}` is used twice"));
        }
        let (hash, span) = sha256;
        keys.push(ApiKey {
            id: id.clone(),
            hash: *hash,
            expires: expires.as_ref().map(|(expires, _)| *expires),
            operations: operations.unwrap_or(granted).intersect(granted),
            owner: owner.as_deref().map(Arc::from),
            description: description.as_deref().map(Arc::from),
            sources: sources.clone(),
        });
        spans.push(span.clone());
    }
    (keys, spans)
}

/// The tenant's rights in takes that nobody owns. Its own file has the last word, in whichever of the two
/// keys it says it.
fn unclaimed_takes(takes: &Takes, own_file: &Arc<Source>) -> UnclaimedTakes {
    let owned = takes.owned.as_ref().map(|(owned, span)| {
        (if *owned { UnclaimedTakes::Hide } else { UnclaimedTakes::Use }, span)
    });
    let unclaimed = takes.unclaimed.as_ref().map(|(unclaimed, span)| (*unclaimed, span));
    let is_own = |span: &Span| span.source.name == own_file.name;
    let chosen = match (owned, unclaimed) {
        (Some((owned, at)), Some((_, other))) if is_own(at) && !is_own(other) => Some(owned),
        (owned, unclaimed) => unclaimed.or(owned).map(|(chosen, _)| chosen),
    };
    chosen.unwrap_or(UnclaimedTakes::Hide)
}

fn client(client: Client, config: &Config) -> ClientView {
    let Client { portal, metadata } = client;
    let metadata = serde_json::Value::Object(metadata).to_string().into();
    ClientView { portal: portal.unwrap_or_else(|| config.server.reached_at()), metadata }
}

fn metadata(metadata: Metadata, tenant: &TenantId) -> Option<MetadataPolicy> {
    let Metadata { namespace, stamp, max_bytes, unclaimed_jobs } = metadata;
    let namespace = match namespace {
        Some((namespace, _)) => namespace,
        None => Namespace::parse(tenant.as_str()).ok()?,
    };
    let stamp = stamp.map(|stamp| serde_json::Value::Object(stamp).to_string().into());
    Some(MetadataPolicy { namespace, stamp, max_bytes, unclaimed_jobs })
}

fn rate_limits(limits: RateLimit, subscriptions: &Subscriptions) -> RateLimits {
    RateLimits {
        queries: limits.queries,
        mutations: limits.mutations,
        operations: limits.operations,
        introspection: limits.introspection,
        credential_queries: limits.per_credential.queries,
        credential_mutations: limits.per_credential.mutations,
        max_cost: limits.max_cost,
        max_in_flight: limits.max_in_flight,
        max_streams: subscriptions.max,
        max_per_connection: subscriptions.max_per_connection,
    }
}

/// Reports bursts that never let a single operation through.
fn check_bursts(context: &Context<'_>, span: &Span, limits: &RateLimits, weights: &Weights) {
    let report = |rate: Option<&Rate>, is_limited: &dyn Fn(RootField) -> bool| {
        let weighed = RootField::ALL.into_iter().filter(|field| is_limited(*field));
        let cheapest = weighed.map(|field| (weights.of(field), field)).min();
        if let (Some(rate), Some((weight, field))) = (rate, cheapest)
            && rate.burst.get() < weight
        {
            let burst = rate.burst;
            let message =
                format!("a burst of {burst} never lets a {field} through, which costs {weight}");
            context.error(span, message);
        }
    };
    for (kind, rates) in [
        (Kind::Query, [&limits.queries, &limits.credential_queries]),
        (Kind::Mutation, [&limits.mutations, &limits.credential_mutations]),
    ] {
        for rate in rates {
            report(rate.as_ref(), &|field| field.kind() == kind);
        }
    }
    for (single, rate) in &limits.operations {
        report(Some(rate), &|field| field == *single);
    }
}
