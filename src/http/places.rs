//! The places that connections take, and who has to give one up when there are no more.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connection::Connection;
use crate::model::TenantId;

/// The time that a connection which has to go gets for it, before the next one has to.
const GOING: Duration = Duration::from_millis(50);

/// The places of a listener's connections.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    held: Mutex<Held>,
}

/// The connections that hold a place, in the order in which they came.
#[derive(Debug, Default)]
struct Held {
    last: u64,
    /// Those on which nobody has shown a good credential yet.
    strangers: BTreeMap<u64, Arc<Connection>>,
    /// The others.
    known: BTreeMap<u64, Arc<Connection>>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    id: u64,
    /// The state of the connection.
    pub connection: Arc<Connection>,
    _free: OwnedSemaphorePermit,
}

impl Places {
    /// Places for `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(max)), held: Mutex::default() })
    }

    /// A place for a connection that has just come. If there is none, whoever holds the most without
    /// using it gives one up: of the connections on which nobody has shown a good credential, which
    /// count as one caller's, the oldest; of a tenant's that have nothing under way, the one that has
    /// been idle for longest. If all are at work, it waits.
    pub async fn take(self: &Arc<Self>) -> Place {
        let mut free = Arc::clone(&self.free).try_acquire_owned().ok();
        loop {
            if let Some(free) = free {
                return self.enter(free);
            }
            self.make_room();
            let freed = timeout(GOING, Arc::clone(&self.free).acquire_owned()).await;
            // The semaphore is never closed.
            free = freed.ok().and_then(Result::ok);
        }
    }

    /// Notes that somebody known uses a connection.
    pub fn know(&self, id: u64) {
        let mut held = self.lock();
        if let Some(connection) = held.strangers.remove(&id) {
            held.known.insert(id, connection);
        }
    }

    fn enter(self: &Arc<Self>, free: OwnedSemaphorePermit) -> Place {
        let mut held = self.lock();
        held.last += 1;
        let id = held.last;
        let connection = Arc::new(Connection::new(Arc::clone(self), id));
        held.strangers.insert(id, Arc::clone(&connection));
        Place { places: Arc::clone(self), id, connection, _free: free }
    }

    fn make_room(&self) {
        let held = self.lock();
        // One that was told to go is still there until its task has seen it.
        let stranger = held.strangers.values().find(|connection| !connection.is_leaving());
        let strangers = held.strangers.len();
        // A tenant alone cannot have more than all tenants have: then there is no need to look.
        let idle = if stranger.is_some() && strangers >= held.known.len() {
            None
        } else {
            most_idle(held.known.values())
        };
        let leaver = match (stranger, idle) {
            (Some(stranger), Some((count, _))) if strangers >= count => Some(stranger),
            (_, Some((_, idle))) => Some(idle),
            (stranger, None) => stranger,
        };
        if let Some(leaver) = leaver {
            leaver.leave();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is locked.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tenant that has the most idle connections: how many, and the one that is idle for longest.
fn most_idle<'a>(
    known: impl Iterator<Item = &'a Arc<Connection>>,
) -> Option<(usize, &'a Arc<Connection>)> {
    let mut idle: HashMap<&TenantId, Vec<(Duration, &Arc<Connection>)>> = HashMap::new();
    for connection in known.filter(|connection| !connection.is_leaving()) {
        if let (Some(tenant), Some(time)) = (connection.tenant(), connection.idle_for()) {
            idle.entry(tenant).or_default().push((time, connection));
        }
    }
    let most = idle.into_values().max_by_key(Vec::len)?;
    let count = most.len();
    let longest = most.into_iter().max_by_key(|(time, _)| *time);
    longest.map(|(_, connection)| (count, connection))
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        held.strangers.remove(&self.id);
        held.known.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a tenant")
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_has_just_come_is_not_made_to_go_by_a_tenant_that_keeps_coming() {
        let places = Places::new(4);
        let mut held = Vec::new();
        for _ in 0..3 {
            let place = places.take().await;
            place.connection.know(&tenant("acme"));
            drop(place.connection.request());
            held.push(place);
        }
        // Its credential has not been read yet.
        let newcomer = places.take().await;
        places.make_room();
        places.make_room();
        assert!(!newcomer.connection.is_leaving());
        let leaving = held.iter().filter(|place| place.connection.is_leaving()).count();
        assert_eq!(leaving, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_stranger_goes_first_and_known_callers_stay() {
        let places = Places::new(3);
        let known = places.take().await;
        known.connection.know(&tenant("acme"));
        let (older, newer) = (places.take().await, places.take().await);
        let next = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        older.connection.left().await;
        drop(older);
        let next = next.await.expect("a place");
        assert!(!known.connection.is_leaving() && !newer.connection.is_leaving());
        drop((known, newer, next));
        assert_eq!(places.free.available_permits(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn among_known_callers_the_tenant_with_the_most_idle_connections_gives_way() {
        let places = Places::new(4);
        let mut held = Vec::new();
        for name in ["globex", "acme", "acme", "acme"] {
            let place = places.take().await;
            place.connection.know(&tenant(name));
            drop(place.connection.request());
            tokio::time::advance(Duration::from_secs(1)).await;
            held.push(place);
        }
        // Its oldest is at work.
        let at_work = held[1].connection.request();
        places.make_room();
        let leaving: Vec<_> = held.iter().map(|place| place.connection.is_leaving()).collect();
        assert_eq!(leaving, [false, false, true, false]);
        drop(at_work);
    }
}
