//! Findings that only show when all policies lie side by side.

use std::collections::HashMap;
use std::path::Path;

use jiff::{Timestamp, ToSpan};

use super::tenant::Policy;
use crate::config::{Config, WebhookAccount};
use crate::model::{
    AccountId, ApiKey, FieldCoordinate, KeyHash, Kind, Namespace, Tenant, TenantId,
};
use crate::settings::{Context, Diagnostic, Span, values};

/// The time before its end at which a key is warned about, in days.
const SOON: i64 = 14;

/// Reports everything that is wrong between policies, and what is worth a look.
pub fn all(
    context: &Context<'_>,
    config: &Config,
    policies: &[Policy],
    now: Timestamp,
    problems_of_hiding: impl Fn(&[FieldCoordinate]) -> Vec<String>,
) {
    let mut tenants: HashMap<&TenantId, &Span> = HashMap::new();
    let mut namespaces: HashMap<&Namespace, &TenantId> = HashMap::new();
    let mut hashes: HashMap<&KeyHash, &TenantId> = HashMap::new();
    let mut accounts: HashMap<&str, &TenantId> = HashMap::new();
    // Many tenants hide the same fields, and it takes a schema to tell what is wrong with that.
    let mut hiding: HashMap<&[FieldCoordinate], Vec<String>> = HashMap::new();
    for policy in policies {
        let tenant = &policy.tenant;
        if let Some(first) = tenants.insert(&tenant.id, &policy.span) {
            let message = format!("tenant `{}` is also defined at {first}", tenant.id);
            context.error(&policy.span, message);
            continue;
        }
        check_file_name(context, policy);
        check_rules(context, config, policy);
        check_costs(context, config, policy);
        let hidden: &[FieldCoordinate] = &tenant.hidden_fields;
        let problems = hiding.entry(hidden).or_insert_with(|| problems_of_hiding(hidden));
        check_hidden(context, policy, problems);
        if let Some(span) = &policy.account_span {
            check_account(context, config, tenant, span, &mut accounts);
        }
        if tenant.account.is_shared()
            && let Some(other) = namespaces.insert(&tenant.metadata.namespace, &tenant.id)
        {
            let namespace = &tenant.metadata.namespace;
            let message = format!("namespace `{namespace}` is also that of tenant `{other}`");
            context.error(&policy.namespace_span, message);
        }
        check_keys(context, policy, now, &mut hashes);
        for (issuer, span) in &policy.issuers {
            if !config.issuers.iter().any(|known| known.name == *issuer) {
                context.error(span, format!("no issuer `{issuer}` is defined in gateway.yaml"));
            }
        }
    }
    if let Some(problem) = plain(&config.upstream.url) {
        context.report(Diagnostic::warning(problem, None));
    }
    // A policy with an error may be missing here: what all of them lack cannot be told.
    if context.has_errors() {
        return;
    }
    if policies.is_empty() {
        let message = format!("{} holds no tenant: nobody can call", config.policies.display());
        context.report(Diagnostic::warning(message, None));
    }
    for issuer in &config.issuers {
        let is_used = policies
            .iter()
            .flat_map(|policy| &policy.issuers)
            .any(|(name, _)| *name == issuer.name);
        if !is_used {
            let message = format!("no tenant lists issuer `{}`", issuer.name);
            context.report(Diagnostic::warning(message, Some(issuer.span.clone())));
        }
    }
}

/// Reports accounts that events are to come from and that no tenant's calls go to.
pub fn accounts_of_webhooks(context: &Context<'_>, config: &Config, policies: &[Policy]) {
    if context.has_errors() {
        return;
    }
    for WebhookAccount { id, span, .. } in config.webhook_accounts() {
        if *id != AccountId::Shared && policies.iter().all(|own| own.tenant.account.id != *id) {
            context.error(span, format!("no tenant has the account `{id}`"));
        }
    }
}

/// Reports fields that cannot be hidden, each where it is listed.
fn check_hidden(context: &Context<'_>, policy: &Policy, problems: &[String]) {
    for problem in problems {
        let is_named = |(hidden, _): &&(FieldCoordinate, Span)| {
            problem.contains(&format!("{}.{}", hidden.type_name, hidden.field))
        };
        let own = policy.hidden_fields.iter().find(is_named).or(policy.hidden_fields.first());
        let span = own.map_or(&policy.span, |(_, span)| span);
        context.error(span, format!("`hidden_fields`: {problem}"));
    }
}

/// Reports keys that another tenant has too, and warns of those that end soon.
fn check_keys<'p>(
    context: &Context<'_>,
    policy: &'p Policy,
    now: Timestamp,
    hashes: &mut HashMap<&'p KeyHash, &'p TenantId>,
) {
    let spans = policy.key_spans.iter().zip(&policy.expiry_spans);
    for (key, (span, expiry)) in policy.keys.iter().zip(spans) {
        if let Some(other) = hashes.insert(&key.hash, &policy.tenant.id) {
            let message = format!("this hash is also that of a key of tenant `{other}`");
            context.error(span, message);
        }
        let warning = match key.expires {
            Some(expires) if expires <= now => format!("key `{}` has expired", key.id),
            Some(expires) if soon(now, expires) && !has_successor(&policy.keys, key) => {
                format!("key `{}` expires within {SOON} days, at {expires}", key.id)
            }
            _ => continue,
        };
        context.warning(expiry.as_ref().unwrap_or(span), warning);
    }
}

/// Returns true if another key has taken the place of this one, by its name, and lasts longer.
fn has_successor(keys: &[ApiKey], old: &ApiKey) -> bool {
    let (name, number) = old.id.numbered();
    let lasts_longer =
        |new: &ApiKey| new.expires.is_none_or(|ends| old.expires.is_some_and(|end| ends > end));
    keys.iter().any(|new| {
        let (new_name, new_number) = new.id.numbered();
        new_name == name && new_number > number && lasts_longer(new)
    })
}

/// Returns the problem with a URL over which a key goes as it is.
fn plain(url: &url::Url) -> Option<&'static str> {
    let is_plain = url.scheme() == "http" && !values::is_local(url);
    is_plain
        .then_some("`upstream.url` is plain http: whoever is on the way reads the account's key")
}

/// Reports an account of a tenant's own that is not its own: in such an account every job without a
/// record is the tenant's. A key names an account, whatever the URL.
fn check_account<'p>(
    context: &Context<'_>,
    config: &Config,
    tenant: &'p Tenant,
    span: &Span,
    accounts: &mut HashMap<&'p str, &'p TenantId>,
) {
    if let Some(problem) = plain(&tenant.account.url) {
        context.warning(span, problem);
    }
    let key = tenant.account.api_key.expose();
    if key == config.upstream.api_key.expose() {
        let problem =
            "this key is that of the account that tenants share: it is no account of its own";
        let problem = Diagnostic::error(problem, Some(span.clone()));
        context.report(problem.help("leave `upstream` out"));
    } else if let Some(other) = accounts.insert(key, &tenant.id) {
        let message = format!("this account is also that of tenant `{other}`: each needs its own");
        context.error(span, message);
    }
}

/// Warns of operations that cost more than a limit ever gives.
fn check_costs(context: &Context<'_>, config: &Config, policy: &Policy) {
    let Policy { tenant, span, .. } = policy;
    let limits = &tenant.rate_limit;
    for field in tenant.operations.iter() {
        let (class, own) = match field.kind() {
            Kind::Query | Kind::Subscription => (limits.queries, limits.credential_queries),
            Kind::Mutation => (limits.mutations, limits.credential_mutations),
        };
        let bursts = [class, own].into_iter().flatten().map(|rate| rate.burst.get());
        let most = bursts.fold(limits.max_cost, u32::min);
        let cost = config.weights.of(field);
        if cost > most {
            let message = format!(
                "tenant `{}` may call {field}, which costs {cost}, and its limits never give more than {most}",
                tenant.id
            );
            context.warning(span, message);
        }
    }
}

/// Rules that can never matter.
fn check_rules(context: &Context<'_>, config: &Config, policy: &Policy) {
    // What a part with an error would have said is not known.
    if context.has_errors() {
        return;
    }
    let tenant = &policy.tenant;
    let warn = |message: String| {
        context.report(Diagnostic::warning(message, Some(policy.span.clone())));
    };
    if tenant.operations.is_empty() {
        warn(format!("tenant `{}` may call nothing", tenant.id));
    }
    if policy.keys.is_empty() && policy.issuers.is_empty() {
        warn(format!("tenant `{}` has neither API keys nor issuers: nobody can call", tenant.id));
    }
    if !tenant.scopes.is_empty() && policy.issuers.is_empty() {
        warn(format!("tenant `{}` has scopes and lists no issuer: they are never used", tenant.id));
    }
    for (scope, granted) in &tenant.scopes {
        if granted.intersect(tenant.operations).is_empty() {
            warn(format!("scope `{scope}` grants nothing that tenant `{}` may call", tenant.id));
        }
    }
    let carries_scopes = |name: &String| {
        let issuer = config.issuers.iter().find(|issuer| issuer.name == *name);
        issuer.is_some_and(|issuer| issuer.scope_claim.is_some())
    };
    if tenant.scopes.is_empty() && policy.issuers.iter().any(|(name, _)| carries_scopes(name)) {
        let message = "tokens with scopes are taken and `scopes` grants nothing to any";
        warn(format!("tenant `{}`: {message}", tenant.id));
    }
}

fn soon(now: Timestamp, expires: Timestamp) -> bool {
    now.checked_add((SOON * 24).hours()).is_ok_and(|soon| expires <= soon)
}

fn check_file_name(context: &Context<'_>, policy: &Policy) {
    let stem = Path::new(&policy.span.source.name).file_stem().unwrap_or_default();
    if stem != policy.tenant.id.as_str() {
        let message = format!("tenant `{}` belongs in {0}.yaml", policy.tenant.id);
        let problem = Diagnostic::error(message, Some(policy.span.clone()));
        context
            .report(problem.help("a policy's file is called like its tenant: rename one of them"));
    }
}
