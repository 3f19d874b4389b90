//! Calls to Move at once: shared fairly among tenants.
//!
//! First come, first served would let a tenant with a thousand calls waiting keep all others behind
//! them. Here each tenant has a queue of its own, and a slot that becomes free goes to the next
//! tenant in turn.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::model::TenantId;

/// How many calls of one tenant may wait.
const WAITING: usize = 1_000;

/// The slots and who waits for one.
#[derive(Debug, Clone)]
pub struct FairQueue(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Whose turn it is next; every tenant in it has somebody waiting.
    turns: VecDeque<TenantId>,
    waiting: HashMap<TenantId, VecDeque<oneshot::Sender<Slot>>>,
}

/// The right to make one call; given back when it is dropped.
#[derive(Debug)]
pub struct Slot(Option<FairQueue>);

impl FairQueue {
    /// A queue with so many slots.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let state = State { free: slots, turns: VecDeque::new(), waiting: HashMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits for a slot until `give_up`; `None` then, or at once if too many of the tenant's wait.
    pub async fn slot(&self, tenant: &TenantId, give_up: Instant) -> Option<Slot> {
        let turn = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Some(Slot(Some(self.clone())));
            }
            let (turn, waits) = oneshot::channel();
            let queue = state.waiting.entry(tenant.clone()).or_default();
            // Who gave up is still in it.
            queue.retain(|turn| !turn.is_closed());
            if queue.len() >= WAITING {
                return None;
            }
            queue.push_back(turn);
            if queue.len() == 1 && !state.turns.contains(tenant) {
                state.turns.push_back(tenant.clone());
            }
            waits
        };
        timeout_at(give_up, turn).await.ok()?.ok()
    }

    /// How many slots are free and how many calls wait.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let state = self.state();
        (state.free, state.waiting.values().map(VecDeque::len).sum())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a slot to the next in turn.
    fn pass_on(&self) {
        let mut state = self.state();
        while let Some(tenant) = state.turns.pop_front() {
            let Some(queue) = state.waiting.get_mut(&tenant) else { continue };
            let next = std::iter::from_fn(|| queue.pop_front()).find(|turn| !turn.is_closed());
            if queue.is_empty() {
                state.waiting.remove(&tenant);
            } else {
                state.turns.push_back(tenant);
            }
            let Some(next) = next else { continue };
            match next.send(Slot(Some(self.clone()))) {
                Ok(()) => return,
                // It gave up this moment. Its slot must not come back here while the lock is held.
                Err(mut slot) => slot.0 = None,
            }
        }
        state.free += 1;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a name")
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_becomes_free_goes_to_the_next_tenant_in_turn() {
        let queue = FairQueue::new(1);
        let held = queue.slot(&tenant("noisy"), later()).await.expect("a slot");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for name in ["noisy", "noisy", "noisy", "noisy", "quiet", "third", "quiet"] {
            let (queue, order) = (queue.clone(), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let slot = queue.slot(&tenant(name), later()).await.expect("a turn");
                order.lock().expect("the order").push(name);
                drop(slot);
            }));
            tokio::task::yield_now().await;
        }
        drop(held);
        for task in tasks {
            task.await.expect("it ends");
        }
        let order = order.lock().expect("the order").clone();
        assert_eq!(order, ["noisy", "quiet", "third", "noisy", "quiet", "noisy", "noisy"]);
        assert_eq!(queue.load(), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_loses_no_slot() {
        let queue = FairQueue::new(1);
        let held = queue.slot(&tenant("a"), later()).await.expect("a slot");
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(queue.slot(&tenant("b"), soon).await.is_none(), "nothing becomes free");
        drop(held);
        assert_eq!(queue.load().0, 1);
        assert!(queue.slot(&tenant("b"), later()).await.is_some());
        assert_eq!(queue.load().0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenants_queue_is_bounded() {
        let queue = FairQueue::new(1);
        let _held = queue.slot(&tenant("a"), later()).await.expect("a slot");
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            let queue = queue.clone();
            waiting.push(tokio::spawn(async move { queue.slot(&tenant("a"), later()).await }));
        }
        while queue.load().1 < WAITING {
            tokio::task::yield_now().await;
        }
        assert!(queue.slot(&tenant("a"), later()).await.is_none());
        assert_eq!(queue.load().1, WAITING);
    }
}
