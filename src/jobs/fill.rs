//! The walks that fill the indexes, and go on slowly once they are complete: one for each kind, and one after the other.
//!
//! Each reads the account from the oldest to the newest, a page of 100 a call, in the background: never while a
//! tenant's call waits for its turn, and not while the account's breaker is open. Its place is in the file of the index,
//! so that a restart goes on from there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::newest::{NotJoined, Reader};
use super::ownership::Place;
use super::{Jobs, needs, pages, rows};
use crate::index::{AccountFingerprint, Filed, Index, OpenError, WalkStep, notes};
use crate::model::{Account, EntityId};
use crate::telemetry::{self, listings};
use crate::types::SortDirection;
use crate::upstream::{
    self, After, Call, Entity, EntityDocument, EntityPage, ErrorKind, FieldError, Listing, Object,
    Reply,
};

/// The number of jobs on a page.
const PAGE: i32 = 100;

/// The time between the first listing that cost several calls and the first page: that listing goes first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The time after which what failed is tried again; each failure in a row doubles it.
const AGAIN: Duration = Duration::from_secs(15);

/// The longest such time.
const AGAIN_AT_LAST: Duration = Duration::from_mins(10);

/// The number of times in a row that Move gives no page before the walk begins anew.
const MOST_REFUSED: u32 = 3;

/// The time between two pages once the index is complete.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// Why there was no step.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// Move did not answer.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// Move gave no page.
    #[error("Move gives no page of jobs")]
    Refused,
    /// Move's answer cannot be indexed.
    #[error("Move's page of jobs cannot be read whole")]
    Unreadable,
    /// The word that was left for it cannot be had.
    #[error("the ids of adopted jobs beside the index cannot be read")]
    Notes(#[source] std::io::Error),
    /// The index is not there.
    #[error(transparent)]
    Lost(#[from] crate::index::IndexLost),
    /// The newest jobs cannot be joined.
    #[error(transparent)]
    Newest(#[from] NotJoined),
    /// The file cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Jobs {
    /// Keeps the indexes, for ever. `account` is the one that tenants share, if there are any who do; `pause` the least
    /// time between two calls.
    pub async fn keep_indexes(&self, account: impl Fn() -> Option<Arc<Account>>, pause: Duration) {
        let turn = Mutex::new(());
        let keep = |index| {
            // From now on it is noted what is written and read.
            drop(self.versions.touched().take(Index::kind(index)));
            self.keep_index(index, &account, pause, &turn)
        };
        join_all(self.indexes.iter().map(keep)).await;
        std::future::pending::<()>().await;
    }

    /// Keeps one of them. Whose turn it is reads and pauses: the others wait.
    async fn keep_index(
        &self,
        index: &Index,
        account: impl Fn() -> Option<Arc<Account>>,
        pause: Duration,
        turn: &Mutex<()>,
    ) {
        index.wanted().await;
        tokio::time::sleep(FIRST_PAUSE).await;
        let (mut size, mut refused, mut again) = (PAGE, 0, AGAIN);
        loop {
            let wait = match account() {
                None => AGAIN,
                Some(account) => {
                    match self.step_in_turn(index, &account, size, pause, turn).await {
                        Ok(()) => {
                            (size, refused, again) = (PAGE, 0, AGAIN);
                            let is_complete =
                                index.complete_to(pages::fingerprint(&account)).is_some();
                            let is_idle = is_complete && !index.has_doubts();
                            if is_idle {
                                let _ = tokio::time::timeout(SWEEP_EVERY, index.nudged()).await;
                            }
                            Duration::ZERO
                        }
                        Err(Stopped::Upstream(error))
                            if matches!(error.kind(), ErrorKind::TooLarge(_)) && size > 1 =>
                        {
                            size = (size / 4).max(1);
                            Duration::ZERO
                        }
                        Err(stopped) => {
                            refused += u32::from(matches!(stopped, Stopped::Refused));
                            // Move may not know the walk's place any more. If it cannot be noted, the file is gone.
                            if refused == MOST_REFUSED {
                                refused = 0;
                                let _ = index.begin_again().await;
                            }
                            let cause = telemetry::causes(&stopped);
                            let file = index.path().display();
                            let kind = index.kind().name();
                            tracing::warn!(kind, cause, %file, "the index cannot be filled; will try again");
                            let wait = again;
                            again = AGAIN_AT_LAST.min(2 * again);
                            wait
                        }
                    }
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn step_in_turn(
        &self,
        index: &Index,
        account: &Account,
        size: i32,
        pause: Duration,
        turn: &Mutex<()>,
    ) -> Result<(), Stopped> {
        let _turn = turn.lock().await;
        let step = self.step(index, account, size).await;
        tokio::time::sleep(pause).await;
        step
    }

    /// Reads one page, or prepares for that.
    async fn step(&self, index: &Index, account: &Account, size: i32) -> Result<(), Stopped> {
        if !index.is_open() {
            index.open().await?;
        }
        let fingerprint = pages::fingerprint(account);
        if !index.is_of(fingerprint) {
            return self.claim(index, account, fingerprint).await;
        }
        if let Some(job) = index.next_doubt() {
            let looked = self.look_again(index, account, &job).await;
            if let Err(Stopped::Upstream(_)) = looked {
                index.doubt(&job);
            }
            return looked;
        }
        let is_sweep = index.progress().complete_to.is_some();
        if is_sweep {
            self.heed_notes(index, account).await?;
            self.keep_up(index, account).await?;
        }
        self.walk_on(index, account, size, is_sweep).await
    }

    /// Reads the next page of the walk.
    async fn walk_on(
        &self,
        index: &Index,
        account: &Account,
        size: i32,
        is_sweep: bool,
    ) -> Result<(), Stopped> {
        let fingerprint = pages::fingerprint(account);
        let progress = index.progress();
        let kind = index.kind();
        listings::index_call(kind.name(), if is_sweep { "sweep" } else { "backfill" });
        let after = progress.next.as_deref();
        let oldest_first = Some(SortDirection::Asc);
        let listing = Listing { first: size, after, sort_direction: oldest_first, take: None };
        let call = Call::list(kind.lister().unwrap_or_default(), &listing, needs::of_index(kind));
        let began = self.clock.now();
        let Reply { value, errors, .. } =
            self.ask_in_background::<EntityPage>(account, &call).await?;
        let page = value.ok_or(Stopped::Refused)?;
        let rows = rows::of_page(kind, &page, &errors, began).ok_or(Stopped::Unreadable)?;
        let next = match page.after() {
            After::Cursor(next) => Some(next.into_owned()),
            After::Last => None,
            After::Lost => return Err(Stopped::Unreadable),
        };
        let read_to = rows.iter().map(|row| row.place.created).max();
        let is_last = next.is_none();
        if is_last {
            // The end says that no job is missing: of this account.
            self.claim(index, account, fingerprint).await?;
        }
        let step = WalkStep { from: progress.next, next, read_to };
        let absent = index.fill(fingerprint, rows, step, self.clock.now()).await?;
        if is_last && !is_sweep {
            let rows = index.count().await?;
            tracing::info!(kind = kind.name(), rows, "the index is complete");
        }
        for job in absent {
            index.doubt(&job);
        }
        Ok(())
    }

    /// Joins the newest jobs, unless a listing just did, and asks for those that were written through the gateway and
    /// are not filed all the same.
    async fn keep_up(&self, index: &Index, account: &Account) -> Result<(), Stopped> {
        let fingerprint = pages::fingerprint(account);
        let age = index.joined_at().map(|at| self.clock.now() - at);
        let is_recent =
            age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age < SWEEP_EVERY);
        if !is_recent {
            match self.join_newest(index, fingerprint, Reader::Keeper(account)).await {
                // The walk goes there; and smaller pages hold what this one does.
                Ok(()) | Err(NotJoined::Behind) => {}
                Err(NotJoined::Upstream(error))
                    if matches!(error.kind(), ErrorKind::TooLarge(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let touched = self.versions.touched().take(index.kind()).into_iter().collect();
        for job in index.not_filed(touched).await? {
            index.doubt(job.as_str());
        }
        Ok(())
    }

    /// Asks for the jobs that another process gave an owner.
    async fn heed_notes(&self, index: &Index, account: &Account) -> Result<(), Stopped> {
        let adopted = notes::take(index.path()).map_err(Stopped::Notes)?;
        for job in &adopted {
            match self.look_again(index, account, job).await {
                Ok(()) | Err(Stopped::Unreadable) => {}
                Err(stopped) => return Err(stopped),
            }
        }
        if !adopted.is_empty() {
            notes::done(index.path()).map_err(Stopped::Notes)?;
        }
        Ok(())
    }

    /// Asks whose the account is, and forgets the jobs of another.
    async fn claim(
        &self,
        index: &Index,
        account: &Account,
        fingerprint: AccountFingerprint,
    ) -> Result<(), Stopped> {
        listings::index_call(index.kind().name(), "account");
        let call = Call::client_id();
        let reply = self.ask_in_background::<Entity>(account, &call).await?;
        let client = reply.value.ok_or(Stopped::Unreadable)?;
        let id = client.id().ok_or(Stopped::Unreadable)?;
        if index.claim(fingerprint, &id).await.is_err() {
            // Its jobs were another's: it is empty now.
            index.open().await?;
            index.claim(fingerprint, &id).await?;
        }
        Ok(())
    }

    /// Asks for one job that was not where the index has it: takes it away if there is none, or files it anew.
    async fn look_again(&self, index: &Index, account: &Account, job: &str) -> Result<(), Stopped> {
        let fingerprint = pages::fingerprint(account);
        let gone = vec![job.to_owned()];
        let kind = index.kind();
        let Ok(id) = EntityId::parse(kind, job) else {
            return Ok(index.correct(fingerprint, gone, Vec::new()).await?);
        };
        listings::index_call(kind.name(), "doubt");
        let document = EntityDocument::new(kind, &needs::of_row(kind));
        let call = Call::get(&id, &document);
        let began = self.clock.now();
        let Reply { value, errors, .. } = self.ask_in_background::<Entity>(account, &call).await?;
        let Some(job) = value else {
            if errors.iter().any(FieldError::is_not_found) {
                index.correct(fingerprint, gone, Vec::new()).await?;
            }
            // Else it stays where it is: the walk comes by.
            return Ok(());
        };
        if !errors.is_empty() {
            return Ok(());
        }
        let row = rows::of_one(kind, &job, &errors, Place::Root, began);
        let row = row.filter(|row| row.place.id == *id.as_str());
        let mut row = row.ok_or(Stopped::Unreadable)?;
        if row.owner == Filed::Unknown {
            row.owner = Filed::Unreadable;
        }
        index.correct(fingerprint, Vec::new(), vec![row]).await?;
        Ok(())
    }

    /// Asks an account, once, when that keeps no tenant's call waiting.
    pub(super) async fn ask_in_background<T: Object>(
        &self,
        account: &Account,
        call: &Call,
    ) -> Result<Reply<T>, upstream::Error> {
        self.upstream.quiet().await;
        self.upstream.ask(account, call, Instant::now() + self.fetch_time).await
    }
}
