//! The caller that a command asks about, why there is no such caller, and whether limits admit what it asks for.

use serde_json::{Map, Value};

use super::output::CommandError;
use crate::auth::{self, what_if};
use crate::limit::{Charge, LimitError, Limiter, Limits};
use crate::model::{Caller, Clock, ErrorCode, TenantId};
use crate::policy::Snapshot;
use crate::reload::Loaded;

/// The credential that somebody has.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// The broadest that a tenant could give.
    Any,
    /// An API key, by its id.
    Key(&'a str),
    /// A token of these claims.
    Token(&'a Map<String, Value>),
}

/// Somebody of a tenant with a credential. A token may turn out to be one of another tenant.
///
/// # Errors
/// When such a credential is refused.
pub fn caller(
    loaded: &Loaded,
    tenant: &TenantId,
    credential: Credential<'_>,
) -> Result<Caller, auth::Error> {
    let Loaded { config, policies, .. } = loaded;
    let now = Clock::system().now();
    match credential {
        Credential::Key(id) => what_if::with_key(policies, tenant, id, now),
        Credential::Token(claims) => what_if::with_claims(&config.issuers, policies, claims, now),
        Credential::Any => {
            policies.tenant(tenant).map(what_if::of_tenant).ok_or(auth::Error::Unknown)
        }
    }
}

/// Charges limits of which nothing is used yet: for one request, and for all that come at one moment.
///
/// # Errors
/// The code of a refusal, and why: `OPERATION_TOO_COMPLEX` for what is never admitted.
pub fn admit(
    loaded: &Loaded,
    caller: &Caller,
    one: &Charge,
    all: &Charge,
) -> Result<(), (ErrorCode, String)> {
    let unused = || {
        let tenant = std::iter::once(&*caller.tenant);
        let limits = Limits::new(tenant, loaded.config.weights.clone(), None);
        limits.get(&caller.tenant.id).cloned()
    };
    let (Some(for_one), Some(for_all)) = (unused(), unused()) else { return Ok(()) };
    let (tenant, credential) = (&caller.tenant.id, &caller.credential);
    let taken = async {
        let never = |error: LimitError| (ErrorCode::OperationTooComplex, error);
        let slot = for_one.enter().map_err(never)?;
        Limiter::Local.admit(tenant, &for_one, credential, one, slot).await.map_err(never)?;
        let charged = Limiter::Local.charge(tenant, &for_all, credential, all).await;
        charged.map_err(|error| (ErrorCode::RateLimited, error))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| (ErrorCode::Internal, error.to_string()))?;
    match runtime.block_on(taken) {
        Ok(_) => Ok(()),
        // All at once are more than there are units: one after the other they would be taken.
        Err((code @ ErrorCode::RateLimited, _)) => {
            Err((code, format!("so many at once cost {} units, more than there are", all.total())))
        }
        Err((code, error)) => Err((code, error.to_string())),
    }
}

/// Says why a credential is refused: more than its holder reads, as policies are no secret here.
pub fn why_refused(
    loaded: &Loaded,
    tenant: &TenantId,
    credential: Credential<'_>,
    error: auth::Error,
) -> CommandError {
    let policies = &loaded.policies;
    if policies.tenant(tenant).is_none() {
        return no_tenant(tenant, policies);
    }
    match (credential, error) {
        (Credential::Key(id), auth::Error::Unknown) => {
            let of_tenant = policies.keys().filter(|(owner, _)| owner.id == *tenant);
            let mut ids: Vec<_> = of_tenant.map(|(_, key)| key.id.as_str()).collect();
            ids.sort_unstable();
            format!("tenant `{tenant}` has no key `{id}`: {}", some_of(&ids, "keys")).into()
        }
        (Credential::Key(id), auth::Error::Expired) => {
            let key = policies.key_by_id(tenant, id);
            let since = key.and_then(|(_, key)| key.expires);
            let since = since.map_or_else(String::new, |since| format!(" since {since}"));
            format!("key `{id}` of tenant `{tenant}` has expired{since}").into()
        }
        (
            Credential::Token(claims),
            auth::Error::Issuer | auth::Error::NoTenant | auth::Error::NotListed,
        ) => why_no_token(loaded, claims),
        (_, error) => error.to_string().into(),
    }
}

/// Says why claims stand for nobody: the claim that is missing or names nothing.
fn why_no_token(loaded: &Loaded, claims: &Map<String, Value>) -> CommandError {
    let Loaded { config, policies, .. } = loaded;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let Some(iss) = text("iss") else { return "the claims have no text `iss`".into() };
    let Some(issuer) = config.issuers.iter().find(|issuer| issuer.issuer == iss) else {
        let known: Vec<_> = config.issuers.iter().map(|issuer| issuer.issuer.as_str()).collect();
        let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        return format!("no issuer of gateway.yaml has `iss` {iss}: {known}").into();
    };
    let (claim, name) = (&issuer.tenant_claim, &issuer.name);
    let Some(named) = text(claim) else {
        return format!(
            "the claims have no text `{claim}`, in which issuer `{name}` names the tenant"
        )
        .into();
    };
    let tenant = TenantId::parse(named).ok();
    match tenant.filter(|tenant| policies.tenant(tenant).is_some()) {
        Some(tenant) => {
            format!("tenant `{tenant}` does not list issuer `{name}` in `auth.issuers`")
        }
        None => format!("`{claim}` names {named}, and there is no such tenant"),
    }
    .into()
}

/// Says that a tenant does not exist, and which do.
pub fn no_tenant(tenant: &TenantId, policies: &Snapshot) -> CommandError {
    let mut known: Vec<_> = policies.tenants().map(|tenant| tenant.id.as_str()).collect();
    known.sort_unstable();
    format!("there is no tenant `{tenant}`: {}", some_of(&known, "tenants")).into()
}

/// The first of some names, and what lists the others.
pub fn some_of(names: &[&str], command: &str) -> String {
    const SHOWN: usize = 20;
    match names {
        [] => "there are none".to_owned(),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!("{}, … (`jobs-gateway {command}` lists all)", names[..SHOWN].join(", ")),
    }
}
