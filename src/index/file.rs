//! The file of an index: opened, and thrown away as soon as it is in trouble.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::Database;
use tokio::sync::Notify;

use super::{
    AccountFingerprint, FoundPlace, JobPlace, JobRow, PlaceQuery, WalkProgress, WalkStep, tables,
};
use crate::redb_file::{OpenError, RedbFile};
use crate::telemetry::listings;

/// The memory for pages of the file, in bytes.
const CACHE: usize = 16 << 20;

/// The distance below the newest known job down to which the newest page has to reach: Move may show a job some
/// moments after a later one. In microseconds.
const OVERLAP: i64 = 60_000_000;

/// The most jobs that are remembered for not having been where the index has them.
const MOST_DOUBTS: usize = 1_000;

/// The index is not there, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the index is not there")]
pub struct IndexLost;

/// The end of an attempt to join the newest jobs to those that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// They are in the index, and none between.
    Joined,
    /// There may be others between.
    Gap,
}

/// The index in its file. Clones are the same.
#[derive(Debug, Clone)]
pub struct Index(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: RedbFile,
    /// Held by whoever changes rows and progress.
    writing: Mutex<()>,
    standing: Mutex<Standing>,
    wanted: Notify,
}

/// The knowledge of the file, so that nobody has to read it for that.
#[derive(Debug, Default)]
struct Standing {
    is_open: bool,
    is_wanted: bool,
    progress: WalkProgress,
    /// The account that was seen to have these jobs, since the file was opened.
    account: Option<AccountFingerprint>,
    /// Jobs that were not where the index has them.
    doubts: BTreeSet<JobPlace>,
}

fn lock<T>(guard: Result<T, PoisonError<T>>) -> T {
    guard.unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// An index that is not open yet. One whose file is there is wanted.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let standing = Standing { is_wanted: path.exists(), ..Standing::default() };
        Self(Arc::new(Inner {
            file: RedbFile::new(path).with_cache(CACHE),
            writing: Mutex::default(),
            standing: Mutex::new(standing),
            wanted: Notify::new(),
        }))
    }

    /// Somebody would be better off with an index.
    pub fn want(&self) {
        if !std::mem::replace(&mut self.0.standing().is_wanted, true) {
            self.0.wanted.notify_one();
        }
    }

    /// Somebody cannot use it before it was seen whose the account is.
    pub fn nudge(&self) {
        self.0.wanted.notify_one();
    }

    /// Waits until somebody is in a hurry.
    pub async fn nudged(&self) {
        self.0.wanted.notified().await;
    }

    /// Waits until somebody wants it.
    pub async fn wanted(&self) {
        while !self.0.standing().is_wanted {
            self.0.wanted.notified().await;
        }
    }

    /// A job may not be where the index has it. No more than [`MOST_DOUBTS`] are remembered.
    pub fn doubt(&self, place: JobPlace) {
        let mut standing = self.0.standing();
        if standing.doubts.len() < MOST_DOUBTS {
            standing.doubts.insert(place);
        }
    }

    /// Takes some of the jobs that may not be where the index has them.
    #[must_use]
    pub fn doubts(&self, most: usize) -> Vec<JobPlace> {
        let mut standing = self.0.standing();
        std::iter::from_fn(|| standing.doubts.pop_first()).take(most).collect()
    }

    /// Returns true if there are any.
    #[must_use]
    pub fn has_doubts(&self) -> bool {
        !self.0.standing().doubts.is_empty()
    }

    /// Returns true if the file is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.standing().is_open
    }

    /// Returns a copy of the walk's progress.
    #[must_use]
    pub fn progress(&self) -> WalkProgress {
        self.0.standing().progress.clone()
    }

    /// Returns true if the jobs were seen to be this account's.
    #[must_use]
    pub fn is_of(&self, account: AccountFingerprint) -> bool {
        self.0.standing().account == Some(account)
    }

    /// Returns the moment up to which every job of this account is in the index; `None` if it cannot be told.
    #[must_use]
    pub fn complete_to(&self, account: AccountFingerprint) -> Option<i64> {
        let standing = self.0.standing();
        standing.progress.complete_to.filter(|_| standing.account == Some(account))
    }

    /// Opens the file; one that is no index, or damaged, is made anew.
    ///
    /// # Errors
    /// If another process has it, or it cannot be made.
    pub async fn open(&self) -> Result<(), OpenError> {
        let inner = Arc::clone(&self.0);
        let opened = tokio::task::spawn_blocking(move || {
            let opened = inner.open();
            if opened.is_err() {
                inner.file.close();
            }
            opened
        });
        opened.await.unwrap_or_else(|panic| {
            self.0.lose("file");
            Err(OpenError::Io(std::io::Error::other(panic)))
        })
    }

    /// Takes note that an account is this client's. Jobs of another client are forgotten.
    ///
    /// # Errors
    /// [`IndexLost`], also where it was another's: then it has to be opened again.
    pub async fn claim(&self, account: AccountFingerprint, client: &str) -> Result<(), IndexLost> {
        let client = client.to_owned();
        self.change(true, move |standing| {
            match &standing.progress.client {
                Some(known) if *known != client => return Err("account"),
                _ => standing.progress.client = Some(client),
            }
            standing.account = Some(account);
            Ok(())
        })
        .await
    }

    /// Takes in a page of the walk. Returns the places of jobs that should be on it and are not, of those created before
    /// `settled` (in microseconds since 1970).
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn fill(
        &self,
        account: AccountFingerprint,
        rows: Vec<JobRow>,
        step: WalkStep,
        settled: i64,
    ) -> Result<Vec<JobPlace>, IndexLost> {
        // The first page begins with the first job, and behind the last one there is none.
        let from = if step.from.is_none() { Some(i64::MIN) } else { self.progress().read_to };
        let to = if step.next.is_none() { None } else { step.read_to };
        let to = to.unwrap_or(settled).min(settled);
        self.run(move |inner, database| {
            let _writing = lock(inner.writing.lock());
            let mut progress = inner.progress_of(account)?;
            progress.take(step);
            let absent = match from {
                Some(from) => tables::absent(database, (from, to), &rows)?,
                None => Vec::new(),
            };
            let news = tables::news(database, rows)?;
            tables::write(database, &news, &[], &progress, true)?;
            inner.standing().progress = progress;
            Ok(absent)
        })
        .await
    }

    /// Takes in the newest jobs of the account: all that were created since `oldest` (in microseconds since 1970), or
    /// all there are.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn extend(
        &self,
        account: AccountFingerprint,
        rows: Vec<JobRow>,
        oldest: Option<i64>,
    ) -> Result<Extended, IndexLost> {
        self.run(move |inner, database| {
            // Most of the time there is nothing new, and nobody has to wait for his turn.
            let newest = rows.iter().map(|row| row.place.created).max();
            let news = tables::news(database, rows)?;
            let _writing = lock(inner.writing.lock());
            let mut progress = inner.progress_of(account)?;
            let Some(complete_to) = progress.complete_to else { return Ok(Extended::Gap) };
            if oldest.is_some_and(|oldest| oldest > complete_to.saturating_sub(OVERLAP)) {
                return Ok(Extended::Gap);
            }
            let newest = newest.unwrap_or(complete_to).max(complete_to);
            if !news.is_empty() || newest != complete_to {
                progress.complete_to = Some(newest);
                tables::write(database, &news, &[], &progress, false)?;
                inner.standing().progress = progress;
            }
            Ok(Extended::Joined)
        })
        .await
    }

    /// Takes in what Move says of single jobs: takes these away, and files those anew.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn correct(
        &self,
        account: AccountFingerprint,
        gone: Vec<JobPlace>,
        rows: Vec<JobRow>,
    ) -> Result<(), IndexLost> {
        self.run(move |inner, database| {
            let _writing = lock(inner.writing.lock());
            let progress = inner.progress_of(account)?;
            tables::write(database, &rows, &gone, &progress, true)?;
            Ok(())
        })
        .await
    }

    /// Jobs may be missing at the end: nothing is answered from the index until the walk was there.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn fall_behind(&self) -> Result<(), IndexLost> {
        self.change(true, |standing| {
            standing.progress.fall_behind();
            Ok(())
        })
        .await
    }

    /// Begins the walk anew: Move does not know its place any more.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn begin_again(&self) -> Result<(), IndexLost> {
        self.change(true, |standing| {
            standing.progress.begin_again();
            Ok(())
        })
        .await
    }

    /// Finds places.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn find(&self, query: PlaceQuery) -> Result<Vec<FoundPlace>, IndexLost> {
        self.run(move |_, database| tables::find(database, &query).map_err(Trouble::from)).await
    }

    /// Counts the rows.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn count(&self) -> Result<u64, IndexLost> {
        self.run(|_, database| tables::count(database).map_err(Trouble::from)).await
    }

    /// Changes the standing, and the progress in the file with it.
    async fn change(
        &self,
        durably: bool,
        change: impl FnOnce(&mut Standing) -> Result<(), &'static str> + Send + 'static,
    ) -> Result<(), IndexLost> {
        self.run(move |inner, database| {
            let _writing = lock(inner.writing.lock());
            let progress = {
                let mut standing = inner.standing();
                change(&mut standing).map_err(Trouble::Useless)?;
                standing.progress.clone()
            };
            tables::write(database, &[], &[], &progress, durably)?;
            Ok(())
        })
        .await
    }

    /// Does something with the file where it may wait for the disk. A file that is in trouble is thrown away.
    async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Inner, &Database) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, IndexLost> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let done = inner.file.with(|database| task(&inner, database));
            let done = done.unwrap_or(Err(Trouble::NotNow));
            done.map_err(|trouble| {
                match trouble {
                    Trouble::NotNow => {}
                    Trouble::Useless(reason) => inner.lose(reason),
                    Trouble::File(error) => {
                        tracing::error!(%error, "the file of the index is in trouble");
                        inner.lose("file");
                    }
                }
                IndexLost
            })
        });
        done.await.unwrap_or_else(|_panic| {
            self.0.lose("file");
            Err(IndexLost)
        })
    }
}

/// Why something was not done with the file.
#[derive(Debug)]
enum Trouble {
    /// It is not open, or is about another account.
    NotNow,
    /// Its content is of no use, for this reason.
    Useless(&'static str),
    /// It cannot be read or written.
    File(redb::Error),
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        Self::File(error)
    }
}

impl Inner {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        lock(self.standing.lock())
    }

    /// Returns the progress, if it is about this account.
    fn progress_of(&self, account: AccountFingerprint) -> Result<WalkProgress, Trouble> {
        let standing = self.standing();
        let is_of = standing.is_open && standing.account == Some(account);
        is_of.then(|| standing.progress.clone()).ok_or(Trouble::NotNow)
    }

    fn open(&self) -> Result<(), OpenError> {
        let progress = match self.read() {
            Ok(Some(progress)) => progress,
            Err(error @ (OpenError::Taken | OpenError::Io(_))) => return Err(error),
            damaged => {
                if let Err(error) = &damaged {
                    tracing::warn!(%error, "the file of the index cannot be read and is made anew");
                }
                self.lose("file");
                self.read()?.unwrap_or_default()
            }
        };
        let mut standing = self.standing();
        let is_wanted = standing.is_wanted;
        *standing = Standing { is_open: true, is_wanted, progress, ..Standing::default() };
        Ok(())
    }

    /// Opens the database and reads the progress.
    fn read(&self) -> Result<Option<WalkProgress>, OpenError> {
        self.file.open()?;
        Ok(self.file.run(tables::prepare)?)
    }

    /// Throws the file away.
    fn lose(&self, reason: &'static str) {
        {
            let mut standing = self.standing();
            let is_wanted = standing.is_wanted;
            *standing = Standing { is_wanted, ..Standing::default() };
        }
        if let Err(error) = self.file.remove() {
            tracing::warn!(%error, "the file of the index cannot be removed");
        }
        tracing::warn!(reason, "the index is thrown away and filled anew");
        listings::index_dropped(reason);
    }
}
