//! The sandbox's HTTP: the GraphQL endpoint, and the storage behind presigned URLs.
//!
//! Hyper is served directly: a service that fails ends its connection without an answer, which a
//! router does not let it do.

mod graphql;
mod storage;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Shared;

type Body = BoxBody<Bytes, io::Error>;

/// Serves until the task is aborted; its connections end with it.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| respond(Arc::clone(&shared), request));
            // A connection that breaks is its client's to notice.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers a request. An error ends the connection without an answer.
async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let path = request.uri().path();
    if path == "/ugc/graphql" && request.method() == Method::POST {
        return graphql::respond(shared, request).await;
    }
    if storage::has(path) {
        return storage::respond(&shared, request).await;
    }
    if path == storage::SHARED && request.method() == Method::GET {
        return Ok(storage::follow_code(&shared, request.uri()));
    }
    let body = json!({"errors": [{"errorType": "UnsupportedOperation", "message":
        "only POST /ugc/graphql is served"}]});
    Ok(text(StatusCode::NOT_FOUND, body.to_string()))
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    with_body(status, whole(body))
}

/// A body of these bytes.
fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed()
}

/// An answer of AppSync's.
fn with_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    if let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
