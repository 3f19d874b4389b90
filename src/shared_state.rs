//! What replicas share: Redis, or Valkey. Trouble with it degrades and never fails a request: a
//! caller of [`SharedState::run`] gets nothing within 20 ms and goes on with its own memory.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::RedisResult;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSub};
use tokio::time::{Instant, timeout};

use crate::model::Secret;
use crate::telemetry::metrics;

/// How long a request waits for Redis.
pub const PATIENCE: Duration = Duration::from_millis(20);

/// How long after trouble Redis is left alone: a slow one does not cost every request 20 ms.
pub const REST: Duration = Duration::from_millis(500);

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(1);

/// Before every key: whose it is, and the version of what is stored.
pub const PREFIX: &str = "jobs-gateway:v1:";

/// The replicas' Redis.
pub struct SharedState {
    client: redis::Client,
    connection: ConnectionManager,
    /// While there is trouble: until when Redis is left alone.
    resting_until: Mutex<Option<Instant>>,
    replicas: AtomicU32,
}

impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its address may hold a password.
        f.write_str("SharedState(…)")
    }
}

impl SharedState {
    /// Makes a client; it connects when it is needed. Needs a runtime.
    ///
    /// # Errors
    /// When the URL is no address of a Redis.
    pub fn open(url: &Secret) -> RedisResult<Self> {
        let client = redis::Client::open(url.expose())?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT))
            .set_max_delay(REST);
        let connection = client.get_connection_manager_lazy(config)?;
        Ok(Self {
            client,
            connection,
            resting_until: Mutex::new(None),
            replicas: AtomicU32::new(1),
        })
    }

    /// Asks Redis something; `None` if it is in trouble, or was a moment ago.
    pub async fn run<T>(
        &self,
        ask: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> Option<T> {
        if self.is_resting() {
            return None;
        }
        let mut connection = self.connection.clone();
        let asked = timeout(PATIENCE, ask(&mut connection)).await;
        if let Ok(Ok(answer)) = asked {
            self.recover();
            return Some(answer);
        }
        let problem = match asked {
            Ok(Err(error)) => error.category().to_owned(),
            _ => "no answer in time".to_owned(),
        };
        self.rest(&problem);
        None
    }

    fn is_resting(&self) -> bool {
        let until = self.resting_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Notes trouble.
    fn rest(&self, problem: &str) {
        let mut until = self.resting_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_none() {
            tracing::warn!(problem, "Redis is in trouble: going on with this replica's memory");
        }
        *until = Some(Instant::now() + REST);
        metrics::shared_state(false);
    }

    /// Notes that Redis answers.
    fn recover(&self) {
        let mut until = self.resting_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.take().is_some() {
            tracing::info!("Redis answers again");
            metrics::shared_state(true);
        }
    }

    /// While there is trouble, finds out whether it is over. To be called every [`REST`] or so: a
    /// gateway that nobody calls recovers too.
    pub async fn probe(&self) {
        let troubled = self.resting_until.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if troubled {
            let ask = async |redis: &mut _| redis::cmd("PING").query_async(redis).await;
            let _pong: Option<String> = self.run(ask).await;
        }
    }

    /// How many replicas there were when Redis last said it; at least this one.
    #[must_use]
    pub fn replicas(&self) -> NonZeroU32 {
        NonZeroU32::new(self.replicas.load(Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN)
    }

    /// Counts the replicas: those that listen to a channel.
    pub async fn count_replicas(&self, channel: &str) {
        let ask = async |redis: &mut _| {
            redis::cmd("PUBSUB").arg("NUMSUB").arg(channel).query_async(redis).await
        };
        if let Some((_, count)) = self.run::<(String, u32)>(ask).await {
            self.replicas.store(count, Ordering::Relaxed);
        }
    }

    /// A connection for messages; `None` (after a rest) if there is none to be had.
    pub async fn subscribe(&self, channels: &[&str]) -> Option<PubSub> {
        let connecting = async {
            // The requests' connection comes about here, where there is time for it.
            let () = redis::cmd("PING").query_async(&mut self.connection.clone()).await?;
            let mut messages = self.client.get_async_pubsub().await?;
            messages.subscribe(channels).await?;
            RedisResult::Ok(messages)
        };
        if let Ok(Ok(messages)) = timeout(CONNECT, connecting).await {
            self.recover();
            metrics::shared_state(true);
            return Some(messages);
        }
        self.rest("no connection");
        tokio::time::sleep(REST).await;
        None
    }
}
