//! Looking for what an earlier try of a creation made.

use std::time::Duration;

use jiff::Timestamp;

use super::envelope::{self, Metadata};
use super::ownership::{Owner, Place};
use super::{Error, Jobs, needs};
use crate::model::{EntityId, EntityKind, RequestContext, Tenant, Trail};
use crate::types::SortDirection;
use crate::upstream::{
    self, After, Call, Entity, EntityPage, FieldError, Listing, PathSegment, Reply,
};

/// The number that are looked at in one call, and the number of calls.
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

/// An item of a listing, to the one who looks.
enum Seen {
    /// The one that is looked for.
    Made(EntityId),
    /// Another.
    Other,
    /// It may be the one: its record cannot be read.
    Unreadable,
}

impl Jobs {
    /// Finds what has this mark. Looks through those of its kind (jobs: through those of their take) from
    /// the newest back to when the first try began, 2,000 at most.
    ///
    /// # Errors
    /// If a page cannot be had, one cannot be read that may be it, or (if there certainly was a try) it
    /// may be further back.
    pub(super) async fn find_made(
        &self,
        request: &RequestContext,
        trail: &Trail,
        kind: EntityKind,
        take: Option<&EntityId>,
        mark: &str,
        tried: Tried,
    ) -> Result<Option<EntityId>, Error> {
        // Files cannot be listed: one that an earlier try made and nobody knows lies idle.
        let Some(lister) = kind.lister() else { return Ok(None) };
        let tenant = &request.caller.tenant;
        let since = tried.since - CLOCKS;
        let (mut after, mut has_unreadable) = (None, false);
        for _ in 0..MAX_LOOKS {
            let newest_first = Some(SortDirection::Desc);
            let first = LOOK_AT;
            let listing =
                Listing { first, after: after.as_deref(), sort_direction: newest_first, take };
            let call = Call::list(lister, &listing, needs::of_marks(kind));
            let Reply { value, errors, .. } =
                self.upstream.call::<EntityPage>(request, trail, &call).await?;
            let Some(page) = value else { return Err(Error::Refused(errors)) };
            let Some(items) = page.items() else { return Err(Error::Refused(errors)) };
            let items: Vec<_> = items.collect();
            let count = items.len();
            // An error of the page itself, or of what is not on it: what is on it need not be all.
            if errors.iter().any(|error| !is_of_an_item(error, count)) {
                return Err(Error::Refused(errors));
            }
            let mut is_past = false;
            for (at, item) in items.into_iter().enumerate() {
                let is_before = item.as_ref().is_some_and(|item| was_created_before(item, since));
                match seen(kind, item.as_ref(), tenant, mark, &errors, Place::Item(at)) {
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
            // A page with nothing on it and more behind it shows nothing: neither would the next.
            if count == 0 && after.is_some() {
                return Err(lost_cursor().into());
            }
            if is_past || after.is_none() {
                if has_unreadable {
                    return Err(upstream::Error::not_an_answer("about what cannot be read").into());
                }
                return Ok(None);
            }
        }
        if tried.is_certain || has_unreadable {
            return Err(upstream::Error::not_an_answer("about too many to be certain").into());
        }
        Ok(None)
    }
}

/// A page that does not tell what follows.
fn lost_cursor() -> upstream::Error {
    upstream::Error::not_an_answer("a page that does not tell what follows")
}

/// Returns true for an error about one of the `count` items of a page.
fn is_of_an_item(error: &FieldError, count: usize) -> bool {
    matches!(error.path.as_slice(), [_, PathSegment::Index(at), ..] if *at < count)
}

/// Judges an item that stands at `place` of an answer with these errors.
fn seen(
    kind: EntityKind,
    item: Option<&Entity>,
    tenant: &Tenant,
    mark: &str,
    errors: &[FieldError],
    place: Place,
) -> Seen {
    let Some(item) = item else { return Seen::Unreadable };
    let stored = item.metadata();
    let reading = envelope::read(stored.as_deref());
    match (Owner::of(tenant, stored.as_deref(), &reading, errors, place), &reading) {
        (Owner::Unknown, _) => Seen::Unreadable,
        (Owner::Tenant, Metadata::Envelope(envelope)) if envelope.mark() == Some(mark) => {
            let id = item.id().and_then(|id| EntityId::parse(kind, &id).ok());
            id.map_or(Seen::Unreadable, Seen::Made)
        }
        (Owner::Tenant | Owner::Another | Owner::Nobody, _) => Seen::Other,
    }
}

fn was_created_before(item: &Entity, time: Timestamp) -> bool {
    let created = item.created().and_then(|created| created.parse::<Timestamp>().ok());
    created.is_some_and(|created| created < time)
}
