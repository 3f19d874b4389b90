//! A subscription that is open: what is told of its job, and why it ends.
//!
//! It is authorised for as long as it lasts. Each reload judges it anew, as if it had just come; it ends with its
//! credential, and with the longest time a stream may have.
//!
//! Nothing of it waits to be sent: whoever writes it asks for the next part when there is room for it, and gets what
//! is so by then. So a slow reader misses states, never the last one, and takes no memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::service::{GatewayState, draining};
use super::wait::is_passing;
use super::{ReloadableState, RequestContext, Service};
use crate::auth;
use crate::cache::Listener;
use crate::graphql::{Answer, ApiError};
use crate::http::error::Refusal;
use crate::http::request;
use crate::http::stream::StreamPart;
use crate::limit::StreamPlace;
use crate::model::{CallRecord, Caller, ErrorCode, Kind, MediaType, Progress, Secret};
use crate::operation::Operation;
use crate::telemetry::{self, metrics};

/// A subscription as it was asked for, to be judged again.
#[derive(Debug)]
pub struct FollowRequest {
    /// The credential that was shown.
    pub credential: Secret,
    /// The address it came from.
    pub source: Option<IpAddr>,
    /// The method.
    pub method: Method,
    /// The request: a body, or a GET's parameters.
    pub text: Bytes,
}

/// A subscription that may go on.
#[derive(Debug)]
pub struct Judged {
    /// The rules it was judged by.
    pub rules: Arc<ReloadableState>,
    /// Its caller.
    pub caller: Caller,
    /// The operation that it is.
    pub operation: Arc<Operation>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The job is over.
    Finished,
    /// The job cannot be read any more.
    Failed,
    /// The caller may not have it any more.
    Refused,
    /// Its credential has ended, or is not taken any more.
    Unauthenticated,
    /// It was open for as long as a stream may be.
    TooOld,
    /// The gateway sends its callers away.
    Draining,
    /// The caller went.
    HungUp,
}

impl StreamEnd {
    /// As records and metrics name it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unauthenticated => "unauthenticated",
            Self::TooOld => "too_old",
            Self::Draining => "draining",
            Self::HungUp => "hung_up",
        }
    }
}

/// The next thing to be told.
#[derive(Debug)]
enum Next {
    Part(StreamPart),
    /// The last part.
    Last(StreamPart, StreamEnd),
    /// Nothing more, and no word of it: its caller comes again.
    Broken(StreamEnd),
}

/// A job that is being read: its answer, and how far the job has come; nothing if that takes too long.
type Reading = BoxFuture<'static, Option<(Answer, Option<Progress>)>>;

/// An open subscription to one job.
pub struct Stream {
    service: Arc<Service>,
    asked: FollowRequest,
    judged: Judged,
    listener: Listener,
    standing: watch::Receiver<GatewayState>,
    /// The read that is under way.
    reading: Option<Reading>,
    /// The answer that was told last.
    told: Bytes,
    progress: Progress,
    ends: Instant,
    heartbeat: Instant,
    ending: Option<StreamEnd>,
    events: u64,
    /// The record of its opening, to be told again with its end.
    record: Box<CallRecord>,
    _place: StreamPlace,
    _counted: metrics::GaugeGuard,
}

impl Judged {
    /// Judges a subscription anew, by the rules of now.
    async fn again(service: &Service, asked: &FollowRequest) -> Result<Self, Refusal> {
        let rules = service.rules.load_full();
        let (credential, now) = (asked.credential.expose(), service.clock.now());
        let ReloadableState { policies, issuers, gateways, .. } = &*rules;
        let caller = auth::authenticate(credential, policies, issuers, now).await?;
        auth::check_source(credential, &caller, policies, asked.source)?;
        let of_document = |errors| Refusal::of_document(errors, MediaType::Json);
        let parsed = request::parse(&asked.method, &asked.text)?;
        let document = gateways.parse(&caller.tenant, &parsed.query).map_err(of_document)?;
        let operation = document
            .operation(parsed.operation_name.as_deref(), parsed.variables)
            .map_err(|error| of_document(vec![error.into()]))?;
        let operation = Arc::new(super::authorize(&caller, operation)?.into_operation());
        Ok(Self { rules, caller, operation })
    }
}

impl Stream {
    /// Opens a subscription whose job was read for the first time.
    pub fn open(
        service: &Arc<Service>,
        (asked, judged): (FollowRequest, Judged),
        listener: Listener,
        first: (Answer, Option<Progress>),
        place: StreamPlace,
        record: &CallRecord,
    ) -> Self {
        let now = Instant::now();
        let streaming = service.streaming;
        // What was opened together does not come again together.
        let age = streaming.max_age.mul_f64(0.9 + 0.2 * record.request_id.chance());
        Self {
            service: Arc::clone(service),
            asked,
            judged,
            listener,
            standing: service.standing.subscribe(),
            reading: Some(Box::pin(ready(Some(first)))),
            told: Bytes::new(),
            progress: Progress::default(),
            ends: now + age,
            heartbeat: now + streaming.heartbeat,
            ending: None,
            events: 0,
            record: Box::new(record.clone()),
            _place: place,
            _counted: metrics::GaugeGuard::new(metrics::streams),
        }
    }

    /// Gives the next part; `None` after the last one. May be dropped and called again.
    pub async fn next(&mut self) -> Option<StreamPart> {
        if self.ending.is_some() {
            return None;
        }
        let next = self.wait().await;
        self.heartbeat = Instant::now() + self.service.streaming.heartbeat;
        match next {
            Next::Part(part) => Some(part),
            Next::Last(part, ending) => {
                self.ending = Some(ending);
                Some(part)
            }
            Next::Broken(ending) => {
                self.ending = Some(ending);
                None
            }
        }
    }

    /// Why it ended, once it has.
    pub const fn ending(&self) -> Option<StreamEnd> {
        self.ending
    }

    async fn wait(&mut self) -> Next {
        if self.progress.is_over() {
            return Next::Last(StreamPart::Complete, StreamEnd::Finished);
        }
        loop {
            let mut gateway = self.standing.clone();
            tokio::select! {
                biased;
                () = draining(&mut gateway) => return Next::Broken(StreamEnd::Draining),
                () = until(self.expiry()) => return self.refused(auth::Error::Expired.into()),
                changed = self.standing.changed() => {
                    if changed.is_err() {
                        return Next::Broken(StreamEnd::Draining);
                    }
                    match Judged::again(&self.service, &self.asked).await {
                        Ok(judged) => {
                            self.listener.judged_anew(&judged.caller);
                            self.judged = judged;
                            if self.reading.is_some() {
                                self.reading = Some(self.read());
                            }
                        }
                        Err(refusal) => return self.refused(refusal),
                    }
                }
                () = sleep_until(self.ends) => return Next::Broken(StreamEnd::TooOld),
                read = done(&mut self.reading) => {
                    if let Some((answer, progress)) = read
                        && let Some(next) = self.tell(answer, progress)
                    {
                        return next;
                    }
                }
                () = self.listener.changed(), if self.reading.is_none() => {
                    self.reading = Some(self.read());
                }
                () = sleep_until(self.heartbeat) => return Next::Part(StreamPart::Heartbeat),
            }
        }
    }

    /// Makes a part of what was read, if it is news.
    fn tell(&mut self, answer: Answer, progress: Option<Progress>) -> Option<Next> {
        let Some(progress) = progress else {
            // Move's trouble passes; the job is read again when it is told of.
            if self.events > 0 && is_passing(&answer) {
                return None;
            }
            return Some(Next::Last(StreamPart::Last(answer.body), StreamEnd::Failed));
        };
        if progress.is_before(&self.progress) {
            return None;
        }
        self.listener.knows(&progress);
        self.progress.update(&progress);
        if answer.body == self.told {
            // Its caller may select nothing that differs, and still waits for the end.
            let is_over = self.progress.is_over();
            return is_over.then_some(Next::Last(StreamPart::Complete, StreamEnd::Finished));
        }
        self.told = answer.body.clone();
        self.events += 1;
        metrics::stream_event();
        Some(Next::Part(StreamPart::Answer(answer.body)))
    }

    /// Begins to read the job.
    fn read(&self) -> Reading {
        let Judged { rules, caller, operation } = &self.judged;
        let (rules, operation) = (Arc::clone(rules), Arc::clone(operation));
        let time = self.service.request_timeout;
        let context = RequestContext {
            id: self.record.request_id,
            callers_id: self.record.callers_id.clone(),
            source: self.asked.source,
            caller: caller.clone(),
            deadline: Instant::now() + time,
            fresh: false,
            trace: None,
            forward: None,
            keyed: None,
            trails: operation.trails(),
        };
        Box::pin(
            async move { timeout(time, rules.gateways.observe(&context, &operation)).await.ok() },
        )
    }

    fn refused(&self, refusal: Refusal) -> Next {
        let ending = match refusal.code() {
            Some(ErrorCode::Unauthenticated) => StreamEnd::Unauthenticated,
            _ => StreamEnd::Refused,
        };
        let answer = Answer::refusal(self.record.request_id, refusal.into_errors());
        Next::Last(StreamPart::Refused(answer.body), ending)
    }

    /// The moment at which its credential ends.
    fn expiry(&self) -> Option<Instant> {
        let left = self.judged.caller.expires?.duration_since(self.service.clock.now());
        Some(Instant::now() + Duration::try_from(left).unwrap_or_default())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let ending = self.ending.unwrap_or(StreamEnd::HungUp).as_str();
        metrics::stream_ended(ending);
        let mut record = self.record.clone();
        record.closed(ending, self.events);
        let service = Arc::clone(&self.service);
        tokio::spawn(async move {
            record.ended();
            telemetry::stream_ended(&record);
            service.journal.record(record).await;
        });
    }
}

/// Waits for a read that is under way; for ever if there is none.
async fn done(reading: &mut Option<Reading>) -> Option<(Answer, Option<Progress>)> {
    match reading {
        Some(under_way) => {
            let read = under_way.await;
            *reading = None;
            read
        }
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Returns true if a credential is good for a stream: one that is past its end is let in for the difference between
/// clocks, and not kept.
pub fn is_lasting(caller: &Caller, now: Timestamp) -> bool {
    caller.expires.is_none_or(|expires| expires > now)
}

/// Returns true if the operation is a subscription.
pub fn is_subscription(operation: &Operation) -> bool {
    operation.kind == Kind::Subscription
}

/// Refuses a subscription while callers are sent away.
pub fn leaving() -> Refusal {
    let message = "This gateway is about to stop. Subscribe again: another one takes it.";
    Refusal::from_error(ApiError::new(ErrorCode::Overloaded, message))
}
