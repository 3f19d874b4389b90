//! The trace that this task works in: every line that is logged meanwhile tells it.

use std::fmt;
use std::future::Future;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags};
use tokio::task::futures::TaskLocalFuture;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;

use super::spans;
use crate::model::TraceContext;

tokio::task_local! {
    static TRACE: Option<TraceContext>;
}

/// Runs a future within a trace. Tasks that it starts are not part of it.
pub fn within<F: Future>(
    trace: Option<TraceContext>,
    future: F,
) -> TaskLocalFuture<Option<TraceContext>, F> {
    TRACE.scope(trace, future)
}

/// Does something within a trace.
pub(super) fn scope(trace: Option<&TraceContext>, act: impl FnOnce()) {
    match trace {
        Some(trace) => TRACE.sync_scope(Some(trace.clone()), act),
        None => act(),
    }
}

/// Shows the trace to `look`, if there is one.
fn look<T>(look: impl FnOnce(&TraceContext) -> T) -> Option<T> {
    TRACE.try_with(|trace| trace.as_ref().map(look)).ok().flatten()
}

/// JSON lines that begin with `trace_id` and `span_id`, within a trace.
pub(super) struct Json<F>(pub F);

impl<S, N, F> FormatEvent<S, N> for Json<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let ids = look(|TraceContext { trace, span, .. }| {
            format!("{{\"trace_id\":\"{trace}\",\"span_id\":\"{span}\",")
        });
        let Some(ids) = ids else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&ids)?;
        writer.write_str(line.strip_prefix('{').unwrap_or(&line))
    }
}

/// Lines for people that begin with the trace's id, within one.
pub(super) struct Text<F>(pub F);

impl<S, N, F> FormatEvent<S, N> for Text<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(trace) = look(|context| context.trace) {
            write!(writer, "{trace} ")?;
        }
        self.0.format_event(context, writer, event)
    }
}

/// What goes to the collector: the gateway's own lines, each with its trace. What the exporters'
/// clients say would give them more to send, for ever.
pub(super) struct Exported<L>(pub L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for Exported<L> {
    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        let target = event.metadata().target();
        if target == "call" || target.starts_with("jobs_gateway") {
            let _attached = look(attached).map(Context::attach);
            self.0.on_event(event, context);
        }
    }
}

/// A trace as the exporter looks for it.
fn attached(trace: &TraceContext) -> Context {
    let flags = if trace.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let state = spans::state_of(trace);
    let span = SpanContext::new(trace.trace, trace.span, flags, false, state);
    Context::new().with_remote_span_context(span)
}
