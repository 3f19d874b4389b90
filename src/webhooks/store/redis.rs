//! Events in Redis, for all replicas: a stream, of which each entry is one replica's to look into.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::Script;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};

use super::{MOST, Place, Put, REMEMBERED, StoreError, name};
use crate::shared_state::{PREFIX, SharedState};
use crate::webhooks::notice::Notice;

/// Adds the event `ARGV[1]` to the stream `KEYS[2]` and remembers in `KEYS[1]`, for `ARGV[2]` ms, that it was seen.
/// 0 if it was; -1 if `ARGV[3]` events wait already. The event comes first: should the rest fail, it comes again, and
/// is looked into twice.
const PUT: &str = r"
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end
redis.call('XADD', KEYS[2], '*', 'event', ARGV[1])
redis.call('SET', KEYS[1], '', 'PX', ARGV[2])
return 1
";

/// Removes the entry `ARGV[2]` of the stream `KEYS[1]`, which the group `ARGV[1]` has done.
const REMOVE: &str = r"
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return redis.call('XDEL', KEYS[1], ARGV[2])
";

/// The group that all replicas are. They are one consumer of it, too: a name for each process would stay for ever, and
/// an entry's age alone tells whether somebody has it in hand.
const GROUP: &str = "gateway";

/// The member of an entry that holds the event.
const EVENT: &str = "event";

/// The time for which an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time after which an entry that nobody holds is taken from whoever had it: three times the interval at which
/// those in hand are held, and a little.
const LET_GO: Duration = Duration::from_secs(16);

/// Redis, or Valkey.
#[derive(Debug)]
pub(super) struct Redis {
    state: Arc<SharedState>,
    put: Script,
    remove: Script,
    has_group: AtomicBool,
}

impl Redis {
    pub(super) fn new(state: Arc<SharedState>) -> Self {
        let (put, remove) = (Script::new(PUT), Script::new(REMOVE));
        Self { state, put, remove, has_group: AtomicBool::new(false) }
    }

    pub(super) async fn put(&self, notice: &Notice) -> Result<Put, StoreError> {
        let mut call = self.put.key(seen_name(notice));
        call.key(stream_name()).arg(notice.to_stored()).arg(millis(REMEMBERED)).arg(MOST);
        let ask = async |redis: &mut _| call.invoke_async::<i64>(redis).await;
        match self.state.insist(PATIENCE, ask).await {
            Some(1) => Ok(Put::New),
            Some(0) => Ok(Put::Seen),
            _ => Err(StoreError),
        }
    }

    /// Takes entries that nobody has had yet, and those of whoever let go of them.
    pub(super) async fn next(&self, most: usize) -> Result<Vec<(Place, Vec<u8>)>, StoreError> {
        self.make_group().await?;
        let mut left = redis::cmd("XAUTOCLAIM");
        left.arg(stream_name()).arg(GROUP).arg(GROUP).arg(millis(LET_GO)).arg("0-0");
        left.arg("COUNT").arg(most);
        let ask = async |redis: &mut _| left.query_async::<StreamAutoClaimReply>(redis).await;
        let mut found = self.answered(self.state.insist(PATIENCE, ask).await)?.claimed;
        if found.len() < most {
            let mut new = redis::cmd("XREADGROUP");
            new.arg("GROUP").arg(GROUP).arg(GROUP).arg("COUNT").arg(most - found.len());
            new.arg("STREAMS").arg(stream_name()).arg(">");
            let ask = async |redis: &mut _| new.query_async::<Option<StreamReadReply>>(redis).await;
            let read = self.answered(self.state.insist(PATIENCE, ask).await)?;
            found.extend(read.into_iter().flat_map(|read| read.keys).flat_map(|key| key.ids));
        }
        Ok(found.into_iter().map(entry).collect())
    }

    /// Makes entries young again: nobody else takes those.
    pub(super) async fn hold(&self, places: &BTreeSet<Place>) {
        let ids: Vec<&String> = places
            .iter()
            .filter_map(|place| match place {
                Place::Stream(id) => Some(id),
                Place::Number(_) => None,
            })
            .collect();
        if ids.is_empty() {
            return;
        }
        let mut claim = redis::cmd("XCLAIM");
        claim.arg(stream_name()).arg(GROUP).arg(GROUP).arg(0).arg(ids).arg("JUSTID");
        let ask = async |redis: &mut _| claim.query_async(redis).await;
        let _held: Option<Vec<String>> = self.state.insist(PATIENCE, ask).await;
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), StoreError> {
        let mut call = self.remove.key(stream_name());
        call.arg(GROUP).arg(id);
        let ask = async |redis: &mut _| call.invoke_async::<u64>(redis).await;
        self.answered(self.state.insist(PATIENCE, ask).await).map(drop)
    }

    pub(super) async fn waiting(&self) -> Result<u64, StoreError> {
        let ask =
            async |redis: &mut _| redis::cmd("XLEN").arg(stream_name()).query_async(redis).await;
        self.answered(self.state.insist(PATIENCE, ask).await)
    }

    /// Makes the group, where it may be missing: at first, and whenever Redis refused something since.
    async fn make_group(&self) -> Result<(), StoreError> {
        if self.has_group.load(Ordering::SeqCst) {
            return Ok(());
        }
        let ask = async |redis: &mut _| {
            let mut create = redis::cmd("XGROUP");
            create.arg("CREATE").arg(stream_name()).arg(GROUP).arg("0").arg("MKSTREAM");
            match create.query_async::<()>(redis).await {
                // It is there.
                Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
                answer => answer,
            }
        };
        self.state.insist(PATIENCE, ask).await.ok_or(StoreError)?;
        self.has_group.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// An answer. Without one, Redis may have lost the group with all that it held.
    fn answered<T>(&self, answer: Option<T>) -> Result<T, StoreError> {
        answer.ok_or_else(|| {
            self.has_group.store(false, Ordering::SeqCst);
            StoreError
        })
    }
}

/// An entry's place and event; one without an event reads as an empty one.
fn entry(entry: StreamId) -> (Place, Vec<u8>) {
    let event = entry.get(EVENT).unwrap_or_default();
    (Place::Stream(entry.id), event)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Names the stream. All of it lies in one slot of a cluster.
fn stream_name() -> String {
    format!("{PREFIX}{{webhooks}}:events")
}

fn seen_name(notice: &Notice) -> String {
    format!("{PREFIX}{{webhooks}}:seen:{}", name(notice))
}
