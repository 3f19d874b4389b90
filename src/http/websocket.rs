//! Messages of `graphql-transport-ws` (graphql-ws, PROTOCOL.md), and the codes that a socket is closed with.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderValue};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::stream::StreamPart;

/// The subprotocol.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// Why a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The gateway stops, or the socket has been open for as long as one may: its caller comes again.
    ComeAgain,
    /// There are as many sockets as may be.
    Full,
    /// A message that is none.
    Invalid,
    /// A subscription before the socket was acknowledged.
    Unauthorized,
    /// A credential that is not taken, or not any more.
    Forbidden,
    /// Another subprotocol.
    Subprotocol,
    /// No `connection_init` in time.
    InitTimeout,
    /// A subscription with the id of one that is open.
    Subscriber,
    /// A second `connection_init`.
    TooManyInits,
}

impl Close {
    /// The frame, with the code and the words of the protocol (RFC 6455, section 7.4, for those of four digits from 1).
    #[must_use]
    pub fn frame(self) -> Message {
        let (code, reason) = match self {
            Self::ComeAgain => (1012, "Service restart"),
            Self::Full => (1013, "Try again later"),
            Self::Invalid => (4400, "Invalid message"),
            Self::Unauthorized => (4401, "Unauthorized"),
            Self::Forbidden => (4403, "Forbidden"),
            Self::Subprotocol => (4406, "Subprotocol not acceptable"),
            Self::InitTimeout => (4408, "Connection initialisation timeout"),
            Self::Subscriber => (4409, "Subscriber already exists"),
            Self::TooManyInits => (4429, "Too many initialisation requests"),
        };
        Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))
    }
}

/// A message of a client.
#[derive(Debug)]
pub enum ClientMessage {
    /// It may carry a credential in its payload.
    ConnectionInit(Option<Value>),
    /// To be answered by a pong with the same payload.
    Ping(Option<Box<RawValue>>),
    /// The answer to a ping.
    Pong,
    /// A subscription: its name on this socket, and a GraphQL request.
    Subscribe(String, Box<RawValue>),
    /// The client has enough of the subscription of this name.
    Complete(String),
}

/// A message as it is written.
#[derive(Deserialize)]
struct Wire {
    r#type: String,
    id: Option<String>,
    payload: Option<Box<RawValue>>,
}

impl ClientMessage {
    /// Reads a message; `None` if it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let Wire { r#type, id, payload } = serde_json::from_str(text).ok()?;
        let id = id.filter(|id| !id.is_empty());
        Some(match r#type.as_str() {
            "connection_init" => {
                let payload = payload.map(|payload| serde_json::from_str(payload.get()));
                Self::ConnectionInit(payload.transpose().ok()?)
            }
            "ping" => Self::Ping(payload),
            "pong" => Self::Pong,
            "subscribe" => Self::Subscribe(id?, payload?),
            "complete" => Self::Complete(id?),
            _ => return None,
        })
    }
}

/// Puts the credential of a `connection_init` into a head: browsers cannot send headers with a socket. It stands in
/// `Authorization` or `authorization`, of the payload or of its `headers`. One of the handshake's own goes before.
pub fn take_credential(payload: Option<&Value>, head: &mut HeaderMap) {
    let has_one = head.contains_key(AUTHORIZATION) || head.contains_key("x-api-key");
    let places = [payload, payload.and_then(|payload| payload.get("headers"))];
    let texts = places.into_iter().flatten().flat_map(|place| {
        ["Authorization", "authorization"].map(|name| place.get(name).and_then(Value::as_str))
    });
    let credential = texts.flatten().find_map(|text| HeaderValue::from_str(text).ok());
    if let Some(credential) = credential.filter(|_| !has_one) {
        head.insert(AUTHORIZATION, credential);
    }
}

/// The word that a socket may be used.
#[must_use]
pub fn ack() -> Message {
    Message::Text(Utf8Bytes::from_static(r#"{"type":"connection_ack"}"#))
}

/// A question whether anybody is there.
#[must_use]
pub fn ping() -> Message {
    Message::Text(Utf8Bytes::from_static(r#"{"type":"ping"}"#))
}

/// The answer to that question.
#[must_use]
pub fn pong(payload: Option<&RawValue>) -> Message {
    let payload = payload.map(|payload| format!(",\"payload\":{}", payload.get()));
    Message::Text(format!("{{\"type\":\"pong\"{}}}", payload.unwrap_or_default()).into())
}

/// The messages that tell a part of a subscription.
#[must_use]
pub fn messages(id: &str, part: &StreamPart) -> Vec<Message> {
    match part {
        StreamPart::Heartbeat => Vec::new(),
        StreamPart::Answer(answer) => vec![message(id, "next", Some(answer))],
        StreamPart::Last(answer) => {
            vec![message(id, "next", Some(answer)), message(id, "complete", None)]
        }
        StreamPart::Complete => vec![message(id, "complete", None)],
        StreamPart::Refused(errors) => vec![error(id, errors)],
    }
}

/// Tells that a subscription is refused: `{"errors":[...]}`, of which the protocol wants the list.
#[must_use]
pub fn error(id: &str, errors: &Bytes) -> Message {
    let list = errors.strip_prefix(b"{\"errors\":").and_then(|rest| rest.strip_suffix(b"}"));
    message(id, "error", Some(list.unwrap_or(b"[]")))
}

fn message(id: &str, kind: &str, payload: Option<&[u8]>) -> Message {
    let id = Value::from(id);
    let mut text = format!("{{\"id\":{id},\"type\":\"{kind}\"");
    if let Some(payload) = payload {
        text.push_str(",\"payload\":");
        // An answer is JSON, which is UTF-8.
        text.push_str(&String::from_utf8_lossy(payload));
    }
    text.push('}');
    Message::Text(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_the_protocol_has_it_and_nothing_else_is() {
        for good in [
            r#"{"type":"connection_init"}"#,
            r#"{"type":"connection_init","payload":{"a":1}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"pong","payload":null}"#,
            r#"{"id":"1","type":"subscribe","payload":{"query":"{a}"}}"#,
            r#"{"id":"1","type":"complete"}"#,
        ] {
            assert!(ClientMessage::read(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "7",
            "{}",
            r#"{"type":"next","id":"1"}"#,
            r#"{"type":"subscribe","payload":{}}"#,
            r#"{"id":"","type":"subscribe","payload":{}}"#,
            r#"{"id":1,"type":"complete"}"#,
            r#"{"id":"1","type":"subscribe"}"#,
        ] {
            assert!(ClientMessage::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn parts_are_told_in_messages_of_their_subscription() {
        let texts = |part: StreamPart| {
            let told = messages("a\"b", &part).into_iter();
            told.map(|told| told.into_text().expect("text").to_string()).collect::<Vec<_>>()
        };
        let answer = Bytes::from("{\"data\":{}}");
        let next = r#"{"id":"a\"b","type":"next","payload":{"data":{}}}"#;
        let complete = r#"{"id":"a\"b","type":"complete"}"#;
        assert_eq!(texts(StreamPart::Answer(answer.clone())), [next]);
        assert_eq!(texts(StreamPart::Last(answer)), [next, complete]);
        assert_eq!(texts(StreamPart::Complete), [complete]);
        let refused = StreamPart::Refused(Bytes::from("{\"errors\":[{\"message\":\"no\"}]}"));
        assert_eq!(
            texts(refused),
            [r#"{"id":"a\"b","type":"error","payload":[{"message":"no"}]}"#]
        );
        assert_eq!(texts(StreamPart::Heartbeat), Vec::<String>::new());
    }
}
