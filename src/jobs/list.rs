//! `listJobs`
//!
//! In a shared account a tenant's jobs lie among everybody's: pages of Move are read and sifted
//! until a page of the tenant's own is full.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Caller, RequestContext, Selection, TakeId, Trail};
use crate::types::{AwsJson, JobsPage, SortDirection};
use crate::upstream::{self, Call, FieldError, Listing, PathSegment, Reply};

use super::cursor::{self, BadCursor, Position};
use super::{Answer, Error, Jobs, OwnedJob, needs};

/// How many jobs a page holds if the caller does not say: as in Move.
const DEFAULT_FIRST: i32 = 50;

/// How many jobs are read at once where they have to be sifted.
const SIFTED_PAGE: i32 = 100;

/// What one listing may spend. A page that is cut short by it carries a cursor that goes on.
const MAX_CALLS: usize = 20;
const MAX_TIME: Duration = Duration::from_secs(8);

/// The arguments of a listing.
#[derive(Debug, Clone, Default)]
pub struct ListArguments {
    /// How many jobs are wanted.
    pub first: Option<i32>,
    /// The cursor, JSON text.
    pub after: Option<String>,
    /// The order.
    pub sort_direction: Option<SortDirection>,
    /// Only jobs of this take.
    pub take: Option<TakeId>,
}

impl Jobs {
    /// A page of the tenant's own jobs, in Move's order.
    ///
    /// # Errors
    /// [`Error::Argument`] for a bad `first` or cursor; Move's errors where there is no page.
    pub async fn list(
        &self,
        request: &RequestContext,
        trail: &Trail,
        arguments: ListArguments,
        item: &Selection,
    ) -> Result<Answer<JobsPage>, Error> {
        let first = arguments.first.unwrap_or(DEFAULT_FIRST);
        if first < 1 {
            return Err(Error::argument("first", "must be at least 1"));
        }
        trail.note(|notes| notes.take.clone_from(&arguments.take));
        let needed = needs::of_page(item);
        if request.caller.tenant.account.is_shared() {
            self.list_shared(request, trail, first, &arguments, &needed).await
        } else {
            self.list_own(request, trail, first, &arguments, &needed).await
        }
    }

    /// The account is the tenant's alone: Move's pages and cursors are its own.
    async fn list_own(
        &self,
        request: &RequestContext,
        trail: &Trail,
        first: i32,
        arguments: &ListArguments,
        needed: &Selection,
    ) -> Result<Answer<JobsPage>, Error> {
        let after = arguments.after.as_deref().filter(|cursor| *cursor != "null");
        let Reply { value, errors, .. } =
            self.page(request, trail, first, after, arguments, needed).await?;
        let mut page = value.ok_or_else(|| Error::Refused(errors.clone()))?;
        for item in page.items.iter_mut().flatten() {
            *item = item
                .take()
                .and_then(|job| OwnedJob::verify(&request.caller.tenant, job))
                .map(OwnedJob::into_job);
        }
        page.first = Some(first);
        Ok(Answer { value: page, errors })
    }

    async fn list_shared(
        &self,
        request: &RequestContext,
        trail: &Trail,
        first: i32,
        arguments: &ListArguments,
        needed: &Selection,
    ) -> Result<Answer<JobsPage>, Error> {
        let caller = &request.caller;
        let binding = binding(caller, arguments);
        let mut position = match arguments.after.as_deref() {
            None | Some("null") => Position::default(),
            Some(cursor) => cursor::open(&self.cursor_key, &binding, cursor, self.clock.now())
                .map_err(|bad| Error::argument("after", bad.to_string()))?,
        };
        let give_up = Instant::now() + MAX_TIME;
        let mut sifted = Sifted::of(caller, first);
        let mut calls = 0;
        let next = loop {
            let after = position.page.as_deref();
            let (page, errors) =
                match self.page(request, trail, SIFTED_PAGE, after, arguments, needed).await {
                    Ok(Reply { value: Some(page), errors, .. }) if page.items.is_some() => {
                        (page, errors)
                    }
                    // What was found is a page cut short; the next one meets the error, if it lasts.
                    _ if !sifted.items.is_empty() => break Some(position),
                    Ok(Reply { errors, .. }) => return Err(Error::Refused(errors)),
                    Err(error) => return Err(error.into()),
                };
            calls += 1;
            let next = sifted
                .take_from(page, errors, position)
                .map_err(|bad| Error::argument("after", bad.to_string()))?;
            match next {
                Some(next)
                    if !sifted.is_full() && calls < MAX_CALLS && Instant::now() < give_up =>
                {
                    position = next;
                }
                next => break next,
            }
        };
        let after = next
            .map(|next| cursor::seal(&self.cursor_key, &binding, next, self.clock.now()))
            .transpose()
            .map_err(|bad| Error::argument("after", bad.to_string()))?;
        let value = JobsPage {
            after: after.map(AwsJson),
            first: Some(first),
            items: Some(sifted.items.into_iter().map(|job| Some(job.into_job())).collect()),
        };
        Ok(Answer { value, errors: sifted.errors })
    }

    async fn page(
        &self,
        request: &RequestContext,
        trail: &Trail,
        first: i32,
        after: Option<&str>,
        arguments: &ListArguments,
        needed: &Selection,
    ) -> Result<Reply<JobsPage>, upstream::Error> {
        let listing = Listing {
            first,
            after,
            sort_direction: arguments.sort_direction,
            take: arguments.take.as_ref(),
        };
        self.upstream.call(request, trail, &Call::list_jobs(&listing, needed)).await
    }
}

/// A page of the tenant's own jobs, as it fills.
struct Sifted<'a> {
    caller: &'a Caller,
    wanted: usize,
    items: Vec<OwnedJob>,
    errors: Vec<FieldError>,
}

impl<'a> Sifted<'a> {
    fn of(caller: &'a Caller, first: i32) -> Self {
        let wanted = usize::try_from(first).unwrap_or(0);
        Self { caller, wanted, items: Vec::new(), errors: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.wanted
    }

    /// Takes the tenant's jobs out of one page of Move's and says where to go on: in the same page
    /// if it holds more of them than are wanted, else in the next; `None` behind the last page.
    ///
    /// # Errors
    /// When the listing ended without the job behind which it should have gone on.
    fn take_from(
        &mut self,
        page: JobsPage,
        errors: Vec<FieldError>,
        at: Position,
    ) -> Result<Option<Position>, BadCursor> {
        let Position { page: here, last } = at;
        // Jobs that were created meanwhile push the known ones back, maybe to a later page: what
        // was given before is passed over, however far it has moved.
        let mut given_before = last;
        let mut places = HashMap::new();
        for (index, job) in page.items.into_iter().flatten().enumerate() {
            let Some(job) = job else { continue };
            let id = job.id.get().map(|id| id.to_string());
            if given_before.is_some() {
                if given_before == id {
                    given_before = None;
                }
                continue;
            }
            let Some(job) = OwnedJob::verify(&self.caller.tenant, job) else { continue };
            if self.is_full() {
                self.keep_errors(errors, &places);
                let last = self.items.last().and_then(|job| job.job().id.get());
                let last = last.map(|id| id.to_string());
                return Ok(Some(Position { page: here, last }));
            }
            places.insert(index, self.items.len());
            self.items.push(job);
        }
        self.keep_errors(errors, &places);
        match page.after.filter(|after| after.0 != "null") {
            Some(after) => Ok(Some(Position { page: Some(after.0), last: given_before })),
            None if given_before.is_some() => Err(BadCursor),
            None => Ok(None),
        }
    }

    /// Keeps the errors of jobs that were taken, each under its job's new index.
    fn keep_errors(&mut self, errors: Vec<FieldError>, places: &HashMap<usize, usize>) {
        for mut error in errors {
            let place = match error.path.get_mut(1) {
                Some(PathSegment::Index(index)) => places.get(index).map(|place| *index = *place),
                _ => None,
            };
            if place.is_some() {
                self.errors.push(error);
            }
        }
    }
}

/// What a cursor is bound to.
fn binding(caller: &Caller, arguments: &ListArguments) -> String {
    let take = arguments.take.as_ref().map_or("", TakeId::as_str);
    format!("listJobs {} {:?} {take}", caller.tenant.id, arguments.sort_direction)
}
