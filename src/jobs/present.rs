//! A tenant's view of a job that is its own: its metadata out of the envelope, and its policy's
//! words in place of the Move account's. The one view, for values, items and the data beside errors.

use std::borrow::Cow;

use crate::json::{JsonRef, Member};
use crate::model::Tenant;

use super::envelope::{self, Metadata};

/// The source of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The member of that name in what Move sent.
    Member,
    /// The schema: `__typename`.
    Typename,
    /// The tenant's policy: where its people find their jobs.
    Portal,
    /// The tenant's policy: what it says of the account.
    ClientMetadata,
    /// Move's text, out of its envelope.
    Metadata,
    /// `progress.percentageComplete`, which Move's schema has there alone.
    PercentageComplete,
}

/// Returns the source of the value of a type's field.
#[must_use]
pub fn source_of(type_name: &str, field: &str) -> Source {
    match (type_name, field) {
        (_, "__typename") => Source::Typename,
        ("Client", "portal") => Source::Portal,
        ("Client", "metadata") => Source::ClientMetadata,
        (_, "metadata") => Source::Metadata,
        ("Job", "percentageComplete") => Source::PercentageComplete,
        _ => Source::Member,
    }
}

/// The text that stands for a metadata that is not the tenant's to see: Move's Python client refuses null.
const HIDDEN: &str = "{}";

/// A metadata text as the tenant may see it: its own value out of an envelope, a text without an
/// envelope as it is, and an empty object for an envelope that is not its own.
#[must_use]
pub fn metadata<'a>(
    tenant: &Tenant,
    stored: Option<&'a str>,
    reading: &Metadata<'a>,
) -> Option<&'a str> {
    match reading {
        Metadata::Unmanaged => stored,
        Metadata::Envelope(envelope) if *envelope.owner() == tenant.id => {
            Some(envelope.value(tenant).unwrap_or(HIDDEN))
        }
        Metadata::Envelope(_) | Metadata::Malformed => Some(HIDDEN),
    }
}

/// The same of a metadata as Move sent it, in a take or a file.
#[must_use]
pub fn metadata_of<'a>(tenant: &Tenant, sent: JsonRef<'a>) -> Option<Cow<'a, str>> {
    let stored = sent.text()?;
    let shown = metadata(tenant, Some(&stored), &envelope::read(Some(&stored)))?;
    Some(Cow::Owned(shown.to_owned()))
}

/// An entity that stands inside one that is the tenant's to see, such as the take of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The tenant's own, or nobody's: what has no envelope belongs to whoever owns what holds it.
    Shown,
    /// Its envelope names another tenant.
    Foreign,
    /// Its metadata may hold an envelope, and cannot be read.
    Unknown,
}

/// Tells whose an entity is that stands inside another.
#[must_use]
pub fn part(tenant: &Tenant, part: JsonRef<'_>) -> Part {
    match part.member("metadata") {
        Member::Absent => Part::Shown,
        Member::Repeated => Part::Unknown,
        Member::One(metadata) if metadata.is_null() => Part::Shown,
        Member::One(metadata) => {
            let Some(stored) = metadata.text() else { return Part::Unknown };
            match envelope::read(Some(&stored)) {
                Metadata::Unmanaged => Part::Shown,
                Metadata::Envelope(envelope) if *envelope.owner() == tenant.id => Part::Shown,
                Metadata::Envelope(_) => Part::Foreign,
                Metadata::Malformed => Part::Unknown,
            }
        }
    }
}
