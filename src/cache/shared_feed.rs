//! The changes of a tenant's jobs in Redis, for whoever begins to follow them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use redis::streams::StreamRangeReply;

use super::SharedTier;
use super::feed::{BEHIND, STAYS};
use super::feed_log::names;
use super::log_place::{LogPlace, OpenedLog};
use super::shared::{counter_of_all, counter_of_tenant};
use crate::model::{EntityId, Progress, TenantId};

/// The time for which whoever begins to follow waits for each answer of Redis.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes the stream `KEYS[1]` anew, which begins at the moment `ARGV[3]`, and forgets what `KEYS[2]` knows, unless both are
/// of the tag `ARGV[1]`. They stay for `ARGV[2]` seconds. Gives the last place, and what is known.
const OPEN: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HGET', KEYS[2], '#') ~= ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[2], '#', ARGV[1], '#begins', ARGV[3])
  redis.call('XADD', KEYS[1], '*', 'job', '')
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return {redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1], redis.call('HGETALL', KEYS[2])}
";

/// Notes of jobs that nothing is known of how far they have come (`ARGV`: a job, its state and percentage, and so on),
/// while somebody follows them.
const KNOW: &str = r"
if redis.call('EXISTS', KEYS[1]) == 1 then
  for at = 1, #ARGV, 2 do redis.call('HSETNX', KEYS[2], ARGV[at], ARGV[at + 1]) end
end
";

impl SharedTier {
    /// Has the changes of a tenant's jobs be kept from now on (in microseconds since 1970). `None` if Redis is in trouble,
    /// or does not say of which run it is.
    pub async fn open_feed(&self, tenant: &TenantId, now: i64) -> Option<OpenedLog> {
        let mut asking = redis::pipe();
        asking.cmd("INFO").arg("server");
        asking.get(counter_of_all()).get(counter_of_tenant(tenant));
        let ask = async |redis: &mut _| asking.query_async(redis).await;
        let (server, all, own) =
            self.state().insist::<(String, Option<u64>, Option<u64>)>(PATIENCE, ask).await?;
        let run = server.lines().find_map(|line| line.strip_prefix("run_id:"))?.trim();
        let tag = format!("{run} {} {}", all.unwrap_or_default(), own.unwrap_or_default());
        let mut opening = redis::cmd("EVAL");
        opening.arg(OPEN).arg(2).arg(&names(tenant)).arg(tag).arg(STAYS.as_secs()).arg(now);
        let ask = async |redis: &mut _| opening.query_async(redis).await;
        let (end, known) =
            self.state().insist::<(String, HashMap<String, String>)>(PATIENCE, ask).await?;
        let begins = known.get("#begins").and_then(|begins| begins.parse().ok());
        let known = known
            .iter()
            .filter_map(|(job, text)| Some((EntityId::job(job).ok()?, progress(text)?)));
        Some(OpenedLog { end: LogPlace::parse(&end)?, begins, known: known.collect() })
    }

    /// Returns the jobs that changed behind a place, each once, in the order of their last changes. `None` if the
    /// place is not known, there are too many, or Redis is in trouble.
    pub async fn changes_behind(
        &self,
        tenant: &TenantId,
        place: LogPlace,
    ) -> Option<Vec<(EntityId, LogPlace)>> {
        let [log, _] = names(tenant);
        let mut range = redis::cmd("XRANGE");
        range.arg(log).arg(place.to_string()).arg("+").arg("COUNT").arg(BEHIND + 2);
        let ask = async |redis: &mut _| range.query_async::<StreamRangeReply>(redis).await;
        let found = self.state().insist(PATIENCE, ask).await?.ids;
        let (first, rest) = found.split_first()?;
        if LogPlace::parse(&first.id) != Some(place) || rest.len() > BEHIND {
            return None;
        }
        let mut seen = HashSet::new();
        let latest = rest.iter().rev().filter_map(|entry| {
            let job = EntityId::job(&entry.get::<String>("job")?).ok()?;
            seen.insert(job.clone()).then_some((job, LogPlace::parse(&entry.id)?))
        });
        let mut changes: Vec<_> = latest.collect();
        changes.reverse();
        Some(changes)
    }

    /// Notes how far jobs have come of which nothing is known; a job without a state is news when it is seen next.
    pub async fn know(&self, tenant: &TenantId, jobs: &[(EntityId, Progress)]) {
        if jobs.is_empty() {
            return;
        }
        let mut noting = redis::cmd("EVAL");
        noting.arg(KNOW).arg(2).arg(&names(tenant));
        for (job, Progress { state, percent }) in jobs {
            let percent = percent.map(|percent| percent.to_string()).unwrap_or_default();
            let text = format!("{} {percent}", state.as_deref().unwrap_or_default());
            noting.arg(job.as_str()).arg(text);
        }
        let ask = async |redis: &mut _| noting.query_async::<()>(redis).await;
        let _noted: Option<()> = self.state().run(ask).await;
    }
}

/// Reads how far a job has come; `None` if that is not known.
fn progress(text: &str) -> Option<Progress> {
    let (state, percent) = text.split_once(' ')?;
    let state = Some(state).filter(|state| !state.is_empty())?;
    Some(Progress { state: Some(state.into()), percent: percent.parse().ok() })
}
