//! A credential in, a [`Caller`] out.

mod api_key;
mod follow;
mod holder;
mod issuers;
mod jwks;
mod jwt;
pub mod operator;
pub mod what_if;

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

pub use follow::probe as probe_issuer;
pub use holder::holder_of;
pub use issuers::Issuers;

use crate::model::{Caller, KeyHash};
use crate::policy::Snapshot;

/// Longest credential looked at, in bytes: a token with a few hundred groups is 12 KiB. The head of a
/// request, which it is part of, may take 32 KiB.
const MAX_CREDENTIAL: usize = 24 * 1024;

/// Why a credential was refused. The text is what the caller reads: it helps its holder and tells
/// nobody whether a tenant or a key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// None was sent.
    #[error(
        "Send an API key or a token: `Authorization: <key>`, `Authorization: Bearer <key or token>` \
         or `X-API-Key: <key>`."
    )]
    Missing,
    /// The header cannot be a credential.
    #[error("The credential is malformed.")]
    Malformed,
    /// It stands after another scheme than `Bearer`.
    #[error("Send the credential as it is, or after `Bearer`: no other scheme is taken.")]
    Scheme,
    /// Two headers, two credentials.
    #[error("`Authorization` and `X-API-Key` carry different credentials: send one.")]
    Conflicting,
    /// No key has this hash.
    #[error("The credential is not known.")]
    Unknown,
    /// Its time is over.
    #[error("The credential has expired.")]
    Expired,
    /// A token without `exp`.
    #[error("The token has no `exp`: one that never ends is not taken.")]
    Endless,
    /// It may not be used from where the request came.
    #[error("The credential may not be used from this address.")]
    Source,
    /// A token's `nbf` is in the future.
    #[error("The token is not valid yet.")]
    NotYetValid,
    /// A token's `aud` is somebody else.
    #[error("The token is not meant for this gateway: its audience is another.")]
    Audience,
    /// A token of an issuer that nobody configured.
    #[error("The token's issuer is not known.")]
    Issuer,
    /// A token that its issuer's keys do not verify, or one signed in a way that is not taken.
    #[error("The token's signature cannot be verified.")]
    Signature,
    /// A good token that names no tenant there is.
    #[error("The token grants nothing here.")]
    NoTenant,
    /// A good token that names a tenant whose policy does not list its issuer.
    #[error("The token grants nothing here.")]
    NotListed,
}

impl Error {
    /// A word for logs and records.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "credential_missing",
            Self::Malformed => "credential_malformed",
            Self::Scheme => "credential_scheme",
            Self::Conflicting => "credentials_conflict",
            Self::Unknown => "credential_unknown",
            Self::Expired => "credential_expired",
            Self::Endless => "token_without_exp",
            Self::Source => "credential_source",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Issuer => "token_issuer",
            Self::Signature => "token_signature",
            Self::NoTenant => "token_without_tenant",
            Self::NotListed => "token_issuer_not_listed",
        }
    }
}

/// Makes sure that a credential may be used from where its request came: within the tenant's networks
/// and the key's own. An address that is not known is in none.
///
/// # Errors
/// [`Error::Source`] if it may not.
pub fn check_source(
    credential: &str,
    caller: &Caller,
    policies: &Snapshot,
    source: Option<IpAddr>,
) -> Result<(), Error> {
    if !policies.has_sources() {
        return Ok(());
    }
    let key = policies.key(&KeyHash::of(credential.as_bytes()));
    let own = key.map_or(&[][..], |(_, key)| &key.sources);
    let is_within = |networks: &[IpNet]| {
        networks.is_empty()
            || source.is_some_and(|source| networks.iter().any(|one| one.contains(&source)))
    };
    if is_within(&caller.tenant.sources) && is_within(own) { Ok(()) } else { Err(Error::Source) }
}

/// Finds out who shows this credential.
///
/// # Errors
/// When nobody does, or no longer.
pub async fn authenticate(
    credential: &str,
    policies: &Snapshot,
    issuers: &Issuers,
    now: Timestamp,
) -> Result<Caller, Error> {
    if credential.len() > MAX_CREDENTIAL {
        return Err(Error::Malformed);
    }
    let hash = KeyHash::of(credential.as_bytes());
    match api_key::authenticate(&hash, policies, now) {
        Err(Error::Unknown) if jwt::looks_like_one(credential) => {
            issuers.authenticate(credential, &hash, policies, now).await
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Error as E;

    #[test]
    fn every_reason_of_a_refusal_stands_in_the_documents() {
        let all = [
            E::Missing,
            E::Malformed,
            E::Scheme,
            E::Conflicting,
            E::Unknown,
            E::Expired,
            E::Endless,
            E::Source,
            E::NotYetValid,
            E::Audience,
            E::Issuer,
            E::Signature,
            E::NoTenant,
            E::NotListed,
        ];
        let reasons: BTreeSet<_> = all.into_iter().map(E::reason).collect();
        assert_eq!(reasons.len(), all.len());
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/logging.md");
        let page = std::fs::read_to_string(page).unwrap();
        let section = page.split("\n## ").find(|own| own.starts_with("Reasons"));
        let rows = section.unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: BTreeSet<_> = rows.map(|row| row.split('`').next().unwrap()).collect();
        assert_eq!(documented, reasons);
    }
}
