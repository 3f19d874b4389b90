//! `/audit` of the operators' listener: the audit records as they are in the files, for who shows a key for them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::App;
use crate::audit::{Segments, reader};
use crate::http::presented;
use crate::model::CredentialId;
use crate::pipeline::Service;
use crate::telemetry;

/// The number of operators who may read at once.
const READERS: usize = 2;

/// The longest time that one reading may take.
const LONGEST: Duration = Duration::from_mins(10);

/// The size at which a piece of the answer is handed over, in bytes.
const PIECE: usize = 64 * 1024;

/// The number of pieces that may wait for a slow reader.
const PIECES: usize = 4;

/// The longest value of a parameter, in bytes: it stands in the record of the reading.
const LONGEST_VALUE: usize = 200;

/// The number of texts that one reading may ask for.
const TEXTS: usize = 4;

/// The state of the endpoint.
#[derive(Debug, Clone)]
struct Records {
    service: Arc<Service>,
    readers: Arc<Semaphore>,
}

/// Which records are wanted.
#[derive(Debug, Default)]
struct Wanted {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Texts, quotes included, each of which a record holds.
    texts: Vec<String>,
    strangers: bool,
}

/// The member of a record that tells its time.
#[derive(Deserialize)]
struct Timed {
    time: i64,
}

/// The route of `/audit`.
pub(super) fn router(app: &App) -> Router {
    let readers = Arc::new(Semaphore::new(READERS));
    let state = Records { service: Arc::clone(&app.service), readers };
    Router::new().route("/audit", get(read)).with_state(state)
}

async fn read(State(records): State<Records>, request: Request) -> Response {
    match records.open(&request) {
        Ok(response) | Err(response) => response,
    }
}

impl Records {
    /// Begins a reading, and records that.
    fn open(&self, request: &Request) -> Result<Response, Response> {
        let service = &self.service;
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let source =
            peer.map(|ConnectInfo(peer)| service.proxies.source(peer.ip(), request.headers()));
        let operator = self.operator(request, source)?;
        let Some(calls) = service.journal.chains().first() else {
            return Err(refused(StatusCode::NOT_FOUND, "no audit file is configured"));
        };
        let wanted = Wanted::read(request.uri().query().unwrap_or_default())
            .map_err(|problem| refused(StatusCode::BAD_REQUEST, &problem))?;
        let Ok(place) = Arc::clone(&self.readers).try_acquire_owned() else {
            let text = "others are reading, as many as may: try again when they are done";
            let mut response = refused(StatusCode::TOO_MANY_REQUESTS, text);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
            return Err(response);
        };
        let segments =
            if wanted.strangers { calls.segments.refused() } else { calls.segments.clone() };
        let message = wanted.told();
        let source_ip = source.map(tracing::field::display);
        tracing::info!(%operator, source_ip, wanted = message, "audit records are read");
        service.journal.note_reading(&operator, source, message);
        let pieces = reading(&segments, wanted, place).map_err(|error| {
            tracing::error!(%error, "audit records cannot be read");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "they cannot be read: the log says why")
        })?;
        let piece =
            async |mut pieces: mpsc::Receiver<_>| pieces.recv().await.map(|own| (own, pieces));
        let body = Body::from_stream(stream::unfold(pieces, piece));
        let head = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
        Ok((head, body).into_response())
    }

    /// Finds out whose key was shown.
    fn operator(
        &self,
        request: &Request,
        source: Option<IpAddr>,
    ) -> Result<CredentialId, Response> {
        let rules = self.service.rules.load();
        if rules.audit_keys.is_empty() {
            let text = "audit records are for operators who show a key, and `admin.audit_keys` of gateway.yaml has \
                        none: `jobs-gateway key new` makes one";
            return Err(refused(StatusCode::FORBIDDEN, text));
        }
        let problem = match presented(request.headers()) {
            Ok(shown) => match rules.audit_keys.name_of(shown) {
                Some(operator) => return Ok(operator.clone()),
                None => "this is no key of `admin.audit_keys`".to_owned(),
            },
            Err(_) => "send a key of `admin.audit_keys`: `Authorization: Bearer <key>`".to_owned(),
        };
        if telemetry::may_log_stranger() {
            let source_ip = source.map(tracing::field::display);
            tracing::warn!(source_ip, problem, "audit records are refused");
        }
        let mut response = refused(StatusCode::UNAUTHORIZED, &problem);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Err(response)
    }
}

/// An answer without records: why.
fn refused(status: StatusCode, problem: &str) -> Response {
    let head: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];
    (status, head, format!("{problem}\n")).into_response()
}

impl Wanted {
    /// Reads a URL's query.
    fn read(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let time = || {
                let time = value.parse::<Timestamp>();
                time.map_err(|_| format!("`{name}` must be a time such as 2030-01-01T00:00:00Z"))
            };
            if value.len() > LONGEST_VALUE {
                return Err(format!("`{name}` may be {LONGEST_VALUE} bytes long"));
            }
            match &*name {
                "since" => wanted.since = Some(time()?),
                "until" => wanted.until = Some(time()?),
                // As it stands in a record, which is JSON.
                "text" if wanted.texts.len() < TEXTS => {
                    wanted.texts.push(serde_json::Value::from(&*value).to_string());
                }
                "strangers" if value == "true" => wanted.strangers = true,
                "strangers" if value == "false" => {}
                _ => {
                    return Err(format!(
                        "`{name}={value}` is not taken: there are since, until, text, strangers"
                    ));
                }
            }
        }
        Ok(wanted)
    }

    /// Names what is read, for the record of it.
    fn told(&self) -> String {
        let mut text = "audit records are read".to_owned();
        if self.strangers {
            text.push_str(", those of strangers");
        }
        for (word, time) in [("since", self.since), ("until", self.until)] {
            if let Some(time) = time {
                text.push_str(&format!(", {word} {time}"));
            }
        }
        for own in &self.texts {
            text.push_str(&format!(", with {own}"));
        }
        text
    }

    /// Returns true if it wants a line. One without a time is wanted: nothing is left out unseen.
    fn takes(&self, line: &[u8]) -> bool {
        let has_texts = || {
            let text = String::from_utf8_lossy(line);
            self.texts.iter().all(|own| text.contains(own))
        };
        let is_within = |time: i64| {
            self.since.is_none_or(|since| time >= since.as_millisecond())
                && self.until.is_none_or(|until| time <= until.as_millisecond())
        };
        let in_time = || {
            let has_window = self.since.is_some() || self.until.is_some();
            !has_window
                || serde_json::from_slice(line).map_or(true, |Timed { time }| is_within(time))
        };
        has_texts() && in_time()
    }
}

type Piece = Result<Vec<u8>, io::Error>;

/// Reads files on a thread of its own, as far as whoever reads the answer has come.
fn reading(
    segments: &Segments,
    wanted: Wanted,
    place: OwnedSemaphorePermit,
) -> io::Result<mpsc::Receiver<Piece>> {
    let mut files = reader::Files::open(segments)?;
    if let Some(since) = wanted.since {
        files = files.since(since.into());
    }
    let (hand_over, pieces) = mpsc::channel(PIECES);
    let read = move || {
        let _place = place;
        // Requests go first, as with compression.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, LOWEST);
        let give_up = Instant::now() + LONGEST;
        if let Err(error) = send_all(files, &wanted, &hand_over, give_up) {
            tracing::warn!(%error, "a reading of audit records was broken off");
            // It breaks the answer off, so that nobody takes it for a whole one.
            let _ = hand_over.blocking_send(Err(error));
        }
    };
    thread::Builder::new().name("audit-reader".to_owned()).spawn(read)?;
    Ok(pieces)
}

/// The priority of a reading (`nice`).
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

/// Hands over the lines that are wanted, in pieces. Whoever hangs up ends it.
fn send_all(
    files: reader::Files,
    wanted: &Wanted,
    hand_over: &mpsc::Sender<Piece>,
    give_up: Instant,
) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE);
    for (at, line) in files.lines().enumerate() {
        let line = line?;
        if wanted.takes(&line) {
            piece.extend_from_slice(&line);
            piece.push(b'\n');
        }
        if piece.len() >= PIECE {
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE));
            if hand_over.blocking_send(Ok(full)).is_err() {
                return Ok(());
            }
        }
        // Where little is wanted, a long time passes without a piece.
        if at % 1_024 == 0 {
            if hand_over.is_closed() {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
            }
        }
    }
    // Whoever has hung up does not miss the last.
    let _ = hand_over.blocking_send(Ok(piece));
    Ok(())
}
