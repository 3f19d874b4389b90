//! The indexes of the shared account: one for each kind that can be listed, each in a file of its own.

use std::sync::Arc;

use super::needs;
use crate::index::Index;
use crate::model::{EntityKind, Selection};

/// The kinds that have an index.
pub const KINDS: [EntityKind; 3] = [EntityKind::Job, EntityKind::Take, EntityKind::Volume];

/// The indexes, as far as there are any.
#[derive(Debug, Clone, Default)]
pub struct Indexes(Vec<(Index, Arc<Selection>)>);

impl Indexes {
    /// Those that were made.
    #[must_use]
    pub fn new(indexes: Vec<Index>) -> Self {
        let with_fields = |index: Index| {
            let fields = Arc::new(needs::of_row(index.kind()));
            (index, fields)
        };
        Self(indexes.into_iter().map(with_fields).collect())
    }

    /// Returns the index of a kind.
    #[must_use]
    pub fn of(&self, kind: EntityKind) -> Option<&Index> {
        self.iter().find(|index| index.kind() == kind)
    }

    /// Returns the fields that the index of a kind has.
    #[must_use]
    pub fn fields(&self, kind: EntityKind) -> Option<&Selection> {
        let (_, fields) = self.0.iter().find(|(index, _)| index.kind() == kind)?;
        Some(fields)
    }

    /// Gives each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Index> {
        self.0.iter().map(|(index, _)| index)
    }
}
