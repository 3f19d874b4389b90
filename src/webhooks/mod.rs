//! Move's webhooks: the events that its sender brings, taken in for certain and looked into afterwards.
//!
//! An event is a hint. Its signature is checked (`verify`), what it names is stored together with its id before its
//! sender is told so (`listener`, `store`), and then Move itself is asked (`worker`): what a tenant reads comes from
//! `jobs`, by the ownership check, and never from an event.

mod listener;
mod notice;
mod store;
mod subjects;
mod verify;
mod worker;

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};

pub use listener::{CHECK, router};
pub use store::Store;
pub use verify::sign;

use crate::jobs::Jobs;
use crate::pipeline::Service;
use crate::telemetry::metrics;
use notice::News;
use subjects::Subjects;

/// The calls to Move that are made at once because of events: callers' own come first.
const CALLS: usize = 8;

/// The events of Move's accounts, on their way.
#[derive(Debug)]
pub struct Webhooks {
    service: Arc<Service>,
    jobs: Jobs,
    store: Store,
    /// Told when an event was stored.
    arrived: Notify,
    calls: Semaphore,
    subjects: Subjects,
}

impl Webhooks {
    /// Takes events into a store, and looks into those that are there.
    #[must_use]
    pub fn new(service: Arc<Service>, jobs: Jobs, store: Store) -> Self {
        listener::show_reasons();
        for news in News::ALL {
            metrics::webhook_event(news.as_str(), "renewed", 0);
        }
        for account in &service.rules.load().webhooks {
            metrics::webhook_came(&account.id.to_string(), service.clock.now().as_second());
        }
        let (arrived, calls) = (Notify::new(), Semaphore::new(CALLS));
        Self { service, jobs, store, arrived, calls, subjects: Subjects::default() }
    }

    /// Returns the number of events that are still to be looked into; `None` where the store gives no answer.
    pub async fn waiting(&self) -> Option<u64> {
        self.store.waiting().await.ok()
    }
}
