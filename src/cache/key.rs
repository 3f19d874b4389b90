//! The key of what is known of something of a tenant's.

use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use ahash::RandomState;

use crate::model::{EntityId, TenantId};

/// Something of a tenant.
///
/// Its hash is made once: a read looks it up in several maps, and the cache's own is built anew now and then, which would
/// read texts that lie anywhere in memory.
#[derive(Debug, Clone)]
pub struct Key {
    /// The tenant. Nothing is shared across tenants, what is missing neither.
    pub tenant: TenantId,
    /// Its id.
    pub id: EntityId,
    hash: u64,
}

impl Key {
    /// The key of a tenant's entity.
    #[must_use]
    pub fn new(tenant: TenantId, id: EntityId) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let hash = HASHER.hash_one((&tenant, &id));
        Self { tenant, id, hash }
    }

    /// The part that it belongs to of so many, which all have about as much.
    #[must_use]
    pub fn part(&self, parts: usize) -> usize {
        // The lower half places it within a part's map.
        usize::try_from(self.hash >> 32).unwrap_or_default() % parts
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.id == other.id && self.tenant == other.tenant
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
