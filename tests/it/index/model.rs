//! Random histories of an account and of a gateway with an index, beside what Move has: no listing differs, ever.

use std::collections::HashSet;
use std::time::Duration;

use jobs_gateway::sandbox::{Fault, Job, Sandbox, SandboxOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{add, by_index, page, until_indexed, walk};
use crate::support::{Setup, World};

/// Something that happens, to or beside a gateway with an index.
#[derive(Debug, Clone)]
enum Event {
    Create { tenant: usize },
    Outside { tenant: usize, count: usize },
    Rename { which: usize, outside: bool },
    Delete { which: usize },
    Pass { milliseconds: u64 },
    Fill,
    Fail { field: &'static str },
    Restart { damaged: bool, elsewhere: bool },
    List { tenant: usize, first: usize, ascending: bool, whole: bool },
}

const TENANTS: [&str; 2] = ["acme", "globex"];

fn event() -> impl Strategy<Value = Event> {
    let tenant = 0..TENANTS.len();
    prop_oneof![
        2 => tenant.clone().prop_map(|tenant| Event::Create { tenant }),
        2 => (tenant.clone(), 1..40_usize)
            .prop_map(|(tenant, count)| Event::Outside { tenant, count }),
        1 => (any::<usize>(), any::<bool>())
            .prop_map(|(which, outside)| Event::Rename { which, outside }),
        1 => any::<usize>().prop_map(|which| Event::Delete { which }),
        4 => (0..4_000_u64).prop_map(|milliseconds| Event::Pass { milliseconds }),
        2 => Just(Event::Fill),
        1 => prop_oneof![Just("listJobs"), Just("getJob")].prop_map(|field| Event::Fail { field }),
        1 => (prop::bool::weighted(0.3), prop::bool::weighted(0.3))
            .prop_map(|(damaged, elsewhere)| Event::Restart { damaged, elsewhere }),
        8 => (tenant, 20..60_usize, any::<bool>(), any::<bool>()).prop_map(
            |(tenant, first, ascending, whole)| Event::List { tenant, first, ascending, whole }
        ),
    ]
}

/// A gateway whose index is in every state that it can be in, one after another.
struct History {
    world: Option<World>,
    /// The account that the key leads to, and another one.
    sandbox: Sandbox,
    other: Sandbox,
    /// The ids of the jobs of the other one.
    elsewhere: HashSet<String>,
    /// The variables of their keys.
    keys: [&'static str; 2],
    config: String,
    folder: tempfile::TempDir,
    /// The number of listings that came from the index.
    answered: f64,
}

impl History {
    async fn begin() -> Self {
        let api_keys = ["sandbox-move-key", "other-move-key"].map(str::to_owned).to_vec();
        let options = SandboxOptions { api_keys, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let other = sandbox.account("other-move-key").unwrap();
        let mut elsewhere = HashSet::new();
        for age in 0..250 {
            add(&sandbox, TENANTS[usize::from(age % 10 != 3)], age + 20);
            elsewhere.insert(add(&other, TENANTS[usize::from(age % 10 != 5)], age + 30));
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("index.redb").display().to_string();
        let config =
            format!("index: {{ file: {file}, calls: 2/s }}\ncursor_key: '${{CURSOR_KEY}}'\n");
        let keys = ["MOVE_API_KEY", "OTHER_MOVE_API_KEY"];
        let (world, answered) = (None, 0.0);
        let mut history = Self { world, sandbox, other, elsewhere, keys, config, folder, answered };
        history.start().await;
        history
    }

    async fn start(&mut self) {
        let key = self.keys[0];
        let upstream = format!(
            "upstream: {{ url: '${{MOVE_API_URL}}', api_key: '${{{key}}}', retries: {{ max: 0 }} }}\n"
        );
        let setup = Setup::new().config(format!("{upstream}{}", self.config));
        self.world = Some(setup.over(self.sandbox.clone()).await);
    }

    fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    /// The jobs of the account, oldest first.
    fn jobs(&self) -> Vec<Job> {
        let mut jobs = self.sandbox.jobs();
        jobs.retain(|job| !self.elsewhere.contains(&job.id));
        jobs
    }

    /// A tenant's jobs as Move has them, newest first.
    fn own(&self, tenant: usize) -> Vec<Value> {
        let mark = format!(r#""owner":"{}""#, TENANTS[tenant]);
        let jobs = self.jobs().into_iter().rev();
        let own = jobs.filter(|job| job.metadata.as_ref().is_some_and(|own| own.contains(&mark)));
        own.map(|job| json!({"id": job.id, "name": job.name})).collect()
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Create { tenant } => drop(self.world().create(TENANTS[tenant], "{}").await),
            Event::Outside { tenant, count } => {
                for _ in 0..count {
                    add(&self.sandbox, TENANTS[tenant], 0);
                }
                // A page is given for two seconds.
                self.world().pass(Duration::from_secs(2)).await;
            }
            Event::Rename { which, outside } => self.rename(which, outside).await,
            Event::Delete { which } => {
                let jobs = self.jobs();
                self.sandbox.remove_job(&jobs[which % jobs.len()].id);
                self.world().pass(Duration::from_secs(2)).await;
            }
            Event::Pass { milliseconds } => {
                self.world().pass(Duration::from_millis(milliseconds)).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Event::Fill => {
                self.sandbox.clear_faults();
                until_indexed(self.world(), TENANTS[0]).await;
            }
            Event::Fail { field } => self.sandbox.fail_next(Some(field), Fault::html(500)),
            Event::Restart { damaged, elsewhere } => self.restart(damaged, elsewhere).await,
            Event::List { tenant, first, ascending, whole } => {
                self.sandbox.clear_faults();
                self.list(tenant, first, ascending, whole).await;
            }
        }
    }

    async fn rename(&self, which: usize, outside: bool) {
        self.sandbox.clear_faults();
        let own = self.own(0);
        let id = own[which % own.len()]["id"].as_str().unwrap();
        let name = format!("name {which}");
        if outside {
            self.sandbox.rename_job(id, &name);
            self.world().pass(Duration::from_secs(2)).await;
        } else {
            let query =
                "mutation($id: String!, $n: String) { updateJob(id: $id, name: $n) { id } }";
            let variables = json!({"id": id, "n": name});
            self.world().ask("acme", query, variables).await.data("/updateJob/id");
        }
    }

    /// Stops the gateway, and counts its listings that came from the index.
    async fn stop(&mut self) {
        self.answered += by_index(self.world()).await;
        self.world = None;
        tokio::task::yield_now().await;
    }

    async fn restart(&mut self, damaged: bool, elsewhere: bool) {
        self.stop().await;
        let file = self.folder.path().join("index.redb");
        if damaged && let Ok(bytes) = std::fs::read(&file) {
            std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        }
        if elsewhere {
            self.elsewhere = self.jobs().into_iter().map(|job| job.id).collect();
            std::mem::swap(&mut self.sandbox, &mut self.other);
            self.keys.swap(0, 1);
        }
        self.start().await;
    }

    async fn list(&self, tenant: usize, first: usize, ascending: bool, whole: bool) {
        let mut own = self.own(tenant);
        let order = if ascending { "ASC" } else { "DESC" };
        if ascending {
            own.reverse();
        }
        let variables = json!({"first": first, "order": order});
        if whole {
            assert_eq!(walk(self.world(), TENANTS[tenant], variables).await, own);
            return;
        }
        let page = page(self.world(), TENANTS[tenant], &variables).await;
        // Sifted pages do not tell that the last of the tenant's jobs is the last: an empty one follows.
        if own.len() != first {
            assert_eq!(page["after"].is_null(), own.len() < first, "{page}");
        }
        own.truncate(first);
        assert_eq!(page["items"], json!(own));
    }
}

#[test]
fn listings_are_those_of_move_whatever_state_the_index_is_in() {
    let config = Config { cases: 5, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answered = std::cell::Cell::new(0.0);
    let result = TestRunner::new(config).run(&prop::collection::vec(event(), 30), |events| {
        runtime.block_on(async {
            let mut history = History::begin().await;
            for event in events {
                history.take(event).await;
            }
            history.stop().await;
            answered.set(answered.get() + history.answered);
        });
        Ok(())
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
    assert!(answered.get() > 10.0, "some listings came from the index");
}
