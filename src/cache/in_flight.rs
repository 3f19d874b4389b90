//! Coalescing: while a fetch is under way, others who want the same wait for it.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::model::{Selection, Tenant, Version};

/// The fetches that are under way.
#[derive(Debug)]
pub struct InFlight<K, T> {
    flying: Arc<Mutex<HashMap<K, Vec<Flight<T>>>>>,
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
    done: Arc<watch::Sender<Option<T>>>,
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
        let mut result = self.find(key, selection, terms)?;
        Some(async move { result.wait_for(Option::is_some).await.ok()?.clone() })
    }

    /// Returns true if a fetch that [`InFlight::join`] would wait for is under way.
    #[must_use]
    pub fn is_flying(&self, key: &K, selection: &Selection, terms: &Terms) -> bool {
        self.find(key, selection, terms).is_some()
    }

    fn find(
        &self,
        key: &K,
        selection: &Selection,
        terms: &Terms,
    ) -> Option<watch::Receiver<Option<T>>> {
        let flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |flight: &&Flight<T>| {
            terms.is_met_by(&flight.terms) && flight.selection.covers(selection)
        };
        flying.get(key)?.iter().find(fits).map(|flight| flight.done.subscribe())
    }

    /// Starts a fetch in a task of its own: it goes on when its starter goes away, and ends when
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
        let (done, mut result) = watch::channel(None);
        let done = Arc::new(done);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let flight = Flight { id, selection, terms, done: Arc::clone(&done) };
        self.flying
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key.clone())
            .or_default()
            .push(flight);
        let landing = InFlightGuard { flying: Arc::clone(&self.flying), key: key.clone(), id };
        tokio::spawn(async move {
            let landing = landing;
            let fetched = tokio::select! {
                fetched = fetch => Some(fetched),
                () = done.closed() => None,
            };
            drop(landing);
            done.send_replace(fetched);
        });
        async move { result.wait_for(Option::is_some).await.ok()?.clone() }
    }
}

/// Takes a flight off the board, also when its fetch panics.
struct InFlightGuard<K: Eq + Hash, T> {
    flying: Arc<Mutex<HashMap<K, Vec<Flight<T>>>>>,
    key: K,
    id: u64,
}

impl<K: Eq + Hash, T> Drop for InFlightGuard<K, T> {
    fn drop(&mut self) {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(in_flight) = flying.get_mut(&self.key) {
            in_flight.retain(|flight| flight.id != self.id);
            if in_flight.is_empty() {
                flying.remove(&self.key);
            }
        }
    }
}
