//! One writer of an entity at a time among the replicas.

use std::sync::Arc;
use std::time::Duration;

use redis::Script;
use tokio::time::{Instant, sleep};

use super::{Key, SharedTier};
use crate::shared_state::{PREFIX, SharedState};

/// The interval at which somebody looks whether the other is done.
const POLL: Duration = Duration::from_millis(20);

/// The time for which a turn waits for each answer of Redis, also while Redis is otherwise left alone: an update makes
/// two calls to Move anyway, and one without a turn is written over by whoever has it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Deletes `KEYS[1]` if `ARGV[1]` is what it holds.
const GIVE_BACK: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
";

/// An entity's turn to be written, which is nobody else's until it is ended or its lease is over.
#[derive(Debug)]
pub struct SharedTurn {
    state: Arc<SharedState>,
    name: String,
    /// Whose it is.
    token: String,
}

impl SharedTurn {
    /// Gives it to the next.
    pub async fn end(self) {
        let script = Script::new(GIVE_BACK);
        let mut call = script.key(&self.name);
        call.arg(&self.token);
        let ask = async |redis: &mut _| call.invoke_async::<u32>(redis).await;
        let _given_back: Option<u32> = self.state.insist(PATIENCE, ask).await;
    }
}

impl SharedTier {
    /// Waits until no other replica writes the entity, and takes its turn for as long as `lease`. `None` if it
    /// is not free by `give_up`, or Redis is in trouble.
    pub async fn turn(&self, key: &Key, give_up: Instant, lease: Duration) -> Option<SharedTurn> {
        let turn = SharedTurn {
            state: Arc::clone(self.state()),
            name: format!("{PREFIX}turn:{}:{}", key.tenant, key.id),
            token: uuid::Uuid::new_v4().to_string(),
        };
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1);
        loop {
            let ask = async |redis: &mut _| {
                let mut set = redis::cmd("SET");
                set.arg(&turn.name).arg(&turn.token).arg("NX").arg("PX").arg(lease);
                set.query_async::<Option<String>>(redis).await
            };
            match turn.state.insist(PATIENCE, ask).await {
                Some(Some(_)) => return Some(turn),
                Some(None) if Instant::now() + POLL < give_up => sleep(POLL).await,
                Some(None) => return None,
                None => {
                    // It may have been taken all the same, and would be nobody's.
                    tokio::spawn(turn.end());
                    return None;
                }
            }
        }
    }
}
