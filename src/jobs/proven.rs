//! The memory of what was seen to be a tenant's own, in a table of fixed size: reads prove it by the thousand, and few are
//! asked about again.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{EntityId, Tenant};

/// The number of owners that are remembered: 1 MiB.
const PLACES: usize = 1 << 16;

/// Fingerprints of a tenant, the account in which it was seen and an entity, each in the place of the last one that fell
/// there. The account is part of it: what nobody owns is the tenant's only as long as the account is. None changes
/// its owner, so nothing is ever taken out; what is forgotten costs a call to Move.
#[derive(Debug)]
pub(super) struct Proven {
    places: Box<[[AtomicU64; 2]]>,
    /// Keyed at random: nobody can make two ids fall together.
    hashers: [RandomState; 2],
}

impl Default for Proven {
    fn default() -> Self {
        let places = std::iter::repeat_with(<[AtomicU64; 2]>::default).take(PLACES).collect();
        Self { places, hashers: [RandomState::new(), RandomState::new()] }
    }
}

impl Proven {
    /// Remembers that something was seen to be the tenant's.
    pub(super) fn note(&self, tenant: &Tenant, id: &EntityId) {
        let (place, fingerprint) = self.fingerprint(tenant, id);
        // Who reads between the two has halves of two fingerprints, which is none.
        for (half, hash) in place.iter().zip(fingerprint) {
            half.store(hash, Ordering::Relaxed);
        }
    }

    /// Returns true if something was seen to be the tenant's, and that is not forgotten.
    pub(super) fn knows(&self, tenant: &Tenant, id: &EntityId) -> bool {
        let (place, fingerprint) = self.fingerprint(tenant, id);
        place.each_ref().map(|half| half.load(Ordering::Relaxed)) == fingerprint
    }

    fn fingerprint(&self, tenant: &Tenant, id: &EntityId) -> (&[AtomicU64; 2], [u64; 2]) {
        let proof = (&tenant.id, &tenant.account.id, id);
        let fingerprint = self.hashers.each_ref().map(|hasher| hasher.hash_one(proof));
        // Never that of an empty place.
        let fingerprint = fingerprint.map(|hash| hash.max(1));
        let place = usize::try_from(fingerprint[0]).unwrap_or_default() % PLACES;
        (&self.places[place], fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::fixture::tenant;
    use crate::model::{Account, AccountId};

    #[test]
    fn an_owner_is_known_of_what_was_noted_in_the_same_account_until_another_takes_its_place() {
        let (proven, acme, globex) = (Proven::default(), tenant("acme"), tenant("globex"));
        let id = |n| EntityId::job(&format!("job-{n}")).expect("an id");
        assert!(!proven.knows(&acme, &id(0)));
        proven.note(&acme, &id(0));
        assert!(proven.knows(&acme, &id(0)));
        assert!(!proven.knows(&globex, &id(0)) && !proven.knows(&acme, &id(1)));
        let mut moved = tenant("acme");
        let account =
            Account { id: AccountId::Tenant(acme.id.clone()), ..(*moved.account).clone() };
        moved.account = account.into();
        assert!(!proven.knows(&moved, &id(0)));
        (0..PLACES).for_each(|n| proven.note(&acme, &id(n)));
        let known = (0..PLACES).filter(|n| proven.knows(&acme, &id(*n))).count();
        assert!((PLACES / 2..PLACES).contains(&known), "{known}");
    }
}
