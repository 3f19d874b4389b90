//! The record of a request is told once, whatever becomes of the request.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Service;
use crate::graphql::{Answer, ApiError};
use crate::model::{CallRecord, ErrorCode, RequestId};
use crate::telemetry;

/// The status of a request whose caller did not wait for the answer. No caller sees it; nginx made
/// the number known.
pub const HUNG_UP: u16 = 499;

/// A request's record until it is told. If its caller hangs up (or its handler panics), the record is
/// told nevertheless, after the mutation that was on its way.
#[derive(Debug)]
pub struct Emission {
    service: Arc<Service>,
    record: Option<Box<CallRecord>>,
    /// A mutation that goes on whoever waits for it.
    pub mutation: Option<JoinHandle<Answer>>,
}

impl Emission {
    /// Begins a record.
    pub fn begin(service: Arc<Service>) -> Self {
        let record = CallRecord::begin(RequestId::new(), service.clock.now());
        Self { service, record: Some(Box::new(record)), mutation: None }
    }

    /// The record, and the place for a mutation.
    pub fn parts(&mut self) -> (&mut CallRecord, &mut Option<JoinHandle<Answer>>) {
        let begin = || Box::new(CallRecord::begin(RequestId::new(), self.service.clock.now()));
        let record = self.record.get_or_insert_with(begin);
        (record, &mut self.mutation)
    }

    /// Tells the record.
    pub async fn tell(mut self) {
        if let Some(record) = self.record.take() {
            tell(&self.service, record).await;
        }
    }
}

async fn tell(service: &Service, mut record: Box<CallRecord>) {
    record.ended();
    telemetry::emit(&record);
    service.journal.record(record).await;
}

impl Drop for Emission {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        let (service, mutation) = (Arc::clone(&self.service), self.mutation.take());
        if std::thread::panicking() {
            record.failed(Answer::refusal([ApiError::internal()]).failures);
            record.answered(ErrorCode::Internal.status());
        } else {
            record.answered(HUNG_UP);
        }
        tokio::spawn(async move {
            if let Some(mutation) = mutation
                && let Ok(answer) = mutation.await
            {
                record.failed(answer.failures);
            }
            tell(&service, record).await;
        });
    }
}
