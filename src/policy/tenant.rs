//! One tenant's policy, defaults laid under it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::secrets::secret;
use crate::config::values::{
    boolean, burst, bytes, duration, parsed, positive, rate, text, web_url,
};
use crate::config::{Config, Context, Diagnostic, Form, Node, Place, Section, nearest};
use crate::model::{
    Account, AccountId, ApiKey, CachePolicy, ClientView, CredentialId, FieldCoordinate, Group,
    KeyHash, Kind, MetadataPolicy, Namespace, Rate, RateLimits, RootField, RootFields, Secret,
    Tenant, TenantId, UnclaimedJobs, UnclaimedTakes, Weights,
};

/// A tenant with its keys and what the checks across tenants need.
#[derive(Debug)]
pub struct Policy {
    /// The tenant.
    pub tenant: Tenant,
    /// Its keys.
    pub keys: Vec<ApiKey>,
    /// The place of each key.
    pub key_places: Vec<Place>,
    /// The issuers it lists.
    pub issuers: Vec<(String, Place)>,
    /// The fields it hides, as they are listed.
    pub hidden_fields: Vec<(FieldCoordinate, Place)>,
    /// The place of its namespace, or of the name that it follows from.
    pub namespace_place: Place,
    /// The place of its account, if it has one of its own.
    pub account_place: Option<Place>,
    /// Its place.
    pub place: Place,
}

/// Reads a policy; `None` only after an error was reported.
pub fn read(
    context: &Context<'_>,
    mut top: Section<'_, '_>,
    config: &Config,
    shared: &Arc<Account>,
) -> Option<Policy> {
    let place = top.node("tenant").map_or_else(|| top.place().clone(), |node| node.place.clone());
    let id = top.need("tenant", |text| TenantId::parse(text).map_err(|error| error.to_string()));
    top.get("description", text);
    let operations = operations(context, &mut top).unwrap_or(RootFields::NONE);
    let hidden = top.placed_list("hidden_fields", coordinate).unwrap_or_default();
    let mut hidden_fields: Vec<_> = hidden.iter().map(|(field, _)| field.clone()).collect();
    // In order, so that the same set is the same schema.
    hidden_fields.sort();
    hidden_fields.dedup();
    let introspection = top.get("introspection", boolean).unwrap_or(true);
    let (keys, key_places, issuers) = match top.section("auth") {
        Some(auth) => credentials(context, auth, operations),
        None => Default::default(),
    };
    let scopes = scopes(context, &mut top);
    let client = client(context, &mut top, config)?;
    let unclaimed_takes = unclaimed_takes(&mut top);
    let rate_limit = rate_limit(context, &mut top, &config.weights);
    let cache = cache(&mut top);
    let account_place = top.node("upstream").map(|node| node.place.clone());
    let upstream = top.section("upstream").map(|section| own_account(section, shared));
    let namespace = top.node("metadata").and_then(|node| node.at(&["namespace"]));
    let namespace_place = namespace.map_or_else(|| place.clone(), |node| node.place.clone());
    let metadata = metadata(context, &mut top, id.as_ref());
    top.finish();

    let (id, metadata) = (id?, metadata?);
    let account = match upstream {
        None => Arc::clone(shared),
        Some((url, api_key)) => {
            Arc::new(Account { id: AccountId::Tenant(id.clone()), url, api_key: api_key? })
        }
    };
    let tenant = Tenant {
        id,
        operations,
        scopes,
        issuers: issuers.iter().map(|(name, _)| name.clone()).collect(),
        hidden_fields,
        introspection,
        client,
        metadata,
        unclaimed_takes,
        rate_limit,
        cache,
        account,
    };
    let hidden_fields = hidden;
    Some(Policy {
        tenant,
        keys,
        key_places,
        issuers,
        hidden_fields,
        namespace_place,
        account_place,
        place,
    })
}

/// Reads the tenant's rights in takes that nobody owns. `owned` is an older word for it: `true` is `hide`.
fn unclaimed_takes(top: &mut Section<'_, '_>) -> UnclaimedTakes {
    let Some(mut takes) = top.section("takes") else { return UnclaimedTakes::Hide };
    let unclaimed = takes.get("unclaimed", |text| match text {
        "hide" => Ok(UnclaimedTakes::Hide),
        "use" => Ok(UnclaimedTakes::Use),
        _ => Err("must be `hide` or `use`".to_owned()),
    });
    let owned = takes.get("owned", boolean);
    let owned = owned.map(|owned| if owned { UnclaimedTakes::Hide } else { UnclaimedTakes::Use });
    let owned_at = takes.node("owned").map(|node| Arc::clone(&node.place.source));
    let unclaimed_at = takes.node("unclaimed").map(|node| Arc::clone(&node.place.source));
    // The tenant's own file has the last word, in whichever of the two it says it.
    let is_owned_newer = match (owned_at, unclaimed_at) {
        (Some(owned), Some(unclaimed)) => {
            owned.name == top.place().source.name && unclaimed.name != owned.name
        }
        _ => false,
    };
    takes.finish();
    let chosen = if is_owned_newer { owned.or(unclaimed) } else { unclaimed.or(owned) };
    chosen.unwrap_or(UnclaimedTakes::Hide)
}

/// The URL and the key of an account of the tenant's own.
fn own_account(mut upstream: Section<'_, '_>, shared: &Account) -> (url::Url, Option<Secret>) {
    let url = upstream.get("url", web_url).unwrap_or_else(|| shared.url.clone());
    let api_key = upstream.need_secret("api_key", secret);
    upstream.finish();
    (url, api_key)
}

/// A list of operations and groups of them; `"*"` is [`RootFields::STAR`].
fn operations(context: &Context<'_>, section: &mut Section<'_, '_>) -> Option<RootFields> {
    section.note("operations", Form::List(one_of_operations()), false);
    let items = section.items("operations")?;
    Some(root_fields(context, "operations", items))
}

/// Describes what an item of such a list may be.
fn one_of_operations() -> String {
    let names: Vec<_> = operation_names().chain(["*"]).collect();
    format!("must be one of {}", names.join(", "))
}

/// The root fields and the groups of them, by name.
fn operation_names() -> impl Iterator<Item = &'static str> {
    let groups = Group::ALL.into_iter().map(Group::name);
    RootField::ALL.into_iter().map(RootField::name).chain(groups)
}

fn root_fields(context: &Context<'_>, name: &str, items: &[Node]) -> RootFields {
    let mut fields = RootFields::NONE;
    for item in items {
        let Some(text) = context.text(name, item) else { continue };
        if text == "*" {
            fields = fields.union(RootFields::STAR);
        } else if let Some(group) = Group::from_name(&text) {
            fields = fields.union(group.fields());
        } else if let Some(field) = RootField::from_name(&text) {
            fields = fields.union([field].into_iter().collect());
        } else {
            let message = format!("unknown operation `{text}`");
            let problem = Diagnostic::error(message, Some(item.place.clone()));
            context.report(match nearest(&text, operation_names()) {
                Some(known) => problem.help(format!("did you mean `{known}`?")),
                None => problem.help("`\"*\"` is nearly all of them"),
            });
        }
    }
    fields
}

fn coordinate(text: &str) -> Result<FieldCoordinate, String> {
    let is_name = |name: &str| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty()
    };
    match text.split_once('.') {
        Some((type_name, field)) if is_name(type_name) && is_name(field) => {
            Ok(FieldCoordinate { type_name: type_name.to_owned(), field: field.to_owned() })
        }
        _ => Err("must be a type and its field, such as File.thumbnailUrl".to_owned()),
    }
}

type Credentials = (Vec<ApiKey>, Vec<Place>, Vec<(String, Place)>);

fn credentials(
    context: &Context<'_>,
    mut auth: Section<'_, '_>,
    granted: RootFields,
) -> Credentials {
    let (mut keys, mut places): (Vec<ApiKey>, Vec<Place>) = (Vec::new(), Vec::new());
    for node in auth.items("api_keys").unwrap_or_default() {
        let mut section = Section::new(context, "auth.api_keys[]", node);
        let id =
            section.need("id", |text| CredentialId::parse(text).map_err(|error| error.to_string()));
        let hash = section.need("sha256", |text| {
            KeyHash::parse(text).ok_or_else(|| {
                "must be 64 hexadecimal digits: `jobs-gateway key new` prints them".to_owned()
            })
        });
        let place = section.node("sha256").unwrap_or(node).place.clone();
        let expires =
            section.get("expires", parsed::<Timestamp>("a time such as 2030-01-01T00:00:00Z"));
        let own = operations(context, &mut section);
        section.finish();
        if let Some(wider) = own.and_then(|own| own.iter().find(|field| !granted.contains(*field)))
            && own != Some(RootFields::STAR)
        {
            let message =
                format!("this key may call {wider} and its tenant may not: a key is never wider");
            context.error(&node.place, message);
        }
        let (Some(id), Some(hash)) = (id, hash) else { continue };
        if keys.iter().any(|known| known.id == id) {
            context.error(&node.place, format!("the key id `{id}` is used twice"));
        }
        let operations = own.unwrap_or(granted).intersect(granted);
        keys.push(ApiKey { id, hash, expires, operations });
        places.push(place);
    }
    auth.note("issuers", Form::List(String::new()), false);
    let issuers = auth.items("issuers").unwrap_or_default();
    let issuers = issuers
        .iter()
        .filter_map(|node| Some((context.text("auth.issuers", node)?, node.place.clone())))
        .collect();
    auth.finish();
    (keys, places, issuers)
}

fn scopes(context: &Context<'_>, top: &mut Section<'_, '_>) -> Vec<(String, RootFields)> {
    let mut scopes = Vec::new();
    let values = Some(one_of_operations());
    top.note("scopes", Form::Members { names: None, values }, false);
    for (key, node) in top.members("scopes").unwrap_or_default() {
        if let crate::config::Value::List(items) = &node.value {
            scopes.push((key.text.clone(), root_fields(context, "scopes", items)));
        } else {
            context.error(&node.place, "a scope grants a list of operations");
        }
    }
    scopes
}

fn client(context: &Context<'_>, top: &mut Section<'_, '_>, config: &Config) -> Option<ClientView> {
    let mut portal = None;
    let mut metadata = serde_json::Value::Object(serde_json::Map::new());
    if let Some(mut section) = top.section("client") {
        portal = section.get("portal", web_url);
        if let Some(node) = section.node("metadata") {
            metadata = context.json("client.metadata", node)?;
        }
        section.finish();
    }
    let portal = portal.unwrap_or_else(|| config.server.public_url.clone());
    Some(ClientView { portal, metadata: metadata.to_string().into() })
}

fn metadata(
    context: &Context<'_>,
    top: &mut Section<'_, '_>,
    tenant: Option<&TenantId>,
) -> Option<MetadataPolicy> {
    let default = tenant.and_then(|id| Namespace::parse(id.as_str()).ok());
    let mut section = top.section("metadata")?;
    let namespace = match section.node("namespace") {
        Some(_) => section
            .get("namespace", |text| Namespace::parse(text).map_err(|error| error.to_string())),
        None => default,
    };
    let stamp = section.node("stamp").and_then(|node| {
        if !matches!(node.value, crate::config::Value::Map(_)) {
            context.error(&node.place, "`metadata.stamp` must be a mapping");
        }
        Some(context.json("metadata.stamp", node)?.to_string().into())
    });
    let max_bytes = section.get("max_bytes", bytes);
    let unclaimed_jobs = section.get("unclaimed_jobs", |text| match text {
        "hide" => Ok(UnclaimedJobs::Hide),
        "read" => Ok(UnclaimedJobs::Read),
        _ => Err("must be `hide` or `read`".to_owned()),
    });
    section.finish();
    Some(MetadataPolicy {
        namespace: namespace?,
        stamp,
        max_bytes: max_bytes.unwrap_or(16 * 1024),
        unclaimed_jobs: unclaimed_jobs.unwrap_or(UnclaimedJobs::Hide),
    })
}

/// A burst that never lets a single operation through is a mistake.
fn check_burst(
    context: &Context<'_>,
    place: &Place,
    rate: Option<&Rate>,
    weights: &Weights,
    fields: impl Fn(RootField) -> bool,
) {
    let weighed = RootField::ALL.into_iter().filter(|field| fields(*field));
    let cheapest = weighed.map(|field| (weights.of(field), field)).min();
    if let (Some(rate), Some((weight, field))) = (rate, cheapest)
        && rate.burst.get() < weight
    {
        let burst = rate.burst;
        let message =
            format!("a burst of {burst} never lets a {field} through, which costs {weight}");
        context.error(place, message);
    }
}

fn rate_limit(context: &Context<'_>, top: &mut Section<'_, '_>, weights: &Weights) -> RateLimits {
    let mut limits = RateLimits {
        queries: None,
        mutations: None,
        operations: Vec::new(),
        introspection: None,
        credential_queries: None,
        credential_mutations: None,
        max_cost: 200,
        max_in_flight: 64,
    };
    if let Some(mut section) = top.section("rate_limit") {
        limits.queries = section.section("queries").and_then(one_rate);
        limits.mutations = section.section("mutations").and_then(one_rate);
        limits.introspection = section.section("introspection").and_then(one_rate);
        if let Some(mut credential) = section.section("per_credential") {
            limits.credential_queries = credential.section("queries").and_then(one_rate);
            limits.credential_mutations = credential.section("mutations").and_then(one_rate);
            credential.finish();
        }
        let names = Some(one_of_operations());
        section.note("operations", Form::Members { names, values: None }, false);
        for (key, node) in section.members("operations").unwrap_or_default() {
            let rate = one_rate(Section::new(context, "rate_limit.operations", node));
            match RootField::from_name(&key.text) {
                Some(field) => limits.operations.extend(rate.map(|rate| (field, rate))),
                None => context.error(&key.place, format!("unknown operation `{}`", key.text)),
            }
        }
        let place = section.place().clone();
        for (kind, rates) in [
            (Kind::Query, [&limits.queries, &limits.credential_queries]),
            (Kind::Mutation, [&limits.mutations, &limits.credential_mutations]),
        ] {
            for rate in rates {
                check_burst(context, &place, rate.as_ref(), weights, |field| field.kind() == kind);
            }
        }
        for (single, rate) in &limits.operations {
            check_burst(context, &place, Some(rate), weights, |field| field == *single);
        }
        if let Some(cost) = section.get("max_cost", positive) {
            limits.max_cost = cost.get();
        }
        if let Some(count) = section.get("max_in_flight", positive) {
            limits.max_in_flight = count.get();
        }
        section.finish();
    }
    limits
}

fn one_rate(mut section: Section<'_, '_>) -> Option<Rate> {
    let rate: Option<(NonZeroU32, Duration)> = section.need("rate", rate);
    let burst = section.get("burst", burst);
    section.finish();
    let (units, per) = rate?;
    Some(Rate { units, per, burst: burst.unwrap_or(units) })
}

fn cache(top: &mut Section<'_, '_>) -> CachePolicy {
    let mut cache = CachePolicy {
        unfinished: Duration::from_secs(2),
        finished: Duration::from_mins(10),
        not_found: Duration::from_secs(2),
        stale_while_revalidate: Duration::from_secs(5),
        stale_if_error: Duration::from_hours(1),
        heeds_no_cache: false,
    };
    if let Some(mut outer) = top.section("cache") {
        if let Some(mut section) = outer.section("get_job") {
            for (key, time) in [
                ("unfinished", &mut cache.unfinished),
                ("finished", &mut cache.finished),
                ("not_found", &mut cache.not_found),
                ("stale_while_revalidate", &mut cache.stale_while_revalidate),
                ("stale_if_error", &mut cache.stale_if_error),
            ] {
                if let Some(set) = section.get(key, duration) {
                    *time = set;
                }
            }
            if let Some(heeds) = section.get("no_cache", boolean) {
                cache.heeds_no_cache = heeds;
            }
            section.finish();
        }
        outer.finish();
    }
    cache
}
