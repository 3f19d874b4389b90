//! All tenants and their keys at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use crate::model::{Account, ApiKey, CredentialId, KeyHash, Tenant, TenantId};

/// The policies in force. Immutable: a reload makes another.
#[derive(Debug, Default)]
pub struct Snapshot {
    tenants: HashMap<TenantId, Arc<Tenant>, RandomState>,
    keys: HashMap<KeyHash, (Arc<Tenant>, ApiKey), RandomState>,
    version: Arc<str>,
    has_sources: bool,
}

impl Snapshot {
    /// Indexes tenants and their keys. Names and hashes are each other's only once: `load` has
    /// checked that.
    #[must_use]
    pub fn new(policies: Vec<(Tenant, Vec<ApiKey>)>, version: String) -> Self {
        let version = version.into();
        let mut snapshot = Self { version, ..Self::default() };
        for (tenant, keys) in policies {
            let tenant = Arc::new(tenant);
            snapshot.has_sources |= !tenant.sources.is_empty();
            for key in keys {
                snapshot.has_sources |= !key.sources.is_empty();
                snapshot.keys.insert(key.hash, (Arc::clone(&tenant), key));
            }
            snapshot.tenants.insert(tenant.id.clone(), tenant);
        }
        snapshot
    }

    /// Returns true if the policy has a name, a namespace or a key that another one here has too.
    #[must_use]
    pub fn clashes_with(&self, (tenant, keys): &(Tenant, Vec<ApiKey>)) -> bool {
        let has_namespace = |other: &Arc<Tenant>| {
            other.account.is_shared() && other.metadata.namespace == tenant.metadata.namespace
        };
        self.tenants.contains_key(&tenant.id)
            || keys.iter().any(|key| self.keys.contains_key(&key.hash))
            || (tenant.account.is_shared() && self.tenants().any(has_namespace))
    }

    /// These policies and some more, which clash with none of them.
    #[must_use]
    pub fn with(mut self, policies: Vec<(Tenant, Vec<ApiKey>)>) -> Self {
        let more = Self::new(policies, self.version.to_string());
        self.has_sources |= more.has_sources;
        self.tenants.extend(more.tenants);
        self.keys.extend(more.keys);
        self
    }

    /// The key with this hash and whose it is.
    #[must_use]
    pub fn key(&self, hash: &KeyHash) -> Option<(&Arc<Tenant>, &ApiKey)> {
        self.keys.get(hash).map(|(tenant, key)| (tenant, key))
    }

    /// A tenant's key by its id. Walks through all keys: not for requests.
    #[must_use]
    pub fn key_by_id(&self, tenant: &TenantId, id: &str) -> Option<(&Arc<Tenant>, &ApiKey)> {
        let mut keys = self.keys.values();
        keys.find(|(owner, key)| owner.id == *tenant && key.id.as_str() == id)
            .map(|(owner, key)| (owner, key))
    }

    /// Returns true if any credential may be used from some networks alone.
    #[must_use]
    pub const fn has_sources(&self) -> bool {
        self.has_sources
    }

    /// A tenant by its name.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Option<&Arc<Tenant>> {
        self.tenants.get(id)
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// All API keys and whose they are, in no order.
    pub fn keys(&self) -> impl Iterator<Item = (&Arc<Tenant>, &ApiKey)> {
        self.keys.values().map(|(tenant, key)| (tenant, key))
    }

    /// Returns the number of tenants there are.
    #[must_use]
    pub fn tenant_count(&self) -> usize {
        self.tenants.len()
    }

    /// Returns the number of API keys there are.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Returns the moment at which keys expire, in seconds since 1970; those without an end are left out.
    #[must_use]
    pub fn key_expiries(&self) -> Vec<(TenantId, CredentialId, i64)> {
        let expiry = |(tenant, key): &(Arc<Tenant>, ApiKey)| {
            Some((tenant.id.clone(), key.id.clone(), key.expires?.as_second()))
        };
        self.keys.values().filter_map(expiry).collect()
    }

    /// The Move accounts in use, each once.
    #[must_use]
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.tenants.values().map(|tenant| &tenant.account);
        let accounts: HashMap<_, _> = accounts.map(|account| (&account.id, account)).collect();
        accounts.into_values().cloned().collect()
    }

    /// Names this state of the policies: the beginning of a hash over their text.
    #[must_use]
    pub const fn version(&self) -> &Arc<str> {
        &self.version
    }
}
