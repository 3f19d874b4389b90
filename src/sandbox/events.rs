//! The sender of events, in the manner of Svix, who sends Move's: signed, and again until it is taken.
//!
//! Nothing runs until an endpoint is made: then the clock's states are compared with what was told of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::store::Account;
use super::store::progress::{Pace, State};
use super::{Shared, lock};

/// The interval at which states are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The time in which a receiver has to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The pauses before each further attempt (docs.svix.com/retries).
const AGAIN: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(10),
];

/// An event on its way to one endpoint.
#[derive(Debug, Clone)]
struct Delivery {
    id: String,
    url: String,
    secret: String,
    body: String,
}

/// Sends events for as long as it is polled.
pub async fn send(shared: Arc<Shared>) {
    shared.endpoint_made.notified().await;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build();
    let Ok(http) = http else { return };
    let (mut told, mut under_way) = (HashMap::new(), JoinSet::new());
    // What happened before there was an endpoint is told to none.
    let _past = news(&shared, &mut told);
    loop {
        for delivery in news(&shared, &mut told) {
            under_way.spawn(deliver(Arc::clone(&shared), http.clone(), delivery));
        }
        while under_way.try_join_next().is_some() {}
        sleep(LOOK_EVERY).await;
    }
}

/// Compares all states with those that were told, and makes events of the differences.
fn news(shared: &Shared, told: &mut HashMap<String, State>) -> Vec<Delivery> {
    let pace = Pace { now: shared.now(), step: shared.options.step };
    let mut deliveries = Vec::new();
    for account in lock(&shared.accounts).values_mut() {
        let account = account.get_mut();
        if account.endpoints.is_empty() {
            continue;
        }
        let mut events = Vec::new();
        for job in account.jobs().iter() {
            let state = job.progress(pace).0;
            let before = told.insert(job.id.clone(), state).unwrap_or(State::NotStarted);
            let metadata = job.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let about = json!({
                "id": bare(&job.id),
                "created": job.created.to_string(),
                "metadata": metadata.filter(Value::is_object).unwrap_or_else(|| json!({})),
            });
            let detail =
                json!({"event_attributes": {"job": about, "take": {"id": bare(&job.take)}}});
            events.extend(older(account, &job.id, before, state));
            match state {
                State::Finished if before != state => {
                    events.push(("ugc.job.state.completed", detail));
                }
                State::Failed if before != state => events.push(("ugc.job.state.failed", detail)),
                _ => {}
            }
        }
        for volume in account.volumes.iter() {
            let state = volume.progress(pace).0;
            let before = told.insert(volume.id.clone(), state).unwrap_or(State::NotStarted);
            events.extend(older(account, &volume.id, before, state));
        }
        for (name, detail) in events {
            deliveries.extend(to_all(account, shared, name, &detail));
        }
    }
    deliveries
}

/// The events that name an id alone: there is none of a failure.
fn older(account: &Account, id: &str, before: State, state: State) -> Vec<(&'static str, Value)> {
    let detail = json!({"api_name": "move-ugc-api", "client_id": account.id(), "job_id": bare(id)});
    let mut events = Vec::new();
    if before == State::NotStarted && state != before {
        events.push(("job.state.started", detail.clone()));
    }
    if state == State::Finished && state != before {
        events.push(("job.state.completed", detail));
    }
    events
}

/// One event to each endpoint that wants to hear of its type.
fn to_all(account: &Account, shared: &Shared, name: &str, detail: &Value) -> Vec<Delivery> {
    let body = json!({"type": name, "timestamp": shared.now().to_string(), "detail": detail});
    let wants = |endpoint: &Value| {
        let types = endpoint["events"].as_array().filter(|types| !types.is_empty());
        types.is_none_or(|types| types.iter().any(|wanted| wanted == name))
    };
    let endpoints = account.endpoints.iter().filter(|(_, endpoint)| wants(endpoint));
    let delivery = |(uid, endpoint): (&String, &Value)| Delivery {
        id: format!("msg_{}", uuid::Uuid::new_v4().simple()),
        url: endpoint["url"].as_str().unwrap_or_default().to_owned(),
        secret: account.endpoint_secrets.get(uid).cloned().unwrap_or_default(),
        body: body.to_string(),
    };
    endpoints.map(delivery).collect()
}

/// Sends an event until it is taken, or its time is over. Each attempt is signed anew.
async fn deliver(shared: Arc<Shared>, http: reqwest::Client, delivery: Delivery) {
    let Delivery { id, url, secret, body } = delivery;
    for pause in std::iter::once(Duration::ZERO).chain(AGAIN) {
        sleep(pause).await;
        let at = shared.now().as_second();
        let signed = Webhook::new(&secret).and_then(|by| by.sign(&id, at, body.as_bytes()));
        let Ok(signature) = signed else { return };
        let request = http
            .post(&url)
            .header("svix-id", &id)
            .header("svix-timestamp", at)
            .header("svix-signature", signature)
            .header("content-type", "application/json")
            .body(body.clone());
        if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
    }
}

/// An id without the beginning that tells its kind.
fn bare(id: &str) -> &str {
    id.split_once('-').map_or(id, |(_, rest)| rest)
}
