//! The operator at the command line, who shows no credential: whoever has the gateway's configuration has its key.

use std::sync::Arc;

use crate::model::{Caller, CredentialId, RootFields, Tenant};
use crate::policy::Snapshot;

/// Makes the caller as whom an operator does something for a tenant; `command` names it in records.
#[must_use]
pub fn caller(tenant: &Arc<Tenant>, policies: &Snapshot, command: &str) -> Caller {
    Caller {
        tenant: Arc::clone(tenant),
        credential: CredentialId::of_token("operator", command),
        subject: None,
        grants: RootFields::NONE,
        policy_version: Arc::clone(policies.version()),
    }
}
