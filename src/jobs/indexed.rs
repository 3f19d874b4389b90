//! Listings by the index: which jobs, it says; whose they are and what is in them, the cache or Move.
//!
//! A listing asks for the newest page of the account, unless everything that it gives is known to be older than what
//! the index holds whole. That page is one for all tenants. Each job that is not fresh in the cache is asked for, 25 in
//! one document. In doubt there is no answer from here, and all pages are sifted.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::cursor::{self, Position};
use super::fetch::CachedEntity;
use super::get::concerns;
use super::list::{ListCall, MAX_TIME, Page, bad_cursor};
use super::newest::{NotJoined, Reader};
use super::ownership::may_read_unclaimed;
use super::sift::MAX_BYTES;
use super::{Answer, Error, Owned, needs, pages};
use crate::cache::{Key, Phase};
use crate::index::{AccountFingerprint, Filed, FoundPlace, Index, IndexLost, JobPlace, PlaceQuery};
use crate::model::{CacheStatus, EntityId, EntityKind, RequestContext};
use crate::types::SortDirection;
use crate::upstream::{ErrorKind, FieldError, PathSegment};

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

/// A job that was looked at.
enum Looked {
    /// It is the tenant's, and these are errors below it.
    Own(Box<Owned>, Vec<FieldError>),
    /// It is not there, or another's.
    NotTheirs,
    /// Nobody can tell whose it is.
    OwnerUnknown,
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
            let found = index.find(self.query(at.clone(), room + 1)).await?;
            if !has_newest && !self.is_covered(at.as_ref(), &found, room + 1, complete_to) {
                self.join_newest(index, account).await?;
                has_newest = true;
                continue;
            }
            let unknown = found.iter().filter(|found| found.is_unknown);
            if unknown.clone().count() > MOST_UNKNOWN {
                unknown.for_each(|found| index.doubt(&found.place.id));
                return Err(NotHere::Sift);
            }
            let mut found = found;
            let has_more = found.len() > room;
            found.truncate(room);
            rounds += 1;
            let taken = self.look_at(index, &found, &mut filling).await?;
            if filling.has_missed && !has_newest {
                // It was deleted; or the account is another one, and none of this is in it.
                self.join_newest(index, account).await?;
                has_newest = true;
            }
            let is_cut = taken < found.len();
            if let Some(last) = found.into_iter().take(taken).next_back() {
                at = Some(last.place);
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

    /// Takes the newest jobs of the account into the index, by pages that all tenants share.
    async fn join_newest(&self, index: &Index, account: AccountFingerprint) -> Result<(), NotHere> {
        let reader = Reader::Listing(self.request, self.trail);
        Ok(self.jobs.join_newest(index, account, reader).await?)
    }

    /// Looks at jobs and takes the tenant's, until the page is full. Returns the number of those it went past.
    async fn look_at(
        &self,
        index: &Index,
        found: &[FoundPlace],
        filling: &mut Filling,
    ) -> Result<usize, NotHere> {
        let seat = self.jobs.together(self.request);
        let looks = found.iter().map(|found| self.look(&found.place, seat.clone()));
        let looks: Vec<_> = looks.collect();
        // What goes up together waits for every seat.
        drop(seat);
        for (past, looked) in join_all(looks).await.into_iter().enumerate() {
            let (own, errors) = match looked {
                Looked::NotTheirs => {
                    index.doubt(&found[past].place.id);
                    filling.has_missed |= !found[past].is_unknown;
                    continue;
                }
                Looked::OwnerUnknown if found[past].is_unknown => {
                    index.doubt(&found[past].place.id);
                    continue;
                }
                // A page of Move's may say whose it is.
                Looked::OwnerUnknown => {
                    index.doubt(&found[past].place.id);
                    return Err(NotHere::Sift);
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
        let known = known.filter(|entry| entry.lifetime.phase(now) == Phase::Fresh);
        match known.as_ref().map(|entry| &entry.value) {
            Some(CachedEntity::Owned(owned)) => {
                Looked::Own(Box::new(Owned::clone(owned)), Vec::new())
            }
            // It may be there since: a page of Move's would have it.
            Some(CachedEntity::NotFound) => self.ask_anew(&key, seat).await,
            None => match self.ask(request, &key, seat).await {
                (Looked::NotTheirs, status) if status != CacheStatus::Miss => {
                    let seat = self.jobs.together(request);
                    self.ask_anew(&key, seat).await
                }
                (looked, _) => looked,
            },
        }
    }

    /// Asks Move itself, whatever others know.
    async fn ask_anew(&self, key: &Key, seat: super::Seat) -> Looked {
        let request = RequestContext { fresh: true, ..self.request.clone() };
        self.ask(&request, key, seat).await.0
    }

    async fn ask(
        &self,
        request: &RequestContext,
        key: &Key,
        seat: super::Seat,
    ) -> (Looked, CacheStatus) {
        let (jobs, needed) = (self.jobs, &self.wanted.needed);
        let (coalesced, asked) = jobs.ask(request, self.trail, key, needed, Some(seat)).await;
        let status = coalesced.or(asked.as_ref().ok().map(|fetched| fetched.status));
        let looked = match asked {
            Ok(fetched) => match &fetched.entry.value {
                CachedEntity::Owned(owned) => {
                    let wanted = needs::of_entity(self.wanted.kind, &self.wanted.selection);
                    let errors = fetched.errors.iter();
                    let errors = errors.filter(|error| concerns(error, &wanted)).cloned();
                    Looked::Own(Box::new(Owned::clone(owned)), errors.collect())
                }
                CachedEntity::NotFound => Looked::NotTheirs,
            },
            Err(Error::NotFound(_)) => Looked::NotTheirs,
            Err(Error::OwnerUnknown) => Looked::OwnerUnknown,
            Err(_) => Looked::NoAnswer,
        };
        (looked, status.unwrap_or(CacheStatus::Miss))
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
