//! W3C Trace Context: which trace a request is part of.

use std::time::Duration;

use opentelemetry::trace::{SpanId, TraceId};
use tokio::time::Instant;
use uuid::Uuid;

/// A request's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span, if the caller has one.
    pub parent: Option<SpanId>,
    /// The request's own span.
    pub span: SpanId,
    /// Whether the trace is kept.
    pub sampled: bool,
}

/// One call to Move, as a trace shows it.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamSpan {
    /// Its span, which Move was told.
    pub id: SpanId,
    /// When it was sent.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// `ok`, or the kind of its failure.
    pub outcome: &'static str,
}

impl TraceContext {
    /// A trace of its own; `sampled` decides by its id.
    #[must_use]
    pub fn root(sampled: impl FnOnce(TraceId) -> bool) -> Self {
        let trace = TraceId::from_bytes(Uuid::new_v4().into_bytes());
        Self { trace, parent: None, span: new_span(), sampled: sampled(trace) }
    }

    /// Continues the trace of a `traceparent` (W3C Trace Context, section 3.2), if it is one.
    #[must_use]
    pub fn continued(traceparent: &str) -> Option<Self> {
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
        Some(Self { trace, parent: Some(parent), span: new_span(), sampled })
    }

    /// The `traceparent` for a call made in this trace, and the call's span.
    #[must_use]
    pub fn traceparent(&self) -> (String, SpanId) {
        let span = new_span();
        (format!("00-{}-{span}-{:02x}", self.trace, u8::from(self.sampled)), span)
    }
}

/// A new span's id.
#[must_use]
pub fn new_span() -> SpanId {
    let (_, id) = Uuid::new_v4().as_u64_pair();
    SpanId::from_bytes(id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

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
            assert_eq!(TraceContext::continued(bad), None, "{bad}");
        }
        let later = TraceContext::continued(&format!("01-{TRACE}-b7ad6b7169203331-00-more"));
        assert!(later.is_some_and(|context| !context.sampled), "a later version may say more");
    }
}
