//! The one path that the internet may reach: `POST /webhooks/move/<account>`.
//!
//! A stranger is told nothing and nothing of what it sends is kept: the headers are judged before the body is read,
//! a body is at most 256 KiB in five seconds, and of the few that may come at once a slow one gives way to the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

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

/// The interval at which the log tells of events that are refused.
const COMPLAIN: Duration = Duration::from_mins(1);

/// The bodies that are taken in at once.
const AT_ONCE: usize = 64;

/// The body that `webhooks check` signs: it proves a secret, and nothing comes of it.
pub const CHECK: &str = r#"{"type":"jobs-gateway.check"}"#;

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
    /// The moment at which the log told of a refusal last.
    complained: Arc<Mutex<Option<Instant>>>,
}

impl Listening {
    /// Has the log tell of a refusal, once in a while: who cannot sign can come as often as he likes.
    fn complain(&self, refused: Refused) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|then| then.elapsed() >= COMPLAIN) {
            *complained = Some(Instant::now());
            let reason = refused.as_str();
            tracing::warn!(reason, "an event is refused; more may have been, which metrics count");
        }
    }
}

/// The router that senders of events meet.
pub fn router(webhooks: Arc<Webhooks>) -> Router {
    let bodies = Strangers::new(AT_ONCE);
    Router::new()
        .route("/webhooks/move/{account}", post(receive))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(Listening { webhooks, bodies, complained: Arc::default() })
}

async fn receive(
    State(listening): State<Listening>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    let Listening { webhooks, bodies, .. } = &listening;
    match take(webhooks, bodies, &account, &headers, body).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(refused) => {
            listening.complain(refused);
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
        body = timeout(BODY_TIME, whole(body)) => body.map_err(|_| Refused::Slow)??,
        () = place.gives_way() => return Err(Refused::Busy),
    };
    drop(place);
    let event = claimed.prove(secrets, &body)?;
    if body == CHECK {
        // The operator's own, who looks whether the secret is the right one.
        return Ok(());
    }
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

/// Reads a body.
async fn whole(body: Body) -> Result<Bytes, Refused> {
    let (mut whole, mut chunks) = (BytesMut::new(), body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refused::Slow)?;
        if whole.len() + chunk.len() > LONGEST {
            return Err(Refused::TooLarge);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
