//! The tenant's own jobs out of pages that hold everybody's.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::model::{JobId, RootField, Tenant};
use crate::upstream::{After, FieldError, JobsPage, PathSegment};

use super::OwnedJob;
use super::cursor::{BadCursor, Position};
use super::ownership::{self, NotShown, Place};

/// The bytes of jobs that are gathered for a page, by what they take as JSON.
const MAX_BYTES: usize = 4 << 20;

/// A page of the tenant's own jobs, as it fills.
pub struct Sifted<'a> {
    tenant: &'a Tenant,
    wanted: usize,
    bytes: usize,
    /// The jobs, in Move's order.
    pub items: Vec<OwnedJob>,
    /// Their errors, each under its job's index in `items`.
    pub errors: Vec<FieldError>,
}

impl<'a> Sifted<'a> {
    /// A page for `first` jobs, and not many more bytes than [`MAX_BYTES`].
    pub fn new(tenant: &'a Tenant, first: i32) -> Self {
        let wanted = usize::try_from(first).unwrap_or(0);
        Self { tenant, wanted, bytes: 0, items: Vec::new(), errors: Vec::new() }
    }

    /// Returns true if nothing more fits.
    pub const fn is_full(&self) -> bool {
        self.items.len() >= self.wanted || self.bytes >= MAX_BYTES
    }

    /// Takes the tenant's jobs out of one page of Move's and says where to go on: in the same page
    /// if it holds more of them than are wanted, else in the next; `None` behind the last page. A
    /// job of which nobody can tell whose it is, is left out.
    ///
    /// # Errors
    /// When the listing ended without the job behind which it should have gone on.
    pub fn take_from(
        &mut self,
        page: &JobsPage,
        errors: Vec<FieldError>,
        at: Position,
    ) -> Result<Option<Position>, BadCursor> {
        let Position { page: here, last } = at;
        // Jobs that were created meanwhile push the known ones back, maybe to a later page: what
        // was given before is passed over, however far it has moved.
        let mut given_before = last;
        let mut places = HashMap::new();
        let mut unknown = Unknown::default();
        for (index, job) in page.items().into_iter().flatten().enumerate() {
            let Some(job) = job else { continue };
            let id = job.id().map(Cow::into_owned);
            if given_before.is_some() {
                if given_before == id {
                    given_before = None;
                }
                continue;
            }
            let job = match OwnedJob::verify(self.tenant, job.alone(), &errors, Place::Item(index))
            {
                Ok(job) => job,
                Err(NotShown::NotTheirs) => continue,
                Err(NotShown::OwnerUnknown) => {
                    unknown.add(id);
                    continue;
                }
            };
            if self.is_full() {
                self.keep_errors(errors, &places);
                let last = self.items.last().and_then(|job| job.job().id());
                let last = last.map(Cow::into_owned);
                return Ok(Some(Position { page: here, last }));
            }
            places.insert(index, self.items.len());
            self.bytes += job.json().raw().len();
            self.items.push(job);
        }
        self.keep_errors(errors, &places);
        match page.after() {
            After::Cursor(after) => {
                Ok(Some(Position { page: Some(after.into_owned()), last: given_before }))
            }
            After::Last | After::Lost if given_before.is_some() => Err(BadCursor),
            After::Last | After::Lost => Ok(None),
        }
    }

    /// Keeps the errors of jobs that were taken, each under its job's new index.
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

/// The jobs of a page of which nobody can tell whose they are: reported together.
#[derive(Default)]
struct Unknown {
    count: usize,
    first: Option<String>,
}

impl Unknown {
    fn add(&mut self, id: Option<String>) {
        self.count += 1;
        self.first = self.first.take().or(id);
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        if self.count > 0 {
            let first = self.first.as_deref().and_then(|id| JobId::parse(id).ok());
            ownership::report_unknown(RootField::ListJobs, self.count, first.as_ref());
        }
    }
}
