//! Random histories in which Move omits, nulls, cuts, garbles and twice encodes metadata: nobody reads
//! a byte of anybody else, no owner reads that its job is missing, and no record is lost.

use std::time::Duration;

use jobs_gateway::sandbox::{Job, SandboxOptions, State};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::owner_unknown::Spoiled;
use crate::support::{Reply, Setup, World};

/// In the shared account; there, reading what nobody owns; in an account of its own.
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const READER: usize = 1;
const ALONE: usize = 2;

const RUNS: u32 = 12;
const STEPS: usize = 120;

#[derive(Debug, Clone)]
enum Step {
    Create {
        tenant: usize,
    },
    /// Somebody creates a job in Move directly, in one of the accounts.
    Outside {
        alone: bool,
    },
    Fail {
        job: usize,
    },
    Get {
        tenant: usize,
        job: usize,
        spoiled: Option<Spoiled>,
    },
    Update {
        tenant: usize,
        job: usize,
        spoiled: Option<Spoiled>,
        /// True if it is the answer to the write that is spoiled, and not what is read before it.
        after: bool,
    },
    List {
        tenant: usize,
        spoiled: Option<Spoiled>,
        every: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let tenant = || 0..TENANTS.len();
    let job = || any::<prop::sample::Index>().prop_map(|at| at.index(1 << 20));
    let spoiled = || prop::option::of(proptest::sample::select(Spoiled::ALL.to_vec()));
    prop_oneof![
        2 => tenant().prop_map(|tenant| Step::Create { tenant }),
        1 => any::<bool>().prop_map(|alone| Step::Outside { alone }),
        1 => job().prop_map(|job| Step::Fail { job }),
        6 => (tenant(), job(), spoiled())
            .prop_map(|(tenant, job, spoiled)| Step::Get { tenant, job, spoiled }),
        4 => (tenant(), job(), spoiled(), any::<bool>()).prop_map(
            |(tenant, job, spoiled, after)| Step::Update { tenant, job, spoiled, after }
        ),
        3 => (tenant(), spoiled(), 1..4_usize)
            .prop_map(|(tenant, spoiled, every)| Step::List { tenant, spoiled, every }),
    ]
}

/// The truth about a job. Everything in it carries its mark.
struct Known {
    id: String,
    owner: Option<usize>,
    /// The account it is in: the one of `ALONE`, or the shared one.
    alone: bool,
    mark: String,
    writes: usize,
    failed: bool,
}

impl Known {
    fn is_for(&self, tenant: usize) -> bool {
        match self.owner {
            Some(owner) => owner == tenant,
            None => self.alone == (tenant == ALONE) && (self.alone || tenant == READER),
        }
    }

    fn is_writable_by(&self, tenant: usize) -> bool {
        self.is_for(tenant) && (self.owner.is_some() || self.alone)
    }

    fn metadata(&self) -> String {
        format!(r#"{{"{}":{}}}"#, self.mark, self.writes)
    }
}

struct History {
    world: World,
    jobs: Vec<Known>,
}

impl History {
    async fn begin() -> Self {
        let all = "operations: [\"*\"]\n";
        let tenants = vec![
            ("acme", format!("{all}cache: {{}}\n")),
            ("globex", format!("{all}metadata: {{ unclaimed_jobs: read }}\n")),
            ("initech", format!("{all}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n")),
        ];
        let keys = vec!["sandbox-move-key".to_owned(), "other-move-key".to_owned()];
        let sandbox =
            SandboxOptions { api_keys: keys, failed_as_error: true, ..SandboxOptions::default() };
        let world = Setup::new().sandbox(sandbox).tenants(tenants).start().await;
        Self { world, jobs: Vec::new() }
    }

    /// Nobody reads anything of a job that is not for them.
    fn check_for_foreign(&self, tenant: usize, reply: &Reply, asked: &str) {
        let all = format!("{reply:?}");
        for job in self.jobs.iter().filter(|job| !job.is_for(tenant)) {
            assert!(!all.contains(&job.mark), "{} reads of {}: {all}", TENANTS[tenant], job.mark);
            assert!(job.id == asked || !all.contains(&job.id), "a foreign id: {all}");
        }
        assert!(!all.contains("_gateway"), "a record: {all}");
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Create { tenant } => self.create(tenant).await,
            Step::Outside { alone } => self.create_outside(alone),
            Step::Fail { job } => {
                let count = self.jobs.len().max(1);
                if let Some(job) = self.jobs.get_mut(job % count) {
                    job.failed = true;
                    self.world.sandbox.set_state(&job.id, State::Failed);
                }
            }
            Step::Get { tenant, job, spoiled } => self.get(tenant, job, spoiled).await,
            Step::Update { tenant, job, spoiled, after } => {
                self.update(tenant, job, spoiled, after).await;
            }
            Step::List { tenant, spoiled, every } => self.list(tenant, spoiled, every).await,
        }
        self.world.sandbox.clear_faults();
    }

    async fn create(&mut self, tenant: usize) {
        let mark = format!("mark{}-of-{}", self.jobs.len(), TENANTS[tenant]);
        let (owner, alone) = (Some(tenant), tenant == ALONE);
        let mut job = Known { id: String::new(), owner, alone, mark, writes: 0, failed: false };
        job.id = self.world.create(TENANTS[tenant], &job.metadata()).await;
        self.jobs.push(job);
    }

    fn create_outside(&mut self, alone: bool) {
        let mark = format!("mark{}-of-nobody", self.jobs.len());
        let key = if alone { "other-move-key" } else { "sandbox-move-key" };
        let account = self.world.sandbox.account(key).unwrap();
        let stored = Job::new(account.now());
        let id = stored.id.clone();
        let job = Known { id, owner: None, alone, mark, writes: 0, failed: false };
        account.add_job(Job { metadata: Some(job.metadata()), ..stored });
        self.jobs.push(job);
    }

    async fn get(&self, tenant: usize, job: usize, spoiled: Option<Spoiled>) {
        let Some(job) = self.jobs.get(job % (self.jobs.len() + 1)) else { return };
        if let Some(spoiled) = spoiled {
            self.world.sandbox.fail_next(Some("getJob"), spoiled.fault(1));
        }
        let reply = self.world.get(TENANTS[tenant], &job.id, "id metadata").await;
        self.check_for_foreign(tenant, &reply, &job.id);
        let is_here = job.alone == (tenant == ALONE);
        match reply.code().as_str() {
            "" => {
                assert!(job.is_for(tenant), "{reply:?}");
                assert_eq!(reply.data("/getJob/metadata"), json!(job.metadata()));
            }
            "NOT_FOUND" => {
                let is_nobodys = job.failed && job.owner.is_none();
                assert!(!job.is_for(tenant) || is_nobodys, "a false \"not found\": {reply:?}");
            }
            code => {
                assert_eq!(code, "UPSTREAM_ERROR");
                let is_failed = job.failed && job.is_for(tenant);
                assert!(is_here && (spoiled.is_some() || is_failed), "{reply:?}");
            }
        }
    }

    async fn update(&mut self, tenant: usize, job: usize, spoiled: Option<Spoiled>, after: bool) {
        let at = job % (self.jobs.len() + 1);
        let Some(job) = self.jobs.get(at) else { return };
        if let Some(spoiled) = spoiled {
            let field = if after { "updateJob" } else { "getJob" };
            self.world.sandbox.fail_next(Some(field), spoiled.fault(1));
        }
        let next =
            Known { mark: job.mark.clone(), id: job.id.clone(), writes: job.writes + 1, ..*job };
        let before = self.world.sandbox.job(&job.id).unwrap().metadata;
        let update = "mutation($id: String!, $m: AWSJSON) { updateJob(id: $id, metadata: $m) { id metadata } }";
        let variables = json!({"id": job.id, "m": next.metadata()});
        let reply = self.world.ask(TENANTS[tenant], update, variables).await;
        self.check_for_foreign(tenant, &reply, &job.id);
        let stored = self.world.sandbox.job(&job.id).unwrap().metadata;
        if stored == before {
            let code = reply.code();
            assert!(!code.is_empty(), "nothing was written: {reply:?}");
            let is_nobodys = job.failed && job.owner.is_none();
            assert!(code != "NOT_FOUND" || !job.is_for(tenant) || is_nobodys, "{reply:?}");
            assert!(code != "FORBIDDEN" || job.is_for(tenant), "{reply:?}");
            let is_well = spoiled.is_none() && !job.failed && job.is_writable_by(tenant);
            assert!(!is_well, "{reply:?}");
        } else {
            assert!(job.is_writable_by(tenant), "{reply:?}");
            let is_told = spoiled.is_none() || !after;
            assert_eq!(reply.code(), if is_told { "" } else { "OUTCOME_UNKNOWN" }, "{reply:?}");
            // From now on a job of nobody has a record.
            self.jobs[at] = Known { owner: Some(tenant), ..next };
        }
    }

    async fn list(&self, tenant: usize, spoiled: Option<Spoiled>, every: usize) {
        // No page of an earlier listing is at hand any more.
        self.world.pass(Duration::from_secs(2)).await;
        if let Some(spoiled) = spoiled {
            self.world.sandbox.fail_always(Some("listJobs"), Some(spoiled.fault(every)));
        }
        let list = "{ listJobs(first: 100) { after items { id metadata } } }";
        let reply = self.world.ask(TENANTS[tenant], list, json!({})).await;
        self.check_for_foreign(tenant, &reply, "");
        let page = reply.data("/listJobs");
        let here = self.jobs.iter().rev().filter(|job| job.alone == (tenant == ALONE));
        let is_spoiled = |index: usize| spoiled.is_some() && index.is_multiple_of(every);
        let expected: Vec<_> = here
            .enumerate()
            .filter(|(index, job)| !is_spoiled(*index) && job.is_for(tenant))
            .map(|(_, job)| json!({"id": job.id, "metadata": job.metadata()}))
            .collect();
        assert_eq!((&page["items"], &page["after"]), (&json!(expected), &Value::Null));
    }

    /// Whatever happened, every record is there and names its owner.
    fn check_records(&self) {
        for job in &self.jobs {
            let stored = self.world.sandbox.job(&job.id).unwrap().metadata.unwrap();
            let json: Value = serde_json::from_str(&stored).unwrap();
            let owner = job.owner.map_or(Value::Null, |owner| json!(TENANTS[owner]));
            assert_eq!(json["_gateway"]["owner"], owner, "{stored}");
            assert!(stored.contains(&job.metadata()), "{stored}");
        }
    }
}

#[test]
fn whatever_move_does_to_metadata_nobody_reads_anothers_and_no_owner_loses_its_own() {
    let mut runner =
        TestRunner::new(Config { cases: RUNS, failure_persistence: None, ..Config::default() });
    let histories = prop::collection::vec(step(), STEPS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runner.run(&histories, |steps| {
        runtime.block_on(async {
            let mut history = History::begin().await;
            for step in steps {
                history.take(step).await;
            }
            history.check_records();
        });
        Ok(())
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
}
