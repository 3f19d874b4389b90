//! Look-ahead: what the caller selected, as field names; and back, from names to its response keys.

use async_graphql::{PathSegment, SelectionField};

use crate::model::Selection;
use crate::operation::Field;
use crate::upstream;

/// A field that is selected, and what is selected of it: as the engine looks ahead, or as a plan has it.
/// What `@skip` and `@include` exclude is left out, fragments are walked into.
pub trait Selected {
    /// Its name in the schema.
    fn name(&self) -> &str;
    /// Calls `visit` with each field that is selected of it.
    fn each(&self, visit: impl FnMut(&Self));
}

impl Selected for SelectionField<'_> {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn each(&self, mut visit: impl FnMut(&Self)) {
        self.selection_set().for_each(|field| visit(&field));
    }
}

impl Selected for Field {
    fn name(&self) -> &str {
        &self.name
    }

    fn each(&self, visit: impl FnMut(&Self)) {
        self.below.iter().for_each(visit);
    }
}

/// What is selected below a field, as Move is asked for it; aliases do not matter.
#[must_use]
pub fn below(field: &impl Selected) -> Selection {
    let mut selection = Selection::default();
    collect(field, &mut selection);
    selection
}

/// What is selected of the field's subfield, if it is selected.
#[must_use]
pub fn of_subfield<S: Selected>(field: &S, name: &str) -> Selection {
    let mut selection = Selection::default();
    field.each(|subfield| {
        if subfield.name() == name {
            collect(subfield, &mut selection);
        }
    });
    selection
}

fn collect<S: Selected>(field: &S, into: &mut Selection) {
    let mut is_leaf = true;
    field.each(|subfield| {
        is_leaf = false;
        match subfield.name() {
            // The gateway's own schema answers it.
            "__typename" => {}
            // The one union; its only member is the same in Move's schema.
            "volume" => {
                let volume = into.field("volume");
                volume.field("__typename");
                collect(subfield, volume.field("... on HumanVolume"));
            }
            name => collect(subfield, into.field(name)),
        }
    });
    if !is_leaf && into.is_empty() {
        into.field("__typename");
    }
}

/// Where the caller sees what Move calls `path`, below the given field: once for every alias.
/// A path that leads to nothing the caller selected ends where the selection ends.
#[must_use]
pub fn response_paths(
    field: SelectionField<'_>,
    path: &[upstream::PathSegment],
) -> Vec<Vec<PathSegment>> {
    let (name, rest) = match path {
        [] => return vec![Vec::new()],
        [upstream::PathSegment::Index(index), rest @ ..] => {
            let below = response_paths(field, rest);
            return below
                .into_iter()
                .map(|path| prepend(PathSegment::Index(*index), path))
                .collect();
        }
        [upstream::PathSegment::Field(name), rest @ ..] => (name, rest),
    };
    let mut paths = Vec::new();
    for subfield in field.selection_set() {
        let key = || PathSegment::Field(subfield.alias().unwrap_or(subfield.name()).to_owned());
        let below = if subfield.name() == name {
            response_paths(subfield, rest)
        } else if subfield.name() == "percentageComplete" && name == "progress" {
            vec![Vec::new()]
        } else {
            continue;
        };
        paths.extend(below.into_iter().map(|path| prepend(key(), path)));
    }
    paths.dedup();
    if paths.is_empty() { vec![Vec::new()] } else { paths }
}

fn prepend(first: PathSegment, mut path: Vec<PathSegment>) -> Vec<PathSegment> {
    path.insert(0, first);
    path
}
