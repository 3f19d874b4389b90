//! From what a caller wants to what is asked of Move: no more than that and what the gateway needs.

use std::sync::Arc;

use crate::model::Selection;
use crate::upstream::JobDocument;

/// The fields that a caller wants of a job, and those to ask Move for: worked out once, asked often.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub(super) selection: Selection,
    /// To read it alone.
    pub(super) needed: Needed,
    /// To have it back from a mutation, in Move's words.
    pub(super) written: Box<str>,
    /// To read it in a page, in Move's words.
    pub(super) page: Box<str>,
}

/// The fields to ask Move for, and the document that does so.
#[derive(Debug, Clone)]
pub struct Needed {
    /// The fields.
    pub selection: Arc<Selection>,
    /// In Move's words.
    pub document: JobDocument,
}

impl From<Selection> for Needed {
    fn from(selection: Selection) -> Self {
        Self { document: JobDocument::new(&selection), selection: Arc::new(selection) }
    }
}

impl Wanted {
    /// A caller wants this of a job.
    #[must_use]
    pub fn of_job(selection: Selection) -> Self {
        let mut needed = of_job(&selection);
        let written = needed.to_string().into();
        let page = of_page(&needed).to_string().into();
        // To be remembered: a job's state says for how long.
        needed.field("state");
        Self { selection, needed: needed.into(), written, page }
    }
}

/// The fields that the ownership check reads.
const OWNERSHIP: [&str; 2] = ["id", "metadata"];

/// Returns the fields to ask of a job. Policy answers `client.portal` and `client.metadata`, so Move is
/// not asked for them; `percentageComplete` is `progress.percentageComplete` in Move's schema.
#[must_use]
pub fn of_job(wanted: &Selection) -> Selection {
    let mut needed = Selection::of_leaves(OWNERSHIP);
    for (name, below) in wanted.iter() {
        match name {
            "percentageComplete" => {
                needed.field("progress").field(name);
            }
            _ => needed.field(name).merge(&without_client_secrets(name, below)),
        }
    }
    needed
}

/// Returns the fields to ask of a page of whose jobs this is needed.
#[must_use]
fn of_page(item: &Selection) -> Selection {
    let mut needed = Selection::of_leaves(["after"]);
    needed.field("items").merge(item);
    needed
}

/// Returns the fields to ask of a job to know whose it is.
#[must_use]
pub fn of_ownership() -> Selection {
    Selection::of_leaves(OWNERSHIP)
}

/// Returns the fields to ask of a page of jobs to find one by its mark.
#[must_use]
pub fn of_marks() -> Selection {
    of_page(&Selection::of_leaves(["id", "metadata", "created"]))
}

fn without_client_secrets(name: &str, selection: &Selection) -> Selection {
    let mut kept = Selection::default();
    for (field, below) in selection.iter() {
        if name == "client" && matches!(field, "portal" | "metadata") {
            continue;
        }
        kept.field(field).merge(&without_client_secrets(field, below));
    }
    if kept.is_empty() && !selection.is_empty() {
        kept.field("__typename");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_own_portal_and_metadata_are_never_asked_for() {
        let mut wanted = Selection::of_leaves(["percentageComplete"]);
        wanted.field("client").merge(&Selection::of_leaves(["portal", "metadata"]));
        wanted.field("take").field("client").merge(&Selection::of_leaves(["id", "portal"]));
        assert_eq!(
            of_job(&wanted).to_string(),
            " {client {__typename} id metadata progress {percentageComplete} take {client {id}}}"
        );
    }
}
