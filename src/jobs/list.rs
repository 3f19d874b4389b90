//! `listJobs`, `listTakes`, `listVolumes`
//!
//! In a shared account what is a tenant's lies among everybody's: pages of Move are read and sifted
//! until a page of the tenant's own is full.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{EntityId, EntityKind, RequestContext, Selection, Trail, UnclaimedTakes};
use crate::telemetry::listings;
use crate::types::SortDirection;
use crate::upstream::{
    self, After, Call, EntityPage, ErrorKind, FieldError, Listing, PathSegment, Reply,
};

use super::cursor::{self, BadCursor, Position};
use super::filter::Filter;
use super::needs::Needed;
use super::ownership::Claim;
use super::sift::Sifted;
use super::{Answer, Error, JobFilter, Jobs, NotIndexed, Owned, Wanted, needs, pages};

/// The number of jobs a page holds if the caller does not say: as in Move.
const DEFAULT_FIRST: i32 = 50;

/// The most jobs on a page, Move's or the gateway's: a caller that wants more gets these and a cursor.
const MAX_FIRST: i32 = 100;

/// The calls that one listing may spend. A page that is cut short by it carries a cursor that goes on.
const MAX_CALLS: usize = 20;
pub(super) const MAX_TIME: Duration = Duration::from_secs(8);

/// The arguments of a listing.
#[derive(Debug, Clone, Default)]
pub struct ListArguments {
    /// The number of items that are wanted.
    pub first: Option<i32>,
    /// The cursor, JSON text.
    pub after: Option<String>,
    /// The order.
    pub sort_direction: Option<SortDirection>,
    /// Only jobs of this take.
    pub take: Option<EntityId>,
    /// Only jobs that have this.
    pub filter: Option<JobFilter>,
    /// True if they are counted too.
    pub is_counted: bool,
}

/// A page of a listing, as its tenant sees it.
#[derive(Debug)]
pub struct Page {
    /// The cursor of the next page, JSON text.
    pub after: Option<String>,
    /// The most items that it holds.
    pub first: i32,
    /// The items.
    pub items: Vec<Owned>,
    /// The number of items on all pages, or why it cannot be told; `None` if nobody asked.
    pub total: Option<Result<usize, Error>>,
}

impl ListArguments {
    /// The cursor, if it is one: Move's clients send `"null"` for none.
    fn cursor(&self) -> Option<&str> {
        self.after.as_deref().filter(|cursor| *cursor != "null")
    }
}

impl Jobs {
    /// A page of the tenant's own entities of a kind, in Move's order.
    ///
    /// # Errors
    /// [`Error::Argument`] for a bad `first` or cursor; Move's errors where there is no page.
    pub async fn list(
        &self,
        request: &RequestContext,
        trail: &Trail,
        kind: EntityKind,
        mut arguments: ListArguments,
        wanted: Option<&Wanted>,
    ) -> Result<Answer<Page>, Error> {
        let filter = arguments.filter.take().map(Filter::checked).transpose()?.flatten();
        let first = arguments.first.unwrap_or(DEFAULT_FIRST);
        if first < 1 {
            return Err(Error::argument("first", "must be at least 1"));
        }
        let first = first.min(MAX_FIRST);
        trail.note(|notes| notes.named = arguments.take.iter().cloned().collect());
        let hides = request.caller.tenant.unclaimed_takes == UnclaimedTakes::Hide;
        if let (Some(take), None, true) = (&arguments.take, arguments.cursor(), hides) {
            // The jobs of a take that the tenant may not use are those of a missing one.
            match self.check(request, trail, std::slice::from_ref(take)).await {
                Err(Error::NotFound(_)) => {
                    let mut none = page(first, Vec::new(), None, Vec::new());
                    none.value.total = arguments.is_counted.then_some(Ok(0));
                    return Ok(none);
                }
                checked => checked?,
            }
        }
        // Where no item is wanted, Move is asked whose they are all the same.
        let bare = Wanted::of(kind, Selection::default());
        let (wanted, arguments) = (wanted.unwrap_or(&bare), &arguments);
        let Some(lister) = kind.lister() else { return Err(Error::NotFound(kind.name())) };
        // A filter reads more than its caller.
        let needed = if filter.is_some() {
            let both = Selection::clone(&wanted.needed.selection).union(&needs::of_row(kind));
            Cow::Owned(Needed::new(kind, both))
        } else {
            Cow::Borrowed(&wanted.needed)
        };
        let (filter, needed) = (filter.map(Arc::new), &*needed);
        let listing = ListCall {
            jobs: self,
            request,
            trail,
            kind,
            lister,
            arguments,
            filter,
            wanted,
            needed,
        };
        let is_shared = request.caller.tenant.account.is_shared();
        let mut answer = match (&listing.filter, is_shared) {
            (Some(_), false) => return Err(Error::NotIndexed(NotIndexed::OwnAccount)),
            (None, false) => listing.own(first).await?,
            (_, true) => listing.shared(first).await?,
        };
        if arguments.is_counted {
            answer.value.total = Some(listing.count().await);
        }
        if kind == EntityKind::Job {
            self.notice_listed(&request.caller.tenant.id, &answer.value.items).await;
        }
        self.relay_listed(&request.caller.tenant.id, kind, &answer.value.items).await;
        for item in &answer.value.items {
            self.hold_files(&request.caller.tenant, item);
        }
        Ok(answer)
    }
}

/// A listing that was asked for.
pub(super) struct ListCall<'a> {
    pub(super) jobs: &'a Jobs,
    pub(super) request: &'a RequestContext,
    pub(super) trail: &'a Trail,
    pub(super) kind: EntityKind,
    lister: &'static str,
    pub(super) arguments: &'a ListArguments,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) wanted: &'a Wanted,
    /// The fields that single jobs are asked for.
    pub(super) needed: &'a Needed,
}

impl ListCall<'_> {
    /// Lists an account that is the tenant's alone: Move's pages and cursors are its own.
    async fn own(&self, first: i32) -> Result<Answer<Page>, Error> {
        let caller = &self.request.caller;
        let binding = self.binding();
        let key = &self.jobs.cursor_key;
        // A page that ended within one of Move's has a cursor of the gateway's.
        let position = match self.arguments.cursor() {
            None => Position::default(),
            Some(cursor) => {
                cursor::open(key, &binding, cursor, self.jobs.clock.now()).unwrap_or_else(|_| {
                    Position { page: Some(cursor.to_owned()), ..Position::default() }
                })
            }
        };
        let mut size = first;
        let Reply { value, errors, .. } = loop {
            match self.page(size, &position).await {
                Err(error) if is_too_large(&error) && size > 1 => size = smaller(size),
                reply => break reply?,
            }
        };
        let Some(moves) = value.filter(|page| page.after() != After::Lost) else {
            return Err(refused(errors));
        };
        let of_page = errors.iter().filter(|error| is_of_page(error)).cloned().map(bare);
        let of_page: Vec<_> = of_page.collect();
        let mut sifted = Sifted::new(&caller.tenant, self.kind, first);
        let next = sifted.take_from(&moves, errors, position).map_err(bad_cursor)?;
        let after = match next {
            Some(Position { page: Some(page), last: None, .. }) => Some(page),
            Some(next) => {
                let now = self.jobs.clock.now();
                Some(cursor::seal(key, &binding, next, now).map_err(bad_cursor)?)
            }
            None => None,
        };
        let errors = of_page.into_iter().chain(sifted.errors).collect();
        Ok(page(first, sifted.items, after, errors))
    }

    /// Lists what is the tenant's in an account of all: by the index, or by sifting.
    async fn shared(&self, first: i32) -> Result<Answer<Page>, Error> {
        let (key, now) = (&self.jobs.cursor_key, self.jobs.clock.now());
        let position = match self.arguments.cursor() {
            None => Position::default(),
            Some(cursor) => cursor::open(key, &self.binding(), cursor, now).map_err(bad_cursor)?,
        };
        let calls_so_far = || self.trail.note(|notes| notes.upstream_calls);
        let calls_before = calls_so_far();
        // Where a listing was sifted before, it goes on so.
        let by_index = if position.page.is_none() && position.last.is_none() {
            self.indexed(first, position.behind.as_ref()).await
        } else {
            Ok(None)
        };
        let is_from_index = !matches!(by_index, Ok(None));
        let page = match by_index {
            Ok(None) if self.filter.is_some() => Err(self.not_indexed()),
            Ok(None) => {
                let sifted = self.sift(first, position).await;
                if let Ok(page) = &sifted {
                    self.compare_with_index(&page.value.items).await;
                }
                sifted
            }
            Ok(Some(page)) => Ok(page),
            Err(error) => Err(error),
        };
        listings::listing(is_from_index, calls_so_far() - calls_before);
        page
    }

    /// Goes through Move's pages, which are everybody's.
    async fn sift(&self, first: i32, mut position: Position) -> Result<Answer<Page>, Error> {
        let (caller, key) = (&self.request.caller, &self.jobs.cursor_key);
        let begins = position == Position::default();
        let give_up = Instant::now() + MAX_TIME;
        let behind = position.behind.clone();
        let mut sifted = Sifted::new(&caller.tenant, self.kind, first)
            .behind(behind.clone(), self.arguments.sort_direction);
        let (mut size, mut calls) = (MAX_FIRST, 0);
        let next = loop {
            let is_spent = |calls| calls >= MAX_CALLS || Instant::now() >= give_up;
            let asked = self.page_of_all(size, &position).await;
            let (moves, errors) = match asked {
                Ok(Reply { value: Some(moves), errors, .. }) if is_whole(&moves, &errors) => {
                    (moves, errors)
                }
                Err(error) if is_too_large(&error) && size > 1 && !is_spent(calls + 1) => {
                    (size, calls) = (smaller(size), calls + 1);
                    continue;
                }
                // What was found is a page cut short; the next one meets the error, if it lasts.
                _ if !sifted.items.is_empty() => break Some(position),
                Ok(Reply { errors, .. }) => return Err(refused(errors)),
                Err(error) => return Err(error.into()),
            };
            calls += 1;
            match sifted.take_from(&moves, errors, position).map_err(bad_cursor)? {
                Some(next) if !sifted.is_full() && !is_spent(calls) => {
                    position = Position { behind: behind.clone(), ..next };
                }
                next => break next.map(|next| Position { behind: behind.clone(), ..next }),
            }
        };
        // One call is what the index costs too.
        if let Some(index) = self.jobs.indexes.of(self.kind).filter(|_| calls > 1) {
            index.want();
        }
        // A cursor would tell that there are jobs on the take, though none of them the tenant's.
        let is_strangers = begins && sifted.items.is_empty() && self.arguments.take.is_some();
        let after = next
            .filter(|_| !is_strangers)
            .map(|next| cursor::seal(key, &self.binding(), next, self.jobs.clock.now()))
            .transpose()
            .map_err(bad_cursor)?;
        Ok(page(first, sifted.items, after, sifted.errors))
    }

    /// Has those of the tenant's jobs looked at that were found by sifting and that the index has elsewhere.
    async fn compare_with_index(&self, items: &[Owned]) {
        let tenant = &self.request.caller.tenant;
        let account = pages::fingerprint(&tenant.account);
        let index = self.jobs.indexes.of(self.kind);
        let Some(index) = index.filter(|index| index.complete_to(account).is_some()) else {
            return;
        };
        let own = items.iter().filter(|item| item.claim() == Claim::Own);
        let own = own.filter_map(|item| {
            let id = EntityId::parse(self.kind, &item.entity().id()?).ok()?;
            Some((id, Some(tenant.id.clone())))
        });
        // If the index is lost, it is filled anew.
        for job in index.not_filed(own.collect()).await.unwrap_or_default() {
            index.doubt(job.as_str());
        }
    }

    async fn page(&self, first: i32, at: &Position) -> Result<Reply<EntityPage>, upstream::Error> {
        self.jobs.upstream.call(self.request, self.trail, &self.call(first, at)).await
    }

    /// A page of an account of all, which other tenants may have asked for too.
    async fn page_of_all(
        &self,
        first: i32,
        at: &Position,
    ) -> Result<Reply<EntityPage>, upstream::Error> {
        let call = self.call(first, at);
        Ok(self.jobs.page_of_all(self.request, self.trail, &call).await?.1)
    }

    fn call(&self, first: i32, at: &Position) -> Call {
        let ListArguments { sort_direction, take, .. } = self.arguments;
        let after = at.page.as_deref();
        let listing =
            Listing { first, after, sort_direction: *sort_direction, take: take.as_ref() };
        if at.behind.is_none() {
            return Call::list(self.lister, &listing, &self.wanted.page);
        }
        let needed = needs::of_placed_page(self.kind, &self.wanted.selection);
        Call::list(self.lister, &listing, needed)
    }

    /// The text that a cursor is bound to.
    pub(super) fn binding(&self) -> String {
        let ListArguments { sort_direction, take, .. } = self.arguments;
        let take = take.as_ref().map_or("", EntityId::as_str);
        let filter = self.filter.as_ref().map(|filter| format!(" {}", filter.text()));
        let (tenant, filter) = (&self.request.caller.tenant.id, filter.unwrap_or_default());
        format!("{} {tenant} {sort_direction:?} {take}{filter}", self.lister)
    }
}

/// A page as the tenant sees it.
fn page(
    first: i32,
    items: Vec<Owned>,
    after: Option<String>,
    errors: Vec<FieldError>,
) -> Answer<Page> {
    Answer { value: Page { after, first, items, total: None }, errors }
}

pub(super) fn bad_cursor(bad: BadCursor) -> Error {
    Error::argument("after", bad.to_string())
}

/// The size of the page to ask for where one of this size was larger than the gateway takes.
pub(super) const fn smaller(size: i32) -> i32 {
    if size > 4 { size / 4 } else { 1 }
}

/// Returns true if a page has items and tells whether more come after it.
fn is_whole(page: &EntityPage, errors: &[FieldError]) -> bool {
    let lost_cursor = |error: &FieldError| match error.path.first() {
        Some(PathSegment::Field(name)) => name == "after",
        _ => false,
    };
    page.items().is_some()
        && match page.after() {
            After::Cursor(_) => true,
            After::Last => !errors.iter().any(lost_cursor),
            After::Lost => false,
        }
}

const fn is_too_large(error: &upstream::Error) -> bool {
    matches!(error.kind(), ErrorKind::TooLarge(_))
}

fn is_of_page(error: &FieldError) -> bool {
    !error.path.iter().any(|step| matches!(step, PathSegment::Index(_)))
}

/// The error without what Move put beside it, which may be of anybody's job.
fn bare(error: FieldError) -> FieldError {
    FieldError { error_info: None, data: None, ..error }
}

/// Tells why there is no page. An error of an item may be about somebody else's job: only those of
/// the page itself go on, and of them only what they say.
pub(super) fn refused(errors: Vec<FieldError>) -> Error {
    let told: Vec<_> = errors.into_iter().filter(is_of_page).map(bare).collect();
    if told.is_empty() {
        return upstream::Error::not_an_answer("errors of a page's items and no page").into();
    }
    Error::Refused(told)
}
