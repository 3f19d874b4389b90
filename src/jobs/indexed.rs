//! Listings by the index: which jobs, it says; what is in them, the cache, the index or Move, and whose they are is read
//! out of that.
//!
//! A listing asks for the newest page of the account, unless everything that it gives is known to be older than what
//! the index holds whole. That page is one for all tenants. Each job that is fresh neither in the cache nor in the index
//! is asked for, 25 in one document. In doubt there is no answer from here, and all pages are sifted.

use std::sync::Arc;

use tokio::time::Instant;

use super::cursor::{self, Position};
use super::list::{ListCall, MAX_TIME, Page, bad_cursor};
use super::looked::{Looked, LookedAt};
use super::newest::{NotJoined, Reader};
use super::ownership::may_read_unclaimed;
use super::recall::{Asked, Row, Rows};
use super::sift::MAX_BYTES;
use super::{Answer, Error, NotIndexed, Owned, pages};
use crate::index::{AccountFingerprint, Filed, FoundPlace, Index, IndexLost, JobPlace, PlaceQuery};
use crate::types::SortDirection;
use crate::upstream::{ErrorKind, FieldError, PathSegment};

/// The most times that a page is filled up after jobs turned out not to be there.
const MOST_ROUNDS: usize = 5;

/// The most jobs, on a page, that may be anybody's: it is dear to look at them.
const MOST_UNKNOWN: usize = 25;

/// The most calls to Move that a filter may take on its way to a full page.
const MOST_CALLS: u32 = 20;

/// The most rows of the index that are gone through at once: between two such steps a filter looks at the time.
const MOST_ROWS: usize = 10_000;

/// The least number of jobs that a filter looks at: as many as go into one call.
const LEAST_LOOKS: usize = 25;

/// Why a listing is not answered from the index.
#[derive(Debug)]
pub(super) enum NotHere {
    /// Pages have to be sifted.
    Sift,
    /// There is no answer at all.
    Failed(Error),
}

impl From<IndexLost> for NotHere {
    fn from(_: IndexLost) -> Self {
        Self::Sift
    }
}

impl From<Error> for NotHere {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<NotJoined> for NotHere {
    fn from(not_joined: NotJoined) -> Self {
        match not_joined {
            // Of which a smaller page, or another selection, may be taken.
            NotJoined::Upstream(error)
                if !matches!(error.kind(), ErrorKind::TooLarge(_) | ErrorKind::NotAnAnswer(_)) =>
            {
                Self::Failed(error.into())
            }
            _ => Self::Sift,
        }
    }
}

/// A page as it fills.
#[derive(Default)]
struct Filling {
    items: Vec<Owned>,
    errors: Vec<FieldError>,
    bytes: usize,
    /// True if a job that is filed as the tenant's is not there.
    has_missed: bool,
}

/// The end of a look at jobs.
struct Taken {
    /// The number of those that were gone past.
    past: usize,
    /// True if the page has no room for one that is wanted.
    is_over: bool,
}

impl ListCall<'_> {
    /// Lists by the index, behind a place. `None` if pages have to be sifted.
    ///
    /// # Errors
    /// Those of the newest page, without which nobody knows what is new.
    pub(super) async fn indexed(
        &self,
        first: i32,
        behind: Option<&JobPlace>,
    ) -> Result<Option<Answer<Page>>, Error> {
        let account = pages::fingerprint(&self.request.caller.tenant.account);
        let Some(index) = self.jobs.indexes.of(self.kind) else { return Ok(None) };
        if index.complete_to(account).is_none() {
            if index.is_open() && !index.is_of(account) {
                index.nudge();
            }
            return Ok(None);
        }
        let listed = self.by_index(index, account, first, behind).await;
        if index.has_doubts() {
            // Until they are looked at, every such listing costs as much.
            index.nudge();
        }
        match listed {
            Ok(page) => Ok(Some(page)),
            Err(NotHere::Sift) => Ok(None),
            Err(NotHere::Failed(error)) => Err(error),
        }
    }

    async fn by_index(
        &self,
        index: &Index,
        account: AccountFingerprint,
        first: i32,
        behind: Option<&JobPlace>,
    ) -> Result<Answer<Page>, NotHere> {
        let wanted = usize::try_from(first).unwrap_or(0);
        let give_up = Instant::now() + MAX_TIME;
        let (mut at, mut has_newest, mut rounds) = (behind.cloned(), false, 0);
        let mut filling = Filling::default();
        let after = loop {
            let room = wanted - filling.items.len();
            let complete_to = index.complete_to(account).ok_or(NotHere::Sift)?;
            if !has_newest && !self.may_be_covered(at.as_ref(), complete_to) {
                self.join_newest(index, account).await?;
                has_newest = true;
                continue;
            }
            // One more than fits tells that there is more.
            let most = if self.filter.is_some() { LEAST_LOOKS.max(room + 1) } else { room + 1 };
            let found = self.rows(index, at.clone(), most).await?;
            if !has_newest && !self.is_covered(&found, most, complete_to) {
                self.join_newest(index, account).await?;
                has_newest = true;
                continue;
            }
            self.note_rows(found.looked_through);
            let unknown = found.list.iter().filter(|row| row.found.is_unknown);
            if unknown.clone().count() > MOST_UNKNOWN {
                unknown.for_each(|row| index.doubt(&row.found.place.id));
                return Err(NotHere::Sift);
            }
            let mut has_more = found.list.len() >= most;
            let fitting = if self.filter.is_none() { room } else { most };
            let rows = &found.list[..found.list.len().min(fitting)];
            rounds += 1;
            let taken = self.look_at(index, rows, wanted, &mut filling).await?;
            if filling.has_missed && !has_newest {
                // It was deleted; or the account is another one, and none of this is in it.
                self.join_newest(index, account).await?;
                has_newest = true;
            }
            let is_past = taken.past == rows.len();
            at = match &found.cut {
                Some(cut) if is_past => {
                    has_more = true;
                    Some(cut.clone())
                }
                _ => rows[..taken.past].last().map(|last| last.found.place.clone()).or(at),
            };
            if !has_more && !taken.is_over {
                break None;
            }
            if taken.is_over || filling.items.len() >= wanted || self.is_spent(rounds, give_up) {
                break at;
            }
        };
        let after = after.map(|place| self.seal(place)).transpose()?;
        let Filling { items, errors, .. } = filling;
        Ok(Answer { value: Page { after, first, items, total: None }, errors })
    }

    /// Finds rows of the index, unless they were found before and it did not change since.
    async fn rows(
        &self,
        index: &Index,
        after: Option<JobPlace>,
        most: usize,
    ) -> Result<Arc<Rows>, IndexLost> {
        let (tenant, kind, recall) = (&self.request.caller.tenant, self.kind, &self.jobs.recall);
        let asked = self.filter.is_none().then(|| Asked {
            tenant: tenant.id.clone(),
            kind,
            take: self.arguments.take.clone(),
            ascending: self.is_ascending(),
            after: after.clone(),
            most,
        });
        let known = asked.as_ref().and_then(|asked| recall.get(asked, tenant, index.changes()));
        if let Some(rows) = known {
            return Ok(rows);
        }
        let found = index.find(self.query(after, most)).await?;
        let rows = Arc::new(Rows::new(tenant, kind, found));
        if let Some(asked) = asked {
            recall.put(asked, Arc::clone(&rows));
        }
        Ok(rows)
    }

    /// Returns true if a page has to be cut short.
    fn is_spent(&self, rounds: usize, give_up: Instant) -> bool {
        let is_spent = match &self.filter {
            None => rounds >= MOST_ROUNDS,
            Some(_) => self.trail.note(|notes| notes.upstream_calls) >= MOST_CALLS,
        };
        is_spent || Instant::now() >= give_up
    }

    /// Move has no answer about a job. Sifting does not ask for it alone, but only the index knows filters.
    pub(super) fn no_answer(&self, error: Error) -> NotHere {
        match error {
            // Other errors may be about a job of which nobody knows whose it is.
            Error::Upstream(_) if self.filter.is_some() => error.into(),
            _ => NotHere::Sift,
        }
    }

    /// Notes the rows that were looked through.
    pub(super) fn note_rows(&self, rows: usize) {
        self.trail.note(|notes| notes.index_rows = notes.index_rows.saturating_add(rows));
    }

    pub(super) fn query(&self, after: Option<JobPlace>, most: usize) -> PlaceQuery {
        let tenant = &self.request.caller.tenant;
        // What could not be read when it was indexed may be anybody's: it is looked at.
        let mut owners = vec![Filed::Of(tenant.id.clone()), Filed::Unknown];
        if may_read_unclaimed(tenant, self.kind) {
            owners.push(Filed::Nobody);
        }
        let take = self.arguments.take.as_ref().map(|take| take.as_str().to_owned());
        let (created, judge) = match &self.filter {
            None => ((None, None), None),
            Some(filter) => {
                let now = self.jobs.clock.now();
                let judge = Arc::clone(filter).judge(Arc::clone(tenant), now);
                (filter.created(), Some(judge))
            }
        };
        let ascending = self.is_ascending();
        let most_rows = MOST_ROWS;
        PlaceQuery {
            owners,
            take,
            ascending,
            after,
            created,
            most,
            most_rows,
            judge,
            is_count: false,
        }
    }

    /// Returns true if a job is wanted, as it is now.
    pub(super) fn wants(&self, job: &Owned) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.wants(job))
    }

    /// Says that the index cannot answer, and sees to it that it can later.
    pub(super) fn not_indexed(&self) -> Error {
        Error::NotIndexed(match self.jobs.indexes.of(self.kind) {
            None => NotIndexed::Disabled,
            Some(index) => {
                index.want();
                NotIndexed::NotYet
            }
        })
    }

    fn is_ascending(&self) -> bool {
        self.arguments.sort_direction == Some(SortDirection::Asc)
    }

    /// Returns true unless jobs that come next may be missing in an index that holds all that were created up to a
    /// moment. Which come next from the oldest on, only the index says.
    fn may_be_covered(&self, at: Option<&JobPlace>, complete_to: i64) -> bool {
        self.is_ascending()
            || self.ends_before(complete_to)
            || at.is_some_and(|at| at.created <= complete_to)
    }

    /// Returns true if no job can be missing among those that were found where some may be covered.
    fn is_covered(&self, found: &Rows, asked: usize, complete_to: i64) -> bool {
        if !self.is_ascending() || self.ends_before(complete_to) {
            return true;
        }
        let is_full = found.list.len() >= asked;
        let last = found.list.last().filter(|_| is_full).map(|row| &row.found.place);
        found.cut.as_ref().or(last).is_some_and(|last| last.created < complete_to)
    }

    /// Returns true if the filter wants nothing that was created after a moment.
    fn ends_before(&self, complete_to: i64) -> bool {
        let before = self.filter.as_ref().and_then(|filter| filter.created().1);
        before.is_some_and(|before| before <= complete_to)
    }

    /// Takes the newest jobs of the account into the index, by pages that all tenants share.
    pub(super) async fn join_newest(
        &self,
        index: &Index,
        account: AccountFingerprint,
    ) -> Result<(), NotHere> {
        let reader = Reader::Listing(self.request, self.trail);
        Ok(self.jobs.join_newest(index, account, reader).await?)
    }

    /// Looks at jobs and takes those that are wanted, until the page is full.
    async fn look_at(
        &self,
        index: &Index,
        rows: &[Row],
        wanted: usize,
        filling: &mut Filling,
    ) -> Result<Taken, NotHere> {
        let looked = self.look_at_all(rows, self.needed).await;
        for (past, looked) in looked.into_iter().enumerate() {
            let FoundPlace { place, is_unknown, .. } = &rows[past].found;
            let LookedAt { job, errors } = match looked {
                Looked::NotTheirs => {
                    index.doubt(&place.id);
                    filling.has_missed |= !is_unknown;
                    continue;
                }
                Looked::OwnerUnknown if *is_unknown => {
                    index.doubt(&place.id);
                    continue;
                }
                // A page of Move's may say whose it is.
                Looked::OwnerUnknown => {
                    index.doubt(&place.id);
                    return Err(NotHere::Sift);
                }
                Looked::NoAnswer(error) => return Err(self.no_answer(error)),
                Looked::Own(own) if !self.wants(&own.job) => continue,
                Looked::Own(own) => *own,
            };
            if filling.items.len() >= wanted || filling.bytes >= MAX_BYTES {
                return Ok(Taken { past, is_over: true });
            }
            filling.bytes += job.json().raw().len();
            let at = filling.items.len();
            filling.errors.extend(errors.into_iter().map(|error| below(at, error)));
            filling.items.push(job);
        }
        Ok(Taken { past: rows.len(), is_over: false })
    }

    fn seal(&self, place: JobPlace) -> Result<String, Error> {
        let position = Position { behind: Some(place), ..Position::default() };
        let (key, now) = (&self.jobs.cursor_key, self.jobs.clock.now());
        cursor::seal(key, &self.binding(), position, now).map_err(bad_cursor)
    }
}

/// An error below a job as one below the page that holds it.
fn below(item: usize, error: FieldError) -> FieldError {
    let above = [PathSegment::Field("items".to_owned()), PathSegment::Index(item)];
    let path = above.into_iter().chain(error.path).collect();
    FieldError { path, ..error }
}
