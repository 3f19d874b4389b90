//! Subscriptions over a WebSocket (`graphql-transport-ws`). Each goes through the stages of a request; the socket itself
//! is its tenant's once its credential was taken, and ends with it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, ready};
use futures_util::stream::{BoxStream, SelectAll, once, unfold};
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::judged::StreamEnd;
use super::receive::overloaded;
use super::record::RecordGuard;
use super::service::draining;
use super::stream::{Stream, leaving, until_end};
use super::{Service, authenticate, follow};
use crate::graphql::Answer;
use crate::http::connection::{Connection, HandedOver};
use crate::http::request;
use crate::http::stream::StreamPart;
use crate::http::websocket::{self, ClientMessage, Close, PROTOCOL};
use crate::limit::{Stranger, StreamPlace};
use crate::model::{CallRecord, RequestId, RequestMethod};

/// The time in which a new socket has to say who uses it.
const INIT: Duration = Duration::from_secs(10);

/// The time in which a message has to be written.
const WRITING: Duration = Duration::from_secs(30);

/// The time in which its last word has to be written: a gateway that stops waits for it.
const CLOSING: Duration = Duration::from_secs(5);

/// The number of heartbeats without a word after which nobody is there.
const SILENT: u32 = 3;

/// Something of one of a socket's subscriptions.
enum Told {
    Refused(String, Message),
    Part(String, StreamPart),
    Ended(String, Option<StreamEnd>),
}

/// A socket that was acknowledged.
struct Socket {
    service: Arc<Service>,
    wire: WebSocket,
    /// A request's head, as its subscriptions have it.
    head: Parts,
    source: Option<IpAddr>,
    /// The end of its credential.
    expires: Option<Timestamp>,
    streams: SelectAll<BoxStream<'static, Told>>,
    open: HashMap<String, AbortHandle>,
    /// Has its subscriptions opened one after the other.
    turn: Arc<Mutex<()>>,
    most: usize,
    _place: StreamPlace,
}

/// Returns true if a request asks for a WebSocket.
pub fn is_asked(head: &Parts) -> bool {
    head.method == Method::GET
        && head
            .headers
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Makes a WebSocket of a request.
pub async fn upgrade(service: Arc<Service>, source: Option<IpAddr>, mut head: Parts) -> Response {
    if service.standing.borrow().is_draining {
        return leaving().into_response();
    }
    // Who shows a good credential at once is none.
    let mut record = begin(&service, source, &head);
    let is_known = authenticate(&service, &as_request(head.clone()), &mut record).await.is_ok();
    let mut stranger = if is_known { None } else { service.strangers.enter() };
    if stranger.is_none() && !is_known {
        return overloaded().into_response();
    }
    let mut connection = head.extensions.get::<Arc<Connection>>().map(Connection::hand_over);
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
        Ok(upgrade) => upgrade,
        Err(refused) => return refused.into_response(),
    };
    let largest = service.max_body;
    let upgrade = upgrade.max_message_size(largest).max_frame_size(largest).protocols([PROTOCOL]);
    let detached = service.detached.token();
    upgrade.on_upgrade(async move |mut socket| {
        let _detached = detached;
        let greeting = greet(&service, source, &mut socket, head);
        let greeted = tokio::select! {
            greeted = greeting => greeted,
            () = evicted(connection.as_mut()) => return,
            () = gives_way(stranger.as_mut()) => Err(Some(Close::Full)),
        };
        let close = match greeted {
            Ok(greeted) => {
                drop(stranger);
                let Greeted { head, expires, place, most } = greeted;
                let (streams, open, turn) = Default::default();
                let socket = Socket {
                    service,
                    wire: socket,
                    head,
                    source,
                    expires,
                    streams,
                    open,
                    turn,
                    most,
                    _place: place,
                };
                return socket.converse().await;
            }
            Err(close) => close,
        };
        if let Some(close) = close {
            let _ = timeout(CLOSING, socket.send(close.frame())).await;
        }
    })
}

/// Resolves when the socket's connection has to make room.
async fn evicted(connection: Option<&mut HandedOver>) {
    match connection {
        Some(connection) => connection.left().await,
        None => std::future::pending().await,
    }
}

/// Resolves when a socket that has not said whose it is has to give way to another one.
async fn gives_way(stranger: Option<&mut Stranger>) {
    match stranger {
        Some(stranger) => stranger.gives_way().await,
        None => std::future::pending().await,
    }
}

/// A socket whose client is known.
struct Greeted {
    /// A request's head, with the credential.
    head: Parts,
    expires: Option<Timestamp>,
    place: StreamPlace,
    /// The most subscriptions that it may have.
    most: usize,
}

/// Waits for a socket's `connection_init`, finds out whose it is, and acknowledges it. `Err` is the way to close it; `None`
/// if its client went.
async fn greet(
    service: &Arc<Service>,
    source: Option<IpAddr>,
    socket: &mut WebSocket,
    head: Parts,
) -> Result<Greeted, Option<Close>> {
    if socket.protocol().is_none() {
        return Err(Some(Close::Subprotocol));
    }
    let until = Instant::now() + INIT;
    let mut gateway = service.standing.subscribe();
    let payload = loop {
        let message = tokio::select! {
            message = timeout_at(until, socket.recv()) => message,
            () = draining(&mut gateway) => return Err(Some(Close::ComeAgain)),
        };
        match message.map_err(|_| Some(Close::InitTimeout))? {
            Some(Ok(Message::Text(text))) => match ClientMessage::read(&text) {
                Some(ClientMessage::ConnectionInit(payload)) => break payload,
                Some(ClientMessage::Ping(payload)) => {
                    let pong = websocket::pong(payload.as_deref());
                    socket.send(pong).await.map_err(|_| None)?;
                }
                Some(ClientMessage::Pong) => {}
                Some(ClientMessage::Subscribe(..)) => return Err(Some(Close::Unauthorized)),
                Some(ClientMessage::Complete(_)) | None => return Err(Some(Close::Invalid)),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_)) | Err(_)) => return Err(Some(Close::Invalid)),
            Some(Ok(Message::Close(_))) | None => return Err(None),
        }
    };
    let mut head = as_request(head);
    websocket::take_credential(payload.as_ref(), &mut head.headers);
    let mut record = begin(service, source, &head);
    let known = authenticate(service, &head, &mut record).await;
    let Ok(known) = known else { return Err(Some(Close::Forbidden)) };
    let place = known.limits.connect(&service.sockets).map_err(|_| Some(Close::Full))?;
    let (most, expires) = (known.limits.max_per_connection(), known.caller.expires);
    drop(known);
    socket.send(websocket::ack()).await.map_err(|_| None)?;
    Ok(Greeted { head, expires, place, most })
}

/// The head that a subscription of a socket has as a request: what it asks for comes as JSON.
fn as_request(mut head: Parts) -> Parts {
    head.method = Method::POST;
    let headers = &mut head.headers;
    for name in
        [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::CONTENT_ENCODING]
    {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
    head
}

fn begin(service: &Service, source: Option<IpAddr>, head: &Parts) -> CallRecord {
    let mut record = CallRecord::begin(RequestId::new(), service.clock.now());
    record.arrived(RequestMethod::Post, source, None);
    record.named(request::callers_id(&head.headers));
    record
}

impl Socket {
    /// Tells of its subscriptions until it is closed.
    async fn converse(mut self) {
        let beat = self.service.streaming.heartbeat;
        let (mut next_beat, mut heard) = (Instant::now() + beat, Instant::now());
        let mut gateway = self.service.standing.subscribe();
        let mut rules = self.service.standing.subscribe();
        let close = loop {
            let messages = tokio::select! {
                biased;
                () = draining(&mut gateway) => break Some(Close::ComeAgain),
                // One that is too many is refused before the next is heard.
                received = self.wire.recv(), if self.open.len() <= self.most => {
                    heard = Instant::now();
                    match self.heed(received) {
                        Ok(messages) => messages,
                        Err(close) => break close,
                    }
                }
                Some(told) = self.streams.next() => match self.told(told) {
                    Ok(messages) => messages,
                    Err(close) => break Some(close),
                },
                // Streams that are open tell of it themselves, and close the socket.
                () = until_end(self.expires, self.service.clock), if self.open.is_empty() => {
                    break Some(Close::Forbidden);
                }
                Ok(()) = rules.changed() => {
                    if !self.is_taken().await && self.open.is_empty() {
                        break Some(Close::Forbidden);
                    }
                    Vec::new()
                }
                () = sleep_until(next_beat) => {
                    if heard.elapsed() > beat * SILENT {
                        break Some(Close::ComeAgain);
                    }
                    vec![websocket::ping()]
                }
            };
            for message in messages {
                next_beat = Instant::now() + beat;
                match timeout(WRITING, self.wire.send(message)).await {
                    Ok(Ok(())) => {}
                    // It does not read, or is gone.
                    _ => return,
                }
            }
        };
        if let Some(close) = close {
            let _ = timeout(CLOSING, self.wire.send(close.frame())).await;
        }
    }

    /// Returns true if its credential is taken by the rules of now.
    async fn is_taken(&mut self) -> bool {
        let mut record = begin(&self.service, self.source, &self.head);
        match authenticate(&self.service, &self.head, &mut record).await {
            Ok(known) => {
                self.expires = known.caller.expires;
                true
            }
            Err(_) => false,
        }
    }

    /// Does what a message asks for; `Err` is the way to close, `None` if the client went.
    fn heed(
        &mut self,
        received: Option<Result<Message, axum::Error>>,
    ) -> Result<Vec<Message>, Option<Close>> {
        let text = match received {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(Vec::new()),
            // What is no frame, no text or too long; to one that is gone nothing can be said.
            Some(Ok(Message::Binary(_)) | Err(_)) => return Err(Some(Close::Invalid)),
            Some(Ok(Message::Close(_))) | None => return Err(None),
        };
        match ClientMessage::read(&text).ok_or(Some(Close::Invalid))? {
            ClientMessage::ConnectionInit(_) => Err(Some(Close::TooManyInits)),
            ClientMessage::Ping(payload) => Ok(vec![websocket::pong(payload.as_deref())]),
            ClientMessage::Pong => Ok(Vec::new()),
            ClientMessage::Complete(id) => {
                if let Some(open) = self.open.remove(&id) {
                    open.abort();
                }
                Ok(Vec::new())
            }
            ClientMessage::Subscribe(id, payload) => {
                if self.open.contains_key(&id) {
                    return Err(Some(Close::Subscriber));
                }
                self.subscribe(id, Bytes::copy_from_slice(payload.get().as_bytes()));
                Ok(Vec::new())
            }
        }
    }

    /// Begins to open a subscription. The socket is heard meanwhile: its client may go, or have enough of it.
    fn subscribe(&mut self, id: String, text: Bytes) {
        let opening = Opening {
            service: Arc::clone(&self.service),
            source: self.source,
            head: self.head.clone(),
            text,
            most: self.most,
            is_one_too_many: self.open.len() >= self.most,
            turn: Arc::clone(&self.turn),
        };
        let own = id.clone();
        let told = once(Box::pin(opening.open())).flat_map(move |opened| match opened {
            Ok(stream) => parts(own.clone(), stream).left_stream(),
            Err(refused) => {
                let refused = websocket::error(&own, &refused);
                once(ready(Told::Refused(own.clone(), refused))).right_stream()
            }
        });
        let (handle, registration) = AbortHandle::new_pair();
        self.streams.push(Abortable::new(told, registration).boxed());
        self.open.insert(id, handle);
    }

    /// Puts into messages what a subscription tells; `Err` is the way to close.
    fn told(&mut self, told: Told) -> Result<Vec<Message>, Close> {
        match told {
            Told::Refused(id, refused) => {
                self.open.remove(&id);
                Ok(vec![refused])
            }
            Told::Part(id, part) => Ok(websocket::messages(&id, &part)),
            Told::Ended(id, ending) => {
                self.open.remove(&id);
                match ending {
                    Some(StreamEnd::TooOld | StreamEnd::Draining) => Err(Close::ComeAgain),
                    Some(StreamEnd::Unauthenticated) => Err(Close::Forbidden),
                    _ => Ok(Vec::new()),
                }
            }
        }
    }
}

/// A subscription that is to be opened.
struct Opening {
    service: Arc<Service>,
    source: Option<IpAddr>,
    head: Parts,
    text: Bytes,
    /// The most that its socket may have.
    most: usize,
    is_one_too_many: bool,
    turn: Arc<Mutex<()>>,
}

impl Opening {
    /// Opens it; `Err` is the answer that it is refused with. Dropped before, it leaves the record of who hung up.
    async fn open(self) -> Result<Stream, Bytes> {
        let mut guard = RecordGuard::begin(Arc::clone(&self.service));
        let (record, _) = guard.parts();
        *record = begin(&self.service, self.source, &self.head);
        let opened = if self.is_one_too_many {
            Err(crate::limit::LimitError::Connection { max: self.most }.into())
        } else {
            let _turn = self.turn.lock().await;
            follow(&self.service, &self.head, Body::from(self.text), record).await
        };
        let opened = match opened {
            Ok(stream) => {
                record.answered(200);
                Ok(stream)
            }
            Err(refusal) => {
                record.answered(refusal.status().as_u16());
                let answer = Answer::refusal(record.request_id, refusal.into_errors());
                record.failed(answer.failures);
                Err(answer.body)
            }
        };
        guard.emit().await;
        opened
    }
}

/// The parts of a subscription, and its end.
fn parts(id: String, stream: Stream) -> impl futures_util::Stream<Item = Told> + Send {
    unfold(Some((id, stream)), async |open| {
        let (id, mut stream) = open?;
        match stream.next().await {
            Some(part) => Some((Told::Part(id.clone(), part), Some((id, stream)))),
            None => Some((Told::Ended(id, stream.ending()), None)),
        }
    })
}
