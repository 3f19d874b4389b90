//! An emulator of the Move API, over real HTTP, for `jobs-gateway dev` and for tests.
//!
//! It serves exactly what `schema/move.graphql` states, in AppSync's manner: POST only, the key raw
//! in `Authorization`, errors with `errorType` and `errorInfo` at their top level. Its presigned URLs
//! lead to itself, and take and give bytes as S3 does. Jobs and volumes come along on tokio's clock,
//! so a test that pauses time pauses them too. Nothing of it is in a production build (feature
//! `sandbox`).

mod answer;
mod call;
mod direct;
mod events;
mod faults;
mod http;
mod objects;
mod presign;
mod resolve;
mod schema;
mod seed;
mod store;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use call::Call;
pub use faults::Fault;
pub use presign::Style;
pub use seed::{FAILING_TAKE, HUMAN_VOLUME, MULTICAM_TAKE, SINGLECAM_TAKE};
pub use store::file::{Content, File};
pub use store::job::Job;
pub use store::progress::State;
pub use store::take::{Source, Take, TakeKind};
pub use store::volume::Volume;

use faults::Faults;
use presign::Signer;
use store::Account;

/// The behaviour of a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The address it listens on; port 0 takes any free port.
    pub listen: SocketAddr,
    /// The API keys it takes: one account each, with a client and entities of its own.
    pub api_keys: Vec<String>,
    /// Adds the older `createJob`; in the live API of today it does not exist.
    pub create_job: bool,
    /// From NOT_STARTED to STARTED to RUNNING to FINISHED (or FAILED), the time spent in each of
    /// the first three.
    pub step: Duration,
    /// The lifetime of a presigned URL.
    pub url_lifetime: Duration,
    /// The signature of presigned URLs.
    pub url_style: Style,
    /// Lets a failed job arrive as an error that carries its state, as one public client says.
    pub failed_as_error: bool,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            api_keys: vec!["sandbox-move-key".to_owned()],
            create_job: false,
            step: Duration::from_secs(10),
            url_lifetime: Duration::from_hours(1),
            url_style: Style::SignatureV4,
            failed_as_error: false,
        }
    }
}

/// A running sandbox. Clones are the same sandbox; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Arc<AbortOnDrop>,
    /// The sender of events.
    _sender: Arc<AbortOnDrop>,
    /// The API key of the account that entities are added to.
    account: Arc<str>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The state that the server and its handle share.
#[derive(Debug)]
struct Shared {
    options: SandboxOptions,
    schema: schema::MoveSchema,
    signer: Signer,
    /// By API key. Resolvers borrow an account for a moment at a time.
    accounts: Mutex<HashMap<String, RefCell<Account>>>,
    calls: Mutex<Vec<Call>>,
    faults: Mutex<Faults>,
    /// Told when an endpoint is made that events are sent to.
    endpoint_made: Notify,
    /// Wall clock and tokio's clock at one moment.
    started: (Timestamp, Instant),
}

impl Shared {
    /// The time of day, moving with tokio's clock.
    fn now(&self) -> Timestamp {
        let (start, since) = self.started;
        start.saturating_add(since.elapsed()).unwrap_or(Timestamp::MAX)
    }
}

/// A lock whose holder cannot leave anything half done: a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    /// Starts a sandbox with its seed of takes.
    ///
    /// # Errors
    /// If its address cannot be listened on.
    pub async fn start(options: SandboxOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let started = (Timestamp::now(), Instant::now());
        let accounts = options
            .api_keys
            .iter()
            .enumerate()
            .map(|(number, key)| (key.clone(), RefCell::new(seed::account(number, started.0))))
            .collect();
        let shared = Arc::new(Shared {
            schema: schema::MoveSchema::new(options.create_job).map_err(io::Error::other)?,
            signer: Signer::new(address, options.url_style, options.url_lifetime),
            options,
            accounts: Mutex::new(accounts),
            calls: Mutex::default(),
            faults: Mutex::default(),
            endpoint_made: Notify::new(),
            started,
        });
        let account = shared.options.api_keys.first().map_or("", String::as_str).into();
        let server = tokio::spawn(http::serve(listener, Arc::clone(&shared)));
        let sender = tokio::spawn(events::send(Arc::clone(&shared)));
        let [server, sender] = [server, sender].map(|task| Arc::new(AbortOnDrop(task)));
        Ok(Self { shared, address, server, _sender: sender, account })
    }

    /// Stops listening and ends all connections.
    pub async fn stop(&self) {
        self.server.0.abort();
        while !self.server.0.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// Its GraphQL endpoint.
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "an address makes a URL")]
    pub fn url(&self) -> url::Url {
        format!("http://{}/ugc/graphql", self.address).parse().expect("an address makes a URL")
    }

    /// Every call since the start or [`Sandbox::clear_calls`]; after 100,000 the record begins anew.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        lock(&self.shared.calls).clear();
    }

    /// The number of calls that asked for this root field.
    #[must_use]
    pub fn count(&self, field: &str) -> usize {
        lock(&self.shared.calls).iter().filter(|call| call.field == field).count()
    }

    /// The next call, or the next of this root field, meets a fault.
    pub fn fail_next(&self, field: Option<&str>, fault: Fault) {
        lock(&self.shared.faults).push(field, fault);
    }

    /// Every call, or every one of this root field, meets this fault from now on; `None` ends it.
    /// Faults of [`Sandbox::fail_next`] go before it.
    pub fn fail_always(&self, field: Option<&str>, fault: Option<Fault>) {
        lock(&self.shared.faults).set(field, fault);
    }

    /// Every call takes at least this long.
    pub fn set_latency(&self, latency: Duration) {
        lock(&self.shared.faults).latency = latency;
    }

    /// Ends all faults and the latency.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }
}
