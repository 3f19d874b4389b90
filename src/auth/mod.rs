//! A credential in, a [`Caller`] out.

mod api_key;

use jiff::Timestamp;

use crate::model::Caller;
use crate::policy::Snapshot;

/// Why a credential was refused. The text is what the caller reads: it helps its holder and tells
/// nobody whether a tenant or a key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// None was sent.
    #[error(
        "Send an API key: `Authorization: <key>`, `Authorization: Bearer <key>` or `X-API-Key: <key>`."
    )]
    Missing,
    /// The header cannot be a credential.
    #[error("The credential is malformed.")]
    Malformed,
    /// Two headers, two credentials.
    #[error("`Authorization` and `X-API-Key` carry different credentials: send one.")]
    Conflicting,
    /// No key has this hash.
    #[error("The credential is not known.")]
    Unknown,
    /// Its time is over.
    #[error("The credential has expired.")]
    Expired,
}

/// Finds out who shows this credential.
///
/// # Errors
/// When nobody does, or no longer.
pub fn authenticate(
    credential: &str,
    policies: &Snapshot,
    now: Timestamp,
) -> Result<Caller, Error> {
    api_key::authenticate(credential, policies, now)
}
