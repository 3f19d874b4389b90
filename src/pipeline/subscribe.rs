//! The opening of a subscription: admitted and read for the first time like any request, and then a stream.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::time::timeout_at;

use super::execute::{context, too_late};
use super::followed::Followed;
use super::judged::{FollowRequest, Judged};
use super::stream::{Stream, leaving};
use super::wait::need;
use super::{Admitted, Authenticated, Service};
use crate::cache::Key;
use crate::graphql::{self, Answer, ApiError};
use crate::http::bad_request::BadRequest;
use crate::http::credential;
use crate::http::error::Refusal;
use crate::http::limits;
use crate::http::stream::StreamType;
use crate::model::{CallRecord, ErrorCode, Progress, RequestMethod, Secret, Subscription};
use crate::operation::Operation;
use crate::telemetry;

/// Returns the way in which a subscription is written.
///
/// # Errors
/// When its caller takes none.
pub fn stream_type(request: &Authenticated<'_>) -> Result<StreamType, Refusal> {
    let accepted = StreamType::accepted(&request.head.headers);
    Ok(accepted.ok_or(BadRequest::NoStream)?)
}

/// Opens a subscription.
///
/// # Errors
/// When its tenant or the gateway has as many open as may be, or the gateway stops.
pub async fn subscribe(
    service: &Arc<Service>,
    request: &Authenticated<'_>,
    text: Bytes,
    admitted: Admitted,
    record: &mut CallRecord,
) -> Result<Response, Refusal> {
    let own = stream_type(request)?;
    let Admitted { operation, permit, .. } = admitted;
    let (levels, slot) = permit.into_parts();
    let opened = open(service, request, text, operation, record).await;
    // From here on it holds a place among the streams alone.
    drop(slot);
    let stream = opened.map_err(|refusal| refusal.announcing(&levels))?;
    let mut response = own.respond(body(own, stream));
    limits::announce(&levels, response.headers_mut());
    if RequestMethod::from(&request.head.method) == RequestMethod::Get {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    }
    Ok(response)
}

/// Reads a job for the first time, and follows it.
///
/// # Errors
/// As [`subscribe`].
pub async fn open(
    service: &Arc<Service>,
    request: &Authenticated<'_>,
    text: Bytes,
    operation: Operation,
    record: &mut CallRecord,
) -> Result<Stream, Refusal> {
    if service.standing.borrow().is_draining {
        return Err(leaving());
    }
    let place = request.limits.listen(&service.streams).map_err(|refused| {
        record.decided(refused.decision());
        Refusal::from(refused)
    })?;
    record.executing();
    let begun = match operation.followed() {
        Some(Subscription::JobsUpdated) => begin_all(service, request, &operation, record).await,
        _ => begin_one(service, request, &operation, record).await,
    };
    record.executed(false);
    let (followed, first) = begun?;
    let credential = credential::presented(&request.head.headers)?;
    let asked = FollowRequest {
        credential: Secret::new(credential),
        source: record.source,
        method: request.head.method.clone(),
        // What came in is part of a connection's buffer, which is larger than it.
        text: Bytes::copy_from_slice(&text),
    };
    if let Some((answer, _)) = &first {
        record.failed(answer.failures.clone());
    }
    let caller = request.caller.clone();
    let (rules, operation) = (Arc::clone(&request.rules), Arc::new(operation));
    let judged = Judged { rules, caller, operation };
    Ok(Stream::open(service, (asked, judged), followed, first, place, record))
}

/// The beginning of a subscription: the jobs it follows, and what was read of one.
type Begun = Result<(Followed, Option<(Answer, Option<Progress>)>), Refusal>;

/// Listens to one job, and reads it.
async fn begin_one(
    service: &Arc<Service>,
    request: &Authenticated<'_>,
    operation: &Operation,
    record: &CallRecord,
) -> Begun {
    let job = operation.single_job().ok_or_else(no_job)?;
    let key = Key::new(request.caller.tenant.id.clone(), job);
    // Before the first look, so that nothing happens between it and the listening.
    let listener = service.hub.listen(key, request.caller.clone(), need(operation));
    let context = context(service, request, record);
    let reading = request.rules.gateways.observe(&context, operation);
    let reading = telemetry::within(record.trace.clone(), reading);
    let first = timeout_at(request.deadline, Box::pin(reading)).await;
    let first = first.unwrap_or_else(|_| (too_late(record.request_id), None));
    Ok((Followed::job(listener), Some(first)))
}

/// Listens to all jobs of the tenant, and reads the newest, so that it is known what changes. As they are by then, whoever
/// does not go on with an earlier stream lists them itself.
async fn begin_all(
    service: &Arc<Service>,
    request: &Authenticated<'_>,
    operation: &Operation,
    record: &CallRecord,
) -> Begun {
    let following = graphql::following(operation).map_err(Refusal::from_error)?;
    // Before the look, so that nothing happens between it and the listening.
    let (gateways, after) = (&request.rules.gateways, following.after.as_deref());
    let mut listener = gateways.jobs().follow(request.caller.clone(), need(operation), after).await;
    let context = context(service, request, record);
    let survey = gateways.survey(&context, following.take.as_ref());
    let survey = telemetry::within(record.trace.clone(), survey);
    let surveyed = timeout_at(request.deadline, Box::pin(survey)).await;
    let late = || Refusal::from_error(ApiError::late());
    let jobs = surveyed.map_err(|_| late())?.map_err(Refusal::from_error)?;
    if after.is_none() {
        listener.begin_with(&jobs);
    }
    Ok((Followed::jobs(listener, following.take), None))
}

/// The id is none that a job could have.
fn no_job() -> Refusal {
    let message = "Bad argument \"jobId\": expected the id of a job.";
    Refusal::from_error(ApiError::new(ErrorCode::BadUserInput, message))
}

/// The body of a stream: made as it is read.
fn body(own: StreamType, stream: Stream) -> Body {
    let beginning = Some(own.beginning()).filter(|bytes| !bytes.is_empty());
    let parts = unfold((beginning, stream), move |(beginning, mut stream)| async move {
        let part = stream.next().await?;
        let written = own.write(&part);
        let bytes = match beginning {
            Some(beginning) => Bytes::from([beginning, &*written].concat()),
            None => written,
        };
        Some((Ok::<_, std::convert::Infallible>(bytes), (None, stream)))
    });
    Body::from_stream(parts)
}
