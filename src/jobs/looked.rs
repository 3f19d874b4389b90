//! Looks at the jobs that the index names: each as it is now, from the cache, the index or Move.

use futures_util::future::join_all;
use jiff::Timestamp;

use super::fetch::CachedEntity;
use super::get::concerns;
use super::list::ListCall;
use super::needs::{self, Needed};
use super::recall::{Row, Stored};
use super::{Error, Owned, Seat};
use crate::cache::{Entry, Key, Phase};
use crate::json::JsonRef;
use crate::model::{CacheStatus, RequestContext};
use crate::upstream::FieldError;

/// A job that was looked at.
pub(super) enum Looked {
    /// It is the tenant's.
    Own(Box<LookedAt>),
    /// It is not there, or another's.
    NotTheirs,
    /// Nobody can tell whose it is.
    OwnerUnknown,
    /// Move has no answer about it, for this reason.
    NoAnswer(Error),
}

/// A job of the tenant's that was looked at.
pub(super) struct LookedAt {
    /// The job.
    pub(super) job: Owned,
    /// Move's errors below it.
    pub(super) errors: Vec<FieldError>,
}

impl Looked {
    fn own(job: Owned, errors: Vec<FieldError>) -> Self {
        Self::Own(Box::new(LookedAt { job, errors }))
    }
}

/// The way to learn how a job is now.
enum Way {
    /// It is known.
    Known(Looked),
    /// Whoever knows it may be asked.
    Ask(Key),
    /// Move itself has to be asked, whatever others know.
    AskAnew(Key),
}

impl Way {
    fn known(self) -> Option<Looked> {
        match self {
            Self::Known(looked) => Some(looked),
            Self::Ask(_) | Self::AskAnew(_) => None,
        }
    }
}

impl ListCall<'_> {
    /// Looks at jobs, all at once: what goes up to Move goes up together. All of these fields are known of each then.
    pub(super) async fn look_at_all(&self, rows: &[Row], needed: &Needed) -> Vec<Looked> {
        let now = self.jobs.clock.now();
        let ways: Vec<_> = rows.iter().map(|row| self.way_to(row, needed, now)).collect();
        if ways.iter().all(|way| matches!(way, Way::Known(_))) {
            return ways.into_iter().filter_map(Way::known).collect();
        }
        let seat = self.jobs.together(self.request);
        let looks = ways.into_iter().zip(rows);
        let looks = looks.map(|(way, row)| self.look(way, row, needed, seat.clone()));
        let looks: Vec<_> = looks.collect();
        // What goes up together waits for every seat.
        drop(seat);
        join_all(looks).await
    }

    /// Picks the way to learn how a job is now.
    fn way_to(&self, row: &Row, needed: &Needed, now: Timestamp) -> Way {
        let Some(key) = &row.key else { return Way::Known(Looked::NotTheirs) };
        let request = self.request;
        let known =
            if request.fresh { None } else { self.jobs.known(request, key, &needed.selection) };
        let known = known.filter(|entry| entry.lifetime.phase(now) == Phase::Fresh);
        let is_behind = known.as_ref().is_some_and(|entry| self.is_behind(entry, row));
        let known = known.filter(|_| !is_behind);
        match known.as_ref().map(|entry| &entry.value) {
            Some(CachedEntity::Owned(job)) => {
                Way::Known(Looked::own(Owned::clone(job), Vec::new()))
            }
            // It may be there since: a page of Move's would have it.
            Some(CachedEntity::NotFound) => Way::AskAnew(key.clone()),
            None => match self.as_stored(row, needed, now) {
                Some(job) => {
                    if is_behind {
                        self.jobs.versions.outdate(key);
                    }
                    Way::Known(Looked::own(job.clone(), Vec::new()))
                }
                None => Way::Ask(key.clone()),
            },
        }
    }

    async fn look(&self, way: Way, row: &Row, needed: &Needed, seat: Seat) -> Looked {
        let key = match way {
            Way::Known(looked) => return looked,
            Way::AskAnew(key) => return self.ask_anew(&key, needed, seat).await,
            Way::Ask(key) => key,
        };
        match self.ask(self.request, &key, needed, seat).await {
            (looked, status) if status != CacheStatus::Miss && self.may_be_behind(&looked, row) => {
                let seat = self.jobs.together(self.request);
                self.ask_anew(&key, needed, seat).await
            }
            (looked, _) => looked,
        }
    }

    /// Asks Move itself, whatever others know.
    async fn ask_anew(&self, key: &Key, needed: &Needed, seat: Seat) -> Looked {
        let request = RequestContext { fresh: true, ..self.request.clone() };
        self.ask(&request, key, needed, seat).await.0
    }

    async fn ask(
        &self,
        request: &RequestContext,
        key: &Key,
        needed: &Needed,
        seat: Seat,
    ) -> (Looked, CacheStatus) {
        let (coalesced, asked) = self.jobs.ask(request, self.trail, key, needed, Some(seat)).await;
        let status = coalesced.or(asked.as_ref().ok().map(|fetched| fetched.status));
        let looked = match asked {
            Ok(fetched) => match &fetched.entry.value {
                CachedEntity::Owned(job) => {
                    let wanted = needs::of_entity(self.wanted.kind, &self.wanted.selection);
                    let errors = fetched.errors.iter();
                    let errors = errors.filter(|error| concerns(error, &wanted)).cloned();
                    Looked::own(Owned::clone(job), errors.collect())
                }
                CachedEntity::NotFound => Looked::NotTheirs,
            },
            Err(Error::NotFound(_)) => Looked::NotTheirs,
            Err(Error::OwnerUnknown) => Looked::OwnerUnknown,
            Err(error) => Looked::NoAnswer(error),
        };
        (looked, status.unwrap_or(CacheStatus::Miss))
    }

    /// Gives a job as the index has it, if that is all that is wanted, and fresh by the tenant's policy.
    fn as_stored<'r>(&self, row: &'r Row, needed: &Needed, now: Timestamp) -> Option<&'r Owned> {
        let known = row.found.known.as_ref()?;
        let (indexes, kind) = (&self.jobs.indexes, self.kind);
        let is_trusted = indexes.of(kind).is_some_and(|index| index.trusts(known.seen));
        let covers = indexes.fields(kind).is_some_and(|own| own.covers(&needed.selection));
        if self.request.fresh || row.found.is_unknown || !is_trusted || !covers {
            return None;
        }
        let stored = self.stored(row)?;
        (stored.lifetime.phase(now) == Phase::Fresh).then_some(&stored.job)
    }

    fn stored<'r>(&self, row: &'r Row) -> Option<&'r Stored> {
        row.stored(&self.request.caller.tenant, self.kind)
    }

    /// Returns true if an entry of the cache is older than what the index has of the job, and other than that. An
    /// earlier listing may have told what the index has.
    fn is_behind(&self, entry: &Entry<CachedEntity>, row: &Row) -> bool {
        let fetched = entry.lifetime.fetched.as_microsecond();
        let is_newer = row.found.known.as_ref().is_some_and(|known| known.seen > fetched);
        match &entry.value {
            CachedEntity::Owned(job) if is_newer => self.differs(job, row),
            CachedEntity::Owned(_) | CachedEntity::NotFound => false,
        }
    }

    /// Returns true if what somebody else asked for may be older than what the index has.
    fn may_be_behind(&self, looked: &Looked, row: &Row) -> bool {
        match looked {
            Looked::NotTheirs => true,
            Looked::Own(own) if row.found.known.is_some() => self.differs(&own.job, row),
            Looked::Own(_) | Looked::OwnerUnknown | Looked::NoAnswer(_) => false,
        }
    }

    /// Returns true if a job is not as the index has it, in what both know.
    fn differs(&self, job: &Owned, row: &Row) -> bool {
        let Some(stored) = self.stored(row) else { return true };
        let (one, other) = (job.json(), stored.job.json());
        let is_other = |one: JsonRef<'_>, other: JsonRef<'_>, name| {
            one.get(name).zip(other.get(name)).is_some_and(|(one, other)| one.raw() != other.raw())
        };
        let progress = one.get("progress").zip(other.get("progress"));
        ["state", "name", "metadata"].into_iter().any(|name| is_other(one, other, name))
            || progress.is_some_and(|(one, other)| is_other(one, other, "percentageComplete"))
    }
}
