//! W3C Trace Context: which trace a request is part of, and what a trace shows of it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, Version};
use opentelemetry::trace::{SpanId, TraceId};
use tokio::time::Instant;
use uuid::Uuid;

/// The header that names a trace (section 3.2).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header with the data of other systems along a trace (section 3.3).
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of a `tracestate` that is taken and passed on: what everybody has to (section 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// The number of members it may have (section 3.3.1.1).
const MOST_MEMBERS: usize = 32;

/// The length of a caller's `User-Agent` that a trace shows.
const LONGEST_USER_AGENT: usize = 256;

/// A request's place in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span, if the caller has one.
    pub parent: Option<SpanId>,
    /// The request's own span.
    pub span: SpanId,
    /// True if the trace is kept.
    pub sampled: bool,
    /// The data of other systems along the trace: the caller's `tracestate`.
    pub state: Option<Arc<str>>,
}

/// A request's head, as a trace shows it: nothing that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// HTTP's version.
    pub version: &'static str,
    /// Its path, without the query, which may hold what a caller asks.
    pub path: Box<str>,
    /// The host and port that the caller asked.
    pub server: Option<Authority>,
    /// The caller's own name of its software, cut where it gets long.
    pub user_agent: Option<Box<str>>,
}

/// One call to Move, as a trace shows it.
#[derive(Debug, Clone)]
pub struct UpstreamSpan {
    /// Its span, which Move was told.
    pub id: SpanId,
    /// The moment at which it was sent.
    pub began: Instant,
    /// The time it took, if it came to its end before its request did.
    pub took: Option<Duration>,
    /// The URL it was sent to.
    pub url: url::Url,
    /// The number of times the same call had been made before.
    pub resends: u32,
    /// The HTTP status of the answer, if one came.
    pub status: Option<u16>,
    /// The kind of its failure, if it failed.
    pub error: Option<&'static str>,
    /// Move's id of it.
    pub request_id: Option<Box<str>>,
}

impl TraceContext {
    /// A trace of its own; `sampled` decides by its id.
    #[must_use]
    pub fn root(sampled: impl FnOnce(TraceId) -> bool) -> Self {
        let trace = TraceId::from_bytes(Uuid::new_v4().into_bytes());
        Self { trace, parent: None, span: new_span(), sampled: sampled(trace), state: None }
    }

    /// Continues the trace that a request's headers tell of. `tracestate` counts only with exactly
    /// one `traceparent` that can be read (section 4.3).
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (parent, None) = (parents.next()?, parents.next()) else { return None };
        let state = state(headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok()));
        Some(Self { state, ..Self::continued(parent.to_str().ok()?)? })
    }

    /// Continues the trace of a `traceparent` (W3C Trace Context, section 3.2), if it is one.
    fn continued(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (parent, flags) = (parts.next()?, parts.next()?);
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_known = is_hex(version, 2) && version != "ff" && is_hex(flags, 2);
        // Version 00 has these four parts and no others.
        let is_whole = version != "00" || parts.next().is_none();
        if !(is_known && is_whole && is_hex(trace, 32) && is_hex(parent, 16)) {
            return None;
        }
        let trace = TraceId::from_hex(trace).ok().filter(|id| *id != TraceId::INVALID)?;
        let parent = SpanId::from_hex(parent).ok().filter(|id| *id != SpanId::INVALID)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { trace, parent: Some(parent), span: new_span(), sampled, state: None })
    }

    /// The `traceparent` for a call made in this trace, and the call's span.
    #[must_use]
    pub fn traceparent(&self) -> (String, SpanId) {
        let span = new_span();
        (format!("00-{}-{span}-{:02x}", self.trace, u8::from(self.sampled)), span)
    }
}

impl UpstreamSpan {
    /// A call that is sent for the first time and has no answer yet.
    #[must_use]
    pub const fn begin(id: SpanId, began: Instant, url: url::Url) -> Self {
        let (took, status, error, request_id) = (None, None, None, None);
        Self { id, began, took, url, resends: 0, status, error, request_id }
    }
}

impl RequestHead {
    /// Takes what is shown from a head.
    #[must_use]
    pub fn from_parts(head: &Parts) -> Self {
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()?.parse().ok());
        let user_agent = head.headers.get(USER_AGENT).and_then(|text| text.to_str().ok());
        Self {
            // Who accepts the connection knows whether it is encrypted; the request does not.
            scheme: match head.extensions.get::<Scheme>() {
                Some(scheme) if *scheme == Scheme::HTTPS => "https",
                _ => "http",
            },
            version: match head.version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            },
            path: head.uri.path().into(),
            server: head.uri.authority().cloned().or(host),
            // A header's text is ASCII: it can be cut anywhere.
            user_agent: user_agent.map(|text| text[..text.len().min(LONGEST_USER_AGENT)].into()),
        }
    }
}

/// A `tracestate`, of all headers of that name, with as many whole members as are passed on; `None`
/// if there is none, or one that cannot be read.
fn state<'a>(mut headers: impl Iterator<Item = Option<&'a str>>) -> Option<Arc<str>> {
    let mut first = headers.next()??.to_owned();
    for more in headers {
        first = format!("{first},{}", more?);
    }
    let members = first.split(',').map(|member| member.trim_matches([' ', '\t']));
    let members: Vec<_> = members.filter(|member| !member.is_empty()).collect();
    if members.len() > MOST_MEMBERS || !members.iter().all(|member| is_member(member)) {
        return None;
    }
    let mut state = String::new();
    for member in members {
        if state.len() + 1 + member.len() > LONGEST_STATE {
            break;
        }
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(member);
    }
    (!state.is_empty()).then(|| state.into())
}

/// Section 3.3.1.3: a key, `=`, and a value.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_key = key.bytes().next().is_some_and(is_alphanumeric)
        && key.bytes().all(|byte| is_alphanumeric(byte) || b"_-*/@".contains(&byte));
    let is_value =
        !value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=');
    is_key && is_value && key.len() <= 256 && value.len() <= 256
}

/// A new span's id.
#[must_use]
pub fn new_span() -> SpanId {
    let (_, id) = Uuid::new_v4().as_u64_pair();
    SpanId::from_bytes(id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        lines.iter().map(line).collect()
    }

    /// Reads these headers of a request that is part of a trace.
    fn state_of(states: &[&str]) -> Option<String> {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let mut lines = vec![("traceparent", parent.as_str())];
        lines.extend(states.iter().map(|state| ("tracestate", *state)));
        let context = TraceContext::from_headers(&headers(&lines)).expect("a context");
        context.state.map(|state| state.to_string())
    }

    #[test]
    fn a_traceparent_is_continued_with_a_span_of_its_own() {
        let context = TraceContext::continued(&format!("00-{TRACE}-b7ad6b7169203331-01"));
        let context = context.expect("a context");
        assert_eq!(context.trace.to_string(), TRACE);
        assert_eq!(context.parent.map(|id| id.to_string()).as_deref(), Some("b7ad6b7169203331"));
        assert!(context.sampled);
        let (told, span) = context.traceparent();
        assert_eq!(told, format!("00-{TRACE}-{span}-01"));
        assert!(span != context.span && Some(span) != context.parent);
    }

    #[test]
    fn what_is_no_traceparent_is_not_continued() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            let state = ("tracestate", "a=1");
            assert_eq!(
                TraceContext::from_headers(&headers(&[("traceparent", bad), state])),
                None,
                "{bad}"
            );
        }
        let later = TraceContext::continued(&format!("01-{TRACE}-b7ad6b7169203331-00-more"));
        assert!(later.is_some_and(|context| !context.sampled), "a later version may say more");
    }

    #[test]
    fn two_traceparents_are_none() {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let twice = [("traceparent", parent.as_str()), ("traceparent", parent.as_str())];
        assert!(TraceContext::from_headers(&headers(&twice[..1])).is_some());
        assert_eq!(TraceContext::from_headers(&headers(&twice)), None);
        assert_eq!(TraceContext::from_headers(&headers(&[("tracestate", "a=1")])), None);
    }

    #[test]
    fn a_tracestate_goes_on_as_it_came() {
        assert_eq!(state_of(&[]), None);
        let whole = "rojo=00f067aa0ba902b7,congo=t61 x;y";
        assert_eq!(state_of(&[whole]).as_deref(), Some(whole));
        assert_eq!(state_of(&["a=1, b=2", "", "c@v=3"]).as_deref(), Some("a=1,b=2,c@v=3"));
        let most: Vec<_> = (0..32).map(|i| format!("k{i}=v")).collect();
        assert_eq!(state_of(&[&most.join(",")]), Some(most.join(",")));
    }

    #[test]
    fn what_is_no_tracestate_is_dropped_and_the_trace_goes_on() {
        for bad in ["a", "=1", "a=", "a=b=c", "A=1", "a b=1", "ok=1,A=1"] {
            assert_eq!(state_of(&[bad]), None, "{bad}");
        }
        let many: Vec<_> = (0..33).map(|i| format!("k{i}=v")).collect();
        assert_eq!(state_of(&[&many.join(",")]), None);
    }

    #[test]
    fn a_long_tracestate_keeps_the_whole_members_that_fit() {
        let [one, two, three] = ["a", "b", "c"].map(|key| format!("{key}={}", "x".repeat(250)));
        let kept = state_of(&[&one, &two, &three]);
        assert_eq!(kept, Some(format!("{one},{two}")));
        assert!(kept.is_some_and(|kept| kept.len() <= LONGEST_STATE));
    }

    #[test]
    fn what_a_trace_shows_of_a_head_is_bounded_and_leaves_the_query_out() {
        let request = http::Request::get("/graphql?query=secret")
            .header(HOST, "jobs.example.test:8443")
            .header(USER_AGENT, "a".repeat(1_000))
            .extension(Scheme::HTTPS);
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let head = RequestHead::from_parts(&parts);
        assert_eq!((head.scheme, head.version, &*head.path), ("https", "1.1", "/graphql"));
        assert_eq!(head.user_agent, Some("a".repeat(LONGEST_USER_AGENT).into()));
        let server = head.server.expect("a server");
        assert_eq!((server.host(), server.port_u16()), ("jobs.example.test", Some(8443)));
    }

    proptest! {
        #[test]
        fn a_caller_decides_whether_its_trace_is_kept(
            trace in "[0-9a-f]{31}[1-9a-f]",
            span in "[0-9a-f]{15}[1-9a-f]",
            flags: u8,
        ) {
            let parent = format!("00-{trace}-{span}-{flags:02x}");
            let context = TraceContext::from_headers(&headers(&[("traceparent", &parent)])).expect("one");
            prop_assert_eq!(context.sampled, flags & 1 == 1);
            let told = context.traceparent().0;
            prop_assert!(told.starts_with(&format!("00-{trace}-")), "{}", told);
            prop_assert!(told.ends_with(if context.sampled { "-01" } else { "-00" }), "{}", told);
        }

        #[test]
        fn whatever_comes_as_tracestate_what_goes_on_is_one(bytes in "[ -~]{0,700}") {
            if let Some(state) = state_of(&[&bytes]) {
                prop_assert!(state.len() <= LONGEST_STATE);
                prop_assert_eq!(state_of(&[&state]), Some(state));
            }
        }
    }
}
