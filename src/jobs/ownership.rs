//! Whose job is it? The one place that decides.

use crate::model::{JobId, Tenant, UnclaimedJobs};
use crate::types::Job;

use super::envelope::{self, Envelope, Reading};
use super::present;

/// A job that the tenant may see: the proof that its owner was checked. It holds what the tenant
/// sees, which is not what Move sent: see [`present`].
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedJob {
    job: Job,
    stored: Option<String>,
    claim: Claim,
}

/// Why the tenant may see a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Its record names the tenant, or it is nobody's in the tenant's own Move account.
    Own,
    /// It is nobody's, and the policy lets the tenant read such jobs.
    ReadOnly,
}

impl OwnedJob {
    /// Checks a job that Move sent. `None` if it is not for this tenant's eyes. `job.metadata`
    /// must have been asked for.
    #[must_use]
    pub fn verify(tenant: &Tenant, mut job: Job) -> Option<Self> {
        let stored = job.metadata.take().map(|metadata| metadata.0);
        let reading = envelope::read(stored.as_deref());
        let claim = claim(tenant, &reading, &job)?;
        job.metadata = present::metadata(tenant, stored.as_deref(), &reading);
        present::job(tenant, &mut job);
        Some(Self { job, stored, claim })
    }

    /// The job as the tenant sees it.
    #[must_use]
    pub const fn job(&self) -> &Job {
        &self.job
    }

    /// The job as the tenant sees it, by value.
    #[must_use]
    pub fn into_job(self) -> Job {
        self.job
    }

    /// Whether the tenant may change it, and not only read it.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.claim == Claim::Own
    }

    /// Its envelope as stored upstream; `None` for a job that was created in Move directly.
    pub(super) fn envelope(&self) -> Option<Envelope<'_>> {
        match envelope::read(self.stored.as_deref()) {
            Reading::Envelope(envelope) => Some(envelope),
            Reading::Plain | Reading::Broken => None,
        }
    }
}

fn claim(tenant: &Tenant, stored: &Reading<'_>, job: &Job) -> Option<Claim> {
    match stored {
        Reading::Envelope(envelope) => (*envelope.owner() == tenant.id).then_some(Claim::Own),
        Reading::Plain if !tenant.account.is_shared() => Some(Claim::Own),
        Reading::Plain => {
            (tenant.metadata.unclaimed_jobs == UnclaimedJobs::Read).then_some(Claim::ReadOnly)
        }
        // It may be another tenant's, written by a newer gateway: nobody sees it.
        Reading::Broken => {
            let id = job.id.get().and_then(|id| JobId::parse(id).ok());
            let id = id.as_ref().map_or("(not an id)", JobId::as_str);
            tracing::warn!(job = id, "the gateway's record in this job's metadata cannot be read");
            None
        }
    }
}

/// A tenant for the tests of this module and for the fuzz targets.
#[cfg(any(test, fuzzing))]
#[expect(clippy::expect_used, reason = "the texts are constants")]
pub mod fixture {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::model::{
        Account, AccountId, CachePolicy, ClientView, MetadataPolicy, Namespace, RateLimits,
        RootFields, Secret, Tenant, TenantId, UnclaimedJobs,
    };

    pub fn tenant(name: &str) -> Tenant {
        Tenant {
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
            takes_owned: false,
            rate_limit: RateLimits {
                queries: None,
                mutations: None,
                operations: Vec::new(),
                introspection: None,
                credential_queries: None,
                credential_mutations: None,
                max_cost: 200,
                max_in_flight: 64,
            },
            cache: CachePolicy {
                unfinished: Duration::ZERO,
                finished: Duration::ZERO,
                not_found: Duration::ZERO,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                heeds_no_cache: false,
            },
            account: Arc::new(Account {
                id: AccountId::Shared,
                url: "http://127.0.0.1:1/".parse().expect("a URL"),
                api_key: Secret::new("key"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::fixture::tenant;
    use super::*;
    use crate::model::{Account, AccountId};
    use crate::types::AwsJson;

    fn job(metadata: Option<&str>) -> Job {
        Job { metadata: metadata.map(|text| AwsJson(text.to_owned())), ..Job::default() }
    }

    const ACMES: &str = r#"{"acme":{"shot":1},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#;

    #[test]
    fn only_the_owner_named_in_the_record_sees_a_job() {
        let own = OwnedJob::verify(&tenant("acme"), job(Some(ACMES))).expect("acme's");
        assert_eq!(own.job().metadata, Some(AwsJson(r#"{"shot":1}"#.into())));
        assert!(own.is_writable());
        assert_eq!(OwnedJob::verify(&tenant("globex"), job(Some(ACMES))), None);
    }

    #[test]
    fn a_job_of_nobody_is_hidden_unless_policy_says_read() {
        let mut acme = tenant("acme");
        for metadata in [None, Some("{}"), Some(r#"{"acme":{"shot":1}}"#)] {
            assert_eq!(OwnedJob::verify(&acme, job(metadata)), None);
        }
        acme.metadata.unclaimed_jobs = UnclaimedJobs::Read;
        let seen = OwnedJob::verify(&acme, job(Some(r#"{"a":1}"#))).expect("readable");
        assert_eq!(seen.job().metadata, Some(AwsJson(r#"{"a":1}"#.into())));
        assert!(!seen.is_writable());
    }

    #[test]
    fn a_broken_record_hides_a_job_whatever_policy_says() {
        let mut acme = tenant("acme");
        acme.metadata.unclaimed_jobs = UnclaimedJobs::Read;
        let broken = r#"{"acme":1,"_gateway":{"v":2,"owner":"acme"}}"#;
        assert_eq!(OwnedJob::verify(&acme, job(Some(broken))), None);
    }

    #[test]
    fn in_an_account_of_its_own_a_tenant_owns_what_has_no_record() {
        let mut acme = tenant("acme");
        let account =
            Account { id: AccountId::Tenant(acme.id.clone()), ..Account::clone(&acme.account) };
        acme.account = Arc::new(account);
        assert!(OwnedJob::verify(&acme, job(Some("{}"))).expect("own").is_writable());
        let globexs = ACMES.replace("\"owner\":\"acme\"", "\"owner\":\"globex\"");
        assert_eq!(OwnedJob::verify(&acme, job(Some(&globexs))), None);
    }
}
