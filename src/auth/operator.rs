//! Operators. At the command line they show no credential: whoever has the gateway's configuration has its key. Over
//! the network they show a key for the audit records, and nothing for the rest.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::config::AuditKey;
use crate::model::{Caller, CredentialId, KeyHash, RootFields, Tenant};
use crate::policy::Snapshot;

/// The operators who may read audit records, by their keys.
#[derive(Debug, Default)]
pub struct AuditReaders(Vec<AuditKey>);

impl AuditReaders {
    /// The keys of a configuration.
    #[must_use]
    pub fn new(keys: &[AuditKey]) -> Self {
        Self(keys.to_vec())
    }

    /// Returns true if there is none, so that nobody may read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the name of a key that was shown; `None` if it is no key.
    #[must_use]
    pub fn name_of(&self, shown: &str) -> Option<&CredentialId> {
        let hash = KeyHash::of(shown.as_bytes());
        self.0.iter().find(|key| bool::from(key.hash.0.ct_eq(&hash.0))).map(|key| &key.id)
    }
}

/// Makes the caller as whom an operator does something for a tenant; `command` names it in records.
#[must_use]
pub fn caller(tenant: &Arc<Tenant>, policies: &Snapshot, command: &str) -> Caller {
    Caller {
        tenant: Arc::clone(tenant),
        credential: CredentialId::of_token("operator", command),
        subject: None,
        expires: None,
        grants: RootFields::NONE,
        policy_version: Arc::clone(policies.version()),
    }
}
