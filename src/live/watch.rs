//! One poller for all who wait, of all tenants. What callers, webhooks and other replicas tell of a job postpones the
//! question about it: Move is asked for what nobody told.
//!
//! The jobs of an account that are due go up together, 25 a document and one document at a time, within the account's
//! budget and behind what callers ask. While somebody follows all of a tenant's jobs, the account's newest are looked at
//! now and then: nobody tells of those that are made past this gateway.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::pace::{pace, sweep};
use crate::cache::{CLAIMED, Due, Hub, Key, Need, Sightings};
use crate::jobs::{Jobs, Wanted};
use crate::model::{
    Account, AccountId, Caller, EntityKind, RequestContext, RequestId, RootField, Selection, Trail,
};
use crate::settings;
use crate::settings::forms::UnitsPerTime;

/// The most jobs in one document.
const MOST: usize = 25;

/// The time after which a question is in vain.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two looks at the newest jobs of an account.
const LOOK: Duration = Duration::from_secs(15);

/// The same for an account whose events are taken, one of which may be lost.
const SELDOM: Duration = Duration::from_mins(1);

/// The time to look again where nothing is due.
const IDLE: Duration = Duration::from_mins(1);

settings! {
    /// The questions to Move for those who wait for a job.
    pub struct Settings: Default {
        /// Documents that each Move account is asked in a time for those who wait, up to 25 jobs each; see [live updates](live-updates.md).
        max_rate: UnitsPerTime = (NonZeroU32::MIN, Duration::from_secs(1)),
    }
}

/// Asks Move for the jobs that somebody waits for.
#[derive(Clone)]
pub struct Watcher {
    jobs: Jobs,
    hub: Arc<Hub>,
    wanted: Arc<Wanted>,
    /// The least time between two documents of one account, of all replicas together.
    interval: Duration,
    is_told: IsTold,
}

/// Tells if an account's events are taken.
pub type IsTold = Arc<dyn Fn(&AccountId) -> bool + Send + Sync>;

/// The accounts' next looks at their newest jobs.
#[derive(Debug, Default)]
struct Looks(HashMap<AccountId, (Arc<Account>, Instant)>);

impl Looks {
    /// Takes over the accounts of which somebody follows all jobs: the newest of one that was not followed are just read.
    fn follow(&mut self, accounts: Vec<Arc<Account>>, pause: impl Fn(&AccountId) -> Duration) {
        self.0.retain(|id, _| accounts.iter().any(|account| account.id == *id));
        for account in accounts {
            let first = || (Arc::clone(&account), Instant::now() + pause(&account.id));
            self.0.entry(account.id.clone()).or_insert_with(first);
        }
    }

    /// Takes the accounts whose look is due, but those that are busy.
    fn take_due(
        &mut self,
        pause: impl Fn(&AccountId) -> Duration,
        is_busy: impl Fn(&AccountId) -> bool,
    ) -> Vec<Arc<Account>> {
        let now = Instant::now();
        let due = self.0.values_mut().filter(|(account, at)| *at <= now && !is_busy(&account.id));
        let due = due.map(|(account, at)| {
            *at = now + pause(&account.id);
            Arc::clone(account)
        });
        due.collect()
    }

    /// Returns the moment of the next.
    fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, at)| *at).min()
    }
}

/// Jobs that are being asked for; each is due again at its pace when this is dropped.
struct Asking {
    hub: Arc<Hub>,
    due: Vec<Due>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.due.iter().for_each(|due| self.hub.asked(&due.key));
    }
}

impl Watcher {
    /// Asks at most so often, and seldom where `is_told` says that Move tells by itself.
    #[must_use]
    pub fn new(jobs: &Jobs, settings: &Settings, is_told: IsTold) -> Self {
        let mut wanted = Selection::of_leaves(["state"]);
        wanted.field("progress").merge(&Selection::of_leaves(["state", "percentageComplete"]));
        let (documents, per) = settings.max_rate;
        Self {
            jobs: jobs.clone(),
            hub: Arc::clone(jobs.versions().hub()),
            wanted: Arc::new(Wanted::of(EntityKind::Job, wanted)),
            interval: per / documents.get(),
            is_told,
        }
    }

    /// Asks for what is due, until it is aborted.
    pub async fn run(&self) {
        let mut rests: HashMap<AccountId, Instant> = HashMap::new();
        let mut looks = Looks::default();
        let mut busy: HashMap<tokio::task::Id, AccountId> = HashMap::new();
        let mut questions: JoinSet<()> = JoinSet::new();
        loop {
            let now = Instant::now();
            rests.retain(|_, until| *until > now);
            let is_busy = |account: &AccountId| {
                rests.contains_key(account) || busy.values().any(|own| own == account)
            };
            let pace = |seen: &Sightings, account: &AccountId, need| match need {
                Need::State if (self.is_told)(account) => sweep(seen),
                _ => pace(seen),
            };
            let between = |account: &AccountId| {
                let alone = if (self.is_told)(account) { SELDOM } else { LOOK };
                alone * self.jobs.replicas()
            };
            looks.follow(self.followed_accounts(), between);
            for account in looks.take_due(between, is_busy) {
                rests.insert(account.id.clone(), now + self.interval * self.jobs.replicas());
                let id = account.id.clone();
                let jobs = self.jobs.clone();
                let look = questions.spawn(async move { jobs.look_at_newest(&account).await });
                busy.insert(look.id(), id);
            }
            let is_busy = |account: &AccountId| {
                rests.contains_key(account) || busy.values().any(|own| own == account)
            };
            let taken = self.hub.take_due(&pace, MOST, is_busy);
            for (account, due) in taken {
                // Each replica asks at its share, also while Redis does not say which of them are left.
                rests.insert(account.clone(), now + self.interval * self.jobs.replicas());
                let asking = Asking { hub: Arc::clone(&self.hub), due };
                let question = questions.spawn(self.clone().ask(asking));
                busy.insert(question.id(), account);
            }
            let next = self.hub.next_due(&pace).into_iter().chain(looks.next()).min();
            let next = next.unwrap_or(now + IDLE);
            // What is due already waits for its account.
            let wake = match rests.values().min() {
                Some(rested) if next <= now => *rested,
                Some(rested) => next.min(*rested),
                None if next <= now => now + self.interval,
                None => next,
            };
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.hub.stirred() => {}
                Some(ended) = questions.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    busy.remove(&id);
                }
            }
        }
    }

    /// The accounts of which somebody follows all jobs.
    fn followed_accounts(&self) -> Vec<Arc<Account>> {
        let followed = self.hub.followed().into_iter().filter(|own| own.is_followed);
        followed.map(|own| Arc::clone(&own.tenant.account)).collect()
    }

    /// Asks for several jobs of one account in one document. What comes of it, whoever listens hears from the hub.
    async fn ask(self, asking: Asking) {
        let Some(first) = asking.due.first() else { return };
        // Before the question is asked, so that no caller joins one that waits behind all others.
        self.jobs.quiet().await;
        let keys: Vec<Key> = asking.due.iter().map(|due| due.key.clone()).collect();
        let (claimed, at) = (self.jobs.take_turns(&keys).await, Instant::now());
        let own = asking.due.iter().zip(claimed).filter(|(_, is_own)| *is_own);
        let own: Vec<&Due> = own.map(|(due, _)| due).collect();
        let mut seat = (own.len() > 1).then(|| self.jobs.together(&request(&first.caller)));
        let (jobs, wanted) = (&self.jobs, &self.wanted);
        let reads: Vec<_> = own
            .iter()
            .map(|Due { key, caller }| {
                let (own, trail) = (seat.clone(), Trail::unread(RootField::GetJob));
                let request = request(caller);
                async move {
                    // What Move is told to answer and does not, its callers are told: nobody waits for this one.
                    let _ = jobs.get(&request, &trail, &key.id, wanted, own).await;
                }
            })
            .collect();
        // The others wait for every seat.
        seat.take();
        join_all(reads).await;
        let keys: Vec<Key> = own.iter().map(|due| due.key.clone()).collect();
        if at.elapsed() < CLAIMED {
            self.jobs.end_turns(&keys).await;
        }
    }
}

/// A request in the name of somebody who waits.
fn request(caller: &Caller) -> RequestContext {
    RequestContext {
        id: RequestId::new(),
        callers_id: None,
        source: None,
        caller: caller.clone(),
        deadline: Instant::now() + PATIENCE,
        fresh: true,
        trace: None,
        forward: None,
        keyed: None,
        claim: None,
        trails: Arc::default(),
    }
}
