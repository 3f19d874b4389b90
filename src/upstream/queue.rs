//! Calls to Move at once: shared fairly among tenants.
//!
//! First come, first served would let a tenant with a thousand calls waiting keep all others behind
//! them. Here each tenant has a queue of its own, and a slot that becomes free goes to the next
//! tenant in turn. The last slots are kept for tenants who hold few: whose calls Move is slow to
//! answer cannot take them all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::model::TenantId;

/// The number of calls of one tenant that may wait.
const WAITING: usize = 1_000;

/// One slot in so many is kept for tenants who hold fewer than that.
const RESERVED: usize = 8;

/// The slots and who waits for one.
#[derive(Debug, Clone)]
pub struct FairQueue(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// The number of slots that are kept for tenants who hold fewer than that.
    reserved: usize,
    /// The number of slots each tenant holds; those who hold none are not in it.
    held: HashMap<TenantId, usize>,
    /// Whose turn it is next; every tenant who waits is in it once.
    turns: VecDeque<TenantId>,
    waiting: HashMap<TenantId, VecDeque<oneshot::Sender<Slot>>>,
    /// Those who go on when nobody waits.
    patient: Vec<oneshot::Sender<()>>,
}

/// The right to make one call; given back when it is dropped.
#[derive(Debug)]
pub struct Slot(Option<(FairQueue, TenantId)>);

/// The numbers of free slots and of waiting calls.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct QueueLoad {
    /// Slots that nobody holds.
    free: usize,
    /// Calls that wait for one.
    waiting: usize,
}

impl FairQueue {
    /// A queue with so many slots.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: slots,
            reserved: slots / RESERVED,
            held: HashMap::new(),
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            patient: Vec::new(),
        })))
    }

    /// Waits for a slot until `give_up`; `None` then, or at once if too many of the tenant's wait.
    pub async fn slot(&self, tenant: &TenantId, give_up: Instant) -> Option<Slot> {
        let turn = {
            let mut state = self.state();
            if state.may_take(tenant) {
                return Some(state.take(self, tenant));
            }
            state.wait(tenant)?
        };
        let slot = timeout_at(give_up, turn).await.ok()?.ok()?;
        // One that came in time may be looked at too late.
        (Instant::now() < give_up).then_some(slot)
    }

    /// Returns true if calls of a tenant wait for a slot.
    #[must_use]
    pub fn has_waiting(&self, tenant: &TenantId) -> bool {
        self.state().waiting.contains_key(tenant)
    }

    /// Resolves when nobody waits and slots are free beside those that are kept.
    pub async fn quiet(&self) {
        let told = {
            let mut state = self.state();
            if state.is_quiet() {
                return;
            }
            let (tell, told) = oneshot::channel();
            state.patient.retain(|patient| !patient.is_closed());
            state.patient.push(tell);
            told
        };
        // The sender is used before it is dropped.
        let _ = told.await;
    }

    /// Returns how many slots are free and how many calls wait.
    #[cfg(test)]
    fn load(&self) -> QueueLoad {
        let state = self.state();
        let waiting = state.waiting.values().flatten().filter(|turn| !turn.is_closed()).count();
        QueueLoad { free: state.free, waiting }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_take(&self, tenant: &TenantId) -> bool {
        let holds = self.held.get(tenant).copied().unwrap_or_default();
        self.free > self.reserved || (self.free > 0 && holds < self.reserved)
    }

    fn is_quiet(&self) -> bool {
        self.turns.is_empty() && self.free > self.reserved
    }

    fn take(&mut self, queue: &FairQueue, tenant: &TenantId) -> Slot {
        self.free -= 1;
        *self.held.entry(tenant.clone()).or_default() += 1;
        Slot(Some((queue.clone(), tenant.clone())))
    }

    fn give_back(&mut self, tenant: &TenantId) {
        self.free += 1;
        if let Some(holds) = self.held.get_mut(tenant) {
            *holds -= 1;
            if *holds == 0 {
                self.held.remove(tenant);
            }
        }
    }

    /// Enters a tenant's call, unless too many wait.
    fn wait(&mut self, tenant: &TenantId) -> Option<oneshot::Receiver<Slot>> {
        let queue = self.waiting.entry(tenant.clone()).or_default();
        let is_new = queue.is_empty();
        // Who gave up is still in it.
        queue.retain(|turn| !turn.is_closed());
        if queue.len() >= WAITING {
            return None;
        }
        let (turn, waits) = oneshot::channel();
        queue.push_back(turn);
        if is_new {
            self.turns.push_back(tenant.clone());
        }
        Some(waits)
    }

    /// Takes out the call of a tenant that waits longest; whoever gave up is passed over.
    fn next_of(&mut self, tenant: &TenantId) -> Option<oneshot::Sender<Slot>> {
        let queue = self.waiting.get_mut(tenant)?;
        std::iter::from_fn(|| queue.pop_front()).find(|turn| !turn.is_closed())
    }

    /// Gives free slots to those who wait, in turn.
    fn hand_out(&mut self, queue: &FairQueue) {
        // Those who hold many already keep their place in the turns.
        let mut passed_over = Vec::new();
        while self.free > 0
            && let Some(tenant) = self.turns.pop_front()
        {
            if !self.may_take(&tenant) {
                passed_over.push(tenant);
                continue;
            }
            let next = self.next_of(&tenant);
            if self.waiting.get(&tenant).is_some_and(|queue| !queue.is_empty()) {
                self.turns.push_back(tenant.clone());
            } else {
                self.waiting.remove(&tenant);
            }
            let Some(next) = next else { continue };
            if let Err(mut slot) = next.send(self.take(queue, &tenant)) {
                // It gave up this moment. Its slot must not come back here while the lock is held.
                slot.0 = None;
                self.give_back(&tenant);
            }
        }
        passed_over.into_iter().rev().for_each(|tenant| self.turns.push_front(tenant));
        if self.is_quiet() {
            for patient in self.patient.drain(..) {
                let _ = patient.send(());
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some((queue, tenant)) = self.0.take() {
            let mut state = queue.state();
            state.give_back(&tenant);
            state.hand_out(&queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use futures_util::FutureExt as _;

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
        assert_eq!(queue.load(), QueueLoad { free: 1, waiting: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_loses_no_slot() {
        let queue = FairQueue::new(1);
        let held = queue.slot(&tenant("a"), later()).await.expect("a slot");
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(queue.slot(&tenant("b"), soon).await.is_none(), "nothing becomes free");
        drop(held);
        assert_eq!(queue.load().free, 1);
        assert!(queue.slot(&tenant("b"), later()).await.is_some());
        assert_eq!(queue.load().free, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_is_looked_at_too_late_goes_to_the_next() {
        let queue = FairQueue::new(1);
        let held = queue.slot(&tenant("a"), later()).await.expect("a slot");
        let soon = Instant::now() + Duration::from_millis(10);
        let (b, c) = (tenant("b"), tenant("c"));
        let (late, next) = (queue.slot(&b, soon), queue.slot(&c, later()));
        tokio::pin!(late, next);
        assert!((&mut late).now_or_never().is_none() && (&mut next).now_or_never().is_none());
        drop(held);
        tokio::time::advance(Duration::from_millis(11)).await;
        assert!(late.await.is_none(), "its time was over before anything was sent");
        assert!(next.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_hangs_up_leaves_the_queue_and_keeps_no_slot() {
        let queue = FairQueue::new(1);
        let held = queue.slot(&tenant("a"), later()).await.expect("a slot");
        let waiting =
            |queue: FairQueue| tokio::spawn(async move { queue.slot(&tenant("b"), later()).await });
        let (gone, patient) = (waiting(queue.clone()), waiting(queue.clone()));
        tokio::task::yield_now().await;
        gone.abort();
        assert!(gone.await.is_err());
        assert_eq!(queue.load().waiting, 1);
        drop(held);
        let slot = patient.await.expect("it ends").expect("its turn");
        assert_eq!(queue.load(), QueueLoad { free: 0, waiting: 0 });
        // Given a slot, and gone before it took it.
        let gone = waiting(queue.clone());
        tokio::task::yield_now().await;
        drop(slot);
        gone.abort();
        let _ = gone.await;
        assert_eq!(queue.load(), QueueLoad { free: 1, waiting: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_patient_goes_on_when_nobody_waits_any_more() {
        let queue = FairQueue::new(1);
        queue.quiet().await;
        let held = queue.slot(&tenant("a"), later()).await.expect("a slot");
        let patient = tokio::spawn({
            let queue = queue.clone();
            async move { queue.quiet().await }
        });
        let caller = tokio::spawn({
            let queue = queue.clone();
            async move { queue.slot(&tenant("b"), later()).await }
        });
        while queue.load().waiting == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
        let held = caller.await.expect("it ends").expect("its turn");
        tokio::task::yield_now().await;
        assert!(!patient.is_finished());
        drop(held);
        patient.await.expect("it ends");
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
        while queue.load().waiting < WAITING {
            tokio::task::yield_now().await;
        }
        assert!(queue.slot(&tenant("a"), later()).await.is_none());
        assert_eq!(queue.load().waiting, WAITING);
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenant_cannot_hold_every_slot() {
        let queue = FairQueue::new(16);
        let mut held = Vec::new();
        for _ in 0..14 {
            held.extend(queue.slot(&tenant("slow"), later()).await);
        }
        let soon = || Instant::now() + Duration::from_millis(10);
        assert!(queue.slot(&tenant("slow"), soon()).await.is_none());
        let mut quiet = Vec::new();
        for _ in 0..2 {
            quiet.push(queue.slot(&tenant("quiet"), Instant::now()).await.expect("at once"));
        }
        assert!(queue.slot(&tenant("third"), soon()).await.is_none(), "none is left");
        // Whoever waits and holds few comes before whoever waited longer and holds many.
        let waiting = |name: &'static str| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.slot(&tenant(name), later()).await })
        };
        let slow = waiting("slow");
        tokio::task::yield_now().await;
        let third = waiting("third");
        tokio::task::yield_now().await;
        held.pop();
        quiet.extend(third.await.expect("it ends"));
        drop(quiet);
        assert_eq!(queue.load(), QueueLoad { free: 2, waiting: 0 });
        assert!(slow.await.expect("it ends").is_some(), "it kept its place");
        drop(held);
        assert_eq!(queue.load(), QueueLoad { free: 16, waiting: 0 });
    }
}
