//! Connections: accepted, bounded, and drained.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::CONNECTION;
use axum::http::uri::Scheme;
use axum::http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower::ServiceExt;

use super::admin::Readiness;
use super::tls::Tls;
use crate::telemetry::metrics::{self, Counted};

/// How long a new connection may say nothing.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// How long a connection may be idle, and a request's head may take: longer than the 90 s for which
/// common clients keep a connection, so that they are the ones to close it.
const IDLE: Duration = Duration::from_secs(100);

/// The most that a request's head may take, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// How many headers a request may have.
const MAX_HEADERS: usize = 64;

/// How many requests one HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 128;

/// How long to wait when the system has no more sockets to give.
const BREATHER: Duration = Duration::from_millis(50);

/// What the process needs open besides its callers' connections: calls to Move, Redis, the audit
/// file, the operators' requests.
const OWN_FILES: usize = 512;

/// How many of `wanted` connections this process can have open, after it has raised its limit of
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
/// has its answer. More connections than `max_connections` wait in the system's backlog.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    tls: Option<Arc<Tls>>,
    readiness: Arc<Readiness>,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(max_connections));
    let builder = builder();
    let draining = GracefulShutdown::new();
    // Held for as long as connections are taken.
    let (taking, closing) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            Some(accepted) = accepted => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(BREATHER).await;
            continue;
        };
        let (builder, router, tls) = (builder.clone(), router.clone(), tls.clone());
        let readiness = Arc::clone(&readiness);
        let (watcher, mut closing) = (draining.watcher(), closing.clone());
        tokio::spawn(async move {
            let _place = place;
            let _counted = Counted::by(metrics::connections);
            // Small answers leave at once.
            let _ = stream.set_nodelay(true);
            // Who says nothing costs a socket and no buffers, and not for long.
            let spoke = tokio::select! {
                spoke = timeout(FIRST_BYTE, stream.readable()) => matches!(spoke, Ok(Ok(()))),
                _ = closing.changed() => false,
            };
            if !spoke {
                return;
            }
            let is_encrypted = tls.is_some();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                if is_encrypted {
                    request.extensions_mut().insert(Scheme::HTTPS);
                }
                let leaves = !readiness.get() && request.version() == Version::HTTP_11;
                let answering = router.clone().oneshot(request.map(Body::new));
                async move {
                    let mut response = answering.await?;
                    if leaves {
                        // The caller's next request goes to another replica.
                        let close = HeaderValue::from_static("close");
                        response.headers_mut().insert(CONNECTION, close);
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            // How a connection ends is its caller's business.
            match tls {
                None => {
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    let _ = watcher.watch(connection).await;
                }
                Some(tls) => {
                    let Some(stream) = tls.accept(stream).await else { return };
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    let _ = watcher.watch(connection).await;
                }
            }
        });
    }
    drop((listener, taking));
    draining.shutdown().await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(IDLE)
        .keep_alive_timeout(FIRST_BYTE);
    builder
}
