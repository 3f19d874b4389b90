//! The record of a request is emitted once, whatever becomes of the request.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Service;
use super::settle::Settlement;
use crate::graphql::Answer;
use crate::limit::Slot;
use crate::model::{CallRecord, RequestId};
use crate::telemetry;

/// The status of a request whose caller did not wait for the answer. No caller sees it; nginx made
/// the number known.
pub const HUNG_UP: u16 = 499;

/// A mutation that goes on whoever waits for it: its answer, and its place until then.
pub type Running = JoinHandle<(Answer, Slot)>;

/// The part of a request that is brought to its end also if its caller hangs up.
#[derive(Debug, Default)]
pub struct Underway {
    /// The mutation that is on its way.
    pub mutation: Option<Running>,
    /// The settlement of what is being read.
    pub settlement: Option<Settlement>,
}

/// A request's record until it is emitted. If its caller hangs up, the record is emitted nevertheless, after what is
/// brought to its end.
#[derive(Debug)]
pub struct RecordGuard {
    service: Arc<Service>,
    /// `None` once it is emitted, which ends the guard.
    record: Option<Box<CallRecord>>,
    underway: Underway,
}

impl RecordGuard {
    /// Begins a record.
    pub fn begin(service: Arc<Service>) -> Self {
        let record = CallRecord::begin(RequestId::new(), service.clock.now());
        Self { service, record: Some(Box::new(record)), underway: Underway::default() }
    }

    /// Returns the record, and the place for what is to be brought to its end.
    #[expect(clippy::expect_used, reason = "only `emit` and `drop` take the record")]
    pub fn parts(&mut self) -> (&mut CallRecord, &mut Underway) {
        (self.record.as_mut().expect("a guard has its record"), &mut self.underway)
    }

    /// Emits the record.
    pub async fn emit(mut self) {
        if let Some(record) = self.record.take() {
            emit(&self.service, record).await;
        }
    }
}

/// Hands a record to whoever reads it.
async fn emit(service: &Service, mut record: Box<CallRecord>) {
    record.ended();
    telemetry::emit(&record);
    service.journal.record(record).await;
}

impl Drop for RecordGuard {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        let service = Arc::clone(&self.service);
        let Underway { mutation, settlement } = std::mem::take(&mut self.underway);
        record.answered(HUNG_UP);
        let detached = service.detached.clone();
        detached.spawn(async move {
            if let Some(mut mutation) = mutation {
                tokio::select! {
                    ended = &mut mutation => if let Ok((answer, _)) = ended {
                        record.failed(answer.failures);
                    },
                    // What becomes of it nobody will know.
                    () = service.grace_over.cancelled() => mutation.abort(),
                }
            }
            if let Some(settlement) = settlement {
                settlement.settle(&mut record).await;
            }
            emit(&service, record).await;
        });
    }
}
