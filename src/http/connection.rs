//! The state of one connection: who uses it, what it is doing, and since when. Every state that a
//! connection can be in has a time.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::places::Places;
use crate::model::TenantId;

/// The longest time a new connection may take to its first whole head, or to the end of HTTP/2's preface, its
/// TLS handshake included.
pub const FIRST_HEAD: Duration = Duration::from_secs(30);

/// The longest time an answer may lie there that the caller does not read.
const WRITING: Duration = Duration::from_secs(30);

/// The least progress of a caller that reads, in bytes within [`WRITING`]: more than the frames take by which an
/// HTTP/2 connection is kept alive.
const PROGRESS: u64 = 16 * 1024;

/// The interval at which a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A caller's connection.
#[derive(Debug)]
pub struct Connection {
    places: Arc<Places>,
    id: u64,
    began: Instant,
    /// The tenant whose credential was the first good one.
    tenant: OnceLock<TenantId>,
    /// Set with the first whole head, or the preface.
    has_spoken: AtomicBool,
    under_way: AtomicU32,
    /// Requests whose bodies are still to come.
    receiving: AtomicU32,
    /// The moment at which it was last used, in milliseconds since it began.
    used: AtomicU64,
    /// Bytes of bodies that were given to be sent.
    handed: AtomicU64,
    /// Bytes that were sent, whatever of.
    written: AtomicU64,
    is_leaving: AtomicBool,
    leaving: Notify,
    /// Set while another protocol has its wire.
    handed_over: Mutex<Option<oneshot::Receiver<()>>>,
}

/// A connection whose wire another protocol has, until this is dropped: it keeps its place.
#[derive(Debug)]
pub struct HandedOver {
    _under_way: UnderWay,
    held: oneshot::Sender<()>,
}

impl HandedOver {
    /// Resolves when the connection had to give up its place.
    pub async fn left(&mut self) {
        self.held.closed().await;
    }
}

/// Why a connection's time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overstayed {
    /// It has not said anything whole.
    Silent,
    /// It is not used any more.
    Idle,
    /// Its caller does not read its answers.
    Stalled,
}

/// A request under way on a connection, until its answer is handed over.
#[derive(Debug)]
pub struct UnderWay(Arc<Connection>);

/// A body that is being taken in, until this is dropped.
#[derive(Debug)]
pub struct Receiving<'a>(&'a Connection);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.receiving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    /// A connection that has just come.
    pub fn new(places: Arc<Places>, id: u64) -> Self {
        Self {
            places,
            id,
            began: Instant::now(),
            tenant: OnceLock::new(),
            has_spoken: AtomicBool::new(false),
            under_way: AtomicU32::new(0),
            receiving: AtomicU32::new(0),
            used: AtomicU64::new(0),
            handed: AtomicU64::new(0),
            written: AtomicU64::new(0),
            is_leaving: AtomicBool::new(false),
            leaving: Notify::new(),
            handed_over: Mutex::default(),
        }
    }

    /// Returns the moment at which its first whole head has to be there.
    pub fn first_head_by(&self) -> Instant {
        self.began + FIRST_HEAD
    }

    /// Notes that it said something whole.
    pub fn spoke(&self) {
        self.has_spoken.store(true, Ordering::Relaxed);
    }

    /// Notes bytes that were sent.
    pub fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes who uses it.
    pub fn know(&self, tenant: &TenantId) {
        if self.tenant.get().is_none() && self.tenant.set(tenant.clone()).is_ok() {
            self.places.know(self.id);
        }
    }

    /// The tenant that uses it, once that is known.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.get()
    }

    /// Begins a request.
    pub fn request(self: &Arc<Self>) -> UnderWay {
        self.spoke();
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Hands its wire over to another protocol.
    pub fn hand_over(self: &Arc<Self>) -> HandedOver {
        let (held, given_back) = oneshot::channel();
        *self.handed_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(given_back);
        HandedOver { _under_way: self.request(), held }
    }

    /// Resolves when another protocol has given its wire back, if one has it.
    pub async fn given_back(&self) {
        let held = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(held) = held {
            let _ = held.await;
        }
    }

    /// Begins to take a request's body in.
    pub fn receive(&self) -> Receiving<'_> {
        self.receiving.fetch_add(1, Ordering::Relaxed);
        Receiving(self)
    }

    /// Returns true while a body is still to come.
    pub fn is_receiving(&self) -> bool {
        self.receiving.load(Ordering::Relaxed) > 0
    }

    /// Returns true if no request is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Returns the time for which nothing has been under way; `None` while something is.
    pub fn idle_for(&self) -> Option<Duration> {
        let used = self.began + Duration::from_millis(self.used.load(Ordering::Relaxed));
        self.is_idle().then(|| used.elapsed())
    }

    /// Tells it to make room for another.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.leaving.notify_one();
    }

    /// Returns true once it was told to make room.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Resolves when it is told to make room.
    pub async fn left(&self) {
        self.leaving.notified().await;
    }

    /// Resolves when its time is over. What takes a request's head and a body has times elsewhere.
    pub async fn overstays(&self, keep_alive: Duration) -> Overstayed {
        sleep_until(self.first_head_by()).await;
        if !self.has_spoken.load(Ordering::Relaxed) {
            return Overstayed::Silent;
        }
        let progress =
            || (self.handed.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed));
        let (mut since, mut before) = (Instant::now(), progress());
        loop {
            sleep(LOOK_EVERY).await;
            if self.idle_for().is_some_and(|time| time >= keep_alive) {
                return Overstayed::Idle;
            }
            let ((handed, written), now) = (before, progress());
            // Everything that waited to be sent is sent, or goes on being sent.
            if now.1 >= handed || now.1 - written >= PROGRESS {
                (since, before) = (Instant::now(), now);
            } else if since.elapsed() >= WRITING {
                return Overstayed::Stalled;
            }
        }
    }
}

impl UnderWay {
    /// Returns the body of its answer, counted as it is handed over to be sent.
    pub const fn count(self, body: Body) -> Handed {
        Handed { body, request: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Self(connection) = self;
        let used = u64::try_from(connection.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        connection.used.store(used, Ordering::Relaxed);
        connection.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body, which is counted against its connection.
pub struct Handed {
    body: Body,
    request: UnderWay,
}

impl HttpBody for Handed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let UnderWay(connection) = &self.request;
            connection.handed.fetch_add(data.remaining() as u64, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
