//! The GraphQL endpoint: AppSync's manners, and faults where they are wanted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use serde_json::Value;

use super::super::call::{RootField, root_field};
use super::super::faults::Fault;
use super::super::objects::World;
use super::super::{Call, Shared, answer, lock};
use super::{Body, text, with_body};

/// Longest request body taken, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// The number of calls that are recorded; beyond it all are forgotten. No test makes as many, and `dev` may run
/// for days.
const MAX_CALLS: usize = 100_000;

/// The size of one frame of an endless answer, in bytes.
const FRAME: usize = 1 << 16;

/// Answers a call. An error ends the connection without an answer.
pub async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(io::Error::other)?.to_bytes();
    let request = GraphqlRequest::read(&head, &body);
    let root = root_field(&request.query, request.operation.as_deref()).unwrap_or_default();
    remember(&shared, request.record(&root, &head));
    let (latency, fault) = {
        let mut faults = lock(&shared.faults);
        (faults.latency, faults.take(&root.name))
    };
    let delay = match fault {
        Some(Fault::Delay(delay)) => latency + delay,
        _ => latency,
    };
    if let Some(fault) = fault.as_ref().filter(|fault| fault.is_instead()) {
        pause(delay).await;
        return instead(fault, &root.key).await;
    }
    // On a task of its own: a server carries out what it has read, whether or not its client waits.
    let carried_out = tokio::spawn(async move {
        pause(delay).await;
        carry_out(&shared, &request)
    });
    let (status, answer) = carried_out.await.map_err(io::Error::other)?;
    let answer = match &fault {
        Some(Fault::Rewrite(rewrite)) => rewrite.apply(answer),
        _ => answer.to_string(),
    };
    afterwards(fault.as_ref(), status, answer)
}

fn remember(shared: &Shared, call: Call) {
    let mut calls = lock(&shared.calls);
    if calls.len() >= MAX_CALLS {
        calls.clear();
    }
    calls.push(call);
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// The content of a body. Members that are not what they should be are taken as missing.
struct GraphqlRequest {
    api_key: String,
    query: String,
    operation: Option<String>,
    variables: Value,
    is_empty: bool,
}

impl GraphqlRequest {
    fn read(head: &Parts, body: &Bytes) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let api_key = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        Self {
            api_key: api_key.unwrap_or_default().to_owned(),
            query: json["query"].as_str().unwrap_or_default().to_owned(),
            operation: json["operationName"].as_str().map(str::to_owned),
            variables: json["variables"].clone(),
            is_empty: body.is_empty(),
        }
    }

    fn record(&self, root: &RootField, head: &Parts) -> Call {
        let headers = head.headers.iter().map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Call {
            field: root.name.clone(),
            query: self.query.clone(),
            variables: self.variables.clone(),
            headers: headers.collect(),
            api_key: self.api_key.clone(),
        }
    }
}

/// Authorises, validates and executes, in AppSync's order.
fn carry_out(shared: &Shared, request: &GraphqlRequest) -> (StatusCode, Value) {
    let accounts = lock(&shared.accounts);
    let Some(account) = accounts.get(&request.api_key) else {
        return (StatusCode::UNAUTHORIZED, answer::unauthorized());
    };
    if request.is_empty {
        return (StatusCode::BAD_REQUEST, answer::malformed("Request body is empty."));
    }
    if request.query.is_empty() {
        return (StatusCode::BAD_REQUEST, answer::malformed("Unable to parse GraphQL query."));
    }
    let result = shared.schema.document(&request.query).and_then(|document| {
        let name = request.operation.as_deref();
        let (options, signer) = (&shared.options, &shared.signer);
        let world = World { options, signer, now: shared.now(), account };
        shared.schema.execute(&world, &document, name, &request.variables)
    });
    if !account.borrow().endpoints.is_empty() {
        shared.endpoint_made.notify_one();
    }
    let answer = match result {
        Ok(response) => answer::executed(&response),
        Err(problems) => answer::invalid(&problems),
    };
    (StatusCode::OK, answer)
}

/// Faults in whose place nothing is carried out.
async fn instead(fault: &Fault, key: &str) -> io::Result<Response<Body>> {
    match fault {
        Fault::Respond { status, content_type, retry_after, body } => {
            let mut response =
                text(StatusCode::from_u16(*status).unwrap_or_default(), body.clone());
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            if let Some(value) = retry_after.as_deref().and_then(|text| text.parse().ok()) {
                headers.insert(RETRY_AFTER, value);
            }
            Ok(response)
        }
        Fault::GraphqlError { error_type, message } => {
            Ok(text(StatusCode::OK, answer::failed(key, error_type, message).to_string()))
        }
        Fault::Stall => std::future::pending().await,
        Fault::Huge(size) => {
            let frame = Bytes::from(vec![b' '; FRAME]);
            let frames = (0..size.div_ceil(FRAME)).map(move |_| Ok(Frame::data(frame.clone())));
            Ok(with_body(StatusCode::OK, BodyExt::boxed(StreamBody::new(stream::iter(frames)))))
        }
        _ => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// Faults that befall an answer.
fn afterwards(
    fault: Option<&Fault>,
    status: StatusCode,
    mut answer: String,
) -> io::Result<Response<Body>> {
    match fault {
        Some(Fault::LoseAnswer) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Truncate) => {
            halve(&mut answer);
            Ok(text(status, answer))
        }
        Some(Fault::SlowBody(time)) => {
            let time = *time;
            let rest = answer.split_off(answer.floor_char_boundary(answer.len() / 2));
            let half = Ok(Frame::data(Bytes::from(answer)));
            let slow = stream::once(async { half }).chain(stream::once(async move {
                pause(time).await;
                Ok(Frame::data(Bytes::from(rest)))
            }));
            Ok(with_body(status, BodyExt::boxed(StreamBody::new(slow))))
        }
        Some(Fault::ResetMidBody) => {
            halve(&mut answer);
            let half = Ok(Frame::data(Bytes::from(answer)));
            let broken = stream::once(async { half }).chain(stream::once(async {
                // The turn in which hyper sends what it has: else the error comes before the half.
                tokio::task::yield_now().await;
                Err(io::ErrorKind::ConnectionReset.into())
            }));
            Ok(with_body(status, BodyExt::boxed(StreamBody::new(broken))))
        }
        _ => Ok(text(status, answer)),
    }
}

fn halve(answer: &mut String) {
    answer.truncate(answer.floor_char_boundary(answer.len() / 2));
}
