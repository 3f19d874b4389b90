//! Counts of Move's events.

use std::time::Duration;

use opentelemetry::KeyValue;

use super::metrics;

/// Events of Move's came to an end. Of none, shows that there may be some.
pub fn webhook_event(news: &'static str, outcome: &'static str, count: u64) {
    if let Some(metrics) = metrics() {
        let labels = [KeyValue::new("type", news), KeyValue::new("outcome", outcome)];
        metrics.webhook_events.add(count, &labels);
    }
}

/// Requests were not taken for events. Of none, shows that there may be some.
pub fn webhook_refused(reason: &'static str, count: u64) {
    if let Some(metrics) = metrics() {
        metrics.webhook_refused.add(count, &[KeyValue::new("reason", reason)]);
    }
}

/// Shows when the last event of an account came, in seconds since 1970. Accounts come from the configuration.
#[expect(clippy::cast_precision_loss, reason = "seconds fit for millions of years")]
pub fn webhook_came(account: &str, at: i64) {
    if let Some(metrics) = metrics() {
        let label = KeyValue::new("account", account.to_owned());
        metrics.webhook_last.tell_one(at as f64, vec![label]);
    }
}

/// Shows how many events wait to be looked into.
pub fn webhooks_waiting(events: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    if let Some(metrics) = metrics() {
        metrics.webhook_waiting.record(events as f64, &[]);
    }
}

/// An event was looked into, so long after it came.
pub fn webhook_lag(lag: Duration) {
    if let Some(metrics) = metrics() {
        metrics.webhook_lag.record(lag.as_secs_f64(), &[]);
    }
}
