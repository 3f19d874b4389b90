//! A set of what was seen, in a table of fixed size that forgets.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of fingerprints that are remembered: 1 MiB.
pub(super) const PLACES: usize = 1 << 16;

/// Fingerprints of 128 bits, each in the place of the last one that fell there. What is forgotten costs a question or a
/// word more; what was never noted is never known.
#[derive(Debug)]
pub(super) struct Fingerprints {
    places: Box<[[AtomicU64; 2]]>,
    /// Keyed at random: nobody can make two things fall together.
    hashers: [RandomState; 2],
}

impl Default for Fingerprints {
    fn default() -> Self {
        let places = std::iter::repeat_with(<[AtomicU64; 2]>::default).take(PLACES).collect();
        Self { places, hashers: [RandomState::new(), RandomState::new()] }
    }
}

impl Fingerprints {
    /// Remembers something.
    pub(super) fn note(&self, seen: &impl Hash) {
        let (place, fingerprint) = self.fingerprint(seen);
        // Who reads between the two has halves of two fingerprints, which is none.
        for (half, hash) in place.iter().zip(fingerprint) {
            half.store(hash, Ordering::Relaxed);
        }
    }

    /// Returns true if something was noted, and is not forgotten.
    pub(super) fn knows(&self, seen: &impl Hash) -> bool {
        let (place, fingerprint) = self.fingerprint(seen);
        place.each_ref().map(|half| half.load(Ordering::Relaxed)) == fingerprint
    }

    fn fingerprint(&self, seen: &impl Hash) -> (&[AtomicU64; 2], [u64; 2]) {
        let fingerprint = self.hashers.each_ref().map(|hasher| hasher.hash_one(seen));
        // Never that of an empty place.
        let fingerprint = fingerprint.map(|hash| hash.max(1));
        let place = usize::try_from(fingerprint[0]).unwrap_or_default() % PLACES;
        (&self.places[place], fingerprint)
    }
}
