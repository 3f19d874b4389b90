//! The limiter: its buckets are in this process, or in Redis for all replicas together.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use redis::Script;

use super::{Bucket, BucketScope, Charge, LimitError, Permit, Remaining, Slot, TenantLimits};
use crate::model::{CredentialId, TenantId};
use crate::shared_state::{PREFIX, SharedState};

/// Admits requests.
#[derive(Debug)]
pub enum Limiter {
    /// Each process on its own.
    Local,
    /// All replicas together.
    Shared(Shared),
}

/// Buckets in Redis.
#[derive(Debug)]
pub struct Shared {
    pub(super) state: Arc<SharedState>,
    script: Script,
    pub(super) settling: Script,
}

/// All buckets of a request at once, or none: GCRA over theoretical arrival times in microseconds of
/// Redis' own clock. Answers the bucket that has not enough (0 for none), how long to wait for it,
/// and for each bucket how long until it is full.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local arrivals = {}
for i, key in ipairs(KEYS) do
    local interval, burst, units = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
    local arrival = math.max(tonumber(redis.call('GET', key) or now), now)
    arrivals[i] = arrival + interval * units
    local wait = arrivals[i] - interval * burst - now
    if wait > 0 then
        return {i, math.ceil(wait), math.ceil(arrival - now)}
    end
end
local answer = {0, 0}
for i, key in ipairs(KEYS) do
    local left = arrivals[i] - now
    redis.call('SET', key, string.format('%.0f', arrivals[i]), 'PX', math.ceil(left / 1000) + 1)
    answer[i + 2] = math.ceil(left)
end
return answer
";

/// Moves theoretical arrival times, in microseconds of Redis' own clock. Answers for each bucket how long until it is full.
const SETTLING: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {}
for i, key in ipairs(KEYS) do
    local interval, units = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local arrival = math.max(tonumber(redis.call('GET', key) or now), now)
    arrival = math.max(arrival + interval * units, now)
    local left = arrival - now
    redis.call('SET', key, string.format('%.0f', arrival), 'PX', math.ceil(left / 1000) + 1)
    answer[i] = math.ceil(left)
end
return answer
";

impl Limiter {
    /// Buckets in Redis.
    #[must_use]
    pub fn shared(state: Arc<SharedState>) -> Self {
        let settling = Script::new(SETTLING);
        Self::Shared(Shared { state, script: Script::new(SCRIPT), settling })
    }

    /// Charges a request that has its place among the tenant's requests at once.
    ///
    /// # Errors
    /// When it costs too much now, or always would. It takes nothing then.
    pub async fn admit(
        &self,
        tenant: &TenantId,
        limits: &TenantLimits,
        credential: &CredentialId,
        charge: &Charge,
        slot: Slot,
    ) -> Result<Permit, LimitError> {
        let (cost, max) = (charge.total(), limits.max_cost());
        if cost > max {
            return Err(LimitError::TooCostly { cost, max });
        }
        let levels = self.charge(tenant, limits, credential, charge).await?;
        Ok(Permit { levels, slot })
    }

    /// Charges a request that is not executed: it is answered from memory, or refused.
    ///
    /// # Errors
    /// As [`Limiter::admit`], but for what one request may cost.
    pub async fn charge(
        &self,
        tenant: &TenantId,
        limits: &TenantLimits,
        credential: &CredentialId,
        charge: &Charge,
    ) -> Result<Vec<(Arc<Bucket>, Remaining)>, LimitError> {
        let mut buckets = limits.buckets(credential, charge);
        if let Self::Shared(shared) = self
            && !buckets.is_empty()
        {
            if let Some(taken) = shared.take(tenant, credential, &buckets).await {
                return taken;
            }
            // Alone: its share of what all replicas may spend together.
            let share = shared.state.replicas();
            for (bucket, units) in &mut buckets {
                // What is too much for a bucket stays so; else its share is never too much.
                if *units <= bucket.rate.burst {
                    *units = units.saturating_mul(share).min(bucket.rate.burst);
                }
            }
        }
        Bucket::take_all(&buckets)
    }
}

impl Bucket {
    /// The name of its arrival time in Redis. The hash tag keeps the keys of one request in one slot, as Redis Cluster
    /// wants of a script.
    pub(super) fn key(&self, tenant: &TenantId, credential: &CredentialId) -> String {
        let of = match self.scope {
            BucketScope::Tenant => "",
            BucketScope::Credential => credential.as_str(),
        };
        format!("{PREFIX}rate:{{{tenant}}}:{}:{of}", self.name)
    }
}

impl Shared {
    /// `None` if Redis is in trouble.
    async fn take(
        &self,
        tenant: &TenantId,
        credential: &CredentialId,
        buckets: &[(Arc<Bucket>, NonZeroU32)],
    ) -> Option<Result<Vec<(Arc<Bucket>, Remaining)>, LimitError>> {
        let mut script = self.script.prepare_invoke();
        for (bucket, units) in buckets {
            if *units > bucket.rate.burst {
                return Some(Err(bucket.never_enough(units.get())));
            }
            script.key(bucket.key(tenant, credential));
            let interval = bucket.rate.interval().as_secs_f64() * 1e6;
            script.arg(interval).arg(bucket.rate.burst.get()).arg(units.get());
        }
        let ask = async |redis: &mut _| script.invoke_async::<Vec<u64>>(redis).await;
        let answer = self.state.run(ask).await?;
        let (&refused, rest) = answer.split_first()?;
        let (&wait, reset_after) = rest.split_first()?;
        let level = |bucket: &Bucket, reset_after| bucket.level(Duration::from_micros(reset_after));
        if let Some((bucket, _)) =
            usize::try_from(refused).ok()?.checked_sub(1).and_then(|i| buckets.get(i))
        {
            let level = level(bucket, reset_after.first().copied().unwrap_or_default());
            return Some(Err(bucket.refusal(Duration::from_micros(wait), level)));
        }
        let levels = buckets.iter().zip(reset_after);
        let levels = levels
            .map(|((bucket, _), reset_after)| (Arc::clone(bucket), level(bucket, *reset_after)));
        Some(Ok(levels.collect()))
    }
}
