//! The record of a request is emitted once, whatever becomes of the request.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Service;
use crate::graphql::Answer;
use crate::limit::Slot;
use crate::model::{CallRecord, RequestId};
use crate::telemetry;

/// The status of a request whose caller did not wait for the answer. No caller sees it; nginx made
/// the number known.
pub const HUNG_UP: u16 = 499;

/// A mutation that goes on whoever waits for it: its answer, and its place until then.
pub type Running = JoinHandle<(Answer, Slot)>;

/// A request's record until it is emitted. If its caller hangs up, the record is emitted nevertheless, after the
/// mutation that was on its way.
#[derive(Debug)]
pub struct RecordGuard {
    service: Arc<Service>,
    /// `None` once it is emitted, which ends the guard.
    record: Option<Box<CallRecord>>,
    /// Set while a mutation is on its way.
    mutation: Option<Running>,
}

impl RecordGuard {
    /// Begins a record.
    pub fn begin(service: Arc<Service>) -> Self {
        let record = CallRecord::begin(RequestId::new(), service.clock.now());
        Self { service, record: Some(Box::new(record)), mutation: None }
    }

    /// Returns the record, and the place for a mutation.
    #[expect(clippy::expect_used, reason = "only `emit` and `drop` take the record")]
    pub fn parts(&mut self) -> (&mut CallRecord, &mut Option<Running>) {
        (self.record.as_mut().expect("a guard has its record"), &mut self.mutation)
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
        let (service, mutation) = (Arc::clone(&self.service), self.mutation.take());
        record.answered(HUNG_UP);
        tokio::spawn(async move {
            if let Some(mutation) = mutation
                && let Ok((answer, _)) = mutation.await
            {
                record.failed(answer.failures);
            }
            emit(&service, record).await;
        });
    }
}
