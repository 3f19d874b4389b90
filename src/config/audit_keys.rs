//! `admin.audit_keys`: who may read audit records from the operators' listener.

use super::forms::{Hash, KeyName};
use crate::model::{CredentialId, KeyHash};
use crate::settings;
use crate::settings::{Form, Items, Keys, Section, ValueKind};

/// A key that an operator reads audit records with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditKey {
    /// Its name in the record of a reading.
    pub id: CredentialId,
    /// Its hash.
    pub hash: KeyHash,
}

settings! {
    /// A key as it is written.
    struct AuditKeyKeys {
        /// The name of the key: each reading leaves a record with it.
        id: KeyName,
        /// SHA-256 of the key, 64 hexadecimal digits: `jobs-gateway key new` prints it.
        sha256: Hash,
    }
}

/// `admin.audit_keys`
#[derive(Debug)]
pub enum AuditKeys {}

impl Form for AuditKeys {
    type Value = Vec<AuditKey>;

    fn kind() -> ValueKind {
        Items::<AuditKeyKeys>::kind()
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        _: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let context = section.context();
        let mut keys: Vec<AuditKey> = Vec::new();
        for item in Items::<AuditKeyKeys>::read(section, key, None)? {
            let own = AuditKey { id: item.settings.id, hash: item.settings.sha256 };
            if let Some(known) = keys.iter().find(|known| known.id == own.id) {
                let problem = format!("`admin.audit_keys` has `{}` twice", known.id);
                context.error(&item.span, problem);
            } else if let Some(known) = keys.iter().find(|known| known.hash == own.hash) {
                let problem = format!("`{}` and `{}` are one key", known.id, own.id);
                context.error(&item.span, problem);
            }
            keys.push(own);
        }
        Some(keys)
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(_: &Self::Value) -> Option<String> {
        None
    }

    fn below(keys: &mut Keys, name: &'static str) {
        Items::<AuditKeyKeys>::below(keys, name);
    }
}
