//! From what a caller wants to what is asked of Move: no more than that and what the gateway needs.

use std::sync::Arc;

use crate::model::{EntityKind, Selection};
use crate::upstream::{EntityDocument, of_kind};

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
        let mut needed = of_entity(kind, &selection);
        let page = of_page(&of_kind(kind, &needed)).to_string().into();
        let mut written = needed.clone();
        if kind.lister().is_some() {
            // The place of a new one in the index.
            written.field("created");
        }
        let written = written.to_string().into();
        // To be remembered: the state says for how long.
        match kind {
            EntityKind::Job => {
                needed.field("state");
            }
            EntityKind::Volume => {
                needed.field("progress").field("state");
            }
            _ => {}
        }
        Self { kind, selection, needed: Needed::new(kind, needed), written, page }
    }
}

impl Wanted {
    /// Of what it is wanted.
    #[must_use]
    pub const fn kind(&self) -> EntityKind {
        self.kind
    }
}

/// The fields that the ownership check reads.
const OWNERSHIP: [&str; 2] = ["id", "metadata"];

/// Gives the fields to ask of an entity. Policy answers `client.portal` and `client.metadata`, so Move is
/// not asked for them; `percentageComplete` is `progress.percentageComplete` in Move's schema.
#[must_use]
pub fn of_entity(kind: EntityKind, wanted: &Selection) -> Selection {
    let mut needed = match kind {
        _ if kind.has_owner() => Selection::of_leaves(OWNERSHIP),
        EntityKind::Client => Selection::of_leaves(["id"]),
        // Move takes no object of which nothing is selected.
        _ => Selection::of_leaves(["__typename"]),
    };
    if kind == EntityKind::Client {
        needed.merge(&without_client_secrets("client", wanted));
        return needed;
    }
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
pub fn of_marks(kind: EntityKind) -> Selection {
    of_page(&of_kind(kind, &Selection::of_leaves(["id", "metadata", "created"])))
}

/// Gives the fields to ask of a page of a kind to index it.
#[must_use]
pub fn of_index(kind: EntityKind) -> Selection {
    of_page(&of_kind(kind, &of_row(kind)))
}

/// Gives the fields to ask of one of a kind to index it.
#[must_use]
pub fn of_row(kind: EntityKind) -> Selection {
    let mut row = Selection::of_leaves(["id", "created", "metadata", "name"]);
    if matches!(kind, EntityKind::Job | EntityKind::Volume) {
        row.field("state");
        row.field("progress").merge(&Selection::of_leaves(["percentageComplete", "state"]));
    }
    if kind == EntityKind::Job {
        row.field("take").field("id");
    }
    row
}

/// Gives the fields to ask of a page, in Move's words, to read its items and where they are in the index.
#[must_use]
pub fn of_placed_page(kind: EntityKind, wanted: &Selection) -> String {
    let mut needed = of_entity(kind, wanted);
    needed.field("created");
    of_page(&of_kind(kind, &needed)).to_string()
}

/// Gives the fields to ask of what is not an entity.
#[must_use]
pub fn of_plain(wanted: &Selection) -> Selection {
    without_client_secrets("", wanted)
}

fn without_client_secrets(name: &str, selection: &Selection) -> Selection {
    let mut kept = Selection::default();
    for (field, below) in selection.iter() {
        if name == "client" && matches!(field, "portal" | "metadata") {
            continue;
        }
        kept.field(field).merge(&without_client_secrets(field, below));
    }
    if matches!(name, "file" | "videoFile") {
        // Whoever owns what holds a file owns the file.
        kept.field("id");
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
            of_entity(EntityKind::Job, &wanted).to_string(),
            " {client {__typename} id metadata progress {percentageComplete} take {client {id}}}"
        );
    }
}
