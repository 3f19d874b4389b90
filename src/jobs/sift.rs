//! Sifts the tenant's own out of pages that hold everybody's.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::index;
use crate::model::{EntityId, EntityKind, Tenant};
use crate::types::SortDirection;
use crate::upstream::{After, Entity, EntityPage, FieldError, PathSegment};

use super::Owned;
use super::cursor::{BadCursor, Position};
use super::ownership::{self, Held, NotShown, Place};
use super::rows::created;

/// The most bytes of items that are gathered for a page, by what they take as JSON.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// A page of what is the tenant's own, as it fills.
pub struct Sifted<'a> {
    tenant: &'a Tenant,
    kind: EntityKind,
    wanted: usize,
    bytes: usize,
    /// The place that items are behind, and the order; all are, if it is `None`.
    behind: Option<(index::JobPlace, bool)>,
    /// The items, in Move's order.
    pub items: Vec<Owned>,
    /// Their errors, each under its item's index in `items`.
    pub errors: Vec<FieldError>,
}

impl<'a> Sifted<'a> {
    /// A page for `first` items, and not many more bytes than [`MAX_BYTES`].
    pub fn new(tenant: &'a Tenant, kind: EntityKind, first: i32) -> Self {
        let wanted = usize::try_from(first).unwrap_or(0);
        let (items, errors) = (Vec::new(), Vec::new());
        Self { tenant, kind, wanted, bytes: 0, behind: None, items, errors }
    }

    /// Takes only items that are behind a place of the index, in a listing of this order.
    pub fn behind(self, place: Option<index::JobPlace>, order: Option<SortDirection>) -> Self {
        let ascending = order == Some(SortDirection::Asc);
        Self { behind: place.map(|place| (place, ascending)), ..self }
    }

    /// Returns true for an item that was given by the index before.
    fn is_before(&self, item: &Entity) -> bool {
        let Some((place, ascending)) = &self.behind else { return false };
        let (Some(created), Some(id)) = (created(item), item.id()) else { return false };
        let here = (created, &*id);
        let there = (place.created, &*place.id);
        if *ascending { here <= there } else { here >= there }
    }

    /// Returns true if nothing more fits.
    pub const fn is_full(&self) -> bool {
        self.items.len() >= self.wanted || self.bytes >= MAX_BYTES
    }

    /// Takes the tenant's items out of one page of Move's and says where to go on: in the same page
    /// if it holds more of them than are wanted, else in the next; `None` behind the last page. An
    /// item of which nobody can tell whose it is, is left out.
    ///
    /// # Errors
    /// If the listing ended without the item behind which it should have gone on.
    pub fn take_from(
        &mut self,
        page: &EntityPage,
        errors: Vec<FieldError>,
        at: Position,
    ) -> Result<Option<Position>, BadCursor> {
        let Position { page: here, last, .. } = at;
        // Items that were created meanwhile push the known ones back, maybe to a later page: what
        // was given before is passed over, however far it has moved.
        let mut given_before = last;
        let mut places = HashMap::new();
        let mut unknown = Unknown { kind: self.kind, count: 0, first: None };
        for (index, item) in page.items().into_iter().flatten().enumerate() {
            let Some(item) = item else { continue };
            if given_before.is_some() {
                if item.id().as_deref() == given_before.as_deref() {
                    given_before = None;
                }
                continue;
            }
            if self.is_before(&item) {
                continue;
            }
            let place = Place::Item(index);
            let (kind, held) = (self.kind, Held::ByNobody);
            let own = match Owned::verify(self.tenant, kind, held, item.clone(), &errors, place) {
                Ok(own) => own,
                Err(NotShown::NotTheirs) => continue,
                Err(NotShown::OwnerUnknown) => {
                    unknown.add(&item);
                    continue;
                }
            };
            if self.is_full() {
                self.keep_errors(errors, &places);
                let last = self.items.last().and_then(|item| item.entity().id());
                let last = last.map(Cow::into_owned);
                return Ok(Some(Position { page: here, last, behind: None }));
            }
            places.insert(index, self.items.len());
            self.bytes += own.json().raw().len();
            self.items.push(own.alone());
        }
        self.keep_errors(errors, &places);
        match page.after() {
            After::Cursor(after) => {
                let page = Some(after.into_owned());
                Ok(Some(Position { page, last: given_before, behind: None }))
            }
            After::Last | After::Lost if given_before.is_some() => Err(BadCursor),
            After::Last | After::Lost => Ok(None),
        }
    }

    /// Keeps the errors of items that were taken, each under its item's new index.
    fn keep_errors(&mut self, errors: Vec<FieldError>, places: &HashMap<usize, usize>) {
        for mut error in errors {
            let place = match error.path.get_mut(1) {
                Some(PathSegment::Index(index)) => places.get(index).map(|place| *index = *place),
                _ => None,
            };
            if place.is_some() {
                self.errors.push(error);
            }
        }
    }
}

/// The items of a page of which nobody can tell whose they are: reported together.
struct Unknown {
    kind: EntityKind,
    count: usize,
    first: Option<String>,
}

impl Unknown {
    fn add(&mut self, item: &Entity) {
        self.count += 1;
        self.first = self.first.take().or_else(|| item.id().map(Cow::into_owned));
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        if self.count > 0 {
            let kind = self.kind;
            let first = self.first.as_deref().and_then(|id| EntityId::parse(kind, id).ok());
            ownership::report_unknown(
                kind.lister().unwrap_or_default(),
                self.count,
                first.as_ref(),
            );
        }
    }
}
