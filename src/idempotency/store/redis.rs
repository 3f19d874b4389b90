//! Entries in Redis, for all replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use redis::{InfoDict, Script};

use super::{Bounds, StoreError, Swap, Swapped};
use crate::idempotency::Key;
use crate::idempotency::entry::expiry;
use crate::shared_state::{PREFIX, SharedState};

/// Puts `ARGV[2]` (nothing: deletes) in the place of `ARGV[1]` (nothing: of no entry) and keeps the tenant's
/// index, a sorted set of its keys by their end. A new entry of a tenant that has as many as it may is
/// refused with the end of the first, negated.
const SWAP: &str = r"
local entry, index = KEYS[1], KEYS[2]
local old, new, member = ARGV[1], ARGV[2], ARGV[3]
local now, ends, stays, keep, max = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local current = redis.call('GET', entry) or ''
if current ~= old then return 0 end
if new == '' then
    redis.call('DEL', entry)
    redis.call('ZREM', index, member)
    return 1
end
if current == '' then
    redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
    if redis.call('ZCARD', index) >= max then
        return -tonumber(redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2])
    end
end
redis.call('SET', entry, new, 'PX', stays)
redis.call('ZADD', index, ends, member)
redis.call('PEXPIRE', index, keep)
return 1
";

/// Returns the time in `KEYS[1]`, set to `ARGV[1]` if there is none; `ARGV[1]` itself if one of the replicas
/// in `KEYS[2]` was not heard of for `ARGV[2]` ms. One that was not heard of for `ARGV[3]` ms does not matter
/// any more.
const COMPLETE_SINCE: &str = r"
local since = tonumber(redis.call('GET', KEYS[1]) or '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if since == nil then
    redis.call('SET', KEYS[1], ARGV[1])
    return tonumber(ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if first and tonumber(first) < now - ARGV[2] then return tonumber(ARGV[1]) end
return since
";

/// Sets the time in `KEYS[1]` to `ARGV[1]`, unless it is later.
const NOTE_GAP: &str = r"
local since = tonumber(redis.call('GET', KEYS[1]) or '')
if since == nil or since < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
";

/// Notes in `KEYS[1]` that the replica `ARGV[1]` was heard of, by the clock of Redis.
const BEAT: &str = r"
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
return 1
";

/// The time for which an answer is waited for. A key is one decision of all replicas: two that each went on by
/// themselves could make the same mutation at the same moment.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time for which a replica may be silent before the others reckon that it goes on alone. It is heard of
/// every half second.
const SILENCE: Duration = Duration::from_secs(3);

/// Redis, or Valkey.
#[derive(Debug)]
pub(in crate::idempotency) struct Redis {
    state: Arc<SharedState>,
    bounds: Bounds,
    swap: Script,
    complete_since: Script,
    note_gap: Script,
    beat: Script,
    /// Calls of this store's that were not answered.
    failures: AtomicU64,
    /// True if it may let go of entries when its memory is full, for all that is known.
    may_evict: AtomicBool,
    is_learnt: AtomicBool,
}

impl Redis {
    pub fn new(state: Arc<SharedState>, bounds: Bounds) -> Self {
        Self {
            state,
            bounds,
            swap: Script::new(SWAP),
            complete_since: Script::new(COMPLETE_SINCE),
            note_gap: Script::new(NOTE_GAP),
            beat: Script::new(BEAT),
            failures: AtomicU64::new(0),
            may_evict: AtomicBool::new(true),
            is_learnt: AtomicBool::new(false),
        }
    }

    pub fn may_evict(&self) -> bool {
        self.may_evict.load(Ordering::SeqCst)
    }

    pub fn disturbances(&self) -> u64 {
        self.failures.load(Ordering::SeqCst) + self.state.losses()
    }

    fn answered<T>(&self, answer: Option<T>) -> Result<T, StoreError> {
        answer.ok_or_else(|| {
            self.failures.fetch_add(1, Ordering::SeqCst);
            StoreError
        })
    }

    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let name = entry_name(key);
        let ask = async |redis: &mut _| {
            redis::cmd("GET").arg(&name).query_async::<Option<Vec<u8>>>(redis).await
        };
        let entry = self.answered(self.state.insist(PATIENCE, ask).await)?;
        Ok(entry.map(Bytes::from))
    }

    pub async fn swap(&self, swap: Swap<'_>) -> Result<Swapped, StoreError> {
        let Swap { key, old, new, now } = swap;
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let ends = expiry(&new).unwrap_or(now);
        let stays = Duration::try_from(ends.duration_since(now)).unwrap_or_default();
        let mut call = self.swap.key(entry_name(key));
        call.key(index_name(key)).arg(&old[..]).arg(&new[..]).arg(key.text());
        call.arg(now.as_millisecond()).arg(ends.as_millisecond());
        call.arg(millis(stays).max(1)).arg(millis(self.bounds.keep)).arg(self.bounds.max_keys);
        let ask = async |redis: &mut _| call.invoke_async::<i64>(redis).await;
        Ok(match self.answered(self.state.insist(PATIENCE, ask).await)? {
            0 => Swapped::No,
            1 => Swapped::Yes,
            full => Swapped::Full {
                until: Timestamp::from_millisecond(-full).unwrap_or(Timestamp::MAX),
            },
        })
    }

    /// Since when every entry is in Redis; `now` if a replica is out of touch.
    pub async fn complete_since(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let mut call = self.complete_since.key(since_name());
        call.key(replicas_name()).arg(now.as_millisecond());
        call.arg(millis(SILENCE)).arg(millis(self.bounds.keep));
        let ask = async |redis: &mut _| call.invoke_async::<i64>(redis).await;
        let since = self.answered(self.state.insist(PATIENCE, ask).await)?;
        Ok(Timestamp::from_millisecond(since).unwrap_or(Timestamp::MAX))
    }

    pub async fn note_gap(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut call = self.note_gap.key(since_name());
        call.arg(now.as_millisecond());
        let ask = async |redis: &mut _| call.invoke_async::<()>(redis).await;
        self.answered(self.state.insist(PATIENCE, ask).await)
    }

    pub async fn beat(&self, process: &str) {
        let mut call = self.beat.key(replicas_name());
        call.arg(process);
        let ask = async |redis: &mut _| call.invoke_async::<()>(redis).await;
        let _told: Option<()> = self.state.insist(PATIENCE, ask).await;
    }

    pub async fn leave(&self, process: &str) {
        let ask = async |redis: &mut _| {
            redis::cmd("ZREM").arg(replicas_name()).arg(process).query_async(redis).await
        };
        let _told: Option<u32> = self.state.insist(PATIENCE, ask).await;
    }

    /// Asks, if it is not known, whether Redis lets go of entries when its memory is full.
    pub async fn learn(&self) {
        if self.is_learnt.load(Ordering::SeqCst) {
            return;
        }
        let ask = async |redis: &mut _| {
            redis::cmd("INFO").arg("memory").query_async::<InfoDict>(redis).await
        };
        let Some(memory) = self.state.insist(PATIENCE, ask).await else { return };
        let policy: Option<String> = memory.get("maxmemory_policy");
        let may_evict =
            memory.get("maxmemory") != Some(0_u64) && policy.as_deref() != Some("noeviction");
        if may_evict {
            let policy = policy.unwrap_or_else(|| "unknown".to_owned());
            tracing::warn!(
                maxmemory_policy = policy,
                "Redis may evict idempotency keys, so each mutation with a key looks for its job first: \
                 set `maxmemory-policy noeviction`"
            );
        }
        self.may_evict.store(may_evict, Ordering::SeqCst);
        self.is_learnt.store(true, Ordering::SeqCst);
    }

    /// Has it asked again.
    pub fn learn_again(&self) {
        self.is_learnt.store(false, Ordering::SeqCst);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Names an entry. Those of one tenant lie in one slot of a cluster: its name is the hash tag.
fn entry_name(key: &Key) -> String {
    format!("{PREFIX}idempotency:{{{}}}:{}", key.tenant, key.text())
}

fn index_name(key: &Key) -> String {
    format!("{PREFIX}idempotency:{{{}}}", key.tenant)
}

fn since_name() -> String {
    format!("{PREFIX}{{idempotency}}:complete-since")
}

fn replicas_name() -> String {
    format!("{PREFIX}{{idempotency}}:replicas")
}
