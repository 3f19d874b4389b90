//! The file of an index: opened, and thrown away as soon as it is in trouble.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use redb::Database;
use tokio::sync::Notify;

use super::changes::IndexChanges;
use super::knowledge::Tellings;
use super::state::IndexState;
use super::tables::{self, Compared};
use super::{AccountFingerprint, JobRow, WalkProgress, WalkStep};
use crate::model::EntityKind;
use crate::redb_file::{OpenError, RedbFile};
use crate::telemetry::listings;

/// The memory for pages of the file, in bytes.
const CACHE: usize = 16 << 20;

/// The distance below the newest known job down to which the newest page has to reach if a job came late: Move may show
/// a job some moments after a later one. In microseconds.
const OVERLAP: i64 = 60_000_000;

/// The age at which a job that a page does not hold is no latecomer, in microseconds.
const SETTLED: i64 = 600_000_000;

/// The index is not there, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the index is not there")]
pub struct IndexLost;

/// The newest jobs of an account, of which none is missing.
#[derive(Debug)]
pub struct NewestPage {
    /// The jobs.
    pub rows: Vec<JobRow>,
    /// The creation of the oldest of them, in microseconds since 1970; `None` if there are no older ones.
    pub oldest: Option<i64>,
    /// The number of Move's page that they were read from, if it is one.
    pub number: Option<u64>,
}

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
pub struct Index(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    kind: EntityKind,
    file: RedbFile,
    pub(super) changes: IndexChanges,
    pub(super) tellings: Mutex<Tellings>,
    /// The moment until which anything may have been written that nobody told, in microseconds since 1970.
    pub(super) trusted_after: AtomicI64,
    state: Mutex<IndexState>,
    wanted: Notify,
}

pub(super) fn lock<T>(guard: Result<T, PoisonError<T>>) -> T {
    guard.unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// An index of a kind that is not open yet. One whose file is there is wanted.
    #[must_use]
    pub fn new(kind: EntityKind, path: PathBuf) -> Self {
        let state = IndexState::new(path.exists());
        Self(Arc::new(Inner {
            kind,
            file: RedbFile::new(path).with_cache(CACHE),
            changes: IndexChanges::default(),
            tellings: Mutex::default(),
            trusted_after: AtomicI64::new(i64::MIN),
            state: Mutex::new(state),
            wanted: Notify::new(),
        }))
    }

    /// The kind of what it is of.
    #[must_use]
    pub fn kind(&self) -> EntityKind {
        self.0.kind
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.file.path()
    }

    /// Somebody would be better off with an index.
    pub fn want(&self) {
        if !std::mem::replace(&mut self.0.state().is_wanted, true) {
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

    /// Returns true if somebody wants it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.state().is_wanted
    }

    /// Waits until somebody wants it.
    pub async fn wanted(&self) {
        while !self.is_wanted() {
            self.0.wanted.notified().await;
        }
    }

    /// A job may not be where the index has it.
    pub fn doubt(&self, job: &str) {
        self.0.state().doubt(job);
    }

    /// Takes one of the jobs that may not be where the index has them.
    #[must_use]
    pub fn next_doubt(&self) -> Option<String> {
        self.0.state().next_doubt()
    }

    /// Returns true if there are any.
    #[must_use]
    pub fn has_doubts(&self) -> bool {
        self.0.state().has_doubts()
    }

    /// A job was seen outside of any page, when it was made or read. Whoever looks for places finds it from now on.
    pub fn see(&self, account: AccountFingerprint, row: JobRow) {
        self.0.state().see(account, row);
        self.0.changes.note();
    }

    /// Returns the number of changes so far: what was found at one number is found again as long as it stands.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.changes.count()
    }

    /// Returns true if the file is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.state().is_open
    }

    /// Returns a copy of the walk's progress.
    #[must_use]
    pub fn progress(&self) -> WalkProgress {
        self.0.state().progress.clone()
    }

    /// Returns true if the jobs were seen to be this account's.
    #[must_use]
    pub fn is_of(&self, account: AccountFingerprint) -> bool {
        self.0.state().account == Some(account)
    }

    /// Returns the moment up to which every job of this account is in the index; `None` if it cannot be told.
    #[must_use]
    pub fn complete_to(&self, account: AccountFingerprint) -> Option<i64> {
        let state = self.0.state();
        state.progress.complete_to.filter(|_| state.account == Some(account))
    }

    /// Returns the moment at which it was seen last that no newer job is missing; `None` if that was not seen since the
    /// file was opened.
    #[must_use]
    pub fn joined_at(&self) -> Option<Timestamp> {
        self.0.state().joined_at
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
        self.change(move |state| {
            match &state.progress.client {
                Some(known) if *known != client => return Err("account"),
                _ => state.progress.client = Some(client),
            }
            state.account = Some(account);
            Ok(())
        })
        .await
    }

    /// Takes in a page of the walk. Returns the ids of jobs that should be on it and are not.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn fill(
        &self,
        account: AccountFingerprint,
        rows: Vec<JobRow>,
        step: WalkStep,
        now: Timestamp,
    ) -> Result<Vec<String>, IndexLost> {
        let settled = now.as_microsecond().saturating_sub(SETTLED);
        // The first page begins with the first job, and behind the last one there is none.
        let from = if step.from.is_none() { Some(i64::MIN) } else { self.progress().read_to };
        let to = if step.next.is_none() { None } else { step.read_to };
        let to = to.unwrap_or(settled).min(settled);
        self.run(move |inner, database| {
            let _writing = inner.changes.begin();
            let mut progress = inner.progress_of(account)?;
            let is_end = progress.take(step, now.as_microsecond());
            let absent = match from {
                Some(from) => tables::absent(database, (from, to), &rows)?,
                None => Vec::new(),
            };
            let Compared { news, .. } = tables::compare(database, inner.judged(rows))?;
            tables::write(database, &news, &[], Some(&progress), true)?;
            let mut state = inner.state();
            state.progress = progress;
            if is_end {
                state.joined_at = Some(now);
            }
            Ok(absent)
        })
        .await
    }

    /// Returns true if a page of the account's newest jobs is in the index.
    #[must_use]
    pub fn has_joined(&self, account: AccountFingerprint, page: u64) -> bool {
        let state = self.0.state();
        state.is_open && state.account == Some(account) && state.joined_page == Some(page)
    }

    /// Takes in the newest jobs of the account, as it was at a moment. If none of the known jobs is among them where some
    /// should be, the account is another one, and the index is thrown away.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn extend(
        &self,
        account: AccountFingerprint,
        page: NewestPage,
        now: Timestamp,
    ) -> Result<Extended, IndexLost> {
        let NewestPage { rows, oldest, number } = page;
        self.run(move |inner, database| {
            let newest = rows.iter().map(|row| row.place.created).max();
            let _writing = inner.changes.begin();
            let compared = tables::compare(database, inner.judged(rows))?;
            let Compared { news, known, oldest_unknown } = compared;
            let mut progress = inner.progress_of(account)?;
            let Some(complete_to) = progress.complete_to else { return Ok(Extended::Gap) };
            let overlap = complete_to.saturating_sub(OVERLAP);
            // Where more jobs were created at once than pages hold, it is enough that nobody came late among them.
            let is_late = oldest_unknown.is_some_and(|created| created <= complete_to);
            let down_to = if is_late { overlap } else { complete_to };
            if oldest.is_some_and(|oldest| oldest > down_to) {
                return Ok(Extended::Gap);
            }
            if known == 0 && tables::has_any(database, (oldest.unwrap_or(i64::MIN), overlap))? {
                return Err(Trouble::Useless("account"));
            }
            // A job of the future would hide that others are missing before it.
            let newest = newest.unwrap_or(complete_to).min(now.as_microsecond()).max(complete_to);
            if !news.is_empty() || newest != complete_to {
                progress.complete_to = Some(newest);
                tables::write(database, &news, &[], Some(&progress), false)?;
            }
            let mut state = inner.state();
            state.progress = progress;
            state.joined_at = state.joined_at.max(Some(now));
            state.joined_page = number;
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
        gone: Vec<String>,
        rows: Vec<JobRow>,
    ) -> Result<(), IndexLost> {
        self.run(move |inner, database| {
            let _writing = inner.changes.begin();
            inner.progress_of(account)?;
            tables::write(database, &inner.judged(rows), &gone, None, true)?;
            Ok(())
        })
        .await
    }

    /// Jobs may be missing at the end: nothing is answered from the index until the walk was there.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn fall_behind(&self) -> Result<(), IndexLost> {
        tracing::info!(
            "the newest jobs are not joined to the index: listings sift until its walk was there"
        );
        self.change(|state| {
            state.progress.fall_behind();
            Ok(())
        })
        .await
    }

    /// Begins the walk anew: Move does not know its place any more.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn begin_again(&self) -> Result<(), IndexLost> {
        self.change(|state| {
            state.progress.begin_again();
            Ok(())
        })
        .await
    }

    /// Changes the state, and the progress in the file with it.
    async fn change(
        &self,
        change: impl FnOnce(&mut IndexState) -> Result<(), &'static str> + Send + 'static,
    ) -> Result<(), IndexLost> {
        self.run(move |inner, database| {
            let _writing = inner.changes.begin();
            let progress = {
                let mut state = inner.state();
                change(&mut state).map_err(Trouble::Useless)?;
                state.progress.clone()
            };
            tables::write(database, &[], &[], Some(&progress), true)?;
            Ok(())
        })
        .await
    }

    /// Does something with the file where it may wait for the disk. A file that is in trouble is thrown away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Inner, &Database) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, IndexLost> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let done = inner.file.with(|database| task(&inner, database));
            done.unwrap_or(Err(Trouble::NotNow)).map_err(|trouble| {
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
pub(super) enum Trouble {
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
    pub(super) fn state(&self) -> MutexGuard<'_, IndexState> {
        lock(self.state.lock())
    }

    /// Returns the progress, if it is about this account.
    fn progress_of(&self, account: AccountFingerprint) -> Result<WalkProgress, Trouble> {
        let state = self.state();
        let is_of = state.is_open && state.account == Some(account);
        is_of.then(|| state.progress.clone()).ok_or(Trouble::NotNow)
    }

    /// Takes away what rows tell of jobs if something newer was told or written.
    pub(super) fn judged(&self, mut rows: Vec<JobRow>) -> Vec<JobRow> {
        let mut tellings = lock(self.tellings.lock());
        for row in &mut rows {
            row.known = tellings.judge(&row.place.id, row.known.take());
        }
        rows
    }

    fn open(&self) -> Result<(), OpenError> {
        let progress = match self.read() {
            Ok(Some(progress)) => progress,
            Err(error @ (OpenError::Taken | OpenError::Foreign | OpenError::Io(_))) => {
                return Err(error);
            }
            damaged => {
                if let Err(error) = &damaged {
                    tracing::warn!(%error, "the file of the index cannot be read and is made anew");
                }
                self.lose("file");
                self.read()?.unwrap_or_default()
            }
        };
        let has_lost_track = lock(self.tellings.lock()).takes_up_again();
        let progress = if has_lost_track && progress != WalkProgress::default() {
            self.lose("writes");
            self.read()?.unwrap_or_default()
        } else {
            progress
        };
        let mut state = self.state();
        *state = state.opened(progress);
        self.changes.note();
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
            let mut state = self.state();
            *state = state.anew();
        }
        self.changes.note();
        if let Err(error) = self.file.remove() {
            tracing::warn!(%error, "the file of the index cannot be removed");
        }
        tracing::warn!(kind = self.kind.name(), reason, "the index is thrown away and filled anew");
        listings::index_dropped(self.kind.name(), reason);
    }
}
