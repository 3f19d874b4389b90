//! Word to other replicas of what listings told, so that none tells what was so before.
//!
//! A read of one thing tells the others each time. A listing shows many things, most of them as it showed them the last
//! time: only what this replica has not told in that form yet is told to the others, whose entries and pages may be
//! older.

use futures_util::future::join_all;

use super::fingerprints::Fingerprints;
use super::{Jobs, Owned};
use crate::cache::Key;
use crate::model::{EntityId, EntityKind, TenantId};

/// The things that were told, each with its text.
#[derive(Debug, Default)]
pub(super) struct Listed(Fingerprints);

impl Jobs {
    /// Has other replicas forget what a listing is about to tell news of, and waits until they have.
    pub(super) async fn relay_listed(&self, tenant: &TenantId, kind: EntityKind, items: &[Owned]) {
        let Some(shared) = &self.shared else { return };
        let news = items.iter().filter_map(|item| {
            let id = EntityId::parse(kind, &item.entity().id()?).ok()?;
            let is_told = self.listed.0.knows(&(tenant, &id, item.json().raw()));
            (!is_told).then(|| (Key::new(tenant.clone(), id), item))
        });
        let relayed = news.map(async |(key, item)| {
            shared.listed(&key, item.progress()).await;
            self.listed.0.note(&(tenant, &key.id, item.json().raw()));
        });
        join_all(relayed).await;
    }
}
