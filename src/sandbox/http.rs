//! The sandbox's HTTP: AppSync's manners, and faults where they are wanted.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use apollo_compiler::response::{ExecutionResponse, JsonMap};
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, executable};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::faults::Fault;
use super::schema::World;
use super::{Call, Shared, lock};

/// Longest request body taken, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;

type Body = BoxBody<Bytes, io::Error>;

/// Serves until the task is aborted; its connections end with it.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // A connection that breaks is its client's to notice.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers a call. An error ends the connection without an answer.
async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    if request.method() != Method::POST || request.uri().path() != "/ugc/graphql" {
        let body = json!({"errors": [{"errorType": "UnsupportedOperation", "message":
            "only POST /ugc/graphql is served"}]});
        return Ok(respond(StatusCode::NOT_FOUND, body.to_string()));
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(io::Error::other)?.to_bytes();
    let header = |name| {
        head.headers.get(name).and_then(|value: &hyper::header::HeaderValue| value.to_str().ok())
    };
    let api_key = header(AUTHORIZATION).unwrap_or_default().to_owned();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let query = request["query"].as_str().unwrap_or_default().to_owned();
    let document = shared.schema.document(&query);
    let field = document.as_ref().map_or_else(|_| String::new(), |document| root_field(document));
    let headers = head.headers.iter().map(|(name, value)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    lock(&shared.calls).push(Call {
        field: field.clone(),
        query,
        variables: request["variables"].clone(),
        headers: headers.collect(),
        api_key: api_key.clone(),
    });
    let (latency, fault) = {
        let mut faults = lock(&shared.faults);
        (faults.latency, faults.take(&field))
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if let Some(fault) = &fault
        && let Some(result) = instead(fault).await
    {
        return result;
    }
    let answer = match document {
        Ok(document) => execute(&shared, &api_key, &request, &document),
        Err(problem) => known_key(&shared, &api_key).map(|()| validation_error(&problem)),
    };
    let (status, answer) = match answer {
        Ok(answer) => (StatusCode::OK, answer.to_string()),
        Err(refusal) => (StatusCode::UNAUTHORIZED, refusal.to_string()),
    };
    afterwards(fault.as_ref(), status, answer)
}

/// Faults in whose place nothing is carried out.
async fn instead(fault: &Fault) -> Option<io::Result<Response<Body>>> {
    match fault {
        Fault::Delay(time) => {
            tokio::time::sleep(*time).await;
            None
        }
        Fault::Respond { status, content_type, retry_after, body } => {
            let mut response =
                respond(StatusCode::from_u16(*status).unwrap_or_default(), body.clone());
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
            if let Some(seconds) = retry_after {
                headers.insert(RETRY_AFTER, (*seconds).into());
            }
            Some(Ok(response))
        }
        Fault::GraphqlError { error_type, message } => {
            let body = json!({"data": null, "errors": [{"path": null, "data": null,
                "errorType": error_type, "errorInfo": null, "locations": [],
                "message": message}]});
            Some(Ok(respond(StatusCode::OK, body.to_string())))
        }
        Fault::Reset => Some(Err(io::ErrorKind::ConnectionReset.into())),
        Fault::Stall => std::future::pending().await,
        Fault::Huge(size) => {
            let chunks = size.div_ceil(1 << 16);
            let chunk = Bytes::from(vec![b' '; 1 << 16]);
            let frames = (0..chunks).map(move |_| Ok(Frame::data(chunk.clone())));
            let body = BodyExt::boxed(StreamBody::new(stream::iter(frames)));
            Some(Ok(with_headers(StatusCode::OK, body)))
        }
        Fault::Truncate | Fault::ResetMidBody | Fault::LoseAnswer => None,
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
            answer.truncate(answer.len() / 2);
            Ok(respond(status, answer))
        }
        Some(Fault::ResetMidBody) => {
            answer.truncate(answer.len() / 2);
            let half = stream::iter([Ok(Frame::data(Bytes::from(answer)))]);
            let end = stream::once(async {
                // Head and half have to leave before the connection does.
                tokio::time::sleep(Duration::from_millis(5)).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            Ok(with_headers(status, BodyExt::boxed(StreamBody::new(half.chain(end)))))
        }
        _ => Ok(respond(status, answer)),
    }
}

fn root_field(document: &Valid<ExecutableDocument>) -> String {
    let Some(operation) = document.operations.iter().next() else { return String::new() };
    match operation.selection_set.selections.first() {
        Some(executable::Selection::Field(field)) => field.name.to_string(),
        _ => String::new(),
    }
}

fn known_key(shared: &Shared, api_key: &str) -> Result<(), Value> {
    if lock(&shared.accounts).contains_key(api_key) {
        return Ok(());
    }
    Err(json!({"errors": [{
        "errorType": "UnauthorizedException",
        "message": "You are not authorized to make this call.",
    }]}))
}

fn execute(
    shared: &Shared,
    api_key: &str,
    request: &Value,
    document: &Valid<ExecutableDocument>,
) -> Result<Value, Value> {
    known_key(shared, api_key)?;
    let variables: JsonMap = match request["variables"].clone() {
        Value::Object(variables) => {
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
        }
        _ => JsonMap::new(),
    };
    let world = World { options: &shared.options, now: shared.now() };
    let mut accounts = lock(&shared.accounts);
    let Some(account) = accounts.get_mut(api_key) else { return Ok(Value::Null) };
    let name = request["operationName"].as_str();
    Ok(match shared.schema.execute(&world, account, document, name, &variables) {
        Ok(response) => in_appsyncs_shape(&response),
        Err(error) => validation_error(&error.message().to_string()),
    })
}

fn validation_error(problem: &str) -> Value {
    json!({"data": null, "errors": [{
        "path": null,
        "locations": [{"line": 1, "column": 1, "sourceName": null}],
        "errorType": "ValidationError",
        "errorInfo": null,
        "message": format!("Validation error of type InvalidDocument: {problem}"),
    }]})
}

/// AppSync's members stand at the top of an error. Resolvers put them into its message, as JSON.
fn in_appsyncs_shape(response: &ExecutionResponse) -> Value {
    let mut answer = json!({"data": response.data});
    if response.errors.is_empty() {
        return answer;
    }
    let errors = response.errors.iter().map(|error| {
        let text = error.message.trim_start_matches("resolver error: ");
        let mut shaped = match serde_json::from_str(text) {
            Ok(Value::Object(members)) => Value::Object(members),
            _ => json!({"errorType": null, "errorInfo": null, "message": error.message}),
        };
        shaped["path"] = json!(error.path);
        let locations = error.locations.iter();
        shaped["locations"] = locations
            .map(|at| json!({"line": at.line, "column": at.column, "sourceName": null}))
            .collect();
        shaped
    });
    answer["errors"] = errors.collect();
    answer
}

fn respond(status: StatusCode, body: String) -> Response<Body> {
    with_headers(status, Full::from(body).map_err(|never: Infallible| match never {}).boxed())
}

fn with_headers(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    if let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
