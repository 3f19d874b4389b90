//! The newest jobs of an account (or takes, or volumes), joined to those that the index has.

use jiff::Timestamp;

use super::{Jobs, needs, rows};
use crate::index::{AccountFingerprint, Extended, Index, IndexLost, NewestPage};
use crate::model::{Account, EntityKind, RequestContext, Trail};
use crate::telemetry::listings;
use crate::types::SortDirection;
use crate::upstream::{After, Call, EntityPage, Error, Listing, Reply};

/// The number of jobs on the newest page.
pub(super) const NEWEST: i32 = 100;

/// The most of Move's pages that are read to join the newest jobs to those that are known.
const MOST_PAGES: usize = 3;

/// Why the newest jobs are not in the index.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotJoined {
    /// Move did not answer.
    #[error(transparent)]
    Upstream(#[from] Error),
    /// Move's answer cannot be indexed.
    #[error("Move's newest page of jobs cannot be read whole")]
    Unreadable,
    /// More was created than the newest pages hold while nobody looked: the walk goes there first.
    #[error("the index of jobs is behind by more than the newest pages hold")]
    Behind,
    /// The index is not there.
    #[error(transparent)]
    Lost(#[from] IndexLost),
}

/// Whoever reads the newest jobs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reader<'a> {
    /// A listing, by pages that all tenants share.
    Listing(&'a RequestContext, &'a Trail),
    /// Whoever keeps the index of an account.
    Keeper(&'a Account),
}

impl Reader<'_> {
    fn account(&self) -> &Account {
        match self {
            Self::Listing(request, _) => &request.caller.tenant.account,
            Self::Keeper(account) => account,
        }
    }
}

impl Jobs {
    /// Takes the newest jobs of the account into the index, unless it has just these already.
    pub(super) async fn join_newest(
        &self,
        index: &Index,
        account: AccountFingerprint,
        reader: Reader<'_>,
    ) -> Result<(), NotJoined> {
        let (mut newest, mut after) = (Vec::new(), None::<String>);
        // A page may be older than this by the time for which pages are shared, and that is not much.
        let now = self.clock.now();
        for round in 0..MOST_PAGES {
            let listing = Listing {
                first: NEWEST,
                after: after.as_deref(),
                sort_direction: Some(SortDirection::Desc),
                take: None,
            };
            let kind = index.kind();
            let lister = kind.lister().unwrap_or_default();
            let call = Call::list(lister, &listing, needs::of_index(kind));
            let (began, number, reply) = self.newest_page(index, reader, &call).await?;
            // What several pages are joined by is not one of them.
            let number = number.filter(|_| round == 0);
            if number.is_some_and(|page| index.has_joined(account, page)) {
                return Ok(());
            }
            let Reply { value, errors, .. } = reply;
            let page = value.ok_or(NotJoined::Unreadable)?;
            let next = match page.after() {
                After::Cursor(next) => Some(next.into_owned()),
                After::Last => None,
                After::Lost => return Err(NotJoined::Unreadable),
            };
            if kind == EntityKind::Job {
                self.notice_page(reader.account(), &page, &errors).await;
            }
            newest.extend(rows::of_page(kind, &page, &errors, began).ok_or(NotJoined::Unreadable)?);
            let oldest = newest.iter().map(|row| row.place.created).min();
            let oldest = if next.is_none() { None } else { Some(oldest.unwrap_or(i64::MAX)) };
            let page = NewestPage { rows: newest.clone(), oldest, number };
            if index.extend(account, page, now).await? == Extended::Joined {
                return Ok(());
            }
            after = next;
        }
        index.fall_behind().await?;
        Err(NotJoined::Behind)
    }

    /// Reads a page. Gives also the moment at which it began to be asked for, and its number, if several may read it.
    async fn newest_page(
        &self,
        index: &Index,
        reader: Reader<'_>,
        call: &Call,
    ) -> Result<(Timestamp, Option<u64>, Reply<EntityPage>), Error> {
        match reader {
            Reader::Listing(request, trail) => {
                let (began, reply) = self.page_of_all(request, trail, call).await?;
                Ok((began.at, Some(began.number), reply))
            }
            Reader::Keeper(account) => {
                listings::index_call(index.kind().name(), "newest");
                let began = self.clock.now();
                Ok((began, None, self.ask_in_background(account, call).await?))
            }
        }
    }
}
