//! Which fields of a type are wanted, all the way down.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A tree of field names: what a caller selected with aliases, fragments and directives resolved,
/// or what is asked of upstream. A leaf has an empty tree. The name may also be an inline
/// fragment's head (`... on HumanVolume`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selection(BTreeMap<Box<str>, Selection>);

impl Selection {
    /// A selection of leaves.
    pub fn of_leaves<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(|name| (name.into(), Self::default())).collect())
    }

    /// Adds a field if it is not there, and gives what is selected of it.
    pub fn field(&mut self, name: &str) -> &mut Self {
        self.0.entry(name.into()).or_default()
    }

    /// Returns the selection of a field, if it is selected.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.0.get(name)
    }

    /// The fields and what is selected of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().map(|(name, below)| (&**name, below))
    }

    /// Returns true if nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if everything that `wanted` selects is selected here too.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        // Compared with itself, as a document that comes again is.
        std::ptr::eq(self, wanted)
            || wanted
                .0
                .iter()
                .all(|(name, below)| self.get(name).is_some_and(|own| own.covers(below)))
    }

    /// Returns true if a path of fields leads to something that is selected, or below it.
    #[must_use]
    pub fn reaches<'a>(&self, mut path: impl Iterator<Item = &'a str>) -> bool {
        let Some(first) = path.next() else { return true };
        let in_fragments = self.0.iter().filter(|(name, _)| name.starts_with("... on "));
        let here = std::iter::once(self).chain(in_fragments.map(|(_, below)| below));
        let mut below = here.filter_map(|selection| selection.get(first));
        below.next().is_some_and(|below| below.is_empty() || below.reaches(path))
    }

    /// Adds everything that `other` selects.
    pub fn merge(&mut self, other: &Self) {
        for (name, below) in &other.0 {
            self.field(name).merge(below);
        }
    }

    /// Both selections together.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.merge(other);
        self
    }
}

/// Prints a GraphQL selection set, ` {id outputs {file {id}}}`; nothing for an empty one.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        f.write_str(" {")?;
        for (i, (name, below)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(name)?;
            below.fmt(f)?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs_of(leaf: &str) -> Selection {
        let mut selection = Selection::of_leaves(["id"]);
        selection.field("outputs").field("file").field(leaf);
        selection
    }

    #[test]
    fn a_selection_prints_as_a_selection_set() {
        assert_eq!(outputs_of("id").to_string(), " {id outputs {file {id}}}");
        assert_eq!(Selection::default().to_string(), "");
    }

    #[test]
    fn a_path_reaches_what_is_selected_through_fragments_and_no_further() {
        let mut selection = outputs_of("id");
        selection.field("volume").field("... on HumanVolume").field("state");
        let reaches = |path: &str| selection.reaches(path.split_whitespace());
        assert!(reaches("") && reaches("outputs") && reaches("outputs file id"));
        assert!(reaches("volume state"));
        assert!(!reaches("outputs file name") && !reaches("state"));
    }

    #[test]
    fn a_union_covers_both_sides_and_neither_side_covers_the_union() {
        let (a, b) = (outputs_of("id"), outputs_of("name"));
        let both = a.clone().union(&b);
        assert!(both.covers(&a) && both.covers(&b));
        assert!(!a.covers(&both) && !b.covers(&both));
    }
}
