//! Filters of `listJobs` and `totalCount`: what Move's API lacks, from the index of jobs.

use std::time::{Duration, Instant};

use jiff::ToSpan;
use jobs_gateway::sandbox::{Fault, Job, State};
use serde_json::{Value, json};

use crate::index::{INDEXED, add, fill, until_indexed};
use crate::support::redis::Redis;
use crate::support::{ALL, Setup, World, send};

pub const LIST: &str =
    "query($first: Int, $after: AWSJSON, $order: SortDirection, $filter: JobFilter) {
    listJobs(first: $first, after: $after, sortDirection: $order, filter: $filter) {
        after totalCount items { id name state metadata } } }";

/// Two tenants whose jobs are remembered: those that run for so long.
pub fn remembering(unfinished: &str) -> Setup {
    let policy = format!("{ALL}cache: {{ get_job: {{ unfinished: {unfinished} }} }}\n");
    Setup::new().tenants(["acme", "globex"].map(|name| (name, policy.clone())))
}

const NAME: &str =
    "mutation($id: String!, $name: String) { updateJob(id: $id, name: $name) { id } }";

pub fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn filtered(world: &World, tenant: &str, filter: Value) -> (Vec<String>, Value) {
    let variables = json!({"first": 100, "filter": filter});
    let page = world.ask(tenant, LIST, variables).await.data("/listJobs");
    assert_eq!(page["after"], Value::Null, "{page}");
    (ids(&page), page["totalCount"].clone())
}

/// Adds a finished job of acme's.
fn add_job(world: &World, age: i64, name: &str, metadata: &str) -> String {
    let metadata = format!(r#"{{"acme":{metadata},"_gateway":{{"v":1,"owner":"acme","by":"k"}}}}"#);
    let (metadata, name) = (Some(metadata), Some(name.to_owned()));
    let created = world.sandbox.now() - age.minutes();
    let job = Job { metadata, name, pinned: Some(State::Finished), ..Job::new(created) };
    let id = job.id.clone();
    world.sandbox.add_job(job);
    id
}

#[tokio::test]
async fn a_filter_leaves_the_jobs_that_have_all_of_it_and_move_never_hears_of_it() {
    let world = Setup::new().config(INDEXED).start().await;
    fill(&world.sandbox);
    let walk = add_job(&world, 1_500, "walk 1", r#"{"shot": {"n": 12, "take": "a"}}"#);
    let run = add_job(&world, 1_600, "run", r#"{"shot": {"take": "a", "n": 12}, "x": 1}"#);
    let other = add_job(&world, 1_700, "Walk", r#"{"shot": {"n": 12.0, "take": "a"}}"#);
    let list = add_job(&world, 1_800, "walk 2", "[1]");
    until_indexed(&world, "acme").await;

    let shot = json!({"key": "shot", "equals": "{\"n\": 12, \"take\": \"\\u0061\"}"});
    let ago = |minutes: i64| (world.sandbox.now() - minutes.minutes()).to_string();
    for (filter, expected) in [
        (json!({"namePrefix": "walk"}), vec![&walk, &list]),
        (json!({"metadata": shot}), vec![&walk, &run]),
        (json!({"metadata": shot, "namePrefix": "r"}), vec![&run]),
        (json!({"metadata": {"key": "_gateway", "equals": "1"}}), vec![]),
        (json!({"metadata": {"key": "x", "equals": "1"}, "state": "FINISHED"}), vec![&run]),
        (json!({"metadata": {"key": "x", "equals": "\"1\""}}), vec![]),
        (json!({"createdBefore": ago(1_550), "createdAfter": ago(1_750)}), vec![&run, &other]),
        (json!({"createdBefore": ago(1_650), "namePrefix": "W"}), vec![&other]),
        (json!({"state": ["RUNNING"], "createdBefore": ago(1_400)}), vec![]),
    ] {
        let (found, count) = filtered(&world, "acme", filter.clone()).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter}");
        assert_eq!(count, json!(expected.len()), "{filter}");
        assert_eq!(filtered(&world, "globex", json!({"namePrefix": "walk"})).await.1, json!(0));
    }
    assert_eq!(filtered(&world, "acme", json!({})).await.1, json!(14));
    for call in world.sandbox.calls() {
        assert!(call.variables.get("filter").is_none(), "{call:?}");
    }
}

#[tokio::test]
async fn what_the_index_has_of_finished_jobs_is_not_asked_for_and_what_is_written_is_never_stale() {
    let world = remembering("2s").config(INDEXED).start().await;
    fill(&world.sandbox);
    let own: Vec<_> = (0..30).map(|age| add_job(&world, age + 1, "walk", "{}")).collect();
    until_indexed(&world, "acme").await;
    let walks = async |world: &World| filtered(world, "acme", json!({"namePrefix": "walk"})).await;
    assert_eq!(walks(&world).await, (own.clone(), json!(30)));
    let calls: Vec<_> = world.sandbox.calls().into_iter().map(|call| call.field).collect();
    assert!(!calls.iter().any(|field| field == "getJob"), "{calls:?}");

    let rename = |id: &str, name: &str| json!({"id": id, "name": name});
    world.ask("acme", NAME, rename(&own[3], "run")).await.data("/updateJob/id");
    world.ask("acme", NAME, rename(&own[4], "walk again")).await.data("/updateJob/id");
    let mut expected = own.clone();
    expected.remove(3);
    assert_eq!(walks(&world).await, (expected.clone(), json!(29)));
    let (found, count) = filtered(&world, "acme", json!({"namePrefix": "walk again"})).await;
    assert_eq!((found, count), (vec![own[4].clone()], json!(1)));
    // The answer got lost: nobody knows what became of it, and it is looked at.
    world.sandbox.fail_next(Some("updateJob"), Fault::LoseAnswer);
    world.ask("acme", NAME, rename(&own[5], "run")).await;
    expected.retain(|id| *id != own[5]);
    assert_eq!(walks(&world).await, (expected, json!(28)));
}

#[tokio::test]
async fn a_job_that_was_running_is_found_by_its_state_of_now_and_those_that_ended_stay_so() {
    let world = remembering("30s").config(INDEXED).start().await;
    fill(&world.sandbox);
    let own: Vec<_> = (0..60).map(|age| add_job(&world, age + 2_000, "walk", "{}")).collect();
    for id in &own[..30] {
        world.sandbox.set_state(id, State::Running);
    }
    until_indexed(&world, "acme").await;
    let of = |state: &str| json!({"state": [state], "namePrefix": "walk"});
    assert_eq!(filtered(&world, "acme", of("RUNNING")).await, (own[..30].to_vec(), json!(30)));
    for id in &own[..10] {
        world.sandbox.set_state(id, State::Failed);
    }
    world.pass(std::time::Duration::from_secs(31)).await;
    assert_eq!(filtered(&world, "acme", of("FAILED")).await, (own[..10].to_vec(), json!(10)));
    assert_eq!(filtered(&world, "acme", of("FINISHED")).await, (own[30..].to_vec(), json!(30)));
    world.pass(std::time::Duration::from_secs(31)).await;
    world.sandbox.clear_calls();
    assert_eq!(filtered(&world, "acme", of("FAILED")).await, (own[..10].to_vec(), json!(10)));
    let asked = world.sandbox.count("getJob");
    assert!(asked <= 2, "only the 20 that run are asked for: {asked} calls");
}

#[tokio::test]
async fn a_write_at_one_replica_is_in_the_filters_of_the_other() {
    let redis = Redis::start();
    let config =
        format!("{}{INDEXED}", redis.config()).replace("cursor_key: '${CURSOR_KEY}'\n", "");
    let (one, two) = Setup::new().config(config).start_two().await;
    fill(&one.sandbox);
    let own = add_job(&one, 3_000, "walk", "{}");
    until_indexed(&one, "acme").await;
    until_indexed(&two, "acme").await;
    for n in 0..5 {
        let (writer, reader) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let name = format!("number {n}");
        let update = json!({"id": own, "name": name});
        writer.ask("acme", NAME, update).await.data("/updateJob/id");
        let found = filtered(reader, "acme", json!({"namePrefix": name})).await;
        assert_eq!(found, (vec![own.clone()], json!(1)), "{name}");
        let before = json!({"namePrefix": format!("number {}", n - 1)});
        assert_eq!(filtered(reader, "acme", before).await, (vec![], json!(0)), "{name}");
    }
}

/// The names of the jobs of a listing that needs no newest page.
async fn names(world: &World) -> Vec<Value> {
    let filter = json!({"createdBefore": (world.sandbox.now() - 2_900.minutes()).to_string()});
    let variables = json!({"first": 100, "filter": filter});
    let page = world.ask("acme", LIST, variables).await.data("/listJobs");
    page["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect()
}

#[tokio::test]
async fn what_another_replica_told_is_not_taken_back_by_what_the_index_saw_before() {
    let redis = Redis::start();
    let config =
        format!("{}{INDEXED}", redis.config()).replace("cursor_key: '${CURSOR_KEY}'\n", "");
    let (one, two) = remembering("2s").config(config).start_two().await;
    fill(&one.sandbox);
    let own = add_job(&one, 3_000, "walk", "{}");
    until_indexed(&one, "acme").await;
    assert_eq!(names(&one).await, ["walk"]);
    assert_eq!(one.sandbox.count("getJob"), 0, "the index has it");

    one.sandbox.rename_job(&own, "run");
    let told =
        two.ask("acme", "query($id: ID!) { getJob(jobId: $id) { name } }", json!({"id": own}));
    assert_eq!(told.await.data("/getJob/name"), "run");
    // A replica that is slow to hear of it is not waited for.
    let give_up = Instant::now() + Duration::from_secs(20);
    while names(&one).await != ["run"] {
        assert!(Instant::now() < give_up, "it stays as it was");
    }
}

#[tokio::test]
async fn what_operators_have_forgotten_is_not_given_by_the_index_either() {
    let world = remembering("2s").config(INDEXED).start().await;
    fill(&world.sandbox);
    let own = add_job(&world, 3_000, "walk", "{}");
    until_indexed(&world, "acme").await;
    world.sandbox.rename_job(&own, "run");
    assert_eq!(names(&world).await, ["walk"], "it is fresh");
    let admin = format!("http://{}/cache/invalidate", world.admin);
    let forget = world.http.post(&admin).body(json!({"tenant": "acme"}).to_string());
    assert_eq!(send(forget).await.status, 204);
    assert_eq!(names(&world).await, ["run"]);
}

#[tokio::test]
async fn without_an_index_a_filter_is_refused_and_a_count_is_null_with_the_reason() {
    let filter = json!({"filter": {"namePrefix": "walk"}});
    let disabled = Setup::new().config("index: { enabled: false }\n").start().await;
    let own = add(&disabled.sandbox, "acme", 1);
    let refused = disabled.ask("acme", LIST, filter.clone()).await;
    assert_eq!(refused.code(), "INDEX_UNAVAILABLE");
    assert!(!refused.headers.contains_key("retry-after"), "it will not come");
    let counted = disabled.ask("acme", LIST, json!({})).await.json();
    assert_eq!(counted["errors"][0]["path"], json!(["listJobs", "totalCount"]));
    assert_eq!(counted["errors"][0]["extensions"]["code"], "INDEX_UNAVAILABLE");
    assert_eq!(
        (ids(&counted["data"]["listJobs"]), counted["errors"].as_array().unwrap().len()),
        (vec![own], 1)
    );

    let filling = Setup::new().config(INDEXED).start().await;
    fill(&filling.sandbox);
    let refused = filling.ask("acme", LIST, filter.clone()).await;
    assert_eq!(refused.code(), "INDEX_UNAVAILABLE");
    assert_eq!(refused.headers["retry-after"], "30");
    assert_eq!(filling.sandbox.count("listJobs"), 0, "nothing is sifted in vain");
    // To ask is enough for it to be filled.
    until_indexed(&filling, "acme").await;
    assert_eq!(filtered(&filling, "acme", filter["filter"].clone()).await.1, json!(0));

    let policy = format!("{ALL}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n");
    let setup = Setup::new().config(INDEXED).two_accounts().tenant("initech", policy);
    let apart = setup.start().await;
    let refused = apart.ask("initech", LIST, filter).await;
    assert_eq!(refused.code(), "INDEX_UNAVAILABLE");
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("own Move account"));
}

#[tokio::test]
async fn a_cursor_is_its_filters_and_bad_filters_say_what_would_be_right() {
    let world = Setup::new().config(INDEXED).start().await;
    let own = fill(&world.sandbox);
    until_indexed(&world, "acme").await;
    let filter = json!({"createdAfter": "2020-01-01T00:00:00Z"});
    let variables = json!({"first": 4, "filter": filter});
    let page = world.ask("acme", LIST, variables).await.data("/listJobs");
    assert_eq!((ids(&page), &page["totalCount"]), (own[..4].to_vec(), &json!(10)));
    let after = |filter: &Value| json!({"first": 100, "filter": filter, "after": page["after"]});
    let rest = world.ask("acme", LIST, after(&filter)).await.data("/listJobs");
    assert_eq!((ids(&rest), &rest["totalCount"]), (own[4..].to_vec(), &json!(10)));
    for other in [json!({}), Value::Null, json!({"createdAfter": "2020-01-02T00:00:00Z"})] {
        assert_eq!(world.ask("acme", LIST, after(&other)).await.code(), "BAD_USER_INPUT");
    }
    for bad in [
        json!({"state": []}),
        json!({"state": ["finished"]}),
        json!({"createdAfter": "yesterday"}),
        json!({"metadata": {"key": "a", "equals": "x"}}),
        json!({"name": "walk"}),
    ] {
        let refused = world.ask("acme", LIST, json!({"filter": bad})).await;
        assert_eq!(refused.code(), "BAD_USER_INPUT", "{bad}");
    }
}

#[tokio::test]
async fn a_field_that_is_hidden_cannot_be_guessed_by_a_filter() {
    let policy = format!("{ALL}hidden_fields: [Job.name, Job.metadata]\n");
    let world = Setup::new().config(INDEXED).tenant("initech", policy).start().await;
    let list = |filter: &str| format!("{{ listJobs(filter: {filter}) {{ items {{ id }} }} }}");
    for filter in ["{namePrefix: \"a\"}", "{metadata: {key: \"a\", equals: \"1\"}}"] {
        let refused = world.ask("initech", &list(filter), json!({})).await;
        assert_eq!(refused.code(), "GRAPHQL_VALIDATION_FAILED", "{filter}");
    }
    let left = world.ask("initech", &list("{state: FINISHED}"), json!({})).await;
    assert_eq!(left.code(), "GRAPHQL_VALIDATION_FAILED", "a state is a string");
    let left = world.ask("initech", &list("{state: \"FINISHED\"}"), json!({})).await;
    assert_eq!(left.code(), "INDEX_UNAVAILABLE");
}

#[tokio::test]
async fn a_listing_is_not_behind_what_another_told_whichever_fields_it_asks_for() {
    let world = remembering("10m").config(INDEXED).start().await;
    fill(&world.sandbox);
    until_indexed(&world, "acme").await;
    let id = add_job(&world, 0, "walk", "{}");
    let mut job = world.sandbox.job(&id).unwrap();
    job.pinned = Some(State::Running);
    world.sandbox.add_job(job.clone());
    // It is remembered with these fields.
    let query = format!("{{ getJob(jobId: \"{id}\") {{ state outputs {{ key }} }} }}");
    assert_eq!(world.ask("acme", &query, json!({})).await.data("/getJob/state"), "RUNNING");
    job.pinned = Some(State::Finished);
    world.sandbox.add_job(job);
    world.pass(Duration::from_secs(3)).await;
    let state = async |fields: &str| {
        let query = format!("{{ listJobs(first: 5) {{ items {{ id {fields} }} }} }}");
        let page = world.ask("acme", &query, json!({})).await.data("/listJobs");
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["id"] == id.as_str()).unwrap()["state"].clone()
    };
    for fields in ["state", "state outputs { key }", "state", "state name created"] {
        assert_eq!(state(fields).await, "FINISHED", "{fields}");
    }
}

#[tokio::test]
async fn what_the_index_saw_before_a_restart_is_not_given_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.redb").display().to_string();
    let config =
        format!("index: {{ file: {file}, calls: 1000/s }}\ncursor_key: '${{CURSOR_KEY}}'\n");
    let first = remembering("2s").config(config.clone()).start().await;
    fill(&first.sandbox);
    let own: Vec<_> = (0..9).map(|age| add_job(&first, 200 + age, "walk", "{}")).collect();
    until_indexed(&first, "acme").await;
    let sandbox = first.sandbox.clone();
    first.stop().await;
    sandbox.remove_job(&own[1]);
    sandbox.rename_job(&own[2], "run");
    let second = remembering("2s").config(config).over(sandbox).await;
    until_indexed(&second, "acme").await;
    let query = "{ listJobs(first: 100) { items { id name } } }";
    let page = second.ask("acme", query, json!({})).await.data("/listJobs");
    let name = |id: &String| {
        let items = page["items"].as_array().unwrap();
        items.iter().find(|item| item["id"] == **id).map(|item| item["name"].clone())
    };
    assert_eq!(
        [&own[0], &own[1], &own[2]].map(name),
        [Some("walk".into()), None, Some("run".into())]
    );
}
