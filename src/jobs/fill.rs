//! The walk that fills the index of jobs, and goes on slowly once it is complete.
//!
//! It reads the account from the oldest job to the newest, a page of 100 a call, in the background: never while a
//! tenant's call waits for its turn, and not while the account's breaker is open. Its place is in the file of the index,
//! so that a restart goes on from there.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::ownership::{self, Place};
use super::{Jobs, needs, pages};
use crate::index::{AccountFingerprint, Filed, Index, JobPlace, JobRow, OpenError, WalkStep};
use crate::model::{Account, EntityId, EntityKind, RootField};
use crate::telemetry::{self, listings};
use crate::types::SortDirection;
use crate::upstream::{
    self, After, Call, Entity, EntityDocument, EntityPage, ErrorKind, FieldError, Listing, Object,
    PathSegment, Reply,
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

/// The age at which a job that a page does not hold is no latecomer, in microseconds.
const SETTLED: i64 = 600_000_000;

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
    /// The index is not there.
    #[error(transparent)]
    Lost(#[from] crate::index::IndexLost),
    /// The file cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Jobs {
    /// Keeps the index, for ever. `account` is the one that tenants share, if there are any who do; `pause` the least
    /// time between two calls.
    pub async fn keep_index(&self, account: impl Fn() -> Option<Arc<Account>>, pause: Duration) {
        let Some(index) = &self.index else { return std::future::pending().await };
        index.wanted().await;
        tokio::time::sleep(FIRST_PAUSE).await;
        let (mut size, mut refused, mut again) = (PAGE, 0, AGAIN);
        loop {
            let wait = match account() {
                None => AGAIN,
                Some(account) => match self.step(index, &account, size).await {
                    Ok(()) => {
                        (size, refused, again) = (PAGE, 0, AGAIN);
                        let is_complete = index.complete_to(pages::fingerprint(&account)).is_some();
                        let is_idle = is_complete && !index.has_doubts();
                        if is_idle {
                            let _ = tokio::time::timeout(SWEEP_EVERY, index.nudged()).await;
                        }
                        pause
                    }
                    Err(Stopped::Upstream(error))
                        if matches!(error.kind(), ErrorKind::TooLarge(_)) && size > 1 =>
                    {
                        size = (size / 4).max(1);
                        pause
                    }
                    Err(stopped) => {
                        refused += u32::from(matches!(stopped, Stopped::Refused));
                        // Move may not know the walk's place any more. If it cannot be noted, the file is gone.
                        if refused == MOST_REFUSED {
                            refused = 0;
                            let _ = index.begin_again().await;
                        }
                        let cause = telemetry::causes(&stopped);
                        tracing::warn!(cause, "the index of jobs cannot be filled; will try again");
                        let wait = again;
                        again = AGAIN_AT_LAST.min(2 * again);
                        wait
                    }
                },
            };
            tokio::time::sleep(wait).await;
        }
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
        if let Some(place) = index.doubts(1).pop() {
            return self.look_again(index, account, place).await;
        }
        let progress = index.progress();
        let is_sweep = progress.complete_to.is_some();
        listings::index_call(if is_sweep { "sweep" } else { "backfill" });
        let after = progress.next.as_deref();
        let oldest_first = Some(SortDirection::Asc);
        let listing = Listing { first: size, after, sort_direction: oldest_first, take: None };
        let call = Call::list(lister(), &listing, needs::of_index());
        let Reply { value, errors, .. } =
            self.ask_in_background::<EntityPage>(account, &call).await?;
        let page = value.ok_or(Stopped::Refused)?;
        let rows = rows(&page, &errors).ok_or(Stopped::Unreadable)?;
        let next = match page.after() {
            After::Cursor(next) => Some(next.into_owned()),
            After::Last => None,
            After::Lost => return Err(Stopped::Unreadable),
        };
        let read_to = rows.iter().map(|row| row.place.created).max();
        let is_last = next.is_none();
        let step = WalkStep { from: progress.next, next, read_to };
        let settled = self.clock.now().as_microsecond().saturating_sub(SETTLED);
        let absent = index.fill(fingerprint, rows, step, settled).await?;
        if is_last && !is_sweep {
            let jobs = index.count().await?;
            tracing::info!(jobs, "the index of jobs is complete");
        }
        for place in absent {
            index.doubt(place);
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
        listings::index_call("account");
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
    async fn look_again(
        &self,
        index: &Index,
        account: &Account,
        place: JobPlace,
    ) -> Result<(), Stopped> {
        let fingerprint = pages::fingerprint(account);
        let Ok(id) = EntityId::parse(EntityKind::Job, &place.id) else {
            return Ok(index.correct(fingerprint, vec![place], Vec::new()).await?);
        };
        listings::index_call("doubt");
        let document = EntityDocument::new(EntityKind::Job, &needs::of_row());
        let call = Call::get(&id, &document);
        let Reply { value, errors, .. } = self.ask_in_background::<Entity>(account, &call).await?;
        let Some(job) = value else {
            if errors.iter().any(FieldError::is_not_found) {
                index.correct(fingerprint, vec![place], Vec::new()).await?;
            }
            // Else it stays where it is: the walk comes by.
            return Ok(());
        };
        if !errors.is_empty() {
            return Ok(());
        }
        let row = row(&job, &errors, Place::Root).filter(|row| row.place == place);
        let mut row = row.ok_or(Stopped::Unreadable)?;
        if row.owner == Filed::Unknown {
            row.owner = Filed::Unreadable;
        }
        index.correct(fingerprint, Vec::new(), vec![row]).await?;
        Ok(())
    }

    /// Asks an account, once, when that keeps no tenant's call waiting.
    async fn ask_in_background<T: Object>(
        &self,
        account: &Account,
        call: &Call,
    ) -> Result<Reply<T>, upstream::Error> {
        self.upstream.quiet().await;
        self.upstream.ask(account, call, Instant::now() + self.fetch_time).await
    }

    /// Shows how much is in the index, in the metrics.
    pub async fn show_index(&self, account: Option<Arc<Account>>) {
        let Some(index) = &self.index else { return };
        let jobs = index.count().await.unwrap_or(0);
        let complete = account.and_then(|own| index.complete_to(pages::fingerprint(&own)));
        let read_to = index.progress().read_to.unwrap_or(0);
        listings::index_state(jobs, complete.is_some(), read_to);
    }
}

/// The name of the query that lists jobs.
pub(super) const fn lister() -> &'static str {
    RootField::ListJobs.name()
}

/// Makes rows of a page; `None` if anything on it cannot be placed.
pub(super) fn rows(page: &EntityPage, errors: &[FieldError]) -> Option<Vec<JobRow>> {
    if errors.iter().any(|error| !is_of_metadata(error)) {
        return None;
    }
    page.items()?.enumerate().map(|(index, item)| row(&item?, errors, Place::Item(index))).collect()
}

fn row(job: &Entity, errors: &[FieldError], at: Place) -> Option<JobRow> {
    let id = EntityId::parse(EntityKind::Job, &job.id()?).ok()?.to_string();
    let place = JobPlace { created: created(job)?, id };
    let take = job.json().root().get("take")?;
    let take = if take.is_null() { String::new() } else { take.text_of("id")?.into_owned() };
    let owner = ownership::filed(job, errors, at);
    Some(JobRow { place, owner, take })
}

/// The moment at which a job was created, in microseconds since 1970.
pub(super) fn created(job: &Entity) -> Option<i64> {
    Some(job.created()?.parse::<Timestamp>().ok()?.as_microsecond())
}

/// Returns true for an error about an item's metadata, which tells no place.
fn is_of_metadata(error: &FieldError) -> bool {
    matches!(
        error.path.as_slice(),
        [PathSegment::Field(items), PathSegment::Index(_), PathSegment::Field(metadata), ..]
            if items == "items" && metadata == "metadata"
    )
}
