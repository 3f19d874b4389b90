//! One writer of a job at a time: an update reads what is stored, changes it and writes it back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as Own, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use super::{Error, Jobs};
use crate::cache::{Key, SharedTurn};
use crate::model::{EntityId, RequestContext};
use crate::upstream::{self, ErrorKind};

/// The time after its deadline for which an update may still be ending.
const LEEWAY: Duration = Duration::from_secs(1);

/// The jobs that are being written by this process.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<HashMap<Key, Weak<Own<()>>>>);

/// The right to write a job.
#[derive(Debug)]
pub(super) struct Turn {
    _own: OwnedMutexGuard<()>,
    among_replicas: AmongReplicas,
}

/// The right to write a job among the replicas.
#[derive(Debug)]
enum AmongReplicas {
    /// There are no others, for all this one knows.
    Alone,
    /// The others wait.
    Taken(SharedTurn),
    /// The others do not know of it.
    Untold,
}

impl Turn {
    /// Returns true if nobody else can be writing the job through a gateway.
    pub fn is_alone(&self) -> bool {
        !matches!(self.among_replicas, AmongReplicas::Untold)
    }

    /// Gives it to the next.
    pub async fn end(self) {
        if let AmongReplicas::Taken(turn) = self.among_replicas {
            turn.end().await;
        }
    }
}

impl Writers {
    /// Waits until nobody else here writes the job.
    async fn own_turn(&self, key: &Key) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
                turn
            } else {
                turns.retain(|_, turn| turn.strong_count() > 0);
                let turn = Arc::new(Own::new(()));
                turns.insert(key.clone(), Arc::downgrade(&turn));
                turn
            }
        };
        turn.lock_owned().await
    }
}

impl Jobs {
    /// Waits until nobody else writes the job: in this process, and in the other replicas for half of the
    /// time that is left. Without their word it goes on by itself.
    ///
    /// # Errors
    /// When its time is over.
    pub(super) async fn turn(
        &self,
        request: &RequestContext,
        id: &EntityId,
    ) -> Result<Turn, Error> {
        let key = Key::new(request.caller.tenant.id.clone(), id.clone());
        let own = timeout_at(request.deadline, self.writers.own_turn(&key)).await;
        let own = own.map_err(|_| upstream::Error::from(ErrorKind::DeadlineExceeded))?;
        let left = request.deadline.saturating_duration_since(Instant::now());
        let among_replicas = match &self.shared {
            None => AmongReplicas::Alone,
            Some(shared) => match shared.turn(&key, Instant::now() + left / 2, left + LEEWAY).await
            {
                Some(turn) => AmongReplicas::Taken(turn),
                None => AmongReplicas::Untold,
            },
        };
        Ok(Turn { _own: own, among_replicas })
    }
}
