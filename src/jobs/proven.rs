//! The memory of what was seen to be a tenant's own: reads prove it by the thousand, and few are asked about again.

use super::fingerprints::Fingerprints;
use crate::model::{EntityId, Tenant};

/// A tenant, the account in which it was seen and an entity. The account is part of it: what nobody owns is the tenant's
/// only as long as the account is. None changes its owner, so nothing is ever taken out; what is forgotten costs a call
/// to Move.
#[derive(Debug, Default)]
pub(super) struct Proven(Fingerprints);

impl Proven {
    /// Remembers that something was seen to be the tenant's.
    pub(super) fn note(&self, tenant: &Tenant, id: &EntityId) {
        self.0.note(&(&tenant.id, &tenant.account.id, id));
    }

    /// Returns true if something was seen to be the tenant's, and that is not forgotten.
    pub(super) fn knows(&self, tenant: &Tenant, id: &EntityId) -> bool {
        self.0.knows(&(&tenant.id, &tenant.account.id, id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fingerprints::PLACES;
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
