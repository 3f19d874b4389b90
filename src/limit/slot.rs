//! A tenant's requests at once, and the memory that their unfinished bodies take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::LimitError;

/// The memory that unfinished bodies of one tenant may take together, in bytes, unless one body
/// alone may be longer.
pub const UNFINISHED_BODIES: usize = 16 * 1024 * 1024;

/// The places of one tenant's requests.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    in_flight: Arc<Semaphore>,
    /// Bytes of bodies that are not whole yet.
    unfinished: Arc<AtomicUsize>,
    max: u32,
}

/// One request's place among its tenant's requests at once, given back when it is dropped. It is
/// taken as soon as the caller is known, so that a body which does not come holds its own tenant's
/// place and nobody else's.
#[derive(Debug)]
pub struct Slot {
    _place: OwnedSemaphorePermit,
    unfinished: Arc<AtomicUsize>,
    /// The bytes of `unfinished` that are its own body's.
    own: usize,
}

impl Slots {
    pub(super) fn new(max: u32) -> Self {
        let in_flight = Arc::new(Semaphore::new(max as usize));
        Self { in_flight, unfinished: Arc::default(), max }
    }

    /// The same places if there may still be as many; others otherwise. Bodies stay counted.
    pub(super) fn resized(&self, max: u32) -> Self {
        if self.max == max {
            return self.clone();
        }
        Self { unfinished: Arc::clone(&self.unfinished), ..Self::new(max) }
    }

    pub(super) fn take(&self) -> Result<Slot, LimitError> {
        let place = Arc::clone(&self.in_flight).try_acquire_owned();
        let place = place.map_err(|_| LimitError::InFlight { max: self.max })?;
        Ok(Slot { _place: place, unfinished: Arc::clone(&self.unfinished), own: 0 })
    }
}

impl Slot {
    /// Counts bytes of its body that have come. `longest` is what one body may take.
    ///
    /// # Errors
    /// When the tenant's unfinished bodies take too much together.
    pub fn receive(&mut self, bytes: usize, longest: usize) -> Result<(), LimitError> {
        let max = UNFINISHED_BODIES.max(longest);
        self.own += bytes;
        let before = self.unfinished.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > max { Err(LimitError::Bodies { max }) } else { Ok(()) }
    }

    /// Its body is whole, or given up.
    pub fn received(&mut self) {
        self.unfinished.fetch_sub(std::mem::take(&mut self.own), Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.received();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_a_new_number_makes_new_places() {
        let slots = Slots::new(1);
        let slot = slots.take().expect("a place");
        assert_eq!(slots.take().err(), Some(LimitError::InFlight { max: 1 }));
        assert!(slots.resized(1).take().is_err());
        assert!(slots.resized(2).take().is_ok());
        drop(slot);
        assert!(slots.take().is_ok());
    }

    #[test]
    fn unfinished_bodies_of_a_tenant_are_bounded_together_and_counted_until_they_are_whole() {
        let slots = Slots::new(8);
        let [mut one, mut other] = [slots.take(), slots.take()].map(|slot| slot.expect("a place"));
        one.receive(UNFINISHED_BODIES - 10, 1).expect("room");
        other.receive(10, 1).expect("room");
        assert_eq!(other.receive(1, 1), Err(LimitError::Bodies { max: UNFINISHED_BODIES }));
        one.received();
        other.receive(10, 1).expect("room again");
        drop(other);
        one.receive(UNFINISHED_BODIES, 1).expect("all of it");
        // One body that may be longer than the bound is taken all the same.
        one.receive(1, UNFINISHED_BODIES + 1).expect("room");
    }
}
