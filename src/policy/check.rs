//! What only shows when all policies lie side by side.

use std::collections::HashMap;
use std::path::Path;

use jiff::{Timestamp, ToSpan};

use super::tenant::Policy;
use crate::config::{Config, Context, Diagnostic, Place};
use crate::model::{FieldCoordinate, KeyHash, Namespace, TenantId};

/// How long before its end a key is warned about, in days.
const SOON: i64 = 14;

/// Reports everything that is wrong between policies, and what is worth a look.
pub fn all(
    context: &Context<'_>,
    config: &Config,
    policies: &[Policy],
    now: Timestamp,
    problems_of_hiding: impl Fn(&[FieldCoordinate]) -> Vec<String>,
) {
    let mut tenants: HashMap<&TenantId, &Place> = HashMap::new();
    let mut namespaces: HashMap<&Namespace, &TenantId> = HashMap::new();
    let mut hashes: HashMap<&KeyHash, &TenantId> = HashMap::new();
    for policy in policies {
        let tenant = &policy.tenant;
        if let Some(first) = tenants.insert(&tenant.id, &policy.place) {
            let message = format!("tenant `{}` is also defined at {first}", tenant.id);
            context.error(&policy.place, message);
            continue;
        }
        check_file_name(context, policy);
        check_rules(context, config, policy);
        for problem in problems_of_hiding(&tenant.hidden_fields) {
            context.error(&policy.place, format!("`hidden_fields`: {problem}"));
        }
        if tenant.account.is_shared()
            && let Some(other) = namespaces.insert(&tenant.metadata.namespace, &tenant.id)
        {
            let namespace = &tenant.metadata.namespace;
            let message = format!("namespace `{namespace}` is also that of tenant `{other}`");
            context.error(&policy.place, message);
        }
        for (key, place) in policy.keys.iter().zip(&policy.key_places) {
            if let Some(other) = hashes.insert(&key.hash, &tenant.id) {
                let message = format!("this hash is also that of a key of tenant `{other}`");
                context.error(place, message);
            }
            let warning = match key.expires {
                Some(expires) if expires <= now => format!("key `{}` has expired", key.id),
                Some(expires) if soon(now, expires) => {
                    format!("key `{}` expires within {SOON} days, at {expires}", key.id)
                }
                _ => continue,
            };
            context.report(Diagnostic::warning(warning, Some(place.clone())));
        }
        for (issuer, place) in &policy.issuers {
            if !config.issuers.iter().any(|known| known.name == *issuer) {
                context.error(place, format!("no issuer `{issuer}` is defined in gateway.yaml"));
            }
        }
    }
    for issuer in &config.issuers {
        let is_used = policies
            .iter()
            .flat_map(|policy| &policy.issuers)
            .any(|(name, _)| *name == issuer.name);
        if !is_used {
            let message = format!("no tenant lists issuer `{}`", issuer.name);
            context.report(Diagnostic::warning(message, Some(issuer.place.clone())));
        }
    }
}

/// Rules that can never matter.
fn check_rules(context: &Context<'_>, config: &Config, policy: &Policy) {
    let tenant = &policy.tenant;
    let warn = |message: String| {
        context.report(Diagnostic::warning(message, Some(policy.place.clone())));
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
    let stem = Path::new(&policy.place.source.name).file_stem().unwrap_or_default();
    if stem != policy.tenant.id.as_str() {
        let message =
            format!("tenant `{}` is looked for in {}.yaml", policy.tenant.id, policy.tenant.id);
        context.report(Diagnostic::warning(message, Some(policy.place.clone())));
    }
}
