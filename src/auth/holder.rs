//! Whose a refused credential is, for the record.

use super::{Error, Issuers, jwt};
use crate::model::{CredentialId, KeyHash, TenantId};
use crate::policy::Snapshot;

/// The holder of a credential that is refused although it is genuine: a key, or a token of an issuer's
/// that is not valid yet or not any more.
#[must_use]
pub fn holder_of(
    credential: &str,
    error: Error,
    policies: &Snapshot,
    issuers: &Issuers,
) -> Option<(TenantId, CredentialId)> {
    if !matches!(error, Error::Expired | Error::NotYetValid | Error::Source) {
        return None;
    }
    if let Some((tenant, key)) = policies.key(&KeyHash::of(credential.as_bytes())) {
        return Some((tenant.id.clone(), key.id.clone()));
    }
    // A token's times and its source are looked at after its signature: the claims are the issuer's.
    let caller = issuers.claimed_caller(&jwt::claims(credential).ok()?, policies)?;
    Some((caller.tenant.id.clone(), caller.credential))
}
