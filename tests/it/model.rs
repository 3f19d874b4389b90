//! Random operations by three tenants, beside a plain model: no difference, ever.

use std::collections::HashMap;

use jobs_gateway::sandbox::Job;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::World;

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// The number of operations that are made in all, and of runs, each with a gateway of its own.
const OPERATIONS: usize = 10_000;
const RUNS: u32 = 20;

#[derive(Debug, Clone)]
enum Operation {
    Create {
        tenant: usize,
        metadata: usize,
    },
    Get {
        tenant: usize,
        job: usize,
    },
    Update {
        tenant: usize,
        job: usize,
        metadata: Option<usize>,
        name: Option<u8>,
    },
    List {
        tenant: usize,
        first: usize,
        ascending: bool,
    },
    /// Somebody creates a job in Move directly.
    Outside {
        metadata: usize,
    },
}

const METADATA: [&str; 9] = [
    "{}",
    "null",
    r#"{"b":1, "a" : 2,"a":3}"#,
    "12345678901234567890123",
    r#""text""#,
    r#"{"_gateway":{"v":1,"owner":"globex","by":"x"}}"#,
    r#"{"acme":1,"_gateway":{"v":2}}"#,
    "[1,[2,[3]]]",
    r#"{"k":"\u0000\"\\"}"#,
];

fn operation() -> impl Strategy<Value = Operation> {
    let tenant = 0..TENANTS.len();
    let metadata = 0..METADATA.len();
    prop_oneof![
        2 => (tenant.clone(), metadata.clone())
            .prop_map(|(tenant, metadata)| Operation::Create { tenant, metadata }),
        5 => (tenant.clone(), any::<prop::sample::Index>())
            .prop_map(|(tenant, job)| Operation::Get { tenant, job: job.index(1 << 20) }),
        3 => (
            tenant.clone(),
            any::<prop::sample::Index>(),
            prop::option::of(metadata.clone()),
            prop::option::of(any::<u8>()),
        )
            .prop_map(|(tenant, job, metadata, name)| Operation::Update {
                tenant,
                job: job.index(1 << 20),
                metadata,
                name,
            }),
        1 => (tenant, 1..12_usize, any::<bool>())
            .prop_map(|(tenant, first, ascending)| Operation::List { tenant, first, ascending }),
        1 => metadata.prop_map(|metadata| Operation::Outside { metadata }),
    ]
}

/// A job as the model knows it.
#[derive(Debug, Clone)]
struct Known {
    id: String,
    owner: Option<usize>,
    metadata: &'static str,
    name: Option<String>,
}

#[derive(Default)]
struct Model {
    jobs: Vec<Known>,
    by_id: HashMap<String, usize>,
}

impl Model {
    fn add(&mut self, id: String, owner: Option<usize>, metadata: &'static str) {
        self.by_id.insert(id.clone(), self.jobs.len());
        self.jobs.push(Known { id, owner, metadata, name: None });
    }

    /// A job to aim at: one that exists, or now and then one that does not.
    fn aim(&self, job: usize) -> String {
        match self.jobs.get(job % (self.jobs.len() + 1)) {
            Some(known) => known.id.clone(),
            None => "job-00000000-0000-4000-8000-000000000000".to_owned(),
        }
    }

    /// The code that a job which is not the tenant's answers with: whose a job is that carries a record
    /// nobody can read, is not known.
    fn refusal(&self, id: &str) -> &'static str {
        let known = self.by_id.get(id).and_then(|at| self.jobs.get(*at));
        let is_unknown =
            known.is_some_and(|known| known.owner.is_none() && known.metadata.contains("_gateway"));
        if is_unknown { "UPSTREAM_ERROR" } else { "NOT_FOUND" }
    }

    /// The job, if it is the tenant's.
    fn own(&mut self, tenant: usize, id: &str) -> Option<&mut Known> {
        let at = *self.by_id.get(id)?;
        self.jobs.get_mut(at).filter(|known| known.owner == Some(tenant))
    }
}

fn shown(known: &Known) -> Value {
    json!({"id": known.id, "metadata": known.metadata, "name": known.name})
}

async fn step(world: &World, model: &mut Model, operation: Operation) {
    match operation {
        Operation::Create { tenant, metadata } => {
            let id = world.create(TENANTS[tenant], METADATA[metadata]).await;
            model.add(id, Some(tenant), METADATA[metadata]);
        }
        Operation::Outside { metadata } => {
            let text = METADATA[metadata];
            let stored = (text != "null").then(|| text.to_owned());
            // Whoever can write in the Move account itself can write a record there.
            let owner = text.starts_with(r#"{"_gateway":{"v":1,"owner":"globex""#).then_some(1);
            if owner.is_none() {
                let job = Job { metadata: stored, ..Job::new(world.sandbox.now()) };
                model.add(job.id.clone(), None, text);
                world.sandbox.add_job(job);
            }
        }
        Operation::Get { tenant, job } => {
            let id = model.aim(job);
            let reply = world.get(TENANTS[tenant], &id, "id metadata name").await;
            match model.own(tenant, &id) {
                Some(known) => assert_eq!(reply.data("/getJob"), shown(known)),
                None => assert_eq!(reply.code(), model.refusal(&id)),
            }
        }
        Operation::Update { tenant, job, metadata, name } => {
            let id = model.aim(job);
            let query = "mutation($id: String!, $metadata: AWSJSON, $name: String) {
                updateJob(id: $id, metadata: $metadata, name: $name) { id metadata name } }";
            let (metadata, name) =
                (metadata.map(|at| METADATA[at]), name.map(|name| format!("name {name}")));
            let variables = json!({"id": id, "metadata": metadata, "name": name});
            let reply = world.ask(TENANTS[tenant], query, variables).await;
            match model.own(tenant, &id) {
                Some(known) => {
                    known.metadata = metadata.unwrap_or(known.metadata);
                    known.name = name.or(known.name.take());
                    assert_eq!(reply.data("/updateJob"), shown(known));
                }
                None => assert_eq!(reply.code(), model.refusal(&id)),
            }
        }
        Operation::List { tenant, first, ascending } => {
            let query = "query($first: Int, $order: SortDirection) {
                listJobs(first: $first, sortDirection: $order) { after items { id metadata name } } }";
            let order = if ascending { "ASC" } else { "DESC" };
            let variables = json!({"first": first, "order": order});
            let page = world.ask(TENANTS[tenant], query, variables).await.data("/listJobs");
            let mut own: Vec<_> =
                model.jobs.iter().filter(|known| known.owner == Some(tenant)).map(shown).collect();
            if !ascending {
                own.reverse();
            }
            let has_more = own.len() > first;
            own.truncate(first);
            let items = page["items"].as_array().unwrap();
            // Behind many foreign jobs a page may be cut short; what it holds is right all the same.
            if page["after"].is_null() {
                assert!(!has_more);
                assert_eq!(items, &own);
            } else {
                assert!(own.starts_with(items), "{items:?} {own:?}");
            }
        }
    }
}

#[test]
fn ten_thousand_random_operations_of_three_tenants_never_differ_from_the_model() {
    let mut runner =
        TestRunner::new(Config { cases: RUNS, failure_persistence: None, ..Config::default() });
    let operations = prop::collection::vec(operation(), OPERATIONS / RUNS as usize);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runner.run(&operations, |operations| {
        runtime.block_on(async {
            let world = World::start().await;
            let mut model = Model::default();
            for operation in operations {
                step(&world, &mut model, operation).await;
            }
        });
        Ok(())
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
}
