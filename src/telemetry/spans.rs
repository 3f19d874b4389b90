//! Spans, made from the record when a call is over: http → graphql → job → cache, upstream. A request
//! whose trace is not kept pays nothing for them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use crate::model::{CallRecord, TenantId, TraceContext, Trail, new_span};

/// A trace as it is written down.
struct Writer<'a> {
    record: &'a CallRecord,
    context: TraceContext,
    spans: Vec<SpanData>,
}

/// The spans of a call; none if its trace is not kept.
pub fn of(record: &CallRecord) -> Vec<SpanData> {
    let Some(context) = record.trace.filter(|context| context.sampled) else { return Vec::new() };
    let mut writer = Writer { record, context, spans: Vec::new() };
    writer.http(record.began + record.took);
    if let Some((began, took)) = record.execution {
        let graphql = writer.graphql(began, began + took);
        for trail in record.trails.iter() {
            writer.job(graphql, trail, began, began + took);
        }
    }
    writer.spans
}

impl Writer<'_> {
    fn http(&mut self, end: Instant) {
        let record = self.record;
        let attributes = vec![
            KeyValue::new("http.request.method", record.method),
            KeyValue::new("http.response.status_code", i64::from(record.status)),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("jobs_gateway.request_id", record.request_id.to_string()),
            KeyValue::new(
                "jobs_gateway.tenant",
                record.tenant.as_ref().map_or("none", TenantId::as_str).to_owned(),
            ),
        ];
        let status = if record.status >= 500 { Status::error("") } else { Status::Unset };
        let span = self.context.span;
        let name = format!("{} GraphQL", record.method);
        self.write(span, self.context.parent, SpanKind::Server, name, (record.began, end));
        self.annotate(attributes, status);
        if let Some(span) = self.spans.last_mut() {
            span.parent_span_is_remote = self.context.parent.is_some();
        }
    }

    fn graphql(&mut self, began: Instant, end: Instant) -> SpanId {
        let kind = self.record.kind.map_or("none", crate::model::Kind::as_str);
        let span = new_span();
        let name = format!("graphql {kind}");
        self.write(span, Some(self.context.span), SpanKind::Internal, name, (began, end));
        let code = self.record.failures.first().map(|failure| failure.code.as_str());
        let status = code.map_or(Status::Unset, Status::error);
        self.annotate(vec![KeyValue::new("graphql.operation.type", kind)], status);
        span
    }

    fn job(&mut self, graphql: SpanId, trail: &Trail, began: Instant, end: Instant) {
        let (field, span) = (trail.field.name(), new_span());
        let notes = trail.note(|notes| notes.clone());
        let times = (notes.began.unwrap_or(began), notes.ended.unwrap_or(end));
        self.write(span, Some(graphql), SpanKind::Internal, format!("job {field}"), times);
        let mut attributes = vec![KeyValue::new("graphql.field.name", field)];
        if let Some(job) = &notes.job {
            attributes.push(KeyValue::new("jobs_gateway.job", job.as_str().to_owned()));
        }
        let code = self.record.code_of(trail);
        self.annotate(attributes, code.map_or(Status::Unset, |code| Status::error(code.as_str())));
        if let Some(status) = notes.cache {
            // What is known is looked for until Move is asked.
            let until = notes.calls.first().map_or(times.1, |call| call.began);
            self.write(new_span(), Some(span), SpanKind::Internal, "cache", (times.0, until));
            let status = KeyValue::new("jobs_gateway.cache", status.as_str());
            self.annotate(vec![status], Status::Unset);
        }
        for call in &notes.calls {
            let times = (call.began, call.began + call.took);
            self.write(call.id, Some(span), SpanKind::Client, format!("upstream {field}"), times);
            let attributes = vec![
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("peer.service", "move"),
                KeyValue::new("jobs_gateway.outcome", call.outcome),
            ];
            let is_error = call.outcome != "ok";
            let status = if is_error { Status::error(call.outcome) } else { Status::Unset };
            self.annotate(attributes, status);
        }
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
            TraceState::default(),
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
