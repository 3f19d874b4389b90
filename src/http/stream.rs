//! Answers of many parts: GraphQL over server-sent events (graphql-sse, "distinct connections mode"), and
//! `multipart/mixed; subscriptionSpec=1.0` (Apollo's "multipart protocol for GraphQL subscriptions").

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;

/// The way in which a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamType {
    /// `text/event-stream`.
    EventStream,
    /// `multipart/mixed` as Apollo's clients take it.
    Multipart,
}

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamPart {
    /// A GraphQL answer, JSON.
    Answer(Bytes),
    /// A GraphQL answer after which there is none.
    Last(Bytes),
    /// Nothing new: proxies close streams that are silent.
    Heartbeat,
    /// The end, after which its caller does not come again.
    Complete,
    /// The end, for a reason that is no fault of the operation: an answer of errors alone, JSON.
    Refused(Bytes),
}

/// The header by which nginx is told to hand on what comes at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The delimiter of parts. It is written after each part, not before the next one: a client takes a part
/// that has ended.
const DELIMITER: &[u8] = b"\r\n--graphql";

/// The head of a part.
const PART: &[u8] = b"\r\ncontent-type: application/json\r\n\r\n";

impl StreamType {
    /// Returns the one that the caller prefers; `None` if it takes none. Who takes anything, or does not say, gets
    /// events. `multipart/mixed` without `subscriptionSpec=1.0` is another protocol.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Some(Self::EventStream);
        }
        // What is said of the type itself goes before what is said of ranges (RFC 9110, section 12.5.1).
        let (mut events, mut multipart): (Option<(u8, f32)>, Option<f32>) = (None, None);
        let texts = values.filter_map(|value| value.to_str().ok());
        for range in texts.flat_map(|text| text.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut is_apollos) = (1.0, false);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.parse().unwrap_or(0.0),
                    "subscriptionspec" => is_apollos = value == "1.0",
                    _ => {}
                }
            }
            let precision = match media.as_str() {
                "text/event-stream" => 2,
                "text/*" => 1,
                "*/*" => 0,
                "multipart/mixed" if is_apollos => {
                    multipart = Some(quality);
                    continue;
                }
                _ => continue,
            };
            if events.is_none_or(|(known, _)| precision >= known) {
                events = Some((precision, quality));
            }
        }
        let events = events.map_or(0.0, |(_, quality)| quality);
        match multipart {
            Some(quality) if quality > events => Some(Self::Multipart),
            _ if events > 0.0 => Some(Self::EventStream),
            _ => None,
        }
    }

    /// Returns true if a caller asks for a stream by name, and not for anything at all.
    #[must_use]
    pub fn is_named(headers: &HeaderMap) -> bool {
        let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut ranges = texts.flat_map(|text| text.split(','));
        ranges.any(|range| {
            let media = range.split(';').next().unwrap_or_default().trim();
            ["text/event-stream", "multipart/mixed", "text/*"]
                .iter()
                .any(|own| media.eq_ignore_ascii_case(own))
        })
    }

    /// The head of a stream, and its body.
    #[must_use]
    pub fn respond(self, body: Body) -> Response {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(match self {
                Self::EventStream => "text/event-stream; charset=utf-8",
                Self::Multipart => "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0",
            }),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }

    /// The bytes before the first part.
    #[must_use]
    pub const fn beginning(self) -> &'static [u8] {
        match self {
            Self::EventStream => b"",
            Self::Multipart => DELIMITER,
        }
    }

    /// Writes a part.
    #[must_use]
    pub fn write(self, part: &StreamPart) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::EventStream => event(part, &mut out),
            Self::Multipart => multipart(part, &mut out),
        }
        out.into()
    }
}

fn event(part: &StreamPart, out: &mut Vec<u8>) {
    match part {
        StreamPart::Heartbeat => out.extend_from_slice(b":\n\n"),
        StreamPart::Complete => out.extend_from_slice(b"event: complete\ndata:\n\n"),
        StreamPart::Answer(answer) => next(answer, out),
        StreamPart::Last(answer) | StreamPart::Refused(answer) => {
            next(answer, out);
            event(&StreamPart::Complete, out);
        }
    }
}

fn next(answer: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: next\ndata: ");
    // A line break of JSON stands between values, where a space does as well; in an event it would end the data.
    out.extend(answer.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
}

fn multipart(part: &StreamPart, out: &mut Vec<u8>) {
    let texts: [&[u8]; 3] = match part {
        StreamPart::Complete => return out.extend_from_slice(b"--\r\n"),
        StreamPart::Heartbeat => [b"{}", b"", b""],
        StreamPart::Answer(answer) | StreamPart::Last(answer) => [b"{\"payload\":", answer, b"}"],
        // An answer of errors alone is `{"errors":[...]}`.
        StreamPart::Refused(errors) => {
            [b"{\"payload\":null,", errors.strip_prefix(b"{").unwrap_or(errors), b""]
        }
    };
    out.extend_from_slice(PART);
    out.extend(texts.concat());
    out.extend_from_slice(DELIMITER);
    if matches!(part, StreamPart::Last(_) | StreamPart::Refused(_)) {
        multipart(&StreamPart::Complete, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &'static str) -> Option<StreamType> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        StreamType::accepted(&headers)
    }

    #[test]
    fn the_accept_headers_of_known_clients_lead_to_what_they_can_read() {
        for (accept, expected) in [
            // Apollo Kotlin, iOS and JavaScript.
            (
                "multipart/mixed;subscriptionSpec=1.0, application/graphql-response+json, application/json",
                Some(StreamType::Multipart),
            ),
            ("multipart/mixed;subscriptionSpec=1.0,application/json", Some(StreamType::Multipart)),
            (
                "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0,application/json",
                Some(StreamType::Multipart),
            ),
            // urql.
            ("text/event-stream, multipart/mixed", Some(StreamType::EventStream)),
            (
                "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed",
                Some(StreamType::EventStream),
            ),
            ("*/*", Some(StreamType::EventStream)),
            ("multipart/mixed;deferSpec=20220824, application/json", None),
            ("application/json", None),
            ("text/event-stream;q=0, application/json", None),
            ("text/event-stream;q=0, */*", None),
            ("*/*, text/event-stream;q=0", None),
            ("text/*", Some(StreamType::EventStream)),
            (
                "multipart/mixed;subscriptionSpec=1.0;q=0.5, text/event-stream;q=0.1, */*",
                Some(StreamType::Multipart),
            ),
        ] {
            assert_eq!(accepted(accept), expected, "{accept}");
        }
        assert_eq!(StreamType::accepted(&HeaderMap::new()), Some(StreamType::EventStream));
    }

    #[test]
    fn a_part_is_written_as_its_protocol_has_it() {
        let text = |own: StreamType, part: StreamPart| {
            String::from_utf8(own.write(&part).to_vec()).expect("UTF-8")
        };
        let answer = || StreamPart::Answer(Bytes::from("{\"data\":\n{}}"));
        let errors = || StreamPart::Refused(Bytes::from("{\"errors\":[{}]}"));
        let own = StreamType::EventStream;
        assert_eq!(text(own, answer()), "event: next\ndata: {\"data\": {}}\n\n");
        assert_eq!(text(own, StreamPart::Heartbeat), ":\n\n");
        assert_eq!(
            text(own, errors()),
            "event: next\ndata: {\"errors\":[{}]}\n\nevent: complete\ndata:\n\n"
        );
        let own = StreamType::Multipart;
        let head = "\r\ncontent-type: application/json\r\n\r\n";
        assert_eq!(own.beginning(), b"\r\n--graphql");
        assert_eq!(
            text(own, answer()),
            format!("{head}{{\"payload\":{{\"data\":\n{{}}}}}}\r\n--graphql")
        );
        assert_eq!(text(own, StreamPart::Heartbeat), format!("{head}{{}}\r\n--graphql"));
        assert_eq!(
            text(own, errors()),
            format!("{head}{{\"payload\":null,\"errors\":[{{}}]}}\r\n--graphql--\r\n")
        );
    }
}
