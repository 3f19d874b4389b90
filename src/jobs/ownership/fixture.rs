//! A tenant for the tests of this module and for the fuzz targets.

#[cfg(test)]
pub use super::{Held, Place};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Account, AccountId, CachePolicy, ClientView, MetadataPolicy, Namespace, RateLimits, RootFields,
    Secret, Tenant, TenantId, UnclaimedJobs, UnclaimedTakes,
};

/// A tenant that has what it must have, and nothing else.
#[must_use]
pub fn tenant(name: &str) -> Tenant {
    Tenant {
        sources: Vec::new(),
        id: TenantId::parse(name).expect("a name"),
        operations: RootFields::ALL,
        scopes: Vec::new(),
        issuers: Vec::new(),
        hidden_fields: Vec::new(),
        introspection: true,
        client: ClientView {
            portal: "https://jobs.example.test/".parse().expect("a URL"),
            metadata: "{}".into(),
        },
        metadata: MetadataPolicy {
            namespace: Namespace::parse(name).expect("a namespace"),
            stamp: None,
            max_bytes: 1024,
            unclaimed_jobs: UnclaimedJobs::Hide,
        },
        unclaimed_takes: UnclaimedTakes::Hide,
        rate_limit: RateLimits {
            queries: None,
            mutations: None,
            operations: Vec::new(),
            introspection: None,
            credential_queries: None,
            credential_mutations: None,
            max_cost: 200,
            max_in_flight: 64,
            max_streams: 50,
            max_per_connection: 100,
        },
        cache: CachePolicy {
            unfinished: Duration::ZERO,
            finished: Duration::ZERO,
            not_found: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            no_cache: false,
        },
        account: Arc::new(Account {
            id: AccountId::Shared,
            url: "http://127.0.0.1:1/".parse().expect("a URL"),
            api_key: Secret::new("key"),
        }),
    }
}
