//! The trace that this task works in: every line that is logged meanwhile tells it.

use std::future::Future;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags};
use tokio::task::futures::TaskLocalFuture;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer;

use super::line::TARGET;
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

/// Shows the trace to `look`, if there is one.
pub(super) fn look<T>(look: impl FnOnce(&TraceContext) -> T) -> Option<T> {
    TRACE.try_with(|trace| trace.as_ref().map(look)).ok().flatten()
}

/// The layer of lines that go to the collector: the gateway's own, each with its trace. What the exporters'
/// clients say would give them more to send, for ever.
pub(super) struct Exported<L>(pub L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for Exported<L> {
    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        let target = event.metadata().target();
        if target == TARGET || target.starts_with("jobs_gateway") {
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
