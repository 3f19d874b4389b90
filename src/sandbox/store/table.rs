//! The entities of one kind in an account, in the order of a listing.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use jiff::Timestamp;

/// An entity that has an id and a time of creation.
pub trait Row: Clone {
    /// Its id.
    fn id(&self) -> &str;
    /// The time of its creation.
    fn created(&self) -> Timestamp;
}

/// The order of a listing: by time of creation, then of insertion.
type Place = (Timestamp, u64);

/// Entities by place and by id.
#[derive(Debug)]
pub struct Table<T> {
    rows: BTreeMap<Place, Arc<T>>,
    places: HashMap<String, Place>,
    inserted: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), places: HashMap::new(), inserted: 0 }
    }
}

/// The part of a listing that is asked for.
pub struct Range<'a> {
    /// The most entities.
    pub first: usize,
    /// The id of the entity before them.
    pub after: Option<&'a str>,
    /// Set if the oldest come first.
    pub ascending: bool,
}

/// A page of a listing.
pub struct Page<T> {
    /// The entities.
    pub rows: Vec<Arc<T>>,
    /// The last of them, if there are more.
    pub next: Option<Arc<T>>,
}

impl<T: Row> Table<T> {
    /// Iterates over them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.rows.values()
    }

    /// Adds an entity; one with the same id goes.
    pub fn insert(&mut self, row: T) {
        if let Some(place) = self.places.remove(row.id()) {
            self.rows.remove(&place);
        }
        self.inserted += 1;
        let place = (row.created(), self.inserted);
        self.places.insert(row.id().to_owned(), place);
        self.rows.insert(place, Arc::new(row));
    }

    /// Takes an entity away.
    pub fn remove(&mut self, id: &str) {
        if let Some(place) = self.places.remove(id) {
            self.rows.remove(&place);
        }
    }

    /// Finds an entity by its id.
    pub fn get(&self, id: &str) -> Option<&Arc<T>> {
        self.rows.get(self.places.get(id)?)
    }

    /// Finds an entity by its id, to change it.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.rows.get_mut(self.places.get(id)?).map(Arc::make_mut)
    }

    /// Reads a page of those that are `wanted`; `None` if it is to begin behind an unknown id.
    pub fn page(&self, range: &Range<'_>, wanted: impl Fn(&T) -> bool) -> Option<Page<T>> {
        let start = match range.after {
            Some(id) => Some(*self.places.get(id)?),
            None => None,
        };
        let collect = |rows: &mut dyn Iterator<Item = &Arc<T>>| -> Vec<Arc<T>> {
            rows.filter(|row| wanted(row)).take(range.first + 1).cloned().collect()
        };
        let mut rows = if range.ascending {
            let start = start.map_or(Unbounded, Excluded);
            collect(&mut self.rows.range((start, Unbounded)).map(|(_, row)| row))
        } else {
            let end = start.map_or(Unbounded, Excluded);
            collect(&mut self.rows.range((Unbounded, end)).rev().map(|(_, row)| row))
        };
        let has_more = rows.len() > range.first;
        rows.truncate(range.first);
        let next = rows.last().filter(|_| has_more).cloned();
        Some(Page { rows, next })
    }
}
