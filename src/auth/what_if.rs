//! Callers for `explain` and `policy test`: what somebody with this key or these claims would be.
//! Nothing is verified here; the gateway itself never comes this way.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Error, issuers, jwt};
use crate::config;
use crate::model::{Caller, CredentialId, Tenant, TenantId};
use crate::policy::Snapshot;

/// Somebody with a key of a tenant, by the key's id.
///
/// # Errors
/// [`Error::Unknown`] if there is no such key, [`Error::Expired`] if its time is over.
pub fn with_key(
    policies: &Snapshot,
    tenant: &TenantId,
    key: &str,
    now: Timestamp,
) -> Result<Caller, Error> {
    let (owner, api_key) = policies.key_by_id(tenant, key).ok_or(Error::Unknown)?;
    super::api_key::authenticate(&api_key.hash, policies, now)
        .map(|caller| Caller { tenant: Arc::clone(owner), ..caller })
}

/// Somebody with a token of these claims, which its issuer signed; audience and times that are not among them are good.
///
/// # Errors
/// [`Error::Issuer`] if nobody issues such tokens, [`Error::NoTenant`] if no tenant takes them; [`Error::Audience`],
/// [`Error::Expired`] and [`Error::NotYetValid`] as the claims say.
pub fn with_claims(
    configured: &[config::Issuer],
    policies: &Snapshot,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<Caller, Error> {
    let iss = claims.get("iss").and_then(Value::as_str);
    let issuer = configured.iter().find(|issuer| Some(issuer.issuer.as_str()) == iss);
    let issuer = issuer.ok_or(Error::Issuer)?;
    jwt::judge(claims, &issuer.audiences, now)?;
    issuers::caller(issuer, claims, policies)
}

/// Anybody of a tenant, with the broadest credential it could have.
#[must_use]
pub fn of_tenant(tenant: &Arc<Tenant>) -> Caller {
    Caller {
        tenant: Arc::clone(tenant),
        credential: CredentialId::of_token("any", "credential"),
        subject: None,
        expires: None,
        grants: tenant.operations,
        // It makes no request that a record could tell of.
        policy_version: Arc::default(),
    }
}
