//! The state that replicas share: Redis, or Valkey. Trouble with it degrades a request: a caller of
//! [`SharedState::run`] gets nothing within 20 ms and goes on with its own memory. Only what must be one
//! decision of all replicas waits longer ([`SharedState::insist`]).

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSub};
use redis::{RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::model::Secret;
use crate::telemetry::{causes, metrics};

/// The time for which a request waits for Redis.
pub const PATIENCE: Duration = Duration::from_millis(20);

/// The time after trouble for which Redis is left alone: a slow one does not cost every request 20 ms.
pub const REST: Duration = Duration::from_millis(500);

/// The longest time a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(1);

/// The interval at which the log tells of commands that Redis refuses.
const COMPLAIN: Duration = Duration::from_mins(1);

/// Before every key: whose it is, and the version of what is stored.
pub const PREFIX: &str = "jobs-gateway:v1:";

/// The replicas' Redis.
pub struct SharedState {
    client: redis::Client,
    config: ConnectionManagerConfig,
    connection: Mutex<Connection>,
    /// Tells each time that another server is looked for.
    moves: watch::Sender<u64>,
    /// While there is trouble: until when Redis is left alone.
    resting_until: Mutex<Option<Instant>>,
    complained: Mutex<Option<Instant>>,
    replicas: AtomicU32,
    /// The number of times a connection was lost.
    losses: AtomicU64,
}

/// The connection of the requests. It reconnects by itself when it breaks.
#[derive(Clone)]
struct Connection {
    manager: ConnectionManager,
    /// The number of them before it.
    number: u64,
}

/// The kind of an error of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// This command cannot be carried out. Others can.
    Command,
    /// The server behind the address is not the one to ask, or not yet: a replica, one that loads its
    /// data, one that wants a password, one that has other keys.
    WrongServer,
    /// No answer came.
    Connection,
}

impl Fault {
    fn from_error(error: &RedisError) -> Self {
        match error.code() {
            Some("READONLY" | "MASTERDOWN" | "LOADING" | "NOAUTH" | "CLUSTERDOWN" | "MOVED") => {
                Self::WrongServer
            }
            None if error.is_unrecoverable_error() || error.is_io_error() => Self::Connection,
            Some(_) | None => Self::Command,
        }
    }
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
        let manager = client.get_connection_manager_lazy(config.clone())?;
        Ok(Self {
            client,
            config,
            connection: Mutex::new(Connection { manager, number: 0 }),
            moves: watch::Sender::default(),
            resting_until: Mutex::default(),
            complained: Mutex::default(),
            replicas: AtomicU32::new(1),
            losses: AtomicU64::new(0),
        })
    }

    /// Asks Redis something; `None` if it is in trouble, or was a moment ago, or refuses this.
    pub async fn run<T>(
        &self,
        ask: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> Option<T> {
        if self.is_resting() {
            return None;
        }
        let (answer, has_answered) = self.ask_within(PATIENCE, ask).await;
        if has_answered {
            self.recover();
        }
        answer
    }

    /// Asks Redis something that is worth waiting for, also while it is left alone; `None` if no answer
    /// comes within `patience`, or it refuses this. That an answer came late does not end the rest.
    pub async fn insist<T>(
        &self,
        patience: Duration,
        ask: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> Option<T> {
        self.ask_within(patience, ask).await.0
    }

    /// Returns the answer, and true if Redis gave one, be it a refusal.
    async fn ask_within<T>(
        &self,
        patience: Duration,
        ask: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> (Option<T>, bool) {
        let mut connection = lock(&self.connection).clone();
        match timeout(patience, ask(&mut connection.manager)).await {
            Ok(Ok(answer)) => (Some(answer), true),
            Ok(Err(error)) => (None, self.fail(&error, connection.number)),
            Err(_) => {
                self.rest("no answer in time");
                (None, false)
            }
        }
    }

    /// Returns true if Redis answered: what it refuses is one caller's trouble.
    fn fail(&self, error: &RedisError, connection: u64) -> bool {
        if self.lose(error, connection) == Fault::Command {
            metrics::shared_state_error();
            self.complain(error);
            return true;
        }
        self.rest(&causes(error));
        false
    }

    /// Counts a loss, if an error is one, and leaves a connection that leads to the wrong server.
    fn lose(&self, error: &RedisError, connection: u64) -> Fault {
        let fault = Fault::from_error(error);
        if fault != Fault::Command {
            self.losses.fetch_add(1, Ordering::SeqCst);
        }
        if fault == Fault::WrongServer {
            self.reconnect(connection);
        }
        fault
    }

    /// Leaves a connection, for a new one may lead to another server. Only the first of those who find
    /// the same connection wanting does so.
    fn reconnect(&self, found_wanting: u64) {
        let mut connection = lock(&self.connection);
        if connection.number != found_wanting {
            return;
        }
        // It connects when it is needed: only a bad address fails here, and this one was good before.
        if let Ok(manager) = self.client.get_connection_manager_lazy(self.config.clone()) {
            *connection = Connection { manager, number: found_wanting + 1 };
            self.moves.send_replace(found_wanting + 1);
        }
    }

    /// Changes whenever another server is looked for: connections for messages then do the same.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    /// Returns true if Redis answered last time, or was not asked yet.
    #[must_use]
    pub fn is_well(&self) -> bool {
        lock(&self.resting_until).is_none()
    }

    fn is_resting(&self) -> bool {
        lock(&self.resting_until).is_some_and(|until| Instant::now() < until)
    }

    /// Notes trouble.
    fn rest(&self, problem: &str) {
        let mut until = lock(&self.resting_until);
        if until.is_none() {
            tracing::warn!(problem, "Redis is in trouble: going on with this replica's memory");
        }
        *until = Some(Instant::now() + REST);
        metrics::shared_state(false);
        metrics::shared_state_error();
    }

    /// Notes that Redis answers.
    fn recover(&self) {
        if lock(&self.resting_until).take().is_some() {
            tracing::info!("Redis answers again");
            metrics::shared_state(true);
        }
    }

    fn complain(&self, error: &RedisError) {
        let (now, mut complained) = (Instant::now(), lock(&self.complained));
        if complained.is_none_or(|then| now.duration_since(then) >= COMPLAIN) {
            *complained = Some(now);
            let (code, problem) = (error.code(), causes(error));
            tracing::warn!(code, problem, "Redis refuses a command");
        }
    }

    /// Connects anew and makes sure that the server may be written to.
    ///
    /// # Errors
    /// The cause, without the address.
    pub async fn verify(&self) -> Result<(), String> {
        let asking = async {
            let mut connection = self.client.get_multiplexed_async_connection().await?;
            let key = format!("{PREFIX}nothing");
            let _deleted: u32 = redis::cmd("DEL").arg(key).query_async(&mut connection).await?;
            RedisResult::Ok(())
        };
        let asked = timeout(2 * CONNECT, asking).await;
        asked.map_err(|_| "no answer in time".to_owned())?.map_err(|error| causes(&error))
    }

    /// Finds out whether trouble is over, and whether the server may still be written to. To be called
    /// every [`REST`] or so: a gateway that nobody calls recovers too, and notices a failover.
    pub async fn probe(&self) {
        // A replica refuses it, a master does nothing, and one that is full allows it.
        let key = format!("{PREFIX}nothing");
        let ask = async |redis: &mut _| redis::cmd("DEL").arg(&key).query_async(redis).await;
        let _deleted: Option<u32> = self.run(ask).await;
    }

    /// Returns the number of times a connection was lost so far: the server behind the next one may lack what was
    /// written to the last. A slow answer is no loss.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    /// Returns the number of replicas there were when Redis last said it; at least this one.
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
        let mut connection = lock(&self.connection).clone();
        let connecting = async {
            // The requests' connection comes about here, where there is time for it.
            let () = redis::cmd("PING").query_async(&mut connection.manager).await?;
            let mut messages = self.client.get_async_pubsub().await?;
            messages.subscribe(channels).await?;
            RedisResult::Ok(messages)
        };
        let problem = match timeout(CONNECT, connecting).await {
            Ok(Ok(messages)) => {
                self.recover();
                metrics::shared_state(true);
                return Some(messages);
            }
            Ok(Err(error)) => {
                self.lose(&error, connection.number);
                causes(&error)
            }
            Err(_) => "no connection in time".to_owned(),
        };
        self.rest(&problem);
        tokio::time::sleep(REST).await;
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_redis_are_told_apart_by_what_they_are_about() {
        let fault = |line: &str| {
            let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
            Fault::from_error(&value.and_then(redis::Value::extract_error).expect_err("an error"))
        };
        for line in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "CROSSSLOT Keys in request don't hash to the same slot",
            "ERR unknown command",
            "NOPERM this user has no permissions",
        ] {
            assert_eq!(fault(line), Fault::Command, "{line}");
        }
        for line in [
            "READONLY You can't write against a read only replica.",
            "MASTERDOWN Link with MASTER is down",
            "LOADING Redis is loading the dataset in memory",
            "NOAUTH Authentication required.",
            "MOVED 3999 127.0.0.1:6381",
        ] {
            assert_eq!(fault(line), Fault::WrongServer, "{line}");
        }
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(Fault::from_error(&broken.into()), Fault::Connection);
    }
}
