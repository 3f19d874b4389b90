//! A tenant's requests at once, and the memory that their unfinished bodies and unwritten answers take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::LimitError;
use crate::model::Kind;

/// The memory that unfinished bodies of one tenant may take together, in bytes, unless one body
/// alone may be longer.
pub const UNFINISHED_BODIES: usize = 16 * 1024 * 1024;

/// The memory that answers of one tenant may take together until they are written, in bytes. The answer that
/// reaches it is still given.
pub const UNWRITTEN_ANSWERS: usize = 64 * 1024 * 1024;

/// The places of one tenant's requests.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    in_flight: Arc<Semaphore>,
    memory: Arc<Memory>,
    max: u32,
}

/// The memory that one tenant's requests take, in bytes.
#[derive(Debug, Default)]
struct Memory {
    /// Taken by bodies that are not whole yet.
    unfinished: AtomicUsize,
    /// Taken by answers that are not written yet.
    unwritten: AtomicUsize,
}

/// One request's place among its tenant's requests at once, given back when it is dropped. It is
/// taken as soon as the caller is known, so that a body which does not come holds its own tenant's
/// place and nobody else's; the request's answer holds it until it is written.
#[derive(Debug)]
pub struct Slot {
    _place: OwnedSemaphorePermit,
    /// The request's place among the whole gateway's, once it has one.
    gateways: Option<OwnedSemaphorePermit>,
    memory: Arc<Memory>,
    /// The bytes of `unfinished` that are its own body's.
    body: usize,
    /// The bytes of `unwritten` that are its own answer's.
    answer: usize,
}

/// An answer's bytes with the places that they hold. Whoever writes them drops them when they are written or
/// given up, which a response's body does not say: it ends when its bytes are handed over to be written.
struct Unwritten {
    answer: Bytes,
    _slot: Slot,
}

impl AsRef<[u8]> for Unwritten {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Slots {
    pub(super) fn new(max: u32) -> Self {
        let in_flight = Arc::new(Semaphore::new(max as usize));
        Self { in_flight, memory: Arc::default(), max }
    }

    /// The same places if there may still be as many; others otherwise. Bodies and answers stay counted.
    pub(super) fn resized(&self, max: u32) -> Self {
        if self.max == max {
            return self.clone();
        }
        Self { memory: Arc::clone(&self.memory), ..Self::new(max) }
    }

    pub(super) fn take(&self) -> Result<Slot, LimitError> {
        room_beside(self.memory.unwritten.load(Ordering::Relaxed))?;
        let place = Arc::clone(&self.in_flight).try_acquire_owned();
        Ok(self.slot(place.map_err(|_| LimitError::InFlight { max: self.max })?))
    }

    pub(super) async fn take_within(&self, time: Duration) -> Result<Slot, LimitError> {
        room_beside(self.memory.unwritten.load(Ordering::Relaxed))?;
        match timeout(time, Arc::clone(&self.in_flight).acquire_owned()).await {
            Ok(Ok(place)) => Ok(self.slot(place)),
            _ => Err(LimitError::InFlight { max: self.max }),
        }
    }

    fn slot(&self, place: OwnedSemaphorePermit) -> Slot {
        let memory = Arc::clone(&self.memory);
        Slot { _place: place, gateways: None, memory, body: 0, answer: 0 }
    }
}

/// Refuses more while so many bytes of answers are not written yet.
const fn room_beside(unwritten: usize) -> Result<(), LimitError> {
    if unwritten < UNWRITTEN_ANSWERS {
        Ok(())
    } else {
        Err(LimitError::Answers { max: UNWRITTEN_ANSWERS })
    }
}

impl Slot {
    /// Takes a place of the whole gateway's with it.
    pub fn enter_gateway(&mut self, place: OwnedSemaphorePermit) {
        self.gateways = Some(place);
    }

    /// Counts bytes of its body that have come. `longest` is what one body may take.
    ///
    /// # Errors
    /// When the tenant's unfinished bodies take too much together.
    pub fn receive(&mut self, bytes: usize, longest: usize) -> Result<(), LimitError> {
        let max = UNFINISHED_BODIES.max(longest);
        self.body += bytes;
        let before = self.memory.unfinished.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > max { Err(LimitError::Bodies { max }) } else { Ok(()) }
    }

    /// Its body is whole, or given up.
    pub fn received(&mut self) {
        self.memory.unfinished.fetch_sub(std::mem::take(&mut self.body), Ordering::Relaxed);
    }

    /// Returns an answer that holds the places of its request, and counts as unwritten, until the last of its
    /// bytes is dropped.
    ///
    /// # Errors
    /// When it is a query's and the tenant's unwritten answers take too much together. A mutation is done: its
    /// caller is told of it.
    pub fn answer(mut self, kind: Kind, answer: Bytes) -> Result<Bytes, LimitError> {
        self.answer = answer.len();
        let before = self.memory.unwritten.fetch_add(answer.len(), Ordering::Relaxed);
        if kind == Kind::Query {
            room_beside(before)?;
        }
        Ok(Bytes::from_owner(Unwritten { answer, _slot: self }))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.received();
        self.memory.unwritten.fetch_sub(self.answer, Ordering::Relaxed);
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

    #[test]
    fn an_answer_holds_its_place_until_its_last_bytes_are_dropped() {
        let slots = Slots::new(1);
        let all = Arc::new(Semaphore::new(1));
        let mut slot = slots.take().expect("a place");
        slot.enter_gateway(Arc::clone(&all).try_acquire_owned().expect("a place"));
        let mut answer = slot.answer(Kind::Query, Bytes::from("answer")).expect("room");
        let first = answer.split_to(3);
        drop(answer);
        assert_eq!(slots.take().err(), Some(LimitError::InFlight { max: 1 }));
        assert_eq!((&first[..], all.available_permits()), (&b"ans"[..], 0));
        drop(first);
        assert!(slots.take().is_ok());
        assert_eq!(all.available_permits(), 1);
    }

    #[test]
    fn unwritten_answers_are_bounded_together_and_those_of_mutations_are_given_all_the_same() {
        let slots = Slots::new(8);
        let take = || slots.take().expect("a place");
        let (early, late) = (take(), take());
        let long = Bytes::from(vec![b'x'; UNWRITTEN_ANSWERS / 2]);
        let [one, other] =
            [take(), take()].map(|slot| slot.answer(Kind::Query, long.clone()).expect("room"));
        let refused = Some(LimitError::Answers { max: UNWRITTEN_ANSWERS });
        assert_eq!(slots.take().err(), refused);
        assert_eq!(early.answer(Kind::Query, Bytes::from("x")).err(), refused);
        let told = late.answer(Kind::Mutation, long.clone()).expect("it is done");
        drop((one, other));
        assert!(take().answer(Kind::Query, long).is_ok());
        drop(told);
        assert_eq!(slots.memory.unwritten.load(Ordering::Relaxed), 0);
    }
}
