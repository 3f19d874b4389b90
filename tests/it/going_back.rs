//! Whoever was told of a job is never told afterwards what it was before; and what was asked under
//! other rules is nobody's answer.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use jobs_gateway::sandbox::{Fault, Job, Sandbox, State};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::replicas::two_replicas;
use crate::support::redis::Redis;
use crate::support::{Reply, Setup, World};

const CACHED: &str = "operations: [\"*\"]\ncache: { get_job: { unfinished: 60s } }\n";

async fn world() -> World {
    Setup::new().tenant("acme", CACHED).start().await
}

async fn state(world: &World, id: &str, selection: &str) -> Value {
    world.get("acme", id, selection).await.json()["data"]["getJob"]["state"].clone()
}

fn x_cache(reply: &Reply) -> &str {
    reply.headers["x-cache"].to_str().unwrap()
}

#[tokio::test]
async fn an_answer_that_is_stored_whole_is_not_given_once_the_job_was_read_again() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Running);
    for _ in 0..2 {
        assert_eq!(state(&world, &id, "id state").await, "RUNNING");
    }
    world.sandbox.set_state(&id, State::Finished);
    assert_eq!(state(&world, &id, "id state outputs { format }").await, "FINISHED");
    let again = world.get("acme", &id, "id state").await;
    assert_eq!((x_cache(&again), again.data("/getJob/state")), ("HIT", json!("FINISHED")));
    let again = world.get("acme", &id, "id state").await;
    assert_eq!((x_cache(&again), again.data("/getJob/state")), ("HIT", json!("FINISHED")));
    assert_eq!(world.sandbox.count("getJob"), 2);
}

#[tokio::test]
async fn a_read_that_came_with_errors_makes_older_ones_void_too() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Running);
    assert_eq!(state(&world, &id, "id state").await, "RUNNING");
    world.sandbox.set_state(&id, State::Finished);
    let partial = Fault::edit(|answer| {
        answer["errors"] = json!([{"path": ["getJob", "name"], "message": "no name today"}]);
    });
    world.sandbox.fail_next(Some("getJob"), partial);
    assert_eq!(state(&world, &id, "id state name").await, "FINISHED");
    assert_eq!(state(&world, &id, "id state").await, "FINISHED");
}

#[tokio::test]
async fn a_read_that_ends_late_neither_comes_back_nor_leaves_what_may_be_older() {
    let world = world().await;
    // Read early and told late; read late.
    for slow in
        [Fault::SlowBody(Duration::from_millis(300)), Fault::Delay(Duration::from_millis(300))]
    {
        let id = world.create("acme", "{}").await;
        world.sandbox.set_state(&id, State::Running);
        world.sandbox.clear_calls();
        world.sandbox.fail_next(Some("getJob"), slow.clone());
        let late = world.get("acme", &id, "state");
        let meanwhile = async {
            while world.sandbox.count("getJob") == 0 {
                tokio::task::yield_now().await;
            }
            let newer = state(&world, &id, "state name").await;
            world.sandbox.set_state(&id, State::Finished);
            newer
        };
        let (late, newer) = tokio::join!(late, meanwhile);
        let told = [newer, late.data("/getJob/state")];
        let next = state(&world, &id, "state").await;
        assert!(!told.contains(&json!("FINISHED")) || next == "FINISHED", "{slow:?}: {told:?}");
        assert_eq!(state(&world, &id, "state name").await, next, "{slow:?}");
    }
}

#[tokio::test]
async fn a_fetch_under_old_rules_is_neither_joined_nor_kept_under_new_ones() {
    let policy = |unclaimed: &str, portal: &str| {
        format!(
            "operations: [\"*\"]\ncache: {{ get_job: {{ unfinished: 60s }} }}\n\
             metadata: {{ unclaimed_jobs: {unclaimed} }}\nclient: {{ portal: 'https://{portal}.test/' }}\n"
        )
    };
    let world = Setup::new().tenant("acme", policy("read", "old")).start().await;
    let hidden = Job { metadata: Some("{}".to_owned()), ..Job::new(world.sandbox.now()) };
    let ids = [hidden.id.clone(), world.create("acme", "{}").await];
    world.sandbox.add_job(hidden);
    for _ in &ids {
        let slow = Fault::Delay(Duration::from_secs(8));
        world.sandbox.fail_next(Some("getJob"), slow);
    }
    world.sandbox.clear_calls();
    let asked = join_all(ids.iter().map(|id| world.get("acme", id, "id client { portal }")));
    let meanwhile = async {
        while world.sandbox.count("getJob") < 2 {
            tokio::task::yield_now().await;
        }
        world.write_policy("acme", &policy("hide", "new"));
        let about = json!({"query": "{ __typename }"});
        let before = world.metric("jobs_gateway_policy_reloads_total{outcome=\"ok\"").await;
        let reloaded =
            async || world.metric("jobs_gateway_policy_reloads_total{outcome=\"ok\"").await;
        while reloaded().await == before {
            world.post("acme", &about).await.data("/__typename");
        }
        check_new_rules(&world, &ids).await;
        world.pass(Duration::from_secs(9)).await;
    };
    let (asked, ()) = tokio::join!(asked, meanwhile);
    assert_eq!(asked[1].data("/getJob/client/portal"), "https://old.test/");
    check_new_rules(&world, &ids).await;
}

async fn check_new_rules(world: &World, [hidden, own]: &[String; 2]) {
    for selection in ["id client { portal }", "client { portal } id"] {
        assert_eq!(world.get("acme", hidden, selection).await.code(), "NOT_FOUND");
        let own = world.get("acme", own, selection).await;
        assert_eq!(own.data("/getJob/client/portal"), "https://new.test/");
        assert_ne!(x_cache(&own), "COALESCED");
    }
}

#[tokio::test]
async fn what_one_replica_told_no_other_takes_back() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis).await;
    for (world, other) in [(&one, &two), (&two, &one)] {
        let id = one.create("acme", "{}").await;
        one.sandbox.set_state(&id, State::Finished);
        for world in [world, other] {
            assert_eq!(state(world, &id, "id state").await, "FINISHED");
        }
        // What is finished is fresh for ten minutes, and yet a read of something else tells of more.
        one.sandbox.set_state(&id, State::Failed);
        let selection =
            if other.address == two.address { "id state name" } else { "state created" };
        assert_eq!(state(other, &id, selection).await, "FAILED");
        assert_eq!(state(world, &id, "id state").await, "FAILED");
    }
}

#[tokio::test]
async fn what_a_listing_told_at_one_replica_no_other_takes_back() {
    let redis = Redis::start();
    let (one, two) = two_replicas(&redis).await;
    let listed = async |world: &World, id: &str| {
        let query = "{ listJobs(first: 10) { items { id state name } } }";
        let items = world.ask("acme", query, json!({})).await.data("/listJobs/items");
        let items = items.as_array().unwrap().iter();
        items.clone().find(|item| item["id"] == id).unwrap()["state"].clone()
    };
    for (world, other) in [(&one, &two), (&two, &one)] {
        let id = one.create("acme", "{}").await;
        one.sandbox.set_state(&id, State::Running);
        assert_eq!(state(world, &id, "id state").await, "RUNNING");
        assert_eq!(listed(world, &id).await, "RUNNING");
        one.sandbox.set_state(&id, State::Finished);
        // Not because it is time to ask again.
        assert_eq!(listed(other, &id).await, "FINISHED");
        assert_eq!(listed(world, &id).await, "FINISHED");
        assert_eq!(state(world, &id, "id state").await, "FINISHED");
        // What was told is not relayed again.
        one.sandbox.clear_calls();
        for world in [&one, &two] {
            listed(world, &id).await;
            listed(world, &id).await;
        }
        assert!(one.sandbox.count("listJobs") <= 2, "{}", one.sandbox.count("listJobs"));
    }
}

/// A step that may happen to a job whose name is a number that grows.
#[derive(Debug, Clone)]
enum Step {
    Change,
    Read {
        replica: usize,
        document: usize,
    },
    /// A read that goes on while others are made.
    Slow {
        replica: usize,
        document: usize,
        fault: usize,
    },
    Pass(u64),
    /// Those that go on end.
    Settle,
}

/// The fields that are read, of the job alone and of it in a listing.
const DOCUMENTS: [(&str, &str); 6] = [
    ("getJob", "name"),
    ("getJob", "name state"),
    ("getJob", "created name"),
    ("getJob", "name outputs { format }"),
    ("listJobs", "name state"),
    ("listJobs", "created name"),
];

fn step(replicas: usize) -> impl Strategy<Value = Step> {
    let replica = || 0..replicas;
    let document = || 0..DOCUMENTS.len();
    prop_oneof![
        3 => Just(Step::Change),
        6 => (replica(), document()).prop_map(|(replica, document)| Step::Read { replica, document }),
        3 => (replica(), document(), 0..3_usize)
            .prop_map(|(replica, document, fault)| Step::Slow { replica, document, fault }),
        1 => (1..3_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Settle),
    ]
}

/// A job, and the newest name of it that anybody was told.
struct History<'a> {
    worlds: &'a [World],
    id: &'a str,
    told: Mutex<Told>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// By a read of the job alone. A listing may be ahead of those.
    alone: u64,
    /// By anything.
    newest: u64,
}

impl History<'_> {
    fn sandbox(&self) -> &Sandbox {
        &self.worlds[0].sandbox
    }

    fn change(&self) {
        let job = self.sandbox().job(self.id).unwrap();
        let name: u64 = job.name.as_ref().map_or(0, |name| name.parse().unwrap());
        self.sandbox().add_job(Job { name: Some((name + 1).to_string()), ..job });
    }

    /// Reads the name: it is no older than what was told before this began.
    async fn read(&self, replica: usize, document: usize) {
        let told = *self.told.lock().unwrap();
        let (world, (field, selection)) = (&self.worlds[replica], DOCUMENTS[document]);
        let reply = if field == "getJob" {
            world.get("acme", self.id, selection).await
        } else {
            let query = format!("{{ listJobs(first: 10) {{ items {{ id {selection} }} }} }}");
            world.ask("acme", &query, json!({})).await
        };
        let data = &reply.json()["data"];
        let listed = data["listJobs"]["items"].as_array();
        let listed = listed.and_then(|items| items.iter().find(|item| item["id"] == self.id));
        let job = listed.unwrap_or(&data["getJob"]);
        let name: u64 = job["name"].as_str().unwrap_or("0").parse().unwrap();
        let is_alone = field == "getJob";
        let floor = if is_alone { told.alone } else { told.newest };
        assert!(name >= floor, "{field} {name} after {floor}: {reply:?}");
        let mut told = self.told.lock().unwrap();
        told.newest = told.newest.max(name);
        if is_alone {
            told.alone = told.alone.max(name);
        }
    }

    async fn run(&self, steps: &[Step]) {
        let mut slow = Vec::new();
        for step in steps {
            match step {
                Step::Change => self.change(),
                Step::Read { replica, document } => self.read(*replica, *document).await,
                Step::Slow { replica, document, fault } => {
                    let (field, _) = DOCUMENTS[*document];
                    let faults = [
                        Fault::Delay(Duration::from_millis(40)),
                        Fault::SlowBody(Duration::from_millis(40)),
                        Fault::edit(move |answer| {
                            let of_job = json!(["getJob", "name"]);
                            let of_item = json!(["listJobs", "items", 0, "name"]);
                            let path = if field == "getJob" { of_job } else { of_item };
                            answer["errors"] = json!([{"path": path, "message": "not quite"}]);
                        }),
                    ];
                    self.sandbox().fail_next(Some(field), faults[*fault].clone());
                    let mut read = Box::pin(self.read(*replica, *document));
                    // It is on its way when the next step is taken.
                    let waiting = tokio::time::timeout(Duration::from_millis(15), &mut read);
                    if waiting.await.is_err() {
                        slow.push(read);
                    }
                }
                Step::Pass(milliseconds) => {
                    self.worlds[0].pass(Duration::from_millis(*milliseconds)).await;
                }
                Step::Settle => {
                    join_all(slow.drain(..)).await;
                }
            }
        }
        join_all(slow).await;
        self.sandbox().clear_faults();
    }
}

async fn run(worlds: &[World], steps: &[Step]) {
    let id = worlds[0].create("acme", "{}").await;
    let history = History { worlds, id: &id, told: Mutex::default() };
    history.run(steps).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_in_whatever_order_nobody_sees_a_job_go_back(steps in vec(step(1), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            run(&[world().await], &steps).await;
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nor_where_two_replicas_share_a_redis(steps in vec(step(2), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let redis = Redis::start();
            let (one, two) = two_replicas(&redis).await;
            let worlds = [one, two];
            let errors = async || worlds[0].metric("jobs_gateway_shared_state_errors_total").await;
            let before = errors().await;
            let ran = std::panic::AssertUnwindSafe(run(&worlds, &steps)).catch_unwind().await;
            // While Redis is in trouble each goes on alone: this machine may be too busy for it.
            if errors().await == before && let Err(broken) = ran {
                std::panic::resume_unwind(broken);
            }
        });
    }
}
