//! Listings by the index of jobs: full pages for few calls, and never a wrong one.

mod feeds;
mod figures;
mod kinds;
mod model;
mod process;

use std::time::{Duration, Instant};

use jiff::ToSpan;
use jobs_gateway::sandbox::{Fault, Job, MULTICAM_TAKE, Sandbox, State};
use serde_json::{Value, json};

use crate::support::{Setup, World};

pub const LIST: &str = "query($first: Int, $after: AWSJSON, $order: SortDirection, $take: String) {
    listJobs(first: $first, after: $after, sortDirection: $order, takeId: $take) {
        after items { id name } } }";

pub const INDEXED: &str = "index: { calls: 1000/s }\ncursor_key: '${CURSOR_KEY}'\n";

/// Adds a job of a tenant that was created `age` minutes ago.
pub fn add(sandbox: &Sandbox, owner: &str, age: i64) -> String {
    let metadata = format!(r#"{{"{owner}":{{}},"_gateway":{{"v":1,"owner":"{owner}","by":"k"}}}}"#);
    let job = Job { metadata: Some(metadata), ..Job::new(sandbox.now() - age.minutes()) };
    let id = job.id.clone();
    sandbox.add_job(job);
    id
}

/// An account of 1,000 jobs, 10 of which are acme's; gives those, newest first.
pub fn fill(sandbox: &Sandbox) -> Vec<String> {
    let add = |age: i64| add(sandbox, if age % 100 == 50 { "acme" } else { "globex" }, age + 2);
    let ids: Vec<_> = (0..1000).map(add).collect();
    ids.into_iter().skip(50).step_by(100).collect()
}

pub fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

pub async fn page(world: &World, tenant: &str, variables: &Value) -> Value {
    world.ask(tenant, LIST, variables.clone()).await.data("/listJobs")
}

/// Pages through a whole listing.
pub async fn walk(world: &World, tenant: &str, mut variables: Value) -> Vec<Value> {
    let mut items = Vec::new();
    for _ in 0..1000 {
        let page = page(world, tenant, &variables).await;
        items.extend(page["items"].as_array().unwrap().clone());
        if page["after"].is_null() {
            return items;
        }
        variables["after"] = page["after"].clone();
    }
    panic!("the listing does not end");
}

pub async fn by_index(world: &World) -> f64 {
    world.metric("jobs_gateway_listings_total{way=\"index\"").await.unwrap_or_default()
}

/// Lists until a listing is answered by the index.
pub async fn until_indexed(world: &World, tenant: &str) {
    let before = by_index(world).await;
    let give_up = Instant::now() + Duration::from_mins(10);
    while by_index(world).await <= before {
        assert!(Instant::now() < give_up, "the index is not filled");
        page(world, tenant, &json!({"first": 50})).await;
        // What waits for its time has it sooner.
        world.pass(Duration::from_secs(2)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.pass(Duration::from_secs(3)).await;
    world.sandbox.clear_calls();
}

#[tokio::test]
async fn a_page_by_the_index_is_full_and_costs_what_it_holds_whatever_share_is_the_tenants() {
    let world = Setup::new().config(INDEXED).start().await;
    let own = fill(&world.sandbox);
    let first = page(&world, "acme", &json!({"first": 4})).await;
    assert!(world.sandbox.calls().len() >= 4, "without an index it is sifted");
    until_indexed(&world, "acme").await;

    let whole = page(&world, "acme", &json!({"first": 50})).await;
    assert_eq!((ids(&whole), &whole["after"]), (own.clone(), &Value::Null));
    let calls: Vec<_> = world.sandbox.calls().into_iter().map(|call| call.field).collect();
    assert_eq!(calls.iter().filter(|field| *field == "listJobs").count(), 1, "{calls:?}");
    assert_eq!(calls.iter().filter(|field| *field == "getJob").count(), 1, "one document");

    for size in [1, 3, 10] {
        let items = walk(&world, "acme", json!({"first": size})).await;
        assert_eq!(ids(&json!({"items": items})), own, "first {size}");
        let items = walk(&world, "acme", json!({"first": size, "order": "ASC"})).await;
        let mut upwards = ids(&json!({"items": items}));
        upwards.reverse();
        assert_eq!(upwards, own, "first {size}");
    }
    // A cursor of before goes on as it began.
    let rest = walk(&world, "acme", json!({"first": 4, "after": first["after"]})).await;
    assert_eq!([ids(&first), ids(&json!({"items": rest}))].concat(), own);
}

#[tokio::test]
async fn a_listing_tells_nothing_that_was_read_before_what_an_earlier_one_told() {
    let policy = "operations: ['*']\ncache: { get_job: { unfinished: 60s } }\n";
    let setup = Setup::new().config(INDEXED).tenant("acme", policy).tenant("globex", policy);
    let world = setup.start().await;
    let newest = fill(&world.sandbox).swap_remove(0);
    until_indexed(&world, "acme").await;
    world.sandbox.set_state(&newest, State::Running);
    world.pass(Duration::from_secs(3)).await;
    let get = "query($id: ID!) { getJob(jobId: $id) { id state } }";
    let read = world.ask("acme", get, json!({"id": newest})).await.data("/getJob/state");
    assert_eq!(read, "RUNNING");
    world.sandbox.set_state(&newest, State::Finished);
    let list = "{ listJobs(first: 1) { items { id state } } }";
    let listed = async || world.ask("acme", list, json!({})).await.data("/listJobs/items/0/state");
    world.pass(Duration::from_secs(3)).await;
    assert_eq!(listed().await, "FINISHED");
    // Nobody's business of that tenant's, and so no word of whose it is.
    world.ask("globex", get, json!({"id": newest})).await;
    assert_eq!(listed().await, "FINISHED");
    let read = world.ask("acme", get, json!({"id": newest})).await.data("/getJob/state");
    assert_eq!(read, "FINISHED");
}

#[tokio::test]
async fn what_is_created_renamed_and_deleted_is_in_the_next_listing_as_it_is() {
    let world = Setup::new().config(INDEXED).start().await;
    let mut own = fill(&world.sandbox);
    until_indexed(&world, "acme").await;
    let listed = async || ids(&page(&world, "acme", &json!({"first": 50})).await);

    own.insert(0, world.create("acme", "{}").await);
    assert_eq!(listed().await, own, "created through the gateway");
    own.insert(0, add(&world.sandbox, "acme", 0));
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(listed().await, own, "created elsewhere");
    world.sandbox.remove_job(&own.remove(5));
    assert_eq!(listed().await, own, "deleted in Move");
    let page = page(&world, "acme", &json!({"first": 5})).await;
    assert_eq!(ids(&page), own[..5]);
    let rename = "mutation($id: String!) { updateJob(id: $id, name: \"new\") { id } }";
    world.ask("acme", rename, json!({"id": own[3]})).await.data("/updateJob/id");
    world.sandbox.rename_job(&own[4], "newer");
    let items = walk(&world, "acme", json!({"first": 2})).await;
    assert_eq!((&items[3]["name"], &items[4]["name"]), (&json!("new"), &json!("newer")));

    let mut job = Job::new(world.sandbox.now());
    job.metadata = Some(r#"{"_gateway":{"v":1,"owner":"acme"}}"#.to_owned());
    MULTICAM_TAKE.clone_into(&mut job.take);
    let id = job.id.clone();
    world.sandbox.add_job(job);
    world.pass(Duration::from_secs(2)).await;
    let of_take = json!({"take": MULTICAM_TAKE});
    assert_eq!(ids(&self::page(&world, "acme", &of_take).await), [id]);
    assert!(by_index(&world).await >= 9.0);
}

#[tokio::test]
async fn a_cursor_of_the_index_goes_on_where_there_is_none_and_errors_stand_at_their_jobs() {
    let one = Setup::new().config(INDEXED).start().await;
    let own = fill(&one.sandbox);
    until_indexed(&one, "acme").await;
    let none = "index: { enabled: false }\ncursor_key: '${CURSOR_KEY}'\n";
    let two = Setup::new().config(none).over(one.sandbox.clone()).await;
    for order in ["DESC", "ASC"] {
        let mut expected = own.clone();
        if order == "ASC" {
            expected.reverse();
        }
        let page = page(&one, "acme", &json!({"first": 4, "order": order})).await;
        let cursor: Value = serde_json::from_str(page["after"].as_str().unwrap()).unwrap();
        assert_eq!(cursor["v"], 2);
        add(&one.sandbox, "acme", if order == "ASC" { 2_000 } else { 0 });
        let rest = json!({"first": 2, "order": order, "after": page["after"]});
        let rest = ids(&json!({"items": walk(&two, "acme", rest).await}));
        let rest: Vec<_> = rest.into_iter().filter(|id| own.contains(id)).collect();
        assert_eq!([ids(&page), rest].concat(), expected, "{order}");
    }
    // Move fails on one of them: pages are sifted, which does not ask for it alone.
    let fault = Fault::GraphqlError { error_type: "MoveBadRequest", message: "no" };
    one.sandbox.fail_always(Some("getJob"), Some(fault));
    let sifted = ids(&page(&one, "acme", &json!({"first": 3})).await);
    assert_eq!(sifted[1..], own[..2]);
}

#[tokio::test]
async fn a_file_that_is_damaged_or_anothers_is_no_index_and_listings_are_right_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.redb");
    std::fs::write(&file, [b"redb\x1A\x0A\xA9\x0D\x0A".as_slice(), &[7; 10_000]].concat()).unwrap();
    let config = format!("{INDEXED}index: {{ file: {}, calls: 1000/s }}\n", file.display());
    let config = config.replacen("index: { calls: 1000/s }\n", "", 1);
    let one = Setup::new().config(config.clone()).start().await;
    let own = fill(&one.sandbox);
    until_indexed(&one, "acme").await;
    let dropped = "jobs_gateway_index_dropped_total{kind=\"job\",reason=\"file\"";
    assert_eq!(one.metric(dropped).await, Some(1.0));
    let two = Setup::new().config(config).over(one.sandbox.clone()).await;
    for _ in 0..3 {
        two.pass(Duration::from_secs(16)).await;
        assert_eq!(
            ids(&page(&two, "acme", &json!({"first": 50})).await),
            own,
            "the second process"
        );
    }
    assert!(file.exists());
    assert_eq!(ids(&page(&one, "acme", &json!({"first": 50})).await), own);
}

#[tokio::test]
async fn jobs_of_another_account_behind_the_key_are_forgotten() {
    let setup = Setup::new().config(INDEXED).two_accounts();
    let world = setup.start().await;
    fill(&world.sandbox);
    let other = world.sandbox.account("other-move-key").unwrap();
    let own = fill(&other);
    until_indexed(&world, "acme").await;
    let path = world.folder().join("gateway.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("${MOVE_API_KEY}", "${OTHER_MOVE_API_KEY}")).unwrap();
    let reloads = "jobs_gateway_policy_reloads_total{outcome=\"ok\"";
    let before = world.metric(reloads).await;
    let give_up = Instant::now() + Duration::from_secs(10);
    while world.metric(reloads).await == before {
        assert!(Instant::now() < give_up, "no reload");
        world.pass(Duration::from_millis(500)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(ids(&page(&world, "acme", &json!({"first": 50})).await), own, "at once");
    until_indexed(&world, "acme").await;
    assert_eq!(ids(&page(&world, "acme", &json!({"first": 50})).await), own);
    let dropped = "jobs_gateway_index_dropped_total{kind=\"job\",reason=\"account\"";
    assert_eq!(world.metric(dropped).await, Some(1.0));
}

#[tokio::test]
async fn jobs_whose_metadata_nobody_can_read_are_asked_for_once_more_and_then_stand_in_nobodys_way()
{
    let world = Setup::new().config(INDEXED).start().await;
    let own = fill(&world.sandbox);
    let mut doubtful = Vec::new();
    for age in 0..40 {
        let metadata = Some("{\"_gateway\":".to_owned());
        let job = Job { metadata, ..Job::new(world.sandbox.now() - (age + 300).minutes()) };
        doubtful.push(job.id.clone());
        world.sandbox.add_job(job);
    }
    // Of one of them the metadata is only late.
    let late = doubtful.swap_remove(7);
    page(&world, "acme", &json!({"first": 50})).await;
    until_indexed(&world, "globex").await;
    let listed = ids(&page(&world, "acme", &json!({"first": 50})).await);
    assert_eq!(listed, own, "too many: pages are sifted");
    let mut job = world.sandbox.job(&late).unwrap();
    job.metadata = Some(r#"{"_gateway":{"v":1,"owner":"acme"}}"#.to_owned());
    world.sandbox.add_job(job);
    // It was asked for again before that, or after; if before, a page of Move's shows it.
    let give_up = world.sandbox.now() + 10.minutes();
    let mut seen = Vec::new();
    while !seen.contains(&late) {
        assert!(world.sandbox.now() < give_up, "it stays in doubt: {seen:?}");
        world.pass(Duration::from_secs(15)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        seen = ids(&json!({"items": walk(&world, "acme", json!({"first": 50})).await}));
    }
    // And then the index has it, too.
    let mut answered = 0;
    while answered < 3 {
        assert!(world.sandbox.now() < give_up, "too many stay in doubt: {seen:?}");
        world.pass(Duration::from_secs(15)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = by_index(&world).await;
        seen = ids(&json!({"items": walk(&world, "acme", json!({"first": 50})).await}));
        answered += u32::from(by_index(&world).await > before && seen.contains(&late));
    }
    assert_eq!(seen.len(), own.len() + 1, "{seen:?}");
    assert!(!seen.iter().any(|id| doubtful.contains(id)));
}
