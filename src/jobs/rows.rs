//! Rows of the index, made of what Move says of jobs.

use jiff::Timestamp;

use super::needs;
use super::ownership::{self, Place};
use crate::index::{Filed, JobPlace, JobRow, KnownJob};
use crate::model::{EntityId, EntityKind, TenantId};
use crate::upstream::{Entity, EntityPage, FieldError, PathSegment};

/// The longest text of a job that is kept, in bytes: a longer one is asked for each time.
const LONGEST_TEXT: usize = 64 << 10;

/// Makes rows of a page that began to be asked for at a moment; `None` if anything on it cannot be placed.
pub fn of_page(
    kind: EntityKind,
    page: &EntityPage,
    errors: &[FieldError],
    began: Timestamp,
) -> Option<Vec<JobRow>> {
    if errors.iter().any(|error| !is_beside_place(error)) {
        return None;
    }
    page.items()?
        .enumerate()
        .map(|(index, item)| of_one(kind, &item?, errors, Place::Item(index), began))
        .collect()
}

/// Makes a row of one of a kind that stood at a place of an answer with these errors, which began to be asked for at a
/// moment; `None` if it does not say when it was created or, a job, of which take it is.
pub fn of_one(
    kind: EntityKind,
    one: &Entity,
    errors: &[FieldError],
    at: Place,
    began: Timestamp,
) -> Option<JobRow> {
    let id = EntityId::parse(kind, &one.id()?).ok()?.to_string();
    let place = JobPlace { created: created(one)?, id };
    let take = match kind {
        EntityKind::Job => {
            let take = one.json().root().get("take")?;
            if take.is_null() { String::new() } else { take.text_of("id")?.into_owned() }
        }
        _ => String::new(),
    };
    let owner = ownership::filed(one, errors, at);
    let is_whole = !errors.iter().any(|error| at.holds(&error.path));
    let text =
        is_whole.then(|| text_of(kind, one)).flatten().filter(|text| text.len() <= LONGEST_TEXT);
    let known = text.map(|text| KnownJob { seen: began.as_microsecond(), text: text.into() });
    Some(JobRow { place, owner, take, known })
}

/// The part that is kept: the fields of `needs::of_row`, as Move sent them. `None` if one is missing.
fn text_of(kind: EntityKind, one: &Entity) -> Option<String> {
    let root = one.json().root();
    let mut text = String::with_capacity(512);
    for (name, below) in needs::of_row(kind).iter() {
        let value = root.get(name)?;
        text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
        text.push_str(name);
        text.push_str("\":");
        if below.is_empty() || value.is_null() {
            text.push_str(value.raw());
            continue;
        }
        // What else it has may be URLs, and whoever read it may have selected less.
        for (at, (name, _)) in below.iter().enumerate() {
            text.push_str(if at == 0 { "{\"" } else { ",\"" });
            text.push_str(name);
            text.push_str("\":");
            text.push_str(value.get(name)?.raw());
        }
        text.push('}');
    }
    text.push('}');
    Some(text)
}

/// Makes the row of what a tenant just made, a job of a take; `None` if it does not say when that was.
pub fn of_created(
    id: &EntityId,
    made: &Entity,
    tenant: &TenantId,
    take: Option<&EntityId>,
) -> Option<JobRow> {
    let place = JobPlace { created: created(made)?, id: id.to_string() };
    let owner = Filed::Of(tenant.clone());
    let take = match id.kind() {
        EntityKind::Job => take?.to_string(),
        _ => String::new(),
    };
    Some(JobRow { place, owner, take, known: None })
}

/// Returns the moment at which a job was created, in microseconds since 1970.
pub fn created(job: &Entity) -> Option<i64> {
    Some(job.created()?.parse::<Timestamp>().ok()?.as_microsecond())
}

/// Returns true for an error within an item that leaves its place known.
fn is_beside_place(error: &FieldError) -> bool {
    matches!(
        error.path.as_slice(),
        [PathSegment::Field(items), PathSegment::Index(_), PathSegment::Field(field), ..]
            if items == "items" && ["metadata", "name", "progress", "state"].contains(&&**field)
    )
}
