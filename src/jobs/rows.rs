//! Rows of the index, made of what Move says of jobs.

use jiff::Timestamp;

use super::ownership::{self, Place};
use crate::index::{Filed, JobPlace, JobRow};
use crate::model::{EntityId, EntityKind, TenantId};
use crate::upstream::{Entity, EntityPage, FieldError, PathSegment};

/// Makes rows of a page; `None` if anything on it cannot be placed.
pub fn of_page(page: &EntityPage, errors: &[FieldError]) -> Option<Vec<JobRow>> {
    if errors.iter().any(|error| !is_of_metadata(error)) {
        return None;
    }
    page.items()?
        .enumerate()
        .map(|(index, item)| of_job(&item?, errors, Place::Item(index)))
        .collect()
}

/// Makes a row of a job that stood at a place of an answer with these errors; `None` if it does not say when it was
/// created or of which take it is.
pub fn of_job(job: &Entity, errors: &[FieldError], at: Place) -> Option<JobRow> {
    let id = EntityId::parse(EntityKind::Job, &job.id()?).ok()?.to_string();
    let place = JobPlace { created: created(job)?, id };
    let take = job.json().root().get("take")?;
    let take = if take.is_null() { String::new() } else { take.text_of("id")?.into_owned() };
    let owner = ownership::filed(job, errors, at);
    Some(JobRow { place, owner, take })
}

/// Makes the row of a job that a tenant just made of a take; `None` if it is no job, or does not say when that was.
pub fn of_created(made: &Entity, tenant: &TenantId, take: Option<&EntityId>) -> Option<JobRow> {
    let id = EntityId::parse(EntityKind::Job, &made.id()?).ok()?.to_string();
    let place = JobPlace { created: created(made)?, id };
    Some(JobRow { place, owner: Filed::Of(tenant.clone()), take: take?.to_string() })
}

/// Returns the moment at which a job was created, in microseconds since 1970.
pub fn created(job: &Entity) -> Option<i64> {
    Some(job.created()?.parse::<Timestamp>().ok()?.as_microsecond())
}

/// Returns true for an error about an item's metadata, which tells no place.
fn is_of_metadata(error: &FieldError) -> bool {
    matches!(
        error.path.as_slice(),
        [PathSegment::Field(items), PathSegment::Index(_), PathSegment::Field(metadata), ..]
            if items == "items" && metadata == "metadata"
    )
}
