//! Who is asking, once that is known.

use std::sync::Arc;

use jiff::Timestamp;

use super::{CredentialId, RootField, RootFields, Tenant};

/// An authenticated caller. Only `auth` makes one, so holding a `Caller` is the proof that a
/// credential was verified.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose jobs it may see; the tenant's policy as it stood when the request began.
    pub tenant: Arc<Tenant>,
    /// Which key or token it showed.
    pub credential: CredentialId,
    /// A token's subject.
    pub subject: Option<Arc<str>>,
    /// The root fields that tenant and credential together allow.
    pub grants: RootFields,
    /// The moment at which its credential ends.
    pub expires: Option<Timestamp>,
    /// The policies it was judged by: see `policy::Snapshot::version`.
    pub policy_version: Arc<str>,
}

impl Caller {
    /// Returns true if this caller may use the root field.
    #[must_use]
    pub fn may(&self, field: RootField) -> bool {
        self.grants.contains(field)
    }
}
