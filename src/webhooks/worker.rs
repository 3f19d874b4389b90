//! Looks into what came in: asks Move, lets the ownership check say whose it is, and tells who waits.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Webhooks;
use super::notice::{News, Notice};
use super::store::{Store, Taken};
use super::subjects::{LastAnswer, Subject};
use crate::audit::Notification;
use crate::auth::operator;
use crate::jobs::{Error, Whose};
use crate::model::{
    Account, AccountId, EntityId, EntityKind, Progress, RequestContext, RequestId, RootField,
    Tenant, Trail,
};
use crate::policy::Snapshot;
use crate::supervision::panic_text;
use crate::telemetry::{self, metrics};

/// The events that are looked into at once.
const AT_ONCE: usize = 64;

/// The interval at which the store is looked into: another replica may have stored something, or have ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The pauses after which Move is asked again that does not know yet what its event says.
const CATCH_UP: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// The longest pause after which Move is asked again that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The age at which an event is given up: by then Move's answers have been without it for a day.
const GIVEN_UP: Duration = Duration::from_hours(24);

/// The end of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All who read it get what Move answers now.
    Renewed,
    /// The same, but Move's answer is still not as far as the event.
    Behind,
    /// Move has no such job, and no such volume.
    Missing,
    /// It is nobody's, or that of a tenant that this gateway does not have.
    Unclaimed,
    /// Move's answer does not tell whose it is.
    OwnerUnknown,
    /// Its account is not one of the policies any more.
    NoAccount,
    /// Move did not answer for a day.
    GivenUp,
    /// A bug.
    Panicked,
}

impl Outcome {
    /// Its name in metrics and records.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Behind => "behind",
            Self::Missing => "missing",
            Self::Unclaimed => "unclaimed",
            Self::OwnerUnknown => "owner_unknown",
            Self::NoAccount => "no_account",
            Self::GivenUp => "given_up",
            Self::Panicked => "panicked",
        }
    }

    /// Returns true if Move may answer otherwise in a moment.
    const fn may_change(self) -> bool {
        matches!(self, Self::Behind | Self::Missing | Self::OwnerUnknown)
    }
}

/// A look into an event: what came of it, and for whom.
struct Looked {
    outcome: Outcome,
    /// As whom Move was asked, and the trail of that.
    by: Option<(RequestContext, Trail)>,
    /// The progress that it showed.
    progress: Option<Progress>,
}

impl From<Outcome> for Looked {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, by: None, progress: None }
    }
}

impl Webhooks {
    /// Looks into events for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut under_way = JoinSet::new();
        let mut hold_at = Instant::now() + Store::HOLD_EVERY;
        loop {
            let free = AT_ONCE.saturating_sub(under_way.len());
            if free > 0 {
                // Without an answer there is nothing to do, and the log says so.
                let all = self.store.take(free).await.unwrap_or_default();
                let now = Instant::now();
                for taken in all {
                    under_way.spawn(Arc::clone(&self).work_off(taken, now));
                }
                self.show().await;
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
                () = sleep(LOOK_EVERY) => {}
            }
            if Instant::now() >= hold_at {
                self.store.hold().await;
                hold_at = Instant::now() + Store::HOLD_EVERY;
            }
        }
    }

    async fn show(&self) {
        if let Ok(waiting) = self.store.waiting().await {
            metrics::webhooks_waiting(waiting);
        }
    }

    /// Looks into an event, which was there by a moment, to its end, and removes it then.
    async fn work_off(self: Arc<Self>, taken: Taken, there_by: Instant) {
        let seeing = AssertUnwindSafe(self.see_through(&taken.notice, there_by));
        let looked = seeing.catch_unwind().await;
        let looked = looked.unwrap_or_else(|panic| {
            tracing::error!(problem = panic_text(panic), "a bug: an event is let go of");
            Outcome::Panicked.into()
        });
        self.tell(&taken.notice, looked).await;
        while self.store.done(&taken).await.is_err() {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Looks until Move's answer is as far as the event, or is not going to be.
    async fn see_through(&self, notice: &Notice, there_by: Instant) -> Looked {
        let subject = self.subjects.of(notice);
        let mut catching_up = CATCH_UP.into_iter();
        let mut pause = CATCH_UP[0];
        loop {
            let is_last = catching_up.len() == 0;
            let is_first = catching_up.len() == CATCH_UP.len();
            match self.look_in_turn(&subject, notice, there_by, is_first || is_last).await {
                Ok(looked) if !looked.outcome.may_change() => return looked,
                Ok(looked) => match catching_up.next() {
                    Some(pause) => sleep(pause).await,
                    None => return looked,
                },
                Err(error) => {
                    if self.now() >= notice.received + GIVEN_UP {
                        return Outcome::GivenUp.into();
                    }
                    let cause = telemetry::causes(&error);
                    tracing::debug!(cause, "an event waits until Move answers");
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(2 * pause);
                }
            }
        }
    }

    /// Looks once, after whoever looks into the same. What that brought may be the answer.
    async fn look_in_turn(
        &self,
        subject: &Subject,
        notice: &Notice,
        there_by: Instant,
        also_volumes: bool,
    ) -> Result<Looked, Error> {
        let mut last = subject.lock().await;
        if let Some(answer) = last.as_ref().filter(|last| last.answers(notice.news, there_by)) {
            let by = Some(answer.by.clone());
            return Ok(Looked { by, ..Outcome::Renewed.into() });
        }
        let asked = Instant::now();
        let looked = self.look(notice, also_volumes).await?;
        if let (Some(progress), Some(by)) = (&looked.progress, &looked.by) {
            let (progress, by) = (progress.clone(), by.clone());
            *last = Some(LastAnswer { asked, progress, by });
        }
        Ok(looked)
    }

    /// Looks once. Volumes are looked for if `also_volumes`: nothing else says that an event is about one.
    async fn look(&self, notice: &Notice, also_volumes: bool) -> Result<Looked, Error> {
        let rules = self.service.rules.load_full();
        let policies = &rules.policies;
        let id = notice.account();
        let account = policies.accounts().into_iter().find(|own| Some(&own.id) == id.as_ref());
        let (Some(account), Some(job)) = (account, notice.job()) else {
            return Ok(Outcome::NoAccount.into());
        };
        let looked = self.look_for(policies, &account, &job, notice).await?;
        if looked.outcome != Outcome::Missing || !also_volumes {
            return Ok(looked);
        }
        for volume in notice.volumes() {
            let looked = self.look_for(policies, &account, &volume, notice).await?;
            if looked.outcome != Outcome::Missing {
                return Ok(looked);
            }
        }
        Ok(looked)
    }

    /// Looks for one thing in an account.
    async fn look_for(
        &self,
        policies: &Snapshot,
        account: &Account,
        id: &EntityId,
        notice: &Notice,
    ) -> Result<Looked, Error> {
        let is_here = |tenant: &&Arc<Tenant>| tenant.account.id == account.id;
        let guess = match &account.id {
            AccountId::Tenant(tenant) => Some(tenant.clone()),
            AccountId::Shared => notice.guess(),
        };
        let guess = guess.and_then(|tenant| policies.tenant(&tenant)).filter(is_here);
        if let Some(tenant) = guess
            && let Some(looked) = self.renew(policies, tenant, id, notice.news).await?
        {
            return Ok(looked);
        }
        let tenant = match self.whose(account, id).await? {
            Whose::Missing => return Ok(Outcome::Missing.into()),
            Whose::Unknown => return Ok(Outcome::OwnerUnknown.into()),
            Whose::Nobody => return Ok(Outcome::Unclaimed.into()),
            Whose::Tenant(tenant) => tenant,
        };
        let Some(tenant) = policies.tenant(&tenant).filter(is_here) else {
            return Ok(Outcome::Unclaimed.into());
        };
        let looked = self.renew(policies, tenant, id, notice.news).await?;
        Ok(looked.unwrap_or(Outcome::Missing.into()))
    }

    /// Waits until a call to Move keeps no caller waiting. Gives its place back when that is dropped.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.calls.acquire().await.ok();
        self.jobs.quiet().await;
        place
    }

    async fn whose(&self, account: &Account, id: &EntityId) -> Result<Whose, Error> {
        let _place = self.turn().await;
        self.jobs.whose(account, id).await
    }

    /// Has all that is known of a tenant's own be what Move answers now; `None` if it is not the tenant's.
    async fn renew(
        &self,
        policies: &Snapshot,
        tenant: &Arc<Tenant>,
        id: &EntityId,
        news: News,
    ) -> Result<Option<Looked>, Error> {
        let field = match id.kind() {
            EntityKind::Volume => RootField::GetVolume,
            _ => RootField::GetJob,
        };
        let trail = Trail::new("event", field);
        let _place = self.turn().await;
        let request = RequestContext {
            id: RequestId::new(),
            callers_id: None,
            source: None,
            caller: operator::caller(tenant, policies, "webhook"),
            deadline: Instant::now() + self.service.request_timeout,
            // What is cached is what the event may have made old.
            fresh: true,
            trace: None,
            forward: None,
            keyed: None,
            claim: None,
            trails: [].into(),
        };
        let (outcome, progress) = match self.jobs.renew(&request, &trail, id).await {
            Ok(None) => return Ok(None),
            Ok(Some(progress)) if news.is_known_by(&progress) => (Outcome::Renewed, Some(progress)),
            Ok(Some(progress)) => (Outcome::Behind, Some(progress)),
            Err(Error::Upstream(error)) => return Err(error.into()),
            Err(Error::OwnerUnknown) => (Outcome::OwnerUnknown, None),
            // Move complains about what is the tenant's: a failed job may come so.
            Err(_) => (Outcome::Renewed, None),
        };
        Ok(Some(Looked { outcome, by: Some((request, trail)), progress }))
    }

    /// Tells metrics, records and the log what became of an event.
    async fn tell(&self, notice: &Notice, Looked { outcome, by, .. }: Looked) {
        let now = self.now();
        let lag = Duration::try_from(now.duration_since(notice.received)).unwrap_or_default();
        metrics::webhook_event(notice.news.as_str(), outcome.as_str(), 1);
        metrics::webhook_lag(lag);
        tracing::debug!(
            event = notice.event,
            outcome = outcome.as_str(),
            "an event was looked into"
        );
        let caller = by.as_ref().map(|(request, _)| &request.caller);
        let trail = by.as_ref().map_or_else(
            || {
                let trail = Trail::new("event", RootField::GetJob);
                trail.note(|notes| notes.entity = notice.job());
                trail
            },
            |(_, trail)| trail.clone(),
        );
        let told =
            Notification::new(caller, &trail, &notice.event, outcome.as_str(), notice.received);
        self.service.journal.notify(told).await;
    }

    fn now(&self) -> Timestamp {
        self.service.clock.now()
    }
}
