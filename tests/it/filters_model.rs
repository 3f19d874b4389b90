//! Random jobs, edits and filters: a filtered listing is the whole listing filtered, and its count is its length.

use std::time::Duration;

use jiff::ToSpan;
use jobs_gateway::sandbox::{Job, State};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::filters::{LIST, ids, remembering};
use crate::index::{INDEXED, until_indexed};
use crate::support::World;

const TENANTS: [&str; 2] = ["acme", "globex"];
const NAMES: [Option<&str>; 4] = [None, Some("walk 1"), Some("walk 2"), Some("run")];
const STATES: [State; 5] =
    [State::NotStarted, State::Started, State::Running, State::Finished, State::Failed];
const WORDS: [&str; 5] = ["NOT_STARTED", "STARTED", "RUNNING", "FINISHED", "FAILED"];
const VALUES: [&str; 4] = ["12", "\"12\"", "{\"a\":[1,2]}", "null"];

/// A job, by places in the lists above.
#[derive(Debug, Clone, Copy)]
struct Made {
    tenant: usize,
    name: usize,
    state: usize,
    value: usize,
    age: i64,
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    Add(Made),
    /// Through the gateway.
    Name {
        which: usize,
        name: usize,
    },
    Metadata {
        which: usize,
        value: usize,
    },
    /// At Move, of a job that is not at its end.
    Move {
        which: usize,
        state: usize,
    },
    List {
        tenant: usize,
        first: usize,
        ascending: bool,
        filter: Wish,
    },
}

/// A filter, by places in the lists above.
#[derive(Debug, Clone)]
struct Wish {
    states: Option<Vec<usize>>,
    prefix: Option<&'static str>,
    value: Option<usize>,
    after: Option<i64>,
    before: Option<i64>,
}

fn made() -> impl Strategy<Value = Made> {
    (0..2_usize, 0..4_usize, 0..5_usize, 0..4_usize, 1..90_i64)
        .prop_map(|(tenant, name, state, value, age)| Made { tenant, name, state, value, age })
}

fn wish() -> impl Strategy<Value = Wish> {
    let states = proptest::option::of(proptest::collection::vec(0..5_usize, 1..3));
    let prefix =
        proptest::option::of(prop_oneof![Just("walk"), Just("walk 1"), Just("r"), Just("")]);
    let (value, age) = (proptest::option::of(0..4_usize), || proptest::option::of(0..90_i64));
    (states, prefix, value, age(), age()).prop_map(|(states, prefix, value, after, before)| Wish {
        states,
        prefix,
        value,
        after,
        before,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => made().prop_map(Event::Add),
        1 => (any::<usize>(), 1..4_usize).prop_map(|(which, name)| Event::Name { which, name }),
        1 => (any::<usize>(), 0..4_usize)
            .prop_map(|(which, value)| Event::Metadata { which, value }),
        1 => (any::<usize>(), 0..5_usize).prop_map(|(which, state)| Event::Move { which, state }),
        6 => (0..2_usize, 8..40_usize, any::<bool>(), wish()).prop_map(
            |(tenant, first, ascending, filter)| Event::List { tenant, first, ascending, filter }
        ),
    ]
}

fn add(world: &World, made: Made) {
    let owner = TENANTS[made.tenant];
    let value = VALUES[made.value];
    let metadata = format!(
        r#"{{"{owner}":{{"shot":{value}}},"_gateway":{{"v":1,"owner":"{owner}","by":"k"}}}}"#
    );
    let created = world.sandbox.now() - made.age.minutes();
    let name = NAMES[made.name].map(str::to_owned);
    let (metadata, pinned) = (Some(metadata), Some(STATES[made.state]));
    world.sandbox.add_job(Job { metadata, name, pinned, ..Job::new(created) });
}

/// A tenant's own value in a job's metadata, and the owner.
fn read(job: &Job) -> (Value, Value) {
    let stored: Value = serde_json::from_str(job.metadata.as_deref().unwrap_or("null")).unwrap();
    let owner = stored["_gateway"]["owner"].clone();
    let own = owner.as_str().map_or(Value::Null, |owner| stored[owner].clone());
    (owner, own)
}

fn of(world: &World, which: usize) -> (Job, String) {
    let jobs = world.sandbox.jobs();
    let own: Vec<_> = jobs.into_iter().filter(|job| read(job).0.is_string()).collect();
    let job = own[which % own.len()].clone();
    let owner = read(&job).0.as_str().unwrap().to_owned();
    (job, owner)
}

async fn update(world: &World, which: usize, name: Option<&str>, metadata: Option<String>) {
    let (job, owner) = of(world, which);
    let query = "mutation($id: String!, $n: String, $m: AWSJSON) {
        updateJob(id: $id, name: $n, metadata: $m) { id } }";
    let variables = json!({"id": job.id, "n": name, "m": metadata});
    world.ask(&owner, query, variables).await.data("/updateJob/id");
}

async fn take(world: &World, event: Event) {
    match event {
        Event::Add(made) => {
            // Nobody creates what is older than what there is.
            add(world, Made { age: 0, ..made });
            world.pass(Duration::from_secs(2)).await;
        }
        Event::Name { which, name } => update(world, which, NAMES[name], None).await,
        Event::Metadata { which, value } => {
            let metadata = format!("{{\"shot\":{}}}", VALUES[value]);
            update(world, which, None, Some(metadata)).await;
        }
        Event::Move { which, state } => {
            let (job, _) = of(world, which);
            if !matches!(job.pinned, Some(State::Finished | State::Failed)) {
                world.sandbox.set_state(&job.id, STATES[state]);
                world.pass(Duration::from_secs(2)).await;
            }
        }
        Event::List { tenant, first, ascending, filter } => {
            list(world, tenant, first, ascending, &filter).await;
        }
    }
}

async fn list(world: &World, tenant: usize, first: usize, ascending: bool, wish: &Wish) {
    let now = world.sandbox.now();
    let (after, before) =
        (wish.after.map(|age| now - age.minutes()), wish.before.map(|age| now - age.minutes()));
    let wanted = |job: &Job| {
        let (owner, own) = read(job);
        let value: Option<Value> = wish.value.map(|at| serde_json::from_str(VALUES[at]).unwrap());
        owner == TENANTS[tenant]
            && wish
                .prefix
                .is_none_or(|prefix| job.name.as_deref().unwrap_or_default().starts_with(prefix))
            && value.is_none_or(|value| own.get("shot") == Some(&value))
            && after.is_none_or(|after| job.created > after)
            && before.is_none_or(|before| job.created < before)
            && wish
                .states
                .as_ref()
                .is_none_or(|states| states.iter().any(|state| job.pinned == Some(STATES[*state])))
    };
    let mut jobs: Vec<_> = world.sandbox.jobs().into_iter().filter(wanted).collect();
    jobs.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
    if !ascending {
        jobs.reverse();
    }
    let expected: Vec<_> = jobs.into_iter().map(|job| job.id).collect();
    let states = wish.states.as_ref().map(|states| states.iter().map(|at| WORDS[*at]));
    let filter = json!({
        "state": states.map(Iterator::collect::<Vec<_>>),
        "namePrefix": wish.prefix,
        "metadata": wish.value.map(|at| json!({"key": "shot", "equals": VALUES[at]})),
        "createdAfter": after.map(|at| at.to_string()),
        "createdBefore": before.map(|at| at.to_string()),
    });
    let order = if ascending { "ASC" } else { "DESC" };
    let mut variables = json!({"first": first, "order": order, "filter": filter});
    let mut found = Vec::new();
    loop {
        let page = world.ask(TENANTS[tenant], LIST, variables.clone()).await.data("/listJobs");
        assert_eq!(page["totalCount"], json!(expected.len()), "{variables}");
        let items = ids(&page);
        assert!(items.len() <= first);
        found.extend(items);
        if page["after"].is_null() {
            break;
        }
        variables["after"] = page["after"].clone();
    }
    assert_eq!(found, expected, "{variables}");
}

#[test]
fn a_filtered_listing_is_the_whole_listing_filtered() {
    let config = Config { cases: 3, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let jobs = prop::collection::vec(made(), 120);
    let events = prop::collection::vec(event(), 20);
    let result = TestRunner::new(config).run(&(jobs, events), |(jobs, events)| {
        runtime.block_on(async {
            let world = remembering("2s").config(INDEXED).start().await;
            for made in jobs {
                add(&world, made);
            }
            // To ask is enough for it to be filled.
            world.ask("acme", LIST, json!({"filter": {"namePrefix": ""}})).await;
            until_indexed(&world, "acme").await;
            for event in events {
                take(&world, event).await;
            }
        });
        Ok(())
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
}
