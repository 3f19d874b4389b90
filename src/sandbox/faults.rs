//! Faults, on demand.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

/// One thing that goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call is carried out late.
    Delay(Duration),
    /// This HTTP answer instead of Move's; the call is not carried out.
    Respond {
        /// The status.
        status: u16,
        /// `Content-Type`.
        content_type: &'static str,
        /// `Retry-After`.
        retry_after: Option<String>,
        /// The body.
        body: String,
    },
    /// A GraphQL error of this `errorType` and no data; the call is not carried out.
    GraphqlError {
        /// `errorType`.
        error_type: &'static str,
        /// `message`.
        message: &'static str,
    },
    /// Half of the answer, as if it were all of it.
    Truncate,
    /// Half of the answer, and the other half so much later.
    SlowBody(Duration),
    /// The connection ends before anything is answered; the call is not carried out.
    Reset,
    /// The connection ends in the middle of the answer.
    ResetMidBody,
    /// The call is carried out and its answer lost.
    LoseAnswer,
    /// No answer, ever; the call is not carried out.
    Stall,
    /// An answer of at least this many bytes, streamed; the call is not carried out.
    Huge(usize),
    /// The call is carried out, and something else is said of it.
    Rewrite(Rewrite),
}

/// A function from the answer to the body that is sent in its place.
#[derive(Clone)]
pub struct Rewrite(Arc<dyn Fn(Value) -> String + Send + Sync>);

impl Rewrite {
    /// Returns the body to send in the place of this answer.
    pub(super) fn apply(&self, answer: Value) -> String {
        (self.0)(answer)
    }
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rewrite")
    }
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Rewrite {}

impl Fault {
    /// An HTTP answer with a page of HTML, as a load balancer sends.
    #[must_use]
    pub fn html(status: u16) -> Self {
        let body = format!("<html><body><h1>{status}</h1></body></html>");
        Self::Respond { status, content_type: "text/html", retry_after: None, body }
    }

    /// An HTTP answer without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self::json(status, "")
    }

    /// An HTTP answer that says it is JSON, whatever the body is.
    #[must_use]
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        let content_type = "application/json";
        Self::Respond { status, content_type, retry_after: None, body: body.into() }
    }

    /// HTTP 429: come back in so many seconds.
    #[must_use]
    pub fn too_many_requests(retry_after: u64) -> Self {
        Self::throttled(&retry_after.to_string())
    }

    /// HTTP 429 with this `Retry-After`: seconds or a date.
    #[must_use]
    pub fn throttled(retry_after: &str) -> Self {
        let body =
            r#"{"errors":[{"errorType":"TooManyRequestsException","message":"Rate exceeded"}]}"#;
        Self::Respond {
            status: 429,
            content_type: "application/json",
            retry_after: Some(retry_after.to_owned()),
            body: body.to_owned(),
        }
    }

    /// The call is carried out and its answer edited.
    #[must_use]
    pub fn edit(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::replace(move |mut answer| {
            edit(&mut answer);
            answer.to_string()
        })
    }

    /// The call is carried out and this text, which need not be JSON, sent in the place of its answer.
    #[must_use]
    pub fn replace(body: impl Fn(Value) -> String + Send + Sync + 'static) -> Self {
        Self::Rewrite(Rewrite(Arc::new(body)))
    }

    /// Returns true if the call is not carried out.
    pub(super) const fn is_instead(&self) -> bool {
        match self {
            Self::Respond { .. }
            | Self::GraphqlError { .. }
            | Self::Reset
            | Self::Stall
            | Self::Huge(_) => true,
            Self::Delay(_)
            | Self::SlowBody(_)
            | Self::Truncate
            | Self::ResetMidBody
            | Self::Rewrite(_)
            | Self::LoseAnswer => false,
        }
    }
}

/// Faults that wait for their calls: each of the queue for one, the standing ones for all.
#[derive(Debug, Default)]
pub struct Faults {
    /// The shortest time that a call takes.
    pub latency: Duration,
    queue: VecDeque<(Option<String>, Fault)>,
    standing: Vec<(Option<String>, Fault)>,
}

impl Faults {
    /// Queues a fault for the next call, or the next of a root field.
    pub fn push(&mut self, field: Option<&str>, fault: Fault) {
        self.queue.push_back((field.map(str::to_owned), fault));
    }

    /// Sets or ends the fault that every call meets, or every one of a root field.
    pub fn set(&mut self, field: Option<&str>, fault: Option<Fault>) {
        self.standing.retain(|(own, _)| own.as_deref() != field);
        self.standing.extend(fault.map(|fault| (field.map(str::to_owned), fault)));
    }

    /// Ends them all, the latency too.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The fault that a call of this root field meets: one that waits for it, else one that stands.
    pub fn take(&mut self, field: &str) -> Option<Fault> {
        let matches =
            |(wanted, _): &(Option<String>, Fault)| wanted.as_deref().is_none_or(|w| w == field);
        match self.queue.iter().position(matches) {
            Some(at) => self.queue.remove(at).map(|(_, fault)| fault),
            None => self.standing.iter().find(|own| matches(own)).map(|(_, fault)| fault.clone()),
        }
    }
}
