//! From what a caller wants to what is asked of Move: no more than that and what the gateway needs.

use std::sync::Arc;

use crate::model::{EntityKind, Selection};
use crate::upstream::EntityDocument;

/// A caller's wish of an entity, and the questions to Move that it takes: worked out once, asked often.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub(super) kind: EntityKind,
    pub(super) selection: Selection,
    /// To read it alone.
    pub(super) needed: Needed,
    /// To have it back from a mutation, in Move's words.
    pub(super) written: Box<str>,
    /// To read it in a page, in Move's words.
    pub(super) page: Box<str>,
}

/// The fields that Move has to be asked for, and the document that asks for them.
#[derive(Debug, Clone)]
pub struct Needed {
    /// The fields.
    pub selection: Arc<Selection>,
    /// In Move's words.
    pub document: EntityDocument,
}

impl Needed {
    /// This is needed of an entity of a kind.
    #[must_use]
    pub fn new(kind: EntityKind, selection: Selection) -> Self {
        let document = EntityDocument::new(kind, &selection);
        Self { document, selection: Arc::new(selection) }
    }
}

impl Wanted {
    /// A caller wants this of an entity of a kind.
    #[must_use]
    pub fn of(kind: EntityKind, selection: Selection) -> Self {
        let mut needed = of_entity(&selection);
        let written = needed.to_string().into();
        let page = of_page(&needed).to_string().into();
        if kind == EntityKind::Job {
            // To be remembered: a job's state says for how long.
            needed.field("state");
        }
        Self { kind, selection, needed: Needed::new(kind, needed), written, page }
    }
}

/// The fields that the ownership check reads.
const OWNERSHIP: [&str; 2] = ["id", "metadata"];

/// Gives the fields to ask of an entity. Policy answers `client.portal` and `client.metadata`, so Move is
/// not asked for them; `percentageComplete` is `progress.percentageComplete` in Move's schema.
#[must_use]
pub fn of_entity(wanted: &Selection) -> Selection {
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

/// Gives the fields to ask of a page of whose items these are needed.
#[must_use]
fn of_page(item: &Selection) -> Selection {
    let mut needed = Selection::of_leaves(["after"]);
    needed.field("items").merge(item);
    needed
}

/// Gives the fields to ask of an entity to know whose it is.
#[must_use]
pub fn of_ownership() -> Selection {
    Selection::of_leaves(OWNERSHIP)
}

/// Gives the fields to ask of a page to find an item by its mark.
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
            of_entity(&wanted).to_string(),
            " {client {__typename} id metadata progress {percentageComplete} take {client {id}}}"
        );
    }
}
