//! Rows of the index, made of what Move says of jobs.

use jiff::Timestamp;

use super::ownership::{self, Place};
use crate::index::{Filed, JobPlace, JobRow, KnownJob};
use crate::model::{EntityId, EntityKind, TenantId};
use crate::upstream::{Entity, EntityPage, FieldError, PathSegment};

/// The longest text of a job that is kept, in bytes: a longer one is asked for each time.
const LONGEST_TEXT: usize = 64 << 10;

/// Makes rows of a page that began to be asked for at a moment; `None` if anything on it cannot be placed.
pub fn of_page(page: &EntityPage, errors: &[FieldError], began: Timestamp) -> Option<Vec<JobRow>> {
    if errors.iter().any(|error| !is_beside_place(error)) {
        return None;
    }
    page.items()?
        .enumerate()
        .map(|(index, item)| of_job(&item?, errors, Place::Item(index), began))
        .collect()
}

/// Makes a row of a job that stood at a place of an answer with these errors, which began to be asked for at a moment;
/// `None` if it does not say when it was created or of which take it is.
pub fn of_job(job: &Entity, errors: &[FieldError], at: Place, began: Timestamp) -> Option<JobRow> {
    let id = EntityId::parse(EntityKind::Job, &job.id()?).ok()?.to_string();
    let place = JobPlace { created: created(job)?, id };
    let take = job.json().root().get("take")?;
    let take = if take.is_null() { String::new() } else { take.text_of("id")?.into_owned() };
    let owner = ownership::filed(job, errors, at);
    let is_whole = !errors.iter().any(|error| at.holds(&error.path));
    let text = is_whole.then(|| text_of(job)).flatten().filter(|text| text.len() <= LONGEST_TEXT);
    let known = text.map(|text| KnownJob { seen: began.as_microsecond(), text: text.into() });
    Some(JobRow { place, owner, take, known })
}

/// The part of a job that is kept: the fields of `needs::of_row`, as Move sent them. `None` if one is missing.
fn text_of(job: &Entity) -> Option<String> {
    let root = job.json().root();
    // Whoever read it may have selected less.
    let progress = root.get("progress")?;
    if !progress.is_null() {
        progress.get("percentageComplete").and(progress.get("state"))?;
    }
    let mut text = String::with_capacity(512);
    for name in ["id", "created", "metadata", "name", "progress", "state"] {
        text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
        text.push_str(name);
        text.push_str("\":");
        text.push_str(root.get(name)?.raw());
    }
    // Other fields of a take may be URLs.
    let take = root.get("take")?;
    text.push_str(",\"take\":");
    if take.is_null() {
        text.push_str("null}");
    } else {
        text.push_str("{\"id\":");
        text.push_str(take.get("id")?.raw());
        text.push_str("}}");
    }
    Some(text)
}

/// Makes the row of a job that a tenant just made of a take; `None` if it is no job, or does not say when that was.
pub fn of_created(made: &Entity, tenant: &TenantId, take: Option<&EntityId>) -> Option<JobRow> {
    let id = EntityId::parse(EntityKind::Job, &made.id()?).ok()?.to_string();
    let place = JobPlace { created: created(made)?, id };
    let owner = Filed::Of(tenant.clone());
    Some(JobRow { place, owner, take: take?.to_string(), known: None })
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
