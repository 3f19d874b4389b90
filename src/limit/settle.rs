//! Settlements: of what costs as much as it turned out to cost, units are reserved first; afterwards more are taken, or
//! some given back.
//!
//! A tenant has 10 units left, for example:
//!
//! | request | reserved | calls to Move | costs | left |
//! |---|---|---|---|---|
//! | a listing from the index | 5 | 0 | 1 | 9 |
//! | a listing that is sifted | 5 | 12 | 15 | -6: nothing more until there are units again |

use std::sync::Arc;
use std::time::Duration;

use super::shared::{Limiter, Shared};
use super::{Bucket, Charge, Remaining, TenantLimits};
use crate::model::{CredentialId, TenantId};

/// Buckets, each with the units to take from it; a negative number of them is given back.
type Differences = Vec<(Arc<Bucket>, i64)>;

impl Limiter {
    /// Charges what a request cost in place of what was reserved for it. Never refused: it was done.
    pub async fn settle(
        &self,
        tenant: &TenantId,
        limits: &TenantLimits,
        credential: &CredentialId,
        reserved: &Charge,
        cost: &Charge,
    ) -> Vec<(Arc<Bucket>, Remaining)> {
        let differences = differences(limits, credential, reserved, cost);
        let mut share = 1;
        if let Self::Shared(shared) = self
            && !differences.is_empty()
        {
            if let Some(levels) = shared.settle(tenant, credential, &differences).await {
                return levels;
            }
            share = i64::from(shared.state.replicas().get());
        }
        let settle = |(bucket, units): (Arc<Bucket>, i64)| {
            let level = bucket.settle(units.saturating_mul(share));
            (bucket, level)
        };
        differences.into_iter().map(settle).collect()
    }
}

/// The differences between two charges, in all buckets that either takes from.
fn differences(
    limits: &TenantLimits,
    credential: &CredentialId,
    reserved: &Charge,
    cost: &Charge,
) -> Differences {
    let mut all: Differences = Vec::new();
    let mut add = |bucket: Arc<Bucket>, units: i64| match all
        .iter_mut()
        .find(|(known, _)| Arc::ptr_eq(known, &bucket))
    {
        Some((_, sum)) => *sum += units,
        None => all.push((bucket, units)),
    };
    for (bucket, units) in limits.buckets(credential, cost) {
        add(bucket, i64::from(units.get()));
    }
    for (bucket, units) in limits.buckets(credential, reserved) {
        add(bucket, -i64::from(units.get()));
    }
    all
}

impl Shared {
    /// `None` if Redis is in trouble.
    async fn settle(
        &self,
        tenant: &TenantId,
        credential: &CredentialId,
        differences: &Differences,
    ) -> Option<Vec<(Arc<Bucket>, Remaining)>> {
        let mut script = self.settling.prepare_invoke();
        for (bucket, units) in differences {
            script.key(bucket.key(tenant, credential));
            script.arg(bucket.rate.interval().as_secs_f64() * 1e6).arg(*units);
        }
        let ask = async |redis: &mut _| script.invoke_async::<Vec<u64>>(redis).await;
        let full_in = self.state.run(ask).await?;
        let level = |((bucket, _), full_in): (&(Arc<Bucket>, i64), u64)| {
            (Arc::clone(bucket), bucket.level(Duration::from_micros(full_in)))
        };
        Some(differences.iter().zip(full_in).map(level).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limit::{BucketScope, LimitError};
    use crate::model::Rate;

    #[tokio::test(start_paused = true)]
    async fn a_settlement_gives_back_what_was_not_spent_and_takes_what_was_not_there() {
        let count = |units| NonZeroU32::new(units).expect("not zero");
        let rate = Rate { units: count(1), per: Duration::from_secs(1), burst: count(10) };
        let bucket = Arc::new(Bucket::new("queries", BucketScope::Tenant, rate));
        let take = |units| Bucket::take_all(&[(Arc::clone(&bucket), count(units))]);
        assert!(take(5).is_ok());
        assert_eq!(bucket.settle(-4).remaining, 9);
        // No more comes back than there was.
        assert_eq!(bucket.settle(-40).remaining, 10);
        assert!(take(5).is_ok());
        let level = bucket.settle(10);
        assert_eq!((level.remaining, level.reset_after), (0, Duration::from_secs(15)));
        let refused = take(1).expect_err("five units are owed");
        assert!(
            matches!(&refused, LimitError::Rate { wait, .. } if *wait == Duration::from_secs(6))
        );
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(take(1).is_ok());
    }
}
