//! Looking for the job that an earlier try of a creation made.

use std::time::Duration;

use jiff::Timestamp;

use super::envelope::{self, Metadata};
use super::ownership::{Owner, Place};
use super::{Error, Jobs, needs};
use crate::model::{JobId, RequestContext, TakeId, Tenant, Trail};
use crate::types::SortDirection;
use crate::upstream::{self, After, Call, FieldError, Job, JobsPage, Listing, PathSegment, Reply};

/// The number of jobs that are looked at in one call, and that of calls.
const LOOK_AT: i32 = 100;
const MAX_LOOKS: usize = 20;

/// The distance of Move's clock from this machine's that is tolerated.
pub(super) const CLOCKS: Duration = Duration::from_mins(5);

/// An earlier try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tried {
    /// The moment at which the first began, at the earliest.
    pub since: Timestamp,
    /// True if there certainly was one.
    pub is_certain: bool,
}

/// A job of a listing, as the one who looks sees it.
enum Seen {
    /// The one that is looked for.
    Made(JobId),
    /// Another.
    Other,
    /// It may be the one: its record cannot be read.
    Unreadable,
}

impl Jobs {
    /// Finds the job of this mark. Looks through the jobs of the take from the newest back to when the
    /// first try began, 2,000 jobs at most.
    ///
    /// # Errors
    /// When a page cannot be had, a job cannot be read that may be the one, or (if there certainly was
    /// a try) the job may be further back.
    pub(super) async fn find_made(
        &self,
        request: &RequestContext,
        trail: &Trail,
        take: &TakeId,
        mark: &str,
        tried: Tried,
    ) -> Result<Option<JobId>, Error> {
        let tenant = &request.caller.tenant;
        let since = tried.since - CLOCKS;
        let (mut after, mut has_unreadable) = (None, false);
        for _ in 0..MAX_LOOKS {
            let newest_first = Some(SortDirection::Desc);
            let (first, take) = (LOOK_AT, Some(take));
            let listing =
                Listing { first, after: after.as_deref(), sort_direction: newest_first, take };
            let call = Call::list_jobs(&listing, needs::of_marks());
            let Reply { value, errors, .. } =
                self.upstream.call::<JobsPage>(request, trail, &call).await?;
            let Some(page) = value else { return Err(Error::Refused(errors)) };
            let Some(items) = page.items() else { return Err(Error::Refused(errors)) };
            // An error of the page itself: what is on it need not be all.
            if errors.iter().any(|error| !is_of_an_item(error)) {
                return Err(Error::Refused(errors));
            }
            let mut is_past = false;
            for (at, job) in items.into_iter().enumerate() {
                let is_before = job.as_ref().is_some_and(|job| was_created_before(job, since));
                match seen(job.as_ref(), tenant, mark, &errors, Place::Item(at)) {
                    Seen::Made(id) if !is_before => return Ok(Some(id)),
                    Seen::Made(_) | Seen::Other => {}
                    Seen::Unreadable => has_unreadable |= !is_before,
                }
                is_past |= is_before;
            }
            after = match page.after() {
                After::Cursor(cursor) => Some(cursor.into_owned()),
                After::Last => None,
                After::Lost => return Err(lost_cursor().into()),
            };
            if is_past || after.is_none() {
                if has_unreadable {
                    return Err(
                        upstream::Error::not_an_answer("about jobs that cannot be read").into()
                    );
                }
                return Ok(None);
            }
        }
        if tried.is_certain || has_unreadable {
            return Err(upstream::Error::not_an_answer("about too many jobs to be certain").into());
        }
        Ok(None)
    }
}

/// A page that does not tell whether more jobs follow.
fn lost_cursor() -> upstream::Error {
    upstream::Error::not_an_answer("a page without its cursor")
}

/// Returns true for an error about one job of a page.
fn is_of_an_item(error: &FieldError) -> bool {
    matches!(error.path.as_slice(), [_, PathSegment::Index(_), ..])
}

/// Judges a job that stands at `place` of an answer with these errors.
fn seen(
    job: Option<&Job>,
    tenant: &Tenant,
    mark: &str,
    errors: &[FieldError],
    place: Place,
) -> Seen {
    let Some(job) = job else { return Seen::Unreadable };
    let stored = job.metadata();
    let reading = envelope::read(stored.as_deref());
    match (Owner::of(tenant, stored.as_deref(), &reading, errors, place), &reading) {
        (Owner::Unknown, _) => Seen::Unreadable,
        (Owner::Tenant, Metadata::Envelope(envelope)) if envelope.mark() == Some(mark) => {
            let id = job.id().and_then(|id| JobId::parse(&id).ok());
            id.map_or(Seen::Unreadable, Seen::Made)
        }
        (Owner::Tenant | Owner::Another | Owner::Nobody, _) => Seen::Other,
    }
}

fn was_created_before(job: &Job, time: Timestamp) -> bool {
    let created = job.created().and_then(|created| created.parse::<Timestamp>().ok());
    created.is_some_and(|created| created < time)
}
