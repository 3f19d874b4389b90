//! `jobs-gateway explain`

mod listing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ipnet::IpNet;
use serde_json::{Map, Value as Json};

use super::caller::{self, Credential};
use super::config::ConfigFile;
use super::output::{self, CommandError};
use crate::graphql;
use crate::limit::Charge;
use crate::model::{ApiKey, Caller, Kind, Rate, RateLimits, RootField, RootFields, TenantId};
use crate::operation::{Document, Documents, Operation};
use crate::reload::Loaded;
use crate::settings::{Node, Value};

/// Tells what a caller may do, under which limits, and which file and line each answer comes from.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The tenant.
    #[arg(long, value_parser = |text: &str| TenantId::parse(text))]
    tenant: TenantId,
    /// As somebody with this API key, by its id.
    #[arg(long, conflicts_with = "claims")]
    key_id: Option<String>,
    /// As somebody with a token of these claims: a JSON file.
    #[arg(long)]
    claims: Option<PathBuf>,
    /// Also tell of this operation: a GraphQL file.
    #[arg(long)]
    query: Option<PathBuf>,
}

/// Prints the explanation.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    output::finish(explain(args))
}

fn explain(args: &Args) -> Result<String, CommandError> {
    let loaded = args.config.load()?;
    let caller = caller(args, &loaded)?;
    let node = args.config.source().trace(&loaded.config, &caller.tenant.id);
    let node = node.ok_or("the tenant's file went away")?;
    let credential = args.key_id.as_deref().and_then(|id| {
        let (_, key) = loaded.policies.key_by_id(&caller.tenant.id, id)?;
        Some(CredentialShown::Key(key, key_node(&node, id)?))
    });
    let credential = match credential {
        None if args.claims.is_some() => Some(CredentialShown::Token),
        credential => credential,
    };
    let mut text: String = who(&caller, &node, credential.as_ref()).into_iter().map(line).collect();
    text.extend(rules(&caller, &node).into_iter().map(line));
    if let Some(path) = &args.query {
        text.push_str(&describe_query(&caller, &loaded, path)?);
    }
    Ok(text)
}

/// Finds a key in its tenant's policy.
fn key_node<'a>(node: &'a Node, id: &str) -> Option<&'a Node> {
    let Value::List(keys) = &node.at(&["auth", "api_keys"])?.value else { return None };
    let has_id = |key: &&Node| match key.at(&["id"]).map(|id| &id.value) {
        Some(Value::Scalar { text, .. }) => text == id,
        _ => false,
    };
    keys.iter().find(has_id)
}

fn caller(args: &Args, loaded: &Loaded) -> Result<Caller, CommandError> {
    let claims = args.claims.as_deref().map(claims).transpose()?;
    let credential = match (&args.key_id, &claims) {
        (Some(id), _) => Credential::Key(id),
        (None, Some(claims)) => Credential::Token(claims),
        (None, None) => Credential::Any,
    };
    let caller = caller::caller(loaded, &args.tenant, credential)
        .map_err(|error| caller::why_refused(loaded, &args.tenant, credential, error))?;
    if caller.tenant.id != args.tenant {
        return Err(format!("the token is one of tenant `{}`", caller.tenant.id).into());
    }
    Ok(caller)
}

fn claims(path: &Path) -> Result<Map<String, Json>, CommandError> {
    let problem = |error| format!("{} holds no claims: {error}", path.display());
    Ok(serde_json::from_str(&read(path)?).map_err(problem)?)
}

fn read(path: &Path) -> Result<String, CommandError> {
    let problem = |error| format!("cannot read {}: {error}", path.display()).into();
    std::fs::read_to_string(path).map_err(problem)
}

/// The credential that is shown, if it is a certain one.
enum CredentialShown<'a> {
    /// A key, and its place.
    Key(&'a ApiKey, &'a Node),
    /// A token.
    Token,
}

/// A setting: its name, what holds, and the place that says so.
type Row<'a> = (String, String, Option<&'a Node>);

/// Tells of the caller: by which credential, from where, until when, and for which operations.
fn who<'a>(
    caller: &Caller,
    node: &'a Node,
    credential: Option<&CredentialShown<'a>>,
) -> Vec<Row<'a>> {
    let tenant = &caller.tenant;
    let at = |path: &[&str]| node.at(path);
    let (key, operations, place) = match credential {
        Some(CredentialShown::Key(key, place)) => {
            (Some(*key), place.at(&["operations"]), Some(*place))
        }
        Some(CredentialShown::Token) => (None, at(&["scopes"]), at(&["auth", "issuers"])),
        None => (None, None, at(&["auth"])),
    };
    let operations = operations.or_else(|| at(&["operations"]));
    let mut rows = vec![
        ("tenant", tenant.id.to_string(), at(&["tenant"])),
        ("caller", caller.credential.to_string(), place),
        ("may call", names(caller.grants), operations),
        ("may not call", names(complement(caller.grants)), operations),
        ("networks", networks(&tenant.sources), at(&["auth", "sources"])),
    ];
    if let (Some(key), Some(place)) = (key, place) {
        let expires = key.expires.map_or_else(|| "never".to_owned(), |at| at.to_string());
        rows.push(("the key's networks", networks(&key.sources), place.at(&["sources"])));
        rows.push(("expires", expires, place.at(&["expires"])));
    }
    let scope = |(scope, granted): &(String, RootFields)| {
        (format!("scope {scope}"), names(*granted), node.at(&["scopes", scope]))
    };
    let rows = rows.into_iter().map(|(name, value, place)| (name.to_owned(), value, place));
    rows.chain(tenant.scopes.iter().map(scope)).collect()
}

fn networks(sources: &[IpNet]) -> String {
    if sources.is_empty() {
        return "anywhere".to_owned();
    }
    sources.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")
}

/// Tells of the tenant, whoever calls.
fn rules<'a>(caller: &Caller, node: &'a Node) -> Vec<Row<'a>> {
    let tenant = &caller.tenant;
    let (metadata, limits, cache) = (&tenant.metadata, &tenant.rate_limit, &tenant.cache);
    let hidden = tenant.hidden_fields.iter().map(|f| format!("{}.{}", f.type_name, f.field));
    let hidden: Vec<_> = hidden.collect();
    let at = |path: &[&str]| node.at(path);
    let namespace = at(&["metadata", "namespace"]).or_else(|| at(&["tenant"]));
    let rows = [
        ("introspection", tenant.introspection.to_string(), at(&["introspection"])),
        ("hidden fields", hidden.join(", "), at(&["hidden_fields"])),
        ("client.portal", tenant.client.portal.to_string(), at(&["client", "portal"])),
        ("metadata namespace", metadata.namespace.to_string(), namespace),
        ("metadata max_bytes", metadata.max_bytes.to_string(), at(&["metadata", "max_bytes"])),
        (
            "unclaimed jobs",
            format!("{:?}", metadata.unclaimed_jobs).to_lowercase(),
            at(&["metadata", "unclaimed_jobs"]),
        ),
        (
            "unclaimed takes",
            tenant.unclaimed_takes.name().to_owned(),
            at(&["takes", "unclaimed"]).or_else(|| at(&["takes", "owned"])),
        ),
        ("queries", rate(limits.queries.as_ref()), at(&["rate_limit", "queries"])),
        ("mutations", rate(limits.mutations.as_ref()), at(&["rate_limit", "mutations"])),
        (
            "at once",
            format!("{} requests", limits.max_in_flight),
            at(&["rate_limit", "max_in_flight"]),
        ),
        (
            "open at once",
            format!("{} streams and long polls", limits.max_streams),
            at(&["subscriptions", "max"]),
        ),
        ("one request", format!("{} units", limits.max_cost), at(&["rate_limit", "max_cost"])),
        ("unfinished jobs", fresh(cache.unfinished), at(&["cache", "get_job", "unfinished"])),
        ("finished jobs", fresh(cache.finished), at(&["cache", "get_job", "finished"])),
        ("missing jobs", fresh(cache.not_found), at(&["cache", "get_job", "not_found"])),
        ("Move account", account(caller), at(&["upstream"])),
    ];
    let rows = rows.into_iter().map(|(name, value, place)| (name.to_owned(), value, place));
    rows.chain(special_limits(limits, node)).collect()
}

/// The width of the column of values, in characters.
const VALUES: usize = 50;

/// A setting as a line; a list that is longer than its column goes on below.
fn line((name, value, place): Row<'_>) -> String {
    let place = place.map_or("default".to_owned(), |node| node.span.to_string());
    let mut pieces = vec![String::new()];
    for item in value.split_inclusive(", ") {
        match pieces.last_mut() {
            Some(last) if last.is_empty() || last.len() + item.trim_end().len() <= VALUES => {
                last.push_str(item);
            }
            _ => pieces.push(item.to_owned()),
        }
    }
    if value.is_empty() {
        pieces = vec!["-".to_owned()];
    }
    let mut text = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        let (name, place) = if at == 0 { (&*name, &*place) } else { ("", "") };
        let line = format!("{name:<20} {:<VALUES$} {place}", piece.trim_end());
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn rate(rate: Option<&Rate>) -> String {
    rate.map_or("unlimited".to_owned(), |rate| {
        format!("{}, {} units at once", rate.in_units(), rate.burst)
    })
}

/// The limits that only some policies have.
fn special_limits<'a>(limits: &RateLimits, node: &'a Node) -> Vec<Row<'a>> {
    let at = |path: &[&str]| node.at(&[&["rate_limit"], path].concat());
    let single = limits.operations.iter().map(|(field, own)| {
        (field.name().to_owned(), rate(Some(own)), at(&["operations", field.name()]))
    });
    let of_credential =
        [("queries", limits.credential_queries), ("mutations", limits.credential_mutations)];
    let of_credential = of_credential.into_iter().filter_map(|(name, own)| {
        let span = at(&["per_credential", name]);
        Some((format!("its own {name}"), rate(Some(&own?)), span))
    });
    let introspection = limits
        .introspection
        .as_ref()
        .map(|own| ("introspection rate".to_owned(), rate(Some(own)), at(&["introspection"])));
    single.chain(of_credential).chain(introspection).collect()
}

fn fresh(time: std::time::Duration) -> String {
    format!("fresh for {time:?}")
}

fn account(caller: &Caller) -> String {
    if caller.tenant.account.is_shared() { "shared".to_owned() } else { "its own".to_owned() }
}

fn names(fields: RootFields) -> String {
    fields.iter().map(RootField::name).collect::<Vec<_>>().join(", ")
}

fn complement(fields: RootFields) -> RootFields {
    RootField::ALL.into_iter().filter(|field| !fields.contains(*field)).collect()
}

fn describe_query(caller: &Caller, loaded: &Loaded, path: &Path) -> Result<String, CommandError> {
    let text = read(path)?;
    let documents = Documents::new(loaded.config.limits.clone());
    let schema = graphql::schema_without(&caller.tenant.hidden_fields)?;
    let operation = documents
        .parse(&schema, &text)
        .and_then(Document::sketch)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut told = format!("\n{}\n", path.display());
    for (key, field) in operation.root_fields() {
        let verdict = if caller.may(field) { "allowed" } else { "FORBIDDEN" };
        let cost = if field.is_listing() {
            listing::cost(caller, loaded, field)
        } else {
            loaded.config.weights.in_operation(operation.kind, field).to_string()
        };
        told.push_str(&format!("  {key}: {field} is {verdict}, costs {cost}\n"));
    }
    let fields = operation.root_fields().map(|(_, field)| field);
    let weights = &loaded.config.weights;
    let charge = Charge::for_units(
        fields,
        |field| weights.in_operation(operation.kind, field),
        operation.introspects(),
    );
    let has_listing = operation.root_fields().any(|(_, field)| field.is_listing());
    told.push_str(&format!(
        "  {} {} units in all, {}\n",
        if has_listing { "reserves" } else { "costs" },
        charge.total(),
        cacheability(&operation)
    ));
    if has_listing {
        told.push_str(&format!("  {}\n", listing::way(caller, loaded, &operation)));
    }
    if let Err((code, why)) = caller::admit(loaded, caller, &charge, &charge) {
        told.push_str(&format!("  is never admitted, {}: {why}\n", code.as_str()));
    }
    Ok(told)
}

/// Only what reads of one thing and introspection answer is ever kept.
fn cacheability(operation: &Operation) -> &'static str {
    let is_cacheable = operation.kind == Kind::Query
        && operation.root_fields().all(|(_, field)| field.is_getter());
    if is_cacheable { "its answer may be cached" } else { "its answer is never cached" }
}
