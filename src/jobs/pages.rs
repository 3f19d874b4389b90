//! Move's pages of listings as they came: fetched once for all tenants of an account.
//!
//! A page holds everybody's, so it goes nowhere but into the sift, which gives each tenant an [`Owned`](super::Owned) of
//! what is its own. It is given to a tenant only if nothing of the tenant's was written or told since it began to be
//! fetched, but the page itself. Three tenants list their jobs, for example:
//!
//! | moment | what happens | calls |
//! |---|---|---|
//! | 0 ms | `acme` lists; no page is at hand, and one begins to be fetched | 1 |
//! | 10 ms | `globex` lists: it waits for the same page | 1 |
//! | 50 ms | the page comes, and is sifted for each of the two | 1 |
//! | 90 ms | `globex` creates a job | |
//! | 95 ms | `acme` and `initech` list, and get the page; `globex` lists, which fetches another | 2 |

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::Jobs;
use crate::cache::FetchSpan;
use crate::index::AccountFingerprint;
use crate::model::{Account, RequestContext, TenantId, Trail};
use crate::telemetry::listings::{self, PageSource};
use crate::upstream::{Call, EntityPage, Error, ErrorKind, Reply};

/// The time for which a page is given, unless a tenant's policy says less of unfinished jobs.
const FRESH: Duration = Duration::from_secs(2);

/// The most that pages may take together, in bytes.
const MAX_BYTES: u64 = 32 << 20;

/// A question for a page, hashed: its account, document and variables.
type Question = [u8; 32];

/// The pages that are at hand or under way.
#[derive(Debug)]
pub(super) struct Pages {
    kept: Cache<Question, Arc<Kept>>,
    under_way: Mutex<HashMap<Question, Weak<Fetch>>>,
    /// The number of pages that were fetched.
    count: AtomicU64,
}

/// A page that is at hand.
#[derive(Debug)]
struct Kept {
    began: Began,
    page: Landed,
}

/// A page that came.
#[derive(Debug, Clone)]
struct Landed {
    reply: Reply<EntityPage>,
    /// The moments between which it is true.
    fetched: FetchSpan,
}

/// A page that is under way. Whoever waits first makes the call; if that one goes away, the next one does.
#[derive(Debug)]
struct Fetch {
    /// The one who began it.
    tenant: TenantId,
    began: Began,
    page: OnceCell<Result<Landed, Error>>,
}

/// The beginning of a fetch: nothing in its page is older.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    /// The moment.
    pub(super) at: Timestamp,
    /// Its number, which no other fetch of the process has.
    pub(super) number: u64,
    /// Its place among writes and reads.
    moment: u64,
}

impl Default for Pages {
    fn default() -> Self {
        let weight = |_: &Question, kept: &Arc<Kept>| {
            let page = kept.page.reply.value.as_ref();
            let bytes = page.map_or(0, |page| page.json().weight());
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder().max_capacity(MAX_BYTES).weigher(weight).time_to_live(FRESH);
        Self { kept: kept.build(), under_way: Mutex::default(), count: AtomicU64::default() }
    }
}

impl Pages {
    /// Joins a fetch that is under way and good enough, or begins one.
    fn fetch(
        &self,
        question: Question,
        is_good: impl Fn(&Fetch) -> bool,
        begin: impl FnOnce() -> Fetch,
    ) -> Arc<Fetch> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let known = under_way.get(&question).and_then(Weak::upgrade);
        if let Some(fetch) = known.filter(|own| own.page.get().is_none() && is_good(own)) {
            return fetch;
        }
        under_way.retain(|_, fetch| fetch.strong_count() > 0);
        let fetch = Arc::new(begin());
        under_way.insert(question, Arc::downgrade(&fetch));
        fetch
    }
}

impl Jobs {
    /// One of Move's pages, for a listing in an account of all, and the beginning of its fetch: one that is at hand or
    /// under way, if it is new enough for the caller's tenant; else Move is asked.
    ///
    /// # Errors
    /// Those of the call.
    pub(super) async fn page_of_all(
        &self,
        request: &RequestContext,
        trail: &Trail,
        call: &Call,
    ) -> Result<(Began, Reply<EntityPage>), Error> {
        let tenant = &request.caller.tenant;
        let question = question(&tenant.account, call);
        let is_good =
            |fetched: FetchSpan| !request.fresh && self.versions.is_newest(&tenant.id, fetched);
        // Another tenant's calls may wait for long, and this one's need not.
        let may_join = |fetch: &Fetch| {
            is_good(FetchSpan::since(fetch.began.moment))
                && (fetch.tenant == tenant.id || !self.upstream.has_waiting(&fetch.tenant))
        };
        let fresh = FRESH.min(tenant.cache.unfinished);
        let is_fresh = |began: &Began| {
            let age = Duration::try_from(self.clock.now() - began.at);
            age.is_ok_and(|age| age < fresh)
        };
        let kept = self.pages.kept.get(&question);
        let kept = kept.filter(|kept| is_fresh(&kept.began) && is_good(kept.page.fetched));
        if let Some(kept) = kept {
            listings::listing_page(call.field, PageSource::Memory);
            self.versions.tell_of(&tenant.id, kept.page.fetched);
            return Ok((kept.began, kept.page.reply.clone()));
        }
        loop {
            let fetch = self.pages.fetch(question, may_join, || Fetch {
                tenant: tenant.id.clone(),
                began: Began {
                    at: self.clock.now(),
                    number: self.pages.count.fetch_add(1, Ordering::Relaxed),
                    moment: self.versions.moment(),
                },
                page: OnceCell::new(),
            });
            let mut source = PageSource::Joined;
            let asked = fetch.page.get_or_init(|| {
                source = PageSource::Move;
                self.fetch_page(request, trail, call, fetch.began.moment)
            });
            let page = match timeout_at(request.deadline, asked).await {
                Ok(page) => page.clone(),
                Err(_) => Err(ErrorKind::DeadlineExceeded.into()),
            };
            listings::listing_page(call.field, source);
            match page {
                Err(error)
                    if source == PageSource::Joined
                        && is_its_own(error.kind())
                        && Instant::now() < request.deadline => {}
                Err(error) => return Err(error),
                Ok(page) => {
                    let Landed { reply, fetched } = page.clone();
                    if source == PageSource::Move
                        && reply.value.is_some()
                        && reply.errors.is_empty()
                    {
                        self.pages
                            .kept
                            .insert(question, Arc::new(Kept { began: fetch.began, page }));
                    }
                    self.versions.tell_of(&tenant.id, fetched);
                    return Ok((fetch.began, reply));
                }
            }
        }
    }

    async fn fetch_page(
        &self,
        request: &RequestContext,
        trail: &Trail,
        call: &Call,
        began: u64,
    ) -> Result<Landed, Error> {
        let reply = self.upstream.call::<EntityPage>(request, trail, call).await?;
        Ok(Landed { reply, fetched: FetchSpan { began, landed: self.versions.moment() } })
    }
}

/// Returns true for a failure of whoever made a call, which another's call need not meet: its time was over, its turn
/// did not come, or it is left out by its own breaker.
const fn is_its_own(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DeadlineExceeded | ErrorKind::Overloaded | ErrorKind::CircuitOpen)
}

/// Hashes what a page depends on.
fn question(account: &Account, call: &Call) -> Question {
    let variables = serde_json::to_string(&call.variables).unwrap_or_default();
    let texts = [&*call.document, &variables].map(|text| format!("{} {text}\n", text.len()));
    Sha256::new().chain_update(fingerprint(account)).chain_update(texts.concat()).finalize().into()
}

/// Hashes an account, its address and its key.
pub(super) fn fingerprint(account: &Account) -> AccountFingerprint {
    let key = Sha256::digest(account.api_key.expose());
    let texts = [&account.id.to_string(), account.url.as_str()];
    let texts = texts.map(|text| format!("{} {text}\n", text.len()));
    Sha256::new().chain_update(key).chain_update(texts.concat()).finalize().into()
}
