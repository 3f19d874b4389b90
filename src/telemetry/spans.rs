//! Spans, made from the record when a call is over: http → graphql → job → cache, upstream. A request
//! whose trace is not kept pays nothing for them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::uri::Authority;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use crate::model::{
    CacheStatus, CallRecord, ErrorCode, Execution, Kind, RequestMethod, TraceContext, Trail,
    UpstreamSpan, new_span,
};

/// A trace as it is written down.
struct Writer<'a> {
    record: &'a CallRecord,
    context: &'a TraceContext,
    state: TraceState,
    spans: Vec<SpanData>,
}

/// The spans of a call; none if its trace is not kept.
pub fn from_record(record: &CallRecord) -> Vec<SpanData> {
    let Some(context) = record.trace.as_ref().filter(|context| context.sampled) else {
        return Vec::new();
    };
    let mut writer = Writer { record, context, state: state_of(context), spans: Vec::new() };
    let end = record.began + record.took;
    writer.http(end);
    if let Some(Execution { began, took }) = record.execution {
        let end = took.map_or(end, |took| began + took);
        let graphql = writer.graphql(began, end);
        for trail in record.trails.iter() {
            writer.job(graphql, trail, began, end);
        }
    }
    writer.spans
}

/// The caller's `tracestate`, taken apart as exporters want it.
pub fn state_of(context: &TraceContext) -> TraceState {
    context.state.as_deref().and_then(|state| state.parse().ok()).unwrap_or_default()
}

/// An attribute whose value is known only sometimes.
fn known<V: Into<Value>>(key: &'static str, value: Option<V>) -> Option<KeyValue> {
    value.map(|value| KeyValue::new(key, value))
}

/// A failure's name: the span's status and, by the conventions, its `error.type`.
fn failed(code: Option<&'static str>) -> (Status, Option<KeyValue>) {
    (code.map_or(Status::Unset, Status::error), known("error.type", code))
}

/// Attributes are those of OpenTelemetry's semantic conventions where they have one, and
/// `jobs_gateway.*` otherwise. What callers write into requests is none of them.
impl Writer<'_> {
    /// The conventions' HTTP server span.
    fn http(&mut self, end: Instant) {
        let record = self.record;
        let head = record.head.as_deref();
        let (method, verb) = match record.method {
            RequestMethod::Get => ("GET", "GET"),
            RequestMethod::Post => ("POST", "POST"),
            RequestMethod::Other => ("_OTHER", "HTTP"),
        };
        let server = head.and_then(|head| head.server.as_ref());
        let code = record.failures.first().map_or("500", |failure| failure.code.as_str());
        let (status, error) = failed((record.status >= 500).then_some(code));
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.response.status_code", i64::from(record.status)),
            KeyValue::new("jobs_gateway.request_id", record.request_id.to_string()),
        ];
        if let Some(head) = head {
            attributes.extend([
                KeyValue::new("url.scheme", head.scheme),
                KeyValue::new("url.path", head.path.to_string()),
                // Paths are those of the configuration: each is its own route.
                KeyValue::new("http.route", head.path.to_string()),
                KeyValue::new("network.protocol.version", head.version),
            ]);
            let user_agent = head.user_agent.as_ref().map(ToString::to_string);
            attributes.extend(known("user_agent.original", user_agent));
        }
        attributes.extend(
            [
                record.callers_id.as_ref().map(|id| {
                    let values = vec![StringValue::from(id.as_str().to_owned())];
                    KeyValue::new("http.request.header.x-request-id", Value::Array(values.into()))
                }),
                known("server.address", server.map(|server| server.host().to_owned())),
                known("server.port", server.and_then(Authority::port_u16).map(i64::from)),
                known("client.address", record.source.map(|source| source.to_string())),
                known("jobs_gateway.tenant", record.tenant.as_ref().map(ToString::to_string)),
                known(
                    "jobs_gateway.credential",
                    record.credential.as_ref().map(ToString::to_string),
                ),
                known("jobs_gateway.cache", record.cache.map(CacheStatus::as_str)),
                error,
            ]
            .into_iter()
            .flatten(),
        );
        let name = head.map_or_else(|| verb.to_owned(), |head| format!("{verb} {}", head.path));
        let span = self.context.span;
        self.write(span, self.context.parent, SpanKind::Server, name, (record.began, end));
        self.annotate(attributes, status);
        if let Some(span) = self.spans.last_mut() {
            span.parent_span_is_remote = self.context.parent.is_some();
        }
    }

    /// The conventions' GraphQL span; inside of HTTP's, so it is no server's of its own.
    fn graphql(&mut self, began: Instant, end: Instant) -> SpanId {
        let kind = self.record.kind.map(Kind::as_str);
        let span = new_span();
        let name = kind.unwrap_or("GraphQL Operation");
        self.write(span, Some(self.context.span), SpanKind::Internal, name, (began, end));
        let code = self.record.failures.first().map(|failure| failure.code.as_str());
        let (status, error) = failed(code);
        let kind = known("graphql.operation.type", kind);
        self.annotate([kind, error].into_iter().flatten().collect(), status);
        span
    }

    /// One root field, and below it what the cache knew and the calls to Move.
    fn job(&mut self, graphql: SpanId, trail: &Trail, began: Instant, end: Instant) {
        let (field, span) = (trail.operation, new_span());
        let notes = trail.note(|notes| notes.clone());
        let times = (notes.began.unwrap_or(began), notes.ended.unwrap_or(end));
        self.write(span, Some(graphql), SpanKind::Internal, format!("job {field}"), times);
        let (status, error) = failed(self.record.code_of(trail).map(ErrorCode::as_str));
        let job = known("jobs_gateway.job", notes.entity.as_ref().map(ToString::to_string));
        let field = KeyValue::new("jobs_gateway.operation", field);
        self.annotate([Some(field), job, error].into_iter().flatten().collect(), status);
        if let Some(status) = notes.cache {
            // What is known is looked for until Move is asked.
            let until = notes.calls.first().map_or(times.1, |call| call.began);
            self.write(new_span(), Some(span), SpanKind::Internal, "cache", (times.0, until));
            let status = KeyValue::new("jobs_gateway.cache", status.as_str());
            self.annotate(vec![status], Status::Unset);
        }
        for call in &notes.calls {
            self.upstream(span, trail, call, times.1);
        }
    }

    /// The conventions' HTTP client span. The URL is the configuration's, without what may be secret
    /// in it.
    fn upstream(&mut self, job: SpanId, trail: &Trail, call: &UpstreamSpan, end: Instant) {
        let times = (call.began, call.took.map_or(end, |took| call.began + took));
        let field = trail.field.name();
        self.write(call.id, Some(job), SpanKind::Client, format!("upstream {field}"), times);
        // Nobody waited for it any more.
        let unfinished = call.took.is_none().then_some("unfinished");
        let (status, error) = failed(call.error.or(unfinished));
        let url = &call.url;
        let host = url.host_str().unwrap_or_default().to_owned();
        let full = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let attributes = [
            Some(KeyValue::new("http.request.method", "POST")),
            Some(KeyValue::new("url.full", full)),
            Some(KeyValue::new("server.address", host)),
            known("server.port", url.port_or_known_default().map(i64::from)),
            known("http.response.status_code", call.status.map(i64::from)),
            known("http.request.resend_count", (call.resends > 0).then(|| i64::from(call.resends))),
            known("aws.request_id", call.request_id.as_ref().map(ToString::to_string)),
            Some(KeyValue::new("peer.service", "move")),
            Some(KeyValue::new("jobs_gateway.operation", field)),
            error,
        ];
        self.annotate(attributes.into_iter().flatten().collect(), status);
    }

    fn write(
        &mut self,
        span: SpanId,
        parent: Option<SpanId>,
        span_kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        (began, end): (Instant, Instant),
    ) {
        let context = SpanContext::new(
            self.context.trace,
            span,
            TraceFlags::SAMPLED,
            false,
            self.state.clone(),
        );
        self.spans.push(SpanData {
            span_context: context,
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: false,
            span_kind,
            name: name.into(),
            start_time: self.wall_clock(began),
            end_time: self.wall_clock(end),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("jobs-gateway").build(),
        });
    }

    /// More of the span that was written last.
    fn annotate(&mut self, attributes: Vec<KeyValue>, status: Status) {
        if let Some(span) = self.spans.last_mut() {
            (span.attributes, span.status) = (attributes, status);
        }
    }

    fn wall_clock(&self, at: Instant) -> SystemTime {
        let began: SystemTime = self.record.at.into();
        began + at.checked_duration_since(self.record.began).unwrap_or(Duration::ZERO)
    }
}
