//! Connections: accepted, bounded, served, and drained.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{CONNECTION, HOST};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderValue, Version};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};
use tower::Service;

use super::admin::Readiness;
use super::bad_request::BadRequest;
use super::connection::{Connection, FIRST_HEAD, Handed, Overstayed};
use super::error::Refusal;
use super::places::Places;
use super::proxies::Proxies;
use super::proxy_protocol;
use super::tls::Tls;
use super::wire::Wire;
use crate::telemetry::metrics::GaugeGuard;

/// The most that a request's head may take, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// The number of headers a request may have.
const MAX_HEADERS: usize = 64;

/// The number of requests one HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 128;

/// The bytes of one HTTP/2 answer that may wait to be sent without being counted: what compression has made of it.
const MAX_STREAM_BUFFER: usize = 64 * 1024;

/// The time for which what was sent may be without an acknowledgement, in milliseconds: then nobody is there. A stream
/// sends something at each heartbeat, so that one whose caller is gone without a word does not stay for the quarter of
/// an hour that TCP would go on sending (RFC 5482).
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: u32 = 30_000;

/// The time to wait when the system has no more sockets to give.
const BREATHER: Duration = Duration::from_millis(50);

/// The time for which a connection gets to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// The files that the process has open besides its callers' connections: calls to Move, Redis, the audit
/// file, the operators' requests.
const OWN_FILES: usize = 512;

/// The settings of a listener.
#[derive(Debug)]
pub struct Serving {
    /// The most connections at once.
    pub max_connections: usize,
    /// The longest time a connection may be idle, and a later request's head may take.
    pub keep_alive: Duration,
    /// Certificates; `None` serves plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// As long as it says no, callers are sent away with their answers.
    pub readiness: Arc<Readiness>,
    /// The balancers that say by the PROXY protocol whose connections they pass on; nobody else is served
    /// then. `None`: callers connect themselves, or through proxies that speak HTTP.
    pub balancers: Option<Proxies>,
    /// Counts open connections.
    pub gauge: fn(i64),
    /// Counts those that had to make room for others.
    pub evicted: fn(),
}

/// The state that the connections of a listener share.
#[derive(Debug)]
struct Listener {
    serving: Serving,
    router: Router,
    builder: Builder<TokioExecutor>,
}

/// Returns the number, of `wanted` connections, that this process can have open after it has raised its limit of
/// open files (`RLIMIT_NOFILE`) as far as it may: a gateway that runs out of files could not even say
/// that it is well.
#[must_use]
pub fn connections_possible(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let is_raised = setrlimit(Resource::Nofile, raised).is_ok();
    let files = if is_raised { raised.current } else { limit.current };
    // None is no limit at all.
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    wanted.min(files.saturating_sub(OWN_FILES).max(files / 2))
}

/// Serves until `stop` resolves; as soon as the gateway is not ready any more, it sends callers away
/// with their answers. Once stopped it takes no more connections and ends when the last request
/// has its answer; dropped before, it cuts off those that have none. A connection that finds all places taken gets an idle one's ([`Places::take`]).
pub async fn serve(
    listener: TcpListener,
    router: Router,
    serving: Serving,
    stop: impl Future<Output = ()>,
) {
    let places = Places::new(serving.max_connections);
    let builder = builder(serving.keep_alive);
    let shared = Arc::new(Listener { serving, router, builder });
    let (closing, is_closing) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let accepted = listener.accept().await.ok()?;
            Some((accepted, places.take().await))
        };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        let Some(((stream, peer), place)) = accepted else {
            tokio::time::sleep(BREATHER).await;
            continue;
        };
        let (shared, mut is_closing) = (Arc::clone(&shared), is_closing.clone());
        tokio::spawn(async move {
            let _counted = GaugeGuard::new(shared.serving.gauge);
            let connection = Arc::clone(&place.connection);
            let conversation = async {
                shared.converse(stream, peer, &connection, &mut is_closing).await;
                connection.given_back().await;
            };
            tokio::select! {
                () = connection.left() => (shared.serving.evicted)(),
                () = conversation => {}
            }
            drop(place);
        });
    }
    drop((listener, is_closing));
    closing.send_replace(());
    // Until the last connection has let go of its end.
    closing.closed().await;
}

/// Has the system close a connection whose other end does not acknowledge what is sent.
fn give_up_on_the_dead(stream: &TcpStream) {
    // Elsewhere it takes as long as the system has it.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

fn builder(keep_alive: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_STREAM_BUFFER)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(keep_alive)
        .keep_alive_timeout(FIRST_HEAD);
    builder
}

impl Listener {
    /// Serves one connection to its end. How it ends is its caller's business.
    async fn converse(
        &self,
        mut stream: TcpStream,
        mut peer: SocketAddr,
        connection: &Arc<Connection>,
        closing: &mut watch::Receiver<()>,
    ) {
        // Small answers leave at once.
        let _ = stream.set_nodelay(true);
        give_up_on_the_dead(&stream);
        // Who says nothing costs a socket and no buffers. (A socket that was just accepted counts as
        // readable whether it is or not: only reading tells.)
        let mut byte = [0];
        let first = timeout_at(connection.first_head_by(), stream.peek(&mut byte));
        let has_spoken = tokio::select! {
            first = first => matches!(first, Ok(Ok(1..))),
            _ = closing.changed() => false,
        };
        if !has_spoken {
            return;
        }
        if let Some(balancers) = &self.serving.balancers {
            if !balancers.trusts(peer.ip().to_canonical()) {
                return;
            }
            let header = proxy_protocol::read(&mut stream);
            match timeout_at(connection.first_head_by(), header).await {
                Ok(Ok(caller)) => peer = caller.unwrap_or(peer),
                _ => return,
            }
        }
        match &self.serving.tls {
            None => self.drive(stream, peer, connection, closing).await,
            Some(tls) => {
                if let Some(stream) = tls.accept(stream).await {
                    self.drive(stream, peer, connection, closing).await;
                }
            }
        }
    }

    /// Speaks HTTP until the caller is done, the gateway stops, or the connection overstays.
    async fn drive<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        connection: &Arc<Connection>,
        closing: &mut watch::Receiver<()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let wire = TokioIo::new(Wire::new(stream, Arc::clone(connection)));
        let service = service_fn(|request| self.answer(request, peer, connection));
        let conversation = self.builder.serve_connection_with_upgrades(wire, service);
        let overstays = connection.overstays(self.serving.keep_alive);
        tokio::pin!(conversation, overstays);
        loop {
            tokio::select! {
                _ = conversation.as_mut() => return,
                closes = closing.changed() => match closes {
                    Ok(()) => conversation.as_mut().graceful_shutdown(),
                    // Nobody waits for it any more.
                    Err(_) => return,
                },
                why = overstays.as_mut() => {
                    if why == Overstayed::Idle {
                        conversation.as_mut().graceful_shutdown();
                        let _ = timeout(GOODBYE, conversation.as_mut()).await;
                    }
                    return;
                }
            }
        }
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Result<http::Response<Handed>, Infallible>> + Send + 'static {
        let under_way = connection.request();
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(peer));
        extensions.insert(Arc::clone(connection));
        if self.serving.tls.is_some() {
            extensions.insert(Scheme::HTTPS);
        }
        let leaves = !self.serving.readiness.get() && request.version() == Version::HTTP_11;
        // A router is always ready.
        let answering = names_one_host(&request).then(|| self.router.clone().call(request));
        async move {
            let mut response = match answering {
                Some(answering) => answering.await?,
                None => Refusal::from(BadRequest::Host).into_response(),
            };
            if leaves {
                // The caller's next request goes to another replica.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| under_way.count(body)))
        }
    }
}

/// A request names its host once; HTTP/1.0 need not, and HTTP/2 has another place for it (RFC 9112,
/// section 3.2).
fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            host.is_empty() || host.to_str().is_ok_and(|host| host.parse::<Authority>().is_ok())
        }
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}
