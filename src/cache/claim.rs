//! The replicas' turns to ask Move about a job that somebody waits for: one asks, and all hear the answer.
//!
//! A turn needs no fencing number: whoever stood still while another one took it asks Move once more, and what it reads is
//! as old as its version says.

use std::time::Duration;

use super::{Key, SharedTier};
use crate::shared_state::PREFIX;

/// The time for which a question that is under way keeps other replicas from asking the same.
pub const CLAIMED: Duration = Duration::from_secs(10);

impl SharedTier {
    /// Takes the turn to ask about each of these jobs. Returns false for those that another replica asks about; without
    /// Redis' answer true for all.
    pub async fn take_turns(&self, keys: &[Key]) -> Vec<bool> {
        let lease = u64::try_from(CLAIMED.as_millis()).unwrap_or(u64::MAX);
        let mut pipeline = redis::pipe();
        for key in keys {
            let set = pipeline.cmd("SET").arg(name_of(key)).arg(self.replica());
            set.arg("NX").arg("PX").arg(lease);
        }
        let ask = async |redis: &mut _| pipeline.query_async::<Vec<Option<String>>>(redis).await;
        match self.state().run(ask).await {
            Some(claimed) => claimed.iter().map(Option::is_some).collect(),
            None => vec![true; keys.len()],
        }
    }

    /// Gives the turns back that were taken within [`CLAIMED`].
    pub async fn end_turns(&self, keys: &[Key]) {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.del(name_of(key)).ignore();
        }
        let ask = async |redis: &mut _| pipeline.query_async::<()>(redis).await;
        let _given_back: Option<()> = self.state().run(ask).await;
    }

    /// Returns the number of replicas that ask, this one included.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.state().replicas().get()
    }
}

fn name_of(key: &Key) -> String {
    format!("{PREFIX}asked:{}:{}", key.tenant, key.id)
}
