//! Coalescing: while a fetch is under way, others who want the same wait for it.

use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::HashMap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, WeakShared};

use crate::model::{Selection, Tenant, Version};

/// A fetch: whoever waits for it drives it, and so has to be polled. It ends with its result, or with the last who waits.
type Fetch<T> = BoxFuture<'static, Option<T>>;

/// The flights of each key.
type Board<K, T> = HashMap<K, Vec<Flight<T>>>;

/// The fetches that are under way.
#[derive(Debug)]
pub struct InFlight<K, T> {
    flying: Arc<Mutex<Board<K, T>>>,
    next_id: AtomicU64,
}

/// The conditions on which a fetch is joined.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The policy by which what it brings is judged.
    pub tenant: Arc<Tenant>,
    /// The version before it.
    pub version: Version,
}

impl Terms {
    fn is_met_by(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tenant, &other.tenant) && self.version == other.version
    }
}

/// One fetch.
#[derive(Debug)]
struct Flight<T> {
    id: u64,
    selection: Arc<Selection>,
    terms: Terms,
    fetch: WeakShared<Fetch<T>>,
}

impl<K, T> Default for InFlight<K, T> {
    fn default() -> Self {
        Self { flying: Arc::default(), next_id: AtomicU64::new(0) }
    }
}

impl<K, T> InFlight<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins a fetch of this version, under this policy and of at least this selection, if one is under
    /// way: what is returned waits for its result, and resolves to `None` if it ends without one.
    pub fn join(
        &self,
        key: &K,
        selection: &Selection,
        terms: &Terms,
    ) -> Option<impl Future<Output = Option<T>> + use<K, T>> {
        let flying = board(&self.flying);
        let fits = |flight: &&Flight<T>| {
            terms.is_met_by(&flight.terms) && flight.selection.covers(selection)
        };
        let flight = flying.get(key)?.iter().find(fits)?.fetch.upgrade();
        // It may be the last of a fetch that everybody left this moment, and its end looks at the board.
        drop(flying);
        flight
    }

    /// Returns true if a fetch that [`InFlight::join`] would wait for is under way.
    #[must_use]
    pub fn is_flying(&self, key: &K, selection: &Selection, terms: &Terms) -> bool {
        self.join(key, selection, terms).is_some()
    }

    /// Starts a fetch: it goes on when its starter goes away, and ends when
    /// nobody waits for it any more. Who is waiting when it ends gets its result; who comes later
    /// does not.
    pub fn start<F>(
        &self,
        key: &K,
        selection: Arc<Selection>,
        terms: Terms,
        fetch: F,
    ) -> impl Future<Output = Option<T>> + use<K, T, F>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let landing = InFlightGuard { flying: Arc::clone(&self.flying), key: key.clone(), id };
        let fetch = async move {
            let _landing = landing;
            // A panic is the fetch's, and not that of all who wait for it.
            AssertUnwindSafe(fetch).catch_unwind().await.ok()
        };
        let fetch = fetch.boxed().shared();
        if let Some(weak) = fetch.downgrade() {
            let flight = Flight { id, selection, terms, fetch: weak };
            board(&self.flying).entry(key.clone()).or_default().push(flight);
        }
        fetch
    }
}

fn board<K, T>(flying: &Mutex<Board<K, T>>) -> MutexGuard<'_, Board<K, T>> {
    flying.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a flight off the board, also when its fetch panics or is left by all.
struct InFlightGuard<K: Eq + Hash, T> {
    flying: Arc<Mutex<Board<K, T>>>,
    key: K,
    id: u64,
}

impl<K: Eq + Hash, T> Drop for InFlightGuard<K, T> {
    fn drop(&mut self) {
        let mut flying = board(&self.flying);
        if let Some(in_flight) = flying.get_mut(&self.key) {
            in_flight.retain(|flight| flight.id != self.id);
            if in_flight.is_empty() {
                flying.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::cache::{Key, Versions};
    use crate::jobs::fixture::tenant;
    use crate::model::EntityId;

    #[tokio::test]
    async fn a_fetch_that_panics_or_is_left_by_all_is_under_way_no_longer() {
        let tenant = Arc::new(tenant("acme"));
        let id = EntityId::job("job-1").expect("an id");
        let key = Key::new(tenant.id.clone(), id);
        let version = Versions::default().of(&key);
        let (flying, terms) = (InFlight::<Key, u8>::default(), Terms { tenant, version });
        let all = Arc::new(Selection::default());
        let is_flying = || flying.is_flying(&key, &all, &terms);

        let started = flying.start(&key, Arc::clone(&all), terms.clone(), pending());
        let joined = flying.join(&key, &all, &terms).expect("it is under way");
        drop(started);
        assert!(is_flying(), "somebody waits for it");
        drop(joined);
        assert!(!is_flying() && board(&flying.flying).is_empty());

        let panics = async { panic!("a test asked for it") };
        let started = flying.start(&key, Arc::clone(&all), terms.clone(), panics);
        let joined = flying.join(&key, &all, &terms).expect("it is under way");
        assert_eq!((started.await, joined.await), (None, None));
        assert!(!is_flying());

        assert_eq!(flying.start(&key, Arc::clone(&all), terms.clone(), ready(7)).await, Some(7));
        assert!(!is_flying(), "who comes later does not get its result");
    }
}
