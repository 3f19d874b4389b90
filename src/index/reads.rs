//! Questions to the index.

use super::file::{Index, IndexLost, Trouble};
use super::{Found, PlaceQuery, scan, tables};
use crate::model::{EntityId, TenantId};

impl Index {
    /// Finds places.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn find(&self, query: PlaceQuery) -> Result<Found, IndexLost> {
        self.run(move |inner, database| {
            // Before the news: what comes behind them is not in what is found.
            let changes = inner.changes.count();
            inner.take_in_news(database, false)?;
            Ok(Found { changes, ..scan::find(database, &query)? })
        })
        .await
    }

    /// Picks the jobs that are not filed under this tenant, or under any where it is not known whose they are.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn not_filed(
        &self,
        touched: Vec<(EntityId, Option<TenantId>)>,
    ) -> Result<Vec<EntityId>, IndexLost> {
        self.run(move |inner, database| {
            inner.take_in_news(database, false)?;
            Ok(tables::not_filed(database, touched)?)
        })
        .await
    }

    /// Counts the rows.
    ///
    /// # Errors
    /// [`IndexLost`].
    pub async fn count(&self) -> Result<u64, IndexLost> {
        self.run(|_, database| tables::count(database).map_err(Trouble::from)).await
    }
}
