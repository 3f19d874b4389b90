//! The number of jobs of a listing, by the index.

use tokio::time::Instant;

use super::indexed::NotHere;
use super::list::{ListCall, MAX_TIME};
use super::looked::Looked;
use super::needs::{self, Needed};
use super::recall::Row;
use super::{Error, NotIndexed, pages};
use crate::index::{AccountFingerprint, FoundPlace, Index, PlaceQuery};

/// The most jobs that are asked for to be counted: 20 calls.
const MOST_ASKED: usize = 500;

impl ListCall<'_> {
    /// Counts the tenant's jobs that the listing gives on all its pages.
    ///
    /// # Errors
    /// [`Error::NotIndexed`] where the index cannot tell; Move's, where a job has to be asked for.
    pub(super) async fn count(&self) -> Result<usize, Error> {
        if !self.request.caller.tenant.account.is_shared() {
            return Err(Error::NotIndexed(NotIndexed::OwnAccount));
        }
        let account = pages::fingerprint(&self.request.caller.tenant.account);
        let Some(index) = self.jobs.indexes.of(self.kind) else { return Err(self.not_indexed()) };
        if index.complete_to(account).is_none() {
            return Err(self.not_indexed());
        }
        self.count_rows(index, account).await.map_err(|why| match why {
            NotHere::Sift => self.not_indexed(),
            NotHere::Failed(error) => error,
        })
    }

    async fn count_rows(
        &self,
        index: &Index,
        account: AccountFingerprint,
    ) -> Result<usize, NotHere> {
        let complete_to = index.complete_to(account).ok_or(NotHere::Sift)?;
        let query = self.query(None, MOST_ASKED);
        if query.created.1.is_none_or(|before| before > complete_to) {
            self.join_newest(index, account).await?;
        }
        let give_up = Instant::now() + MAX_TIME;
        let (mut count, mut open) = (0, Vec::<FoundPlace>::new());
        for owner in query.owners {
            let mut after = None;
            loop {
                let owners = vec![owner.clone()];
                let query = PlaceQuery { owners, is_count: true, ..self.query(after, MOST_ASKED) };
                let found = index.find(query).await?;
                self.note_rows(found.rows);
                count += found.count;
                open.extend(found.places);
                if open.len() > MOST_ASKED || Instant::now() >= give_up {
                    open.truncate(MOST_ASKED);
                    self.count_open(&open).await?;
                    return Err(Error::NotIndexed(NotIndexed::TooMany).into());
                }
                match found.cut {
                    Some(cut) => after = Some(cut),
                    None => break,
                }
            }
        }
        Ok(count + self.count_open(&open).await?)
    }

    /// Asks for jobs, and counts those that are wanted as they are now.
    async fn count_open(&self, open: &[FoundPlace]) -> Result<usize, NotHere> {
        if open.is_empty() {
            return Ok(0);
        }
        let needed = Needed::new(self.kind, needs::of_row(self.kind));
        let tenant = &self.request.caller.tenant;
        let open = open.iter().map(|found| Row::new(tenant, self.kind, found.clone()));
        let looked = self.look_at_all(&open.collect::<Vec<_>>(), &needed).await;
        let mut count = 0;
        for looked in looked {
            match looked {
                Looked::Own(own) if self.wants(&own.job) => count += 1,
                Looked::Own(_) | Looked::NotTheirs | Looked::OwnerUnknown => {}
                Looked::NoAnswer(error) => return Err(self.no_answer(error)),
            }
        }
        Ok(count)
    }
}
