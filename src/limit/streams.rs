//! The places of those who wait: long polls and streams, of one tenant and of all.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::LimitError;

/// The places of one tenant's long polls and streams.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    places: Arc<Semaphore>,
    max: u32,
}

/// A place among its tenant's long polls and streams, and among everybody's; given back when it is dropped.
#[derive(Debug)]
pub struct StreamPlace {
    _tenants: OwnedSemaphorePermit,
    _gateways: OwnedSemaphorePermit,
}

impl Streams {
    pub(super) fn new(max: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(max as usize)), max }
    }

    /// The same places if there may still be as many; others otherwise.
    pub(super) fn resized(&self, max: u32) -> Self {
        if self.max == max { self.clone() } else { Self::new(max) }
    }

    pub(super) fn take(&self, everybodys: &Arc<Semaphore>) -> Result<StreamPlace, LimitError> {
        let tenants = Arc::clone(&self.places).try_acquire_owned();
        let tenants = tenants.map_err(|_| LimitError::Streams { max: self.max })?;
        let gateways = Arc::clone(everybodys).try_acquire_owned();
        let gateways = gateways.map_err(|_| LimitError::AllStreams)?;
        Ok(StreamPlace { _tenants: tenants, _gateways: gateways })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_of_the_tenants_and_one_of_everybodys() {
        let (streams, all) = (Streams::new(2), Arc::new(Semaphore::new(3)));
        let held = [streams.take(&all), streams.take(&all)].map(|place| place.expect("a place"));
        assert_eq!(streams.take(&all).err(), Some(LimitError::Streams { max: 2 }));
        assert_eq!(all.available_permits(), 1);
        let others = Streams::new(2);
        let other = others.take(&all).expect("a place");
        assert_eq!(others.take(&all).err(), Some(LimitError::AllStreams));
        drop(held);
        assert!(others.take(&all).is_ok(), "what is refused keeps nothing");
        drop(other);
        assert_eq!(all.available_permits(), 3);
    }
}
