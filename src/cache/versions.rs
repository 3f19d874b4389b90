//! Versions: whether what was fetched before may still be given.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use ahash::{HashMap, RandomState};

use super::{Hub, Key, Touched};
use crate::model::{Progress, TenantId, Version};

/// The number of counters tenants have. Two tenants that share one cost each other fetches after a write
/// to all that is theirs, never a wrong answer.
const TENANTS: usize = 1 << 12;

/// The number of parts of which each has its share of the entities' counters, and its own lock: looking for those that
/// nobody holds keeps nobody else waiting.
const PARTS: usize = 1 << 6;

/// The least number of a part's counters at which those that nobody holds are looked for.
const SWEEP_AT: usize = 1 << 5;

/// Counters of what makes older answers void: writes, and reads that were told. Each only grows, so
/// equal ones mean that nothing happened in between.
#[derive(Debug)]
pub struct Versions {
    entities: [Mutex<Counters>; PARTS],
    tenants: Box<[AtomicU64]>,
    everybody: AtomicU64,
    /// The number of moments so far: of writes, of reads that were told, and of fetches of what is everybody's.
    moments: AtomicU64,
    /// The latest of them of which tenants were told.
    told: Box<[AtomicU64]>,
    told_to_all: AtomicU64,
    hasher: RandomState,
    hub: Arc<Hub>,
    touched: Touched,
    on_news: OnNews,
}

/// The moments between which something was fetched that is everybody's: what it says was true at one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchSpan {
    /// The moment at which it was asked for.
    pub began: u64,
    /// The moment at which it came.
    pub landed: u64,
}

impl FetchSpan {
    /// The span of what is under way since a moment.
    #[must_use]
    pub const fn since(began: u64) -> Self {
        Self { began, landed: began }
    }

    /// Returns true if it is no older than what was told at a moment: that was before it was asked for, or was itself.
    const fn may_follow(self, told: u64) -> bool {
        told <= self.began || told == self.landed
    }
}

/// A call for each entity of which there is news: it was written, here or at another replica, or read there.
#[derive(Default)]
struct OnNews(OnceLock<Tell>);

/// The one who is told: of an entity, or of any number of them.
type Tell = Box<dyn Fn(Option<&Key>) + Send + Sync>;

impl fmt::Debug for OnNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnNews")
    }
}

/// The counters of the entities of which somebody holds a version. Nobody can tell the difference if one
/// that nobody holds begins anew.
#[derive(Debug)]
struct Counters {
    live: HashMap<Key, Weak<AtomicU64>>,
    /// The number of them that there may be before they are swept.
    sweep_at: usize,
}

impl Default for Counters {
    fn default() -> Self {
        Self { live: HashMap::default(), sweep_at: SWEEP_AT }
    }
}

impl Counters {
    fn of(&mut self, key: &Key) -> Arc<AtomicU64> {
        if let Some(counter) = self.live.get(key).and_then(Weak::upgrade) {
            return counter;
        }
        if self.live.len() >= self.sweep_at {
            self.live.retain(|_, counter| counter.strong_count() > 0);
            self.sweep_at = SWEEP_AT.max(2 * self.live.len());
        }
        let counter = Arc::default();
        self.live.insert(key.clone(), Arc::downgrade(&counter));
        counter
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            entities: [(); PARTS].map(|()| Mutex::default()),
            tenants: (0..TENANTS).map(|_| AtomicU64::new(0)).collect(),
            everybody: AtomicU64::new(0),
            moments: AtomicU64::new(0),
            told: (0..TENANTS).map(|_| AtomicU64::new(0)).collect(),
            told_to_all: AtomicU64::new(0),
            hasher: RandomState::new(),
            hub: Arc::default(),
            touched: Touched::default(),
            on_news: OnNews::default(),
        }
    }
}

impl Versions {
    /// An entity's version now. To be taken before its data is fetched.
    #[must_use]
    pub fn of(&self, key: &Key) -> Version {
        let entity = self.counters(key).of(key);
        let (count, tenant) = (entity.load(Ordering::SeqCst), self.slot(&key.tenant));
        Version { entity, count, tenant, others: self.others(tenant) }
    }

    /// Returns true if nothing was written since, and nothing newer told.
    #[must_use]
    pub fn is_current(&self, version: &Version) -> bool {
        version.entity.load(Ordering::SeqCst) == version.count
            && self.others(version.tenant) == version.others
    }

    /// Notes that what was fetched under a version is told now: whatever was fetched before is older,
    /// and may not be given any more. Gives the version under which it may be kept itself; none if
    /// anything was told or written since it began to be fetched, as nobody knows then what is newer.
    #[must_use]
    pub fn land(&self, version: &Version) -> Option<Version> {
        let count = version.entity.fetch_add(1, Ordering::SeqCst);
        self.tell_slot(version.tenant, self.moment());
        let is_alone = count == version.count && self.others(version.tenant) == version.others;
        is_alone.then(|| Version { count: count + 1, ..version.clone() })
    }

    /// Returns the hub of those who listen to jobs: it is told of what is forgotten here.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Returns the jobs of which something was told lately.
    #[must_use]
    pub const fn touched(&self) -> &Touched {
        &self.touched
    }

    /// Tells somebody of each entity that is written, or read by another replica, from now on; of none in particular, if
    /// any may have been. The first one who asks for that is told.
    pub fn on_news(&self, tell: impl Fn(Option<&Key>) + Send + Sync + 'static) {
        let _ = self.on_news.0.set(Box::new(tell));
    }

    fn tell_news(&self, key: Option<&Key>) {
        if let Some(tell) = self.on_news.0.get() {
            tell(key);
        }
    }

    /// The entity was written, or may have been.
    pub fn forget_entity(&self, key: &Key) {
        self.count(key);
        self.tell_news(Some(key));
        self.touched.note(&key.id, Some(&key.tenant));
        self.hub.changed(&key.tenant, &key.id);
    }

    /// Another replica read the job and told this of it.
    pub fn forget_seen(&self, key: &Key, progress: &Progress) {
        self.count(key);
        self.tell_news(Some(key));
        self.hub.seen(key, progress);
    }

    fn count(&self, key: &Key) {
        self.tell(&key.tenant, self.moment());
        let counter = self.counters(key).live.get(key).and_then(Weak::upgrade);
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Something newer than what is cached of an entity was told: that may not be given any more.
    pub fn outdate(&self, key: &Key) {
        self.count(key);
    }

    /// Nothing that is known of what is the tenant's may be given any more.
    pub fn forget_tenant(&self, tenant: &TenantId) {
        self.tell(tenant, self.moment());
        if let Some(counter) = self.tenants.get(self.slot(tenant) as usize) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        self.tell_news(None);
        self.hub.tenant_may_have_changed(tenant);
    }

    /// Nothing that is known may be given any more: writes may have been missed.
    pub fn forget_all(&self) {
        self.everybody.fetch_add(1, Ordering::SeqCst);
        self.told_to_all.fetch_max(self.moment(), Ordering::SeqCst);
        self.tell_news(None);
        self.hub.all_may_have_changed();
    }

    /// A moment after all others. To be taken before something is fetched that is everybody's, and when it came.
    #[must_use]
    pub fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Notes that a tenant is told of what came. What began to be fetched before that may be older, and is not given
    /// any more; nor is this again, if the tenant was told of anything else since it began.
    pub fn tell_of(&self, tenant: &TenantId, fetched: FetchSpan) {
        if let Some(of_tenant) = self.told.get(self.slot(tenant) as usize) {
            let tell = |told| fetched.may_follow(told).then_some(fetched.landed);
            if of_tenant.fetch_update(Ordering::SeqCst, Ordering::SeqCst, tell).is_err() {
                of_tenant.fetch_max(self.moment(), Ordering::SeqCst);
            }
        }
    }

    /// Returns true if nothing of a tenant's was written or told since this began to be fetched, but itself.
    #[must_use]
    pub fn is_newest(&self, tenant: &TenantId, fetched: FetchSpan) -> bool {
        let of_tenant = self.told.get(self.slot(tenant) as usize);
        of_tenant.is_none_or(|told| fetched.may_follow(told.load(Ordering::SeqCst)))
            && self.told_to_all.load(Ordering::SeqCst) <= fetched.began
    }

    fn tell(&self, tenant: &TenantId, moment: u64) {
        self.tell_slot(self.slot(tenant), moment);
    }

    fn tell_slot(&self, slot: u32, moment: u64) {
        if let Some(told) = self.told.get(slot as usize) {
            told.fetch_max(moment, Ordering::SeqCst);
        }
    }

    #[expect(clippy::expect_used, reason = "there are 4,096 of them")]
    fn slot(&self, tenant: &TenantId) -> u32 {
        let slot = self.hasher.hash_one(tenant) % TENANTS as u64;
        u32::try_from(slot).expect("a small number")
    }

    fn others(&self, tenant: u32) -> u64 {
        let counter = self.tenants.get(tenant as usize);
        counter.map_or(0, |counter| counter.load(Ordering::SeqCst))
            + self.everybody.load(Ordering::SeqCst)
    }

    fn counters(&self, key: &Key) -> MutexGuard<'_, Counters> {
        self.entities[key.part(PARTS)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntityId;

    fn key(job: &str) -> Key {
        let tenant = TenantId::parse("acme").expect("a name");
        Key::new(tenant, EntityId::job(job).expect("an id"))
    }

    fn fetched(versions: &Versions) -> FetchSpan {
        FetchSpan { began: versions.moment(), landed: versions.moment() }
    }

    #[test]
    fn what_lands_alone_is_kept_and_makes_what_was_fetched_before_void() {
        let versions = Versions::default();
        let before = versions.of(&key("job-1"));
        let older = versions.land(&before).expect("alone");
        let newer = versions.land(&versions.of(&key("job-1"))).expect("alone");
        assert_eq!(
            [&before, &older, &newer].map(|of| versions.is_current(of)),
            [false, false, true]
        );
        assert!(versions.is_current(&versions.of(&key("job-2"))));
    }

    #[test]
    fn of_two_fetches_that_overlap_neither_is_kept() {
        let versions = Versions::default();
        let (one, two) = (versions.of(&key("job-1")), versions.of(&key("job-1")));
        let one = versions.land(&one).expect("alone so far");
        assert!(versions.is_current(&one));
        assert_eq!(versions.land(&two), None);
        assert!(!versions.is_current(&one));
    }

    #[test]
    fn what_was_fetched_before_a_write_is_not_kept() {
        let versions = Versions::default();
        let tenant = key("job-1").tenant;
        let writes: [&dyn Fn(); 3] = [
            &|| versions.forget_entity(&key("job-1")),
            &|| versions.forget_tenant(&tenant),
            &|| {
                versions.forget_all();
            },
        ];
        for write in writes {
            let before = versions.of(&key("job-1"));
            write();
            assert!(!versions.is_current(&before));
            assert_eq!(versions.land(&before), None);
        }
    }

    #[test]
    fn what_is_everybodys_is_told_to_a_tenant_only_while_nothing_newer_of_its_own_is_known() {
        let versions = Versions::default();
        let (acme, page) = (key("job-1"), fetched(&versions));
        let is_newest = |tenant: &TenantId| versions.is_newest(tenant, page);
        assert!(is_newest(&acme.tenant));
        versions.tell_of(&acme.tenant, page);
        assert!(is_newest(&acme.tenant), "told before, and may be told again");
        let others = (0..20).map(|n| TenantId::parse(&format!("tenant-{n}")).expect("a name"));
        let others: Vec<_> = others.collect();
        let _ = versions.land(&versions.of(&acme));
        assert!(!is_newest(&acme.tenant), "one of its own was read since");
        assert!(others.iter().filter(|other| is_newest(other)).count() > 15, "theirs were not");
        versions.forget_tenant(&others[0]);
        assert!(!is_newest(&others[0]));
        assert!(versions.is_newest(&acme.tenant, fetched(&versions)));
        versions.forget_all();
        assert!(!others.iter().any(is_newest));
    }

    #[test]
    fn of_two_pages_that_were_under_way_at_once_nobody_knows_which_is_older() {
        let (versions, tenant) = (Versions::default(), key("job-1").tenant);
        let (one, two) = (versions.moment(), versions.moment());
        let two = FetchSpan { began: two, landed: versions.moment() };
        let one = FetchSpan { began: one, landed: versions.moment() };
        let is_newest = |page: FetchSpan| versions.is_newest(&tenant, page);
        versions.tell_of(&tenant, one);
        assert!(is_newest(one), "it was told itself, and nothing else");
        assert!(!is_newest(two), "it may be older, though it began later");
        versions.tell_of(&tenant, two);
        assert!(!is_newest(one) && !is_newest(two), "who waited for both was told of both");
        assert!(is_newest(fetched(&versions)));
    }

    #[test]
    fn counters_that_nobody_holds_go() {
        let versions = Versions::default();
        let held = versions.of(&key("job-held"));
        for job in 0..10 * PARTS * SWEEP_AT {
            let _ = versions.of(&key(&format!("job-{job}")));
        }
        let live = versions.entities.iter().map(|part| part.lock().expect("no panic").live.len());
        assert!(live.max() <= Some(SWEEP_AT));
        versions.forget_entity(&key("job-held"));
        assert!(!versions.is_current(&held));
    }
}
