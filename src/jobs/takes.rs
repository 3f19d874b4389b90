//! Takes, as far as policy makes them somebody's.

use crate::model::{RequestContext, TakeId, Trail};
use crate::upstream::{Call, Reply, Take};

use super::envelope;
use super::ownership::{Owner, Place};
use super::{Error, Jobs, needs};

impl Jobs {
    /// Checks, where policy says `takes.owned`, that a take carries the tenant's envelope.
    ///
    /// # Errors
    /// [`Error::TakeNotFound`] for a take that is missing, another tenant's or nobody's: one answer
    /// for all three.
    pub(super) async fn check_take(
        &self,
        request: &RequestContext,
        trail: &Trail,
        take: &TakeId,
    ) -> Result<(), Error> {
        let tenant = &request.caller.tenant;
        if !tenant.takes_owned {
            return Ok(());
        }
        let call = Call::get_take(take, needs::of_ownership());
        let Reply { value, errors, .. } = self.upstream.call::<Take>(request, trail, &call).await?;
        let Some(found) = value else { return Err(Error::TakeNotFound) };
        let stored = found.metadata();
        let reading = envelope::read(stored.as_deref());
        match Owner::of(tenant, stored.as_deref(), &reading, &errors, Place::Root) {
            Owner::Tenant => Ok(()),
            Owner::Another | Owner::Nobody => Err(Error::TakeNotFound),
            Owner::Unknown => Err(Error::OwnerUnknown),
        }
    }
}
