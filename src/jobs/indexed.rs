//! Listings by the index: which jobs, it says; whose they are and what is in them, the cache or Move.
//!
//! A listing asks for the newest page of the account, unless everything that it gives is known to be older than what
//! the index holds whole. That page is one for all tenants. Each job that is not fresh in the cache is asked for, 25 in
//! one document. In doubt there is no answer from here, and all pages are sifted.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::cursor::{self, Position};
use super::fill::{self, lister};
use super::get::concerns;
use super::list::{ListCall, MAX_TIME, Page, bad_cursor};
use super::ownership::may_read_unclaimed;
use super::sift::MAX_BYTES;
use super::{Answer, Error, Owned, needs, pages};
use crate::cache::{Key, Phase};
use crate::index::{
    AccountFingerprint, Extended, Filed, FoundPlace, Index, IndexLost, JobPlace, PlaceQuery,
};
use crate::model::{EntityId, EntityKind};
use crate::types::SortDirection;
use crate::upstream::{After, Call, FieldError, Listing, PathSegment, Reply};

use super::fetch::CachedEntity;

/// The number of jobs on the newest page.
const NEWEST: i32 = 100;

/// The most of Move's pages that are read to join the newest jobs to those that are known.
const MOST_PAGES: usize = 3;

/// The most times that a page is filled up after jobs turned out not to be there.
const MOST_ROUNDS: usize = 5;

/// The most jobs, on a page, that may be anybody's: it is dear to look at them.
const MOST_UNKNOWN: usize = 25;

/// Why a listing is not answered from the index.
#[derive(Debug)]
enum NotHere {
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

/// A page as it fills.
#[derive(Default)]
struct Filling {
    items: Vec<Owned>,
    errors: Vec<FieldError>,
    bytes: usize,
}

/// A job that was looked at.
enum Looked {
    /// It is the tenant's, and these are errors below it.
    Own(Box<Owned>, Vec<FieldError>),
    /// It is not there, another's, or nobody can tell whose.
    NotTheirs,
    /// Move has no answer about it.
    NoAnswer,
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
        if self.kind != EntityKind::Job {
            return Ok(None);
        }
        let account = pages::fingerprint(&self.request.caller.tenant.account);
        let Some(index) = &self.jobs.index else { return Ok(None) };
        if index.complete_to(account).is_none() {
            if index.is_open() && !index.is_of(account) {
                index.nudge();
            }
            return Ok(None);
        }
        match self.by_index(index, account, first, behind).await {
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
            let found = index.find(self.query(at.clone(), room + 1)).await?;
            if !has_newest && !self.is_covered(at.as_ref(), &found, room + 1, complete_to) {
                self.join_newest(index, account).await?;
                has_newest = true;
                continue;
            }
            let unknown = found.iter().filter(|found| found.is_unknown);
            if unknown.clone().count() > MOST_UNKNOWN {
                unknown.for_each(|found| index.doubt(found.place.clone()));
                return Err(NotHere::Sift);
            }
            let mut found: Vec<_> = found.into_iter().map(|found| found.place).collect();
            let has_more = found.len() > room;
            found.truncate(room);
            rounds += 1;
            let taken = self.look_at(index, &found, &mut filling).await?;
            let is_cut = taken < found.len();
            if let Some(last) = found.into_iter().take(taken).next_back() {
                at = Some(last);
            }
            if !has_more && !is_cut {
                break None;
            }
            let is_spent = rounds >= MOST_ROUNDS || Instant::now() >= give_up;
            if is_cut || is_spent || filling.items.len() >= wanted {
                break at;
            }
        };
        let after = after.map(|place| self.seal(place)).transpose()?;
        let Filling { items, errors, .. } = filling;
        Ok(Answer { value: Page { after, first, items }, errors })
    }

    fn query(&self, after: Option<JobPlace>, most: usize) -> PlaceQuery {
        let tenant = &self.request.caller.tenant;
        // What could not be read when it was indexed may be anybody's: it is looked at.
        let mut owners = vec![Filed::Of(tenant.id.clone()), Filed::Unknown];
        if may_read_unclaimed(tenant, EntityKind::Job) {
            owners.push(Filed::Nobody);
        }
        let take = self.arguments.take.as_ref().map(|take| take.as_str().to_owned());
        PlaceQuery { owners, take, ascending: self.is_ascending(), after, most }
    }

    fn is_ascending(&self) -> bool {
        self.arguments.sort_direction == Some(SortDirection::Asc)
    }

    /// Returns true if no job can be missing among those that were found, as the index holds all that were created up
    /// to a moment.
    fn is_covered(
        &self,
        at: Option<&JobPlace>,
        found: &[FoundPlace],
        asked: usize,
        complete_to: i64,
    ) -> bool {
        if self.is_ascending() {
            let is_old = |last: &FoundPlace| last.place.created < complete_to;
            found.len() >= asked && found.last().is_some_and(is_old)
        } else {
            at.is_some_and(|at| at.created <= complete_to)
        }
    }

    /// Takes the newest jobs of the account into the index.
    async fn join_newest(&self, index: &Index, account: AccountFingerprint) -> Result<(), NotHere> {
        let (mut rows, mut after) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let listing = Listing {
                first: NEWEST,
                after: after.as_deref(),
                sort_direction: Some(SortDirection::Desc),
                take: None,
            };
            let call = Call::list(lister(), &listing, needs::of_index());
            let page = self.jobs.page_of_all(self.request, self.trail, &call).await;
            let Reply { value, errors, .. } = page.map_err(Error::from)?;
            let page = value.ok_or(NotHere::Sift)?;
            let next = match page.after() {
                After::Cursor(next) => Some(next.into_owned()),
                After::Last => None,
                After::Lost => return Err(NotHere::Sift),
            };
            rows.extend(fill::rows(&page, &errors).ok_or(NotHere::Sift)?);
            let oldest = rows.iter().map(|row| row.place.created).min();
            let oldest = if next.is_none() { None } else { Some(oldest.unwrap_or(i64::MAX)) };
            if index.extend(account, rows.clone(), oldest).await? == Extended::Joined {
                return Ok(());
            }
            after = next;
        }
        // More was created than that while nobody looked: the walk catches up.
        index.fall_behind().await?;
        Err(NotHere::Sift)
    }

    /// Looks at jobs and takes the tenant's, until the page is full. Returns the number of those it went past.
    async fn look_at(
        &self,
        index: &Index,
        found: &[JobPlace],
        filling: &mut Filling,
    ) -> Result<usize, NotHere> {
        let seat = self.jobs.together(self.request);
        let looks = found.iter().map(|place| self.look(place, seat.clone()));
        let looks: Vec<_> = looks.collect();
        // What goes up together waits for every seat.
        drop(seat);
        for (past, looked) in join_all(looks).await.into_iter().enumerate() {
            let (own, errors) = match looked {
                Looked::NotTheirs => {
                    index.doubt(found[past].clone());
                    continue;
                }
                Looked::NoAnswer => return Err(NotHere::Sift),
                Looked::Own(own, errors) => (*own, errors),
            };
            if filling.bytes >= MAX_BYTES {
                return Ok(past);
            }
            filling.bytes += own.json().raw().len();
            let at = filling.items.len();
            filling.errors.extend(errors.into_iter().map(|error| below(at, error)));
            filling.items.push(own);
        }
        Ok(found.len())
    }

    async fn look(&self, place: &JobPlace, seat: super::Seat) -> Looked {
        let Ok(id) = EntityId::parse(EntityKind::Job, &place.id) else { return Looked::NotTheirs };
        let (request, wanted) = (self.request, self.wanted);
        let key = Key { tenant: request.caller.tenant.id.clone(), id };
        let known = if request.fresh {
            None
        } else {
            self.jobs.known(request, &key, &wanted.needed.selection)
        };
        let now = self.jobs.clock.now();
        if let Some(entry) = known.filter(|entry| entry.lifetime.phase(now) == Phase::Fresh) {
            return match &entry.value {
                CachedEntity::Owned(owned) => {
                    Looked::Own(Box::new(Owned::clone(owned)), Vec::new())
                }
                CachedEntity::NotFound => Looked::NotTheirs,
            };
        }
        let asked = self.jobs.ask(request, self.trail, &key, &wanted.needed, Some(seat)).await;
        let fetched = match asked.1 {
            Ok(fetched) => fetched,
            Err(Error::NotFound(_) | Error::OwnerUnknown) => return Looked::NotTheirs,
            Err(_) => return Looked::NoAnswer,
        };
        let CachedEntity::Owned(owned) = &fetched.entry.value else { return Looked::NotTheirs };
        let wanted = needs::of_entity(wanted.kind, &wanted.selection);
        let errors = fetched.errors.iter().filter(|error| concerns(error, &wanted)).cloned();
        Looked::Own(Box::new(Owned::clone(owned)), errors.collect())
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
