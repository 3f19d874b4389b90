//! A subscription that is open: what it tells, and why it ends.
//!
//! It is authorised for as long as it lasts. Each reload judges it anew, as if it had just come; it ends with its
//! credential, and with the longest time a stream may have.
//!
//! Nothing of it waits to be sent: whoever writes it asks for the next part when there is room for it, and gets what
//! is so by then. So a slow reader misses states, never the last one, and takes no memory.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::followed::{self, Followed, FollowedStep, Observed, ReadVerdict, Reading};
use super::judged::{FollowRequest, Judged, StreamEnd, Withdrawal};
use super::service::{GatewayState, draining};
use super::{RequestContext, Service};
use crate::auth;
use crate::graphql::{Answer, ApiError};
use crate::http::error::Refusal;
use crate::http::stream::StreamPart;
use crate::limit::StreamPlace;
use crate::model::{CallRecord, Clock, ErrorCode, Kind, Progress};
use crate::operation::Operation;
use crate::telemetry::{self, metrics};

/// The next thing to be told.
#[derive(Debug)]
enum Next {
    Part(StreamPart),
    /// The last part.
    Last(StreamPart, StreamEnd),
    /// Nothing more, and no word of it: its caller comes again.
    Broken(StreamEnd),
}

/// An open subscription.
pub struct Stream {
    service: Arc<Service>,
    asked: FollowRequest,
    judged: Judged,
    followed: Followed,
    standing: watch::Receiver<GatewayState>,
    /// The read that is under way.
    reading: Option<Reading>,
    ends: Instant,
    heartbeat: Instant,
    ending: Option<StreamEnd>,
    events: u64,
    /// The record of its opening, to be told again with its end.
    record: Box<CallRecord>,
    _place: StreamPlace,
    _counted: metrics::GaugeGuard,
}

impl Stream {
    /// Opens a subscription. One of a job begins with what was read of it first.
    pub fn open(
        service: &Arc<Service>,
        (asked, judged): (FollowRequest, Judged),
        followed: Followed,
        first: Option<(Answer, Option<Progress>)>,
        place: StreamPlace,
        record: &CallRecord,
    ) -> Self {
        let now = Instant::now();
        let streaming = service.streaming;
        // What was opened together does not come again together.
        let age = streaming.max_age.mul_f64(0.9 + 0.2 * record.request_id.chance());
        // One that may be silent for long says at once that it is open.
        let heartbeat = if first.is_some() { now + streaming.heartbeat } else { now };
        let reading = first.map(|(answer, progress)| -> Reading {
            Box::pin(ready(Some(Observed::Job(answer, progress))))
        });
        Self {
            service: Arc::clone(service),
            asked,
            judged,
            followed,
            standing: service.standing.subscribe(),
            reading,
            ends: now + age,
            heartbeat,
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
        if self.followed.is_over() {
            return Next::Last(StreamPart::Complete, StreamEnd::Finished);
        }
        loop {
            let mut gateway = self.standing.clone();
            tokio::select! {
                biased;
                () = draining(&mut gateway) => return Next::Broken(StreamEnd::Draining),
                () = until_end(self.judged.caller.expires, self.service.clock) => {
                    return self.withdrawn(auth::Error::Expired.into());
                }
                changed = self.standing.changed() => {
                    if changed.is_err() {
                        return Next::Broken(StreamEnd::Draining);
                    }
                    match Judged::again(&self.service, &self.asked).await {
                        Ok(judged) => {
                            self.followed.judged_anew(&judged.caller);
                            self.judged = judged;
                            if self.reading.is_some() {
                                self.reading = Some(self.read());
                            }
                        }
                        Err(withdrawal) => return self.withdrawn(withdrawal),
                    }
                }
                () = sleep_until(self.ends) => return Next::Broken(StreamEnd::TooOld),
                read = done(&mut self.reading) => {
                    match self.followed.judge(read, self.events == 0) {
                        ReadVerdict::Tell(part) => return self.event(part),
                        ReadVerdict::Finished => return Next::Last(StreamPart::Complete, StreamEnd::Finished),
                        ReadVerdict::Failed(answer) => {
                            self.record.failed(answer.failures);
                            return Next::Last(StreamPart::Last(answer.body), StreamEnd::Failed);
                        }
                        ReadVerdict::Nothing => {}
                        ReadVerdict::Again => self.reading = Some(self.read()),
                    }
                }
                step = self.followed.next(), if self.reading.is_none() => match step {
                    FollowedStep::Read => self.reading = Some(self.read()),
                    FollowedStep::Tell(part) => return self.event(part),
                    FollowedStep::Resync(cursor) => {
                        let id = self.record.request_id;
                        return self.event(followed::resync(id, &self.judged, &cursor));
                    }
                },
                () = sleep_until(self.heartbeat) => return Next::Part(StreamPart::Heartbeat),
            }
        }
    }

    /// Counts an event that is told.
    fn event(&mut self, part: StreamPart) -> Next {
        self.events += 1;
        metrics::stream_event();
        Next::Part(part)
    }

    /// Begins to read a job, in a task that ends with the reading: whoever reads the stream no further would keep a place
    /// at Move, as a fetch goes on while those who wait for it do.
    fn read(&self) -> Reading {
        let Judged { caller, operation, .. } = &self.judged;
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
            claim: None,
            trails: operation.trails(),
        };
        let mut read = self.followed.read(&self.judged, context, time);
        // Most that is told is in the cache by then, and needs no task.
        if let Some(observed) = (&mut read).now_or_never() {
            return Box::pin(ready(observed));
        }
        let mut task = JoinSet::new();
        task.spawn(read);
        Box::pin(async move { task.join_next().await?.ok()? })
    }

    /// Ends it, as its caller may not have it any more.
    fn withdrawn(&mut self, Withdrawal { refusal, because }: Withdrawal) -> Next {
        let ending = match refusal.code() {
            Some(ErrorCode::Unauthenticated) => StreamEnd::Unauthenticated,
            _ => StreamEnd::Refused,
        };
        let answer = Answer::refusal(self.record.request_id, refusal.into_errors());
        self.record.failed(answer.failures);
        if let Some(reason) = because {
            self.record.unauthenticated(reason);
        }
        Next::Last(StreamPart::Refused(answer.body), ending)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let ending = self.ending.unwrap_or(StreamEnd::HungUp).as_str();
        metrics::stream_ended(ending);
        let mut record = self.record.clone();
        record.closed(ending, self.events);
        let service = Arc::clone(&self.service);
        self.service.detached.spawn(async move {
            record.ended();
            telemetry::stream_ended(&record);
            service.journal.record(record).await;
        });
    }
}

/// Waits for a read that is under way; for ever if there is none.
async fn done<T>(reading: &mut Option<BoxFuture<'static, T>>) -> T {
    match reading {
        Some(under_way) => {
            let read = under_way.await;
            *reading = None;
            read
        }
        None => std::future::pending().await,
    }
}

/// Waits for the end of a credential; for ever if it has none.
pub async fn until_end(expires: Option<Timestamp>, clock: Clock) {
    let Some(expires) = expires else { return std::future::pending().await };
    let left = Duration::try_from(expires.duration_since(clock.now())).unwrap_or_default();
    sleep_until(Instant::now() + left).await;
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
