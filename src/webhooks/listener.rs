//! The one path that the internet may reach: `POST /webhooks/move/<account>`.
//!
//! A stranger is told nothing and nothing of what it sends is kept: the headers are judged before the body is read,
//! a body is at most 256 KiB in five seconds, and of the few that may come at once a slow one gives way to the next.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::time::timeout;

use super::Webhooks;
use super::notice::Notice;
use super::store::Put;
use super::verify::{NotSigned, SignedHeaders};
use crate::config::{WebhookAccount, account_name};
use crate::limit::Strangers;
use crate::telemetry::metrics;

/// The longest body, in bytes. Svix' are shorter than 40 KiB.
const LONGEST: usize = 256 << 10;

/// The time that a body may take.
const BODY_TIME: Duration = Duration::from_secs(5);

/// The bodies that are taken in at once.
const AT_ONCE: usize = 64;

/// Why an event is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// No such account sends events.
    Account,
    /// It is longer than one is.
    TooLarge,
    /// It did not come in time, or broke off.
    Slow,
    /// Too many come at once.
    Busy,
    /// It is not signed as it should be.
    NotSigned(NotSigned),
    /// It could not be stored.
    Store,
}

impl From<NotSigned> for Refused {
    fn from(reason: NotSigned) -> Self {
        Self::NotSigned(reason)
    }
}

impl Refused {
    /// Its name in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
            Self::Busy => "busy",
            Self::NotSigned(reason) => reason.as_str(),
            Self::Store => "store",
        }
    }

    /// The status that a sender reads. After a 503 it comes again.
    const fn status(self) -> StatusCode {
        match self {
            Self::Account => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::NotSigned(_) => StatusCode::UNAUTHORIZED,
            Self::Busy | Self::Store => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Shows the reasons for which events are refused, before there is one.
pub fn show_reasons() {
    let not_signed = [NotSigned::Headers, NotSigned::Time, NotSigned::Signature];
    let others =
        [Refused::Account, Refused::TooLarge, Refused::Slow, Refused::Busy, Refused::Store];
    for reason in not_signed.map(Refused::NotSigned).into_iter().chain(others) {
        metrics::webhook_refused(reason.as_str(), 0);
    }
}

#[derive(Debug, Clone)]
struct Listening {
    webhooks: Arc<Webhooks>,
    bodies: Arc<Strangers>,
}

/// The router that senders of events meet.
pub fn router(webhooks: Arc<Webhooks>) -> Router {
    let bodies = Strangers::new(AT_ONCE);
    Router::new()
        .route("/webhooks/move/{account}", post(receive))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(Listening { webhooks, bodies })
}

async fn receive(
    State(Listening { webhooks, bodies }): State<Listening>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    match take(&webhooks, &bodies, &account, &headers, body).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(refused) => {
            metrics::webhook_refused(refused.as_str(), 1);
            refused.status()
        }
    }
}

/// Takes an event, and keeps it before anybody is told so.
async fn take(
    webhooks: &Webhooks,
    bodies: &Arc<Strangers>,
    account: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), Refused> {
    let id = account_name(account).map_err(|_| Refused::Account)?;
    let rules = webhooks.service.rules.load_full();
    let own = rules.webhooks.iter().find(|own| own.id == id).ok_or(Refused::Account)?;
    let WebhookAccount { id, secrets, .. } = own;
    let now = webhooks.service.clock.now();
    let claimed = SignedHeaders::read(headers, now)?;
    let mut place = bodies.enter().ok_or(Refused::Busy)?;
    if announced(headers).is_some_and(|length| length > LONGEST as u64) {
        return Err(Refused::TooLarge);
    }
    let body = tokio::select! {
        biased;
        body = timeout(BODY_TIME, to_bytes(body, LONGEST)) => body,
        () = place.gives_way() => return Err(Refused::Busy),
    };
    drop(place);
    let body = match body {
        Ok(Ok(body)) => body,
        // Nothing else ends a body that its sender goes on with.
        Ok(Err(error)) if is_too_long(&error) => return Err(Refused::TooLarge),
        Ok(Err(_)) | Err(_) => return Err(Refused::Slow),
    };
    let event = claimed.prove(secrets, &body)?;
    metrics::webhook_came(&id.to_string(), now.as_second());
    let notice = match Notice::read(id, &event, &body, now) {
        Ok(notice) => notice,
        Err(nothing) => {
            // It would be nothing again.
            tracing::info!(event = event.as_str(), why = nothing.as_str(), "an event says nothing");
            metrics::webhook_event("other", nothing.as_str(), 1);
            return Ok(());
        }
    };
    match webhooks.store.put(&notice, now).await {
        Ok(Put::New) => webhooks.arrived.notify_one(),
        Ok(Put::Seen) => metrics::webhook_event(notice.news.as_str(), "seen", 1),
        Err(_) => return Err(Refused::Store),
    }
    Ok(())
}

/// The length that a body is announced to have, in bytes.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.to_string().contains("length limit"))
}
