//! `Prefer: wait=30` (RFC 7240, section 4.3) on a read of one job: the answer waits until the job is not as it was.
//!
//! While it waits it holds a place among its tenant's streams, and none among the requests at once.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::execute::{context, too_late};
use super::keep::Cacheability;
use super::{Admitted, Authenticated, Executed, Service};
use crate::cache::{Key, Need};
use crate::graphql::Answer;
use crate::http::error::Refusal;
use crate::limit::Slot;
use crate::model::{CallRecord, ErrorCode, Progress};
use crate::operation::Operation;
use crate::telemetry;

/// The time that the answer of a long poll waits for a place among the requests at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// The least time before the end of a wait at which the job is read a last time.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The header that says which preferences were heeded.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A read of one job that may wait.
#[derive(Debug)]
pub struct Wish {
    /// The time for which its caller would wait, and may.
    time: Duration,
    /// The end of that time.
    until: Instant,
    /// The job.
    pub key: Key,
}

impl Wish {
    /// A wish to wait, if the operation is the read of one job.
    pub fn of(request: &Authenticated<'_>, operation: &Operation) -> Option<Self> {
        let (time, job) = (request.waits?, operation.single_job()?);
        let now = Instant::now();
        let time = time.min(request.deadline.saturating_duration_since(now));
        let key = Key::new(request.caller.tenant.id.clone(), job);
        Some(Self { time, until: now + time, key })
    }

    /// Says that it was heeded, and for how long it is, in whole seconds.
    pub fn announce(&self, headers: &mut HeaderMap) {
        let applied = format!("wait={}", self.time.as_millis().div_ceil(1_000));
        if let Ok(applied) = HeaderValue::try_from(applied) {
            headers.insert(PREFERENCE_APPLIED, applied);
            headers.append(header::VARY, HeaderValue::from_static("prefer"));
        }
    }
}

/// Executes a read of one job as soon as the job differs from what it is now, is over, or the time is.
///
/// # Errors
/// When as many wait as may, or there is no place for the answer.
pub async fn execute(
    service: &Arc<Service>,
    request: &Authenticated<'_>,
    admitted: Admitted,
    wish: &Wish,
    record: &mut CallRecord,
) -> Result<Executed, Refusal> {
    let Admitted { operation, permit, .. } = admitted;
    let (levels, slot) = permit.into_parts();
    let place = request.limits.listen(&service.streams).map_err(|refused| {
        record.decided(refused.decision());
        Refusal::from(refused).announcing(&levels)
    })?;
    let (kind, cacheability) = (operation.kind, Cacheability::new(&operation));
    record.executing();
    let reader = Reader { service, request, operation: &operation };
    let waited = Box::pin(reader.wait(wish, slot, record)).await;
    record.executed(false);
    drop(place);
    let (answer, slot) = waited.map_err(|refusal| refusal.announcing(&levels))?;
    Ok(Executed { kind, answer, cacheability, levels, slot })
}

/// Reads a job again and again.
struct Reader<'a> {
    service: &'a Arc<Service>,
    request: &'a Authenticated<'a>,
    operation: &'a Operation,
}

impl Reader<'_> {
    async fn wait(
        &self,
        wish: &Wish,
        slot: Slot,
        record: &CallRecord,
    ) -> Result<(Answer, Slot), Refusal> {
        let request = self.request;
        // Before the first look, so that nothing happens between it and the listening.
        let mut listener =
            self.service.hub.listen(wish.key.clone(), request.caller.clone(), need(self.operation));
        let mut standing = self.service.standing.subscribe();
        let began = Instant::now();
        let Some((mut answer, first)) = self.read(record, request.deadline).await else {
            return Ok((too_late(record.request_id), slot));
        };
        let took = began.elapsed();
        let Some(mut first) = first.filter(|progress| !progress.is_over()) else {
            return Ok((answer, slot));
        };
        if standing.borrow().is_draining || !self.is_judged_by_the_rules_of_now() {
            return Ok((answer, slot));
        }
        listener.knows(&first);
        drop(slot);
        let until = self.end_of(wish);
        let mut looks = last_look(until, took);
        loop {
            tokio::select! {
                // What did not change is told as it is at the end, not as it was at the beginning.
                () = sleep_until(looks.unwrap_or(until)) => if looks.take().is_none() { break },
                // Other rules, or none for long: its caller asks again, and is judged anew.
                _ = standing.changed() => break,
                () = listener.changed() => {}
            }
            match self.read(record, until).await {
                None => break,
                // What was learnt under them is told by them.
                Some(_) if !self.is_judged_by_the_rules_of_now() => break,
                // Move's trouble may pass before the time is over; what was read before is true until then.
                Some((failed, None)) if is_passing(&failed) => {}
                Some((last, None)) => {
                    answer = last;
                    break;
                }
                Some((_, Some(seen))) if seen.is_before(&first) => {}
                Some((newer, Some(seen))) => {
                    answer = newer;
                    if seen.differs_from(&first) {
                        break;
                    }
                    first.update(&seen);
                }
            }
        }
        Ok((answer, self.slot().await?))
    }

    /// The moment at which the wait is over at the latest: by the wish, the request's time, or the credential's end.
    fn end_of(&self, wish: &Wish) -> Instant {
        let end = wish.until.min(self.request.deadline);
        let left =
            self.request.caller.expires.map(|at| at.duration_since(self.service.clock.now()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        left.map_or(end, |left| end.min(Instant::now() + left))
    }

    fn is_judged_by_the_rules_of_now(&self) -> bool {
        Arc::ptr_eq(&self.service.rules.load(), &self.request.rules)
    }

    /// Reads the job; `None` if that takes too long.
    async fn read(
        &self,
        record: &CallRecord,
        until: Instant,
    ) -> Option<(Answer, Option<Progress>)> {
        for trail in record.trails.iter() {
            // Of several reads the last one decides where the answer came from, and for how long it is fresh.
            trail.note(|notes| {
                notes.freshness.clear();
                (notes.cache, notes.age) = (None, Duration::ZERO);
            });
        }
        let context = context(self.service, self.request, record);
        let reading = self.request.rules.gateways.observe(&context, self.operation);
        timeout_at(until, telemetry::within(record.trace.clone(), reading)).await.ok()
    }

    /// A place for the answer.
    async fn slot(&self) -> Result<Slot, Refusal> {
        let mut slot = self.request.limits.enter_within(PATIENCE).await?;
        let all = Arc::clone(&self.service.concurrency_limit).acquire_owned();
        match timeout(PATIENCE, all).await {
            Ok(Ok(place)) => slot.enter_gateway(place),
            _ => return Err(super::receive::overloaded()),
        }
        Ok(slot)
    }
}

/// Returns the moment at which a job is read once more before its wait is over: in time for a read that takes twice as
/// long as the first `took`. `None` if the wait is over as soon.
fn last_look(until: Instant, took: Duration) -> Option<Instant> {
    let at = until.checked_sub(LAST_LOOK.max(2 * took))?;
    (at > Instant::now()).then_some(at)
}

/// Returns the part of a job that an operation reads.
pub fn need(operation: &Operation) -> Need {
    if operation.reads_progress() { Need::Progress } else { Need::State }
}

/// Returns true for an answer that says nothing of the job but that Move is in trouble.
pub fn is_passing(answer: &Answer) -> bool {
    use ErrorCode::{Overloaded, UpstreamError, UpstreamTimeout, UpstreamUnavailable};
    answer.failures.first().is_some_and(|failure| {
        matches!(failure.code, Overloaded | UpstreamTimeout | UpstreamUnavailable | UpstreamError)
    })
}
