//! The changes of a tenant's jobs in Redis: whoever follows them goes on at any replica, and after a restart.
//!
//! It is a stream of the jobs that changed, beside what is known of those that are not over. It is there while somebody
//! follows the tenant's jobs, and a day longer. Whoever tells the replicas of a job adds to it in the same step, so that
//! each replica hears the changes in the order of the stream, with their places in it.
//!
//! What may have been lost makes another one of it: it has a tag, of the server's run and of the counters that count
//! when everything is to be forgotten.

use super::feed::{MOST, STAYS};
use crate::model::{EntityId, EntityKind, Progress, TenantId};
use crate::shared_state::PREFIX;

/// Publishes the message `ARGV[2]` on the channel `ARGV[1]`. While somebody follows the tenant's jobs, it first adds the
/// job `ARGV[3]` to the stream `KEYS[1]`, of `ARGV[4]` entries and for `ARGV[5]` seconds, and its place to the message.
/// A job that was seen (`ARGV[6]` is its state, `ARGV[7]` its percentage or nothing, `ARGV[8]` is 1 if it is over) is
/// added if `KEYS[2]` knows it otherwise: as a feed of one replica does.
const TELL: &str = r#"
local message = ARGV[2]
if redis.call('EXISTS', KEYS[1]) == 1 then
  local job, state, percent, is_news = ARGV[3], ARGV[6], ARGV[7], true
  if state ~= '' then
    local known = redis.call('HGET', KEYS[2], job)
    local was, part = string.match(known or '', '^(%S*) ?(%S*)$')
    is_news = false
    if known then is_news = state ~= was or (percent ~= '' and part ~= '' and percent ~= part) end
    if percent == '' then percent = part or '' end
    if ARGV[8] == '1' then redis.call('HDEL', KEYS[2], job)
    elseif known or redis.call('HLEN', KEYS[2]) <= tonumber(ARGV[4]) then
      redis.call('HSET', KEYS[2], job, state .. ' ' .. percent)
    end
  end
  if is_news then
    local place = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'job', job)
    redis.call('EXPIRE', KEYS[1], ARGV[5])
    redis.call('EXPIRE', KEYS[2], ARGV[5])
    message = string.sub(message, 1, -2) .. ',"place":"' .. place .. '"}'
  end
end
return redis.call('PUBLISH', ARGV[1], message)
"#;

/// Has a pipeline tell of a job, which was seen like this or was written.
pub(super) fn tell(
    pipeline: &mut redis::Pipeline,
    tenant: &TenantId,
    job: &EntityId,
    seen: Option<&Progress>,
    (channel, message): (String, String),
) {
    let state = seen.and_then(|seen| seen.state.as_deref()).unwrap_or_default();
    let percent = seen.and_then(|seen| seen.percent).map(|percent| percent.to_string());
    let is_over = seen.is_some_and(Progress::is_over);
    let [log, known] = names(tenant);
    let call = pipeline.cmd("EVAL").arg(TELL).arg(2).arg(log).arg(known);
    call.arg(channel).arg(message).arg(job.as_str()).arg(MOST).arg(STAYS.as_secs());
    call.arg(state).arg(percent.unwrap_or_default()).arg(u8::from(is_over));
}

/// Returns true if [`tell`] can tell of it: of a job, and of a sighting that says something.
pub(super) fn is_told(id: &EntityId, seen: Option<&Progress>) -> bool {
    id.kind() == EntityKind::Job && seen.is_none_or(|seen| seen.state.is_some())
}

/// The stream, and what is known. The braces keep both in one slot of a Redis Cluster.
pub(super) fn names(tenant: &TenantId) -> [String; 2] {
    ["log", "known"].map(|what| format!("{PREFIX}feed:{{{tenant}}}:{what}"))
}
