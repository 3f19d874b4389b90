//! The heart: what a tenant may do. No HTTP and no GraphQL engine in here.
//!
//! Every way in ends in [`Owned`], which only the ownership check makes.
//!
//! Move answers a `getJob` with this metadata, for example:
//!
//! ```json
//! {"acme": {"shot": 12}, "_gateway": {"v": 1, "owner": "acme", "by": "render-farm"}}
//! ```
//!
//! `envelope` reads the record: the owner is `acme`. To a caller of `acme`, `ownership` makes an [`Owned`] of it, which
//! is cached, and `present` shows `{"shot": 12}` as its metadata, to the letter. To a caller of `globex` it is
//! [`Error::NotFound`], as if there were no such job. Had Move sent no metadata, or a record that cannot be read, it
//! would be an error to both: whose it is, is never guessed.

mod adopt;
mod arguments;
mod check;
mod create;
mod count;
mod cursor;
pub mod envelope;
mod error;
mod evidence;
mod fetch;
mod fill;
mod filter;
mod fingerprints;
#[cfg(feature = "fuzzing")]
#[expect(clippy::expect_used, reason = "a fuzz target panics to say what it found")]
pub mod fuzz;
mod get;
mod index_report;
mod indexed;
mod indexes;
mod list;
mod listed;
mod look;
mod looked;
mod needs;
mod newest;
mod news;
mod noticed;
mod ownership;
mod pages;
pub mod present;
mod proven;
mod recall;
mod rows;
mod sending;
mod share;
mod sift;
mod standing;
mod together;
mod update;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use fetch::{CachedEntity, FetchResult};
use listed::Listed;
use pages::Pages;
use proven::Proven;
use recall::Recall;
use writers::Writers;

pub use adopt::{Standing, adopter};
pub use arguments::id;
pub use cursor::CursorKey;
pub use error::{Error, NotIndexed};
pub use filter::JobFilter;
pub use index_report::IndexReport;
pub use indexes::{Indexes, KINDS};
pub use list::{ListArguments, Page};
pub use needs::Wanted;
pub use news::Whose;
pub use ownership::Owned;
#[cfg(test)]
pub use ownership::fixture;
pub use present::{Source, source_of};
pub use together::Seat;
pub use update::Update;

use crate::audit::Journal;
use crate::cache::{CacheSize, EntityCache, InFlight, Key, SharedTier, Versions};
use crate::model::{AccountId, Clock, EntityId, RequestContext, TenantId, Trail};
use crate::upstream::{self, FieldError, Upstream};

/// The operations on jobs, and what they need besides their caller and arguments.
#[derive(Debug, Clone)]
pub struct Jobs {
    upstream: Arc<Upstream>,
    cursor_key: CursorKey,
    clock: Clock,
    /// The longest time a fetch may take that several callers wait for.
    fetch_time: Duration,
    cache: Arc<EntityCache<CachedEntity>>,
    in_flight: Arc<InFlight<Key, FetchResult>>,
    versions: Arc<Versions>,
    pages: Arc<Pages>,
    recall: Arc<Recall>,
    shared: Option<Arc<SharedTier>>,
    indexes: Indexes,
    journal: Journal,
    /// Entities that were seen to be their tenant's.
    proven: Arc<Proven>,
    listed: Arc<Listed>,
    /// Files that were seen in something of a tenant's own.
    held: Cache<TenantsFile, ()>,
    writers: Arc<Writers>,
}

/// A file, the tenant that may see it, and the account in which that was seen.
type TenantsFile = (TenantId, AccountId, EntityId);

/// The number of files that are remembered.
const HELD: u64 = 100_000;

/// A value, with errors of some of its fields: partial data stays partial.
#[derive(Debug)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// Errors below it, in Move's order.
    pub errors: Vec<FieldError>,
}

impl Jobs {
    /// Binds the operations to an upstream, the key that seals cursors, and a clock. What is known
    /// of jobs may take `cache_bytes`; a fetch that several callers wait for, `fetch_time`.
    #[must_use]
    pub fn new(
        upstream: Arc<Upstream>,
        cursor_key: CursorKey,
        clock: Clock,
        cache_bytes: u64,
        fetch_time: Duration,
    ) -> Self {
        let versions = Arc::<Versions>::default();
        Self {
            upstream,
            cursor_key,
            clock,
            fetch_time,
            cache: Arc::new(EntityCache::new(cache_bytes, Arc::clone(&versions))),
            in_flight: Arc::default(),
            versions,
            pages: Arc::default(),
            recall: Arc::default(),
            shared: None,
            indexes: Indexes::default(),
            journal: Journal::none(),
            writers: Arc::default(),
            proven: Arc::default(),
            listed: Arc::default(),
            held: Cache::new(HELD),
        }
    }

    /// Shares what is known with other replicas.
    #[must_use]
    pub fn sharing(self, shared: Arc<SharedTier>) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// Answers listings from indexes where they are complete.
    #[must_use]
    pub fn indexed_by(self, indexes: Indexes) -> Self {
        let (told, clock) = (indexes.clone(), self.clock);
        let distrust = move || {
            let now = clock.now().as_microsecond();
            told.iter().for_each(|index| index.distrust(now));
        };
        // Anything may have been written before this process could hear of it.
        distrust();
        let told = indexes.clone();
        self.versions.on_news(move |key| match key {
            None => distrust(),
            Some(key) => {
                if let Some(index) = told.of(key.id.kind()) {
                    index.written(key.id.as_str(), clock.now().as_microsecond());
                }
            }
        });
        Self { indexes, ..self }
    }

    /// Records every mutation before it is sent.
    #[must_use]
    pub fn recording(self, journal: Journal) -> Self {
        Self { journal, ..self }
    }

    /// Records that a mutation is about to be sent.
    async fn intend(&self, request: &RequestContext, trail: &Trail) -> Result<(), Error> {
        let recorded = self.journal.intent(request, trail, self.clock.now()).await;
        recorded.map_err(|_| Error::AuditUnavailable)
    }

    /// The versions of everything that was ever fetched.
    #[must_use]
    pub const fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// Nothing that is known of an entity of the tenant's (of all of them, if none is named) may be
    /// given any more: it was written, or may have been.
    pub async fn forget(&self, tenant: &TenantId, id: Option<&EntityId>) {
        match id {
            Some(id) => {
                self.versions.forget_entity(&Key::new(tenant.clone(), id.clone()));
            }
            None => self.versions.forget_tenant(tenant),
        }
        if let Some(shared) = &self.shared {
            shared.forget(tenant, id).await;
        }
    }

    /// Takes the turn among the replicas to ask about each of these jobs; false for those that another one asks about.
    pub async fn take_turns(&self, keys: &[Key]) -> Vec<bool> {
        match &self.shared {
            Some(shared) => shared.take_turns(keys).await,
            None => vec![true; keys.len()],
        }
    }

    /// Gives those turns back.
    pub async fn end_turns(&self, keys: &[Key]) {
        if let Some(shared) = &self.shared {
            shared.end_turns(keys).await;
        }
    }

    /// Returns the number of replicas, this one included.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.shared.as_ref().map_or(1, |shared| shared.replicas())
    }

    /// Resolves when a call to Move would keep nobody waiting.
    pub async fn quiet(&self) {
        self.upstream.quiet().await;
    }

    /// Returns the state of the circuit breaker of each Move account.
    #[must_use]
    pub fn breakers(&self) -> Vec<upstream::BreakerReport> {
        self.upstream.breakers()
    }

    /// Shows the state of those circuit breakers in the metrics.
    pub fn show_breakers(&self) {
        upstream::show_breakers(&self.breakers());
    }

    /// Returns the number of cached jobs and their approximate size in bytes.
    #[must_use]
    pub fn cache_size(&self) -> CacheSize {
        self.cache.size()
    }
}
