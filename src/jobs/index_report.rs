//! The state of the index of jobs, for metrics and for `/status`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Jobs, KINDS, pages};
use crate::model::{Account, EntityKind};
use crate::telemetry::listings;

/// The state of an index.
#[derive(Debug)]
pub struct IndexReport {
    /// Its file.
    pub file: PathBuf,
    /// True if a listing would have been better off with an index: it is filled from then on.
    pub is_wanted: bool,
    /// True if the file can be had.
    pub is_open: bool,
    /// True if listings are answered from it.
    pub is_complete: bool,
    /// The number of jobs in it.
    pub jobs: u64,
    /// The creation of the last job that the walk has read; `None` at its beginning.
    pub read_to: Option<Timestamp>,
    /// The last moment at which it was seen that no newer job is missing, if it is complete.
    pub joined_at: Option<Timestamp>,
}

impl Jobs {
    /// Returns the state of the index of a kind, if there is one. `account` is the one that tenants share.
    pub async fn index_report(
        &self,
        kind: EntityKind,
        account: Option<&Account>,
    ) -> Option<IndexReport> {
        let index = self.indexes.of(kind)?;
        let complete = account.and_then(|own| index.complete_to(pages::fingerprint(own)));
        let read_to = index.progress().read_to;
        Some(IndexReport {
            file: index.path().to_owned(),
            is_wanted: index.is_wanted(),
            is_open: index.is_open(),
            is_complete: complete.is_some(),
            jobs: index.count().await.unwrap_or(0),
            read_to: read_to.and_then(|micros| Timestamp::from_microsecond(micros).ok()),
            joined_at: complete.and_then(|_| index.joined_at()),
        })
    }

    /// Shows how much is in the indexes, in the metrics: of jobs always, of others once somebody wants them.
    pub async fn show_indexes(&self, account: Option<Arc<Account>>) {
        for kind in KINDS {
            let Some(report) = self.index_report(kind, account.as_deref()).await else { continue };
            if !report.is_wanted && kind != EntityKind::Job {
                continue;
            }
            let read_to = report.read_to.map_or(0, Timestamp::as_microsecond);
            listings::index_state(kind.name(), report.jobs, report.is_complete, read_to);
            if let Some(at) = report.joined_at {
                let lag = Duration::try_from(self.clock.now() - at).unwrap_or_default();
                listings::index_lag(kind.name(), lag);
            }
        }
    }
}
