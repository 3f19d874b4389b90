//! Full pages of the tenant's own jobs, whatever share of the account is theirs.

use jiff::ToSpan;
use jobs_gateway::sandbox::{Fault, Job, MULTICAM_TAKE, Sandbox, SandboxOptions, State};
use serde_json::{Value, json};

use crate::support::{Setup, World};

const LIST: &str = "query($first: Int, $after: AWSJSON, $order: SortDirection, $take: String) {
    listJobs(first: $first, after: $after, sortDirection: $order, takeId: $take) {
        first after items { id } } }";

/// Adds a job of a tenant (or of nobody) that was created `age` minutes ago.
fn add(sandbox: &Sandbox, owner: Option<&str>, age: i64) -> String {
    let metadata = owner.map(|owner| {
        format!(r#"{{"{owner}":{{}},"_gateway":{{"v":1,"owner":"{owner}","by":"k"}}}}"#)
    });
    let job = Job { metadata, ..Job::new(sandbox.now() - age.minutes()) };
    let id = job.id.clone();
    sandbox.add_job(job);
    id
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Pages through a whole listing; gives the ids of each page.
async fn pages(world: &World, tenant: &str, mut variables: Value) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let page = world.ask(tenant, LIST, variables.clone()).await.data("/listJobs");
        pages.push(ids(&page));
        assert!(pages.len() < 1000, "the listing does not end");
        if page["after"].is_null() {
            return pages;
        }
        variables["after"] = page["after"].clone();
    }
}

#[tokio::test]
async fn twenty_own_jobs_among_a_thousand_foreign_ones_are_listed_whole_and_cheaply() {
    let world = World::start().await;
    let mut own = Vec::new();
    for age in 0..1020 {
        if age % 51 == 25 {
            own.push(add(&world.sandbox, Some("acme"), age));
        } else {
            add(&world.sandbox, Some(["globex", "initech"][usize::from(age % 2 == 0)]), age);
        }
    }
    assert_eq!(own.len(), 20);
    let page = world.ask("acme", LIST, json!({"first": 50})).await.data("/listJobs");
    assert_eq!((ids(&page), &page["after"]), (own.clone(), &Value::Null));
    assert!(world.sandbox.calls().len() <= 1 + 1020 / 100, "{}", world.sandbox.calls().len());

    for first in [1, 3, 7, 20] {
        let pages = pages(&world, "acme", json!({"first": first})).await;
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == first), "first {first}");
        assert_eq!(pages.concat(), own, "first {first}");
    }
    let ascending = pages(&world, "acme", json!({"first": 6, "order": "ASC"})).await.concat();
    own.reverse();
    assert_eq!(ascending, own);
}

#[tokio::test]
async fn a_page_cut_short_by_the_budget_carries_a_cursor_that_goes_on() {
    let world = World::start().await;
    for age in 0..2500 {
        add(&world.sandbox, Some("globex"), age);
    }
    let oldest = add(&world.sandbox, Some("acme"), 2600);
    let page = world.ask("acme", LIST, json!({"first": 5})).await.data("/listJobs");
    assert!(ids(&page).is_empty() && page["after"].is_string(), "{page}");
    assert_eq!(world.sandbox.calls().len(), 20);
    let rest = world.ask("acme", LIST, json!({"first": 5, "after": page["after"]})).await;
    assert_eq!(ids(&rest.data("/listJobs")), [oldest]);
}

#[tokio::test]
async fn jobs_that_are_created_between_two_pages_neither_repeat_nor_hide_any() {
    let world = World::start().await;
    let own: Vec<_> = (1..=30).map(|age| add(&world.sandbox, Some("acme"), age)).collect();
    let first = world.ask("acme", LIST, json!({"first": 10})).await.data("/listJobs");
    for _ in 0..150 {
        add(&world.sandbox, Some("globex"), 0);
        add(&world.sandbox, Some("acme"), 0);
    }
    let variables = json!({"first": 10, "after": first["after"]});
    let rest = pages(&world, "acme", variables).await.concat();
    assert_eq!([ids(&first), rest].concat(), own);
}

#[tokio::test]
async fn a_listing_of_one_take_holds_no_other() {
    let world = World::start().await;
    let other = add(&world.sandbox, Some("acme"), 1);
    let mut job = Job::new(world.sandbox.now());
    job.metadata = Some(r#"{"_gateway":{"v":1,"owner":"acme"}}"#.to_owned());
    MULTICAM_TAKE.clone_into(&mut job.take);
    let id = job.id.clone();
    world.sandbox.add_job(job);
    let page = world.ask("acme", LIST, json!({"take": MULTICAM_TAKE})).await.data("/listJobs");
    assert_eq!(ids(&page), [id]);
    assert!(!ids(&page).contains(&other));
}

#[tokio::test]
async fn a_cursor_is_bound_to_its_tenant_and_arguments_and_tells_nothing() {
    let world = World::start().await;
    for age in 0..5 {
        add(&world.sandbox, Some("acme"), age);
        add(&world.sandbox, Some("globex"), age);
    }
    let page = world.ask("acme", LIST, json!({"first": 2})).await.data("/listJobs");
    let cursor = page["after"].as_str().unwrap();
    let object: Value = serde_json::from_str(cursor).unwrap();
    assert!(object.is_object() && !cursor.contains("job-"), "{cursor}");
    world.sandbox.clear_calls();
    let tampered = cursor.replace(&cursor[20..24], "AAAA");
    for (tenant, variables) in [
        ("globex", json!({"first": 2, "after": cursor})),
        ("acme", json!({"first": 2, "after": cursor, "order": "ASC"})),
        ("acme", json!({"first": 2, "after": cursor, "take": MULTICAM_TAKE})),
        ("acme", json!({"first": 2, "after": tampered})),
        ("acme", json!({"first": 2, "after": "{\"id\": \"job-1\"}"})),
        ("acme", json!({"first": 2, "after": {"id": "job-1"}})),
        ("acme", json!({"first": 2, "after": "[]"})),
    ] {
        let reply = world.ask(tenant, LIST, variables.clone()).await;
        assert_eq!(reply.code(), "BAD_USER_INPUT", "{tenant} {variables}");
    }
    assert!(world.sandbox.calls().is_empty());
    // As Move's Python client sends it back: parsed, as an object.
    let reply = world.ask("acme", LIST, json!({"first": 2, "after": object})).await;
    assert_eq!(ids(&reply.data("/listJobs")).len(), 2);
}

#[tokio::test]
async fn an_error_of_a_listed_job_stands_at_its_own_index_and_errors_of_others_are_left_out() {
    let world = World::start().await;
    add(&world.sandbox, Some("acme"), 3);
    for age in [1, 2] {
        let foreign = add(&world.sandbox, Some("globex"), age);
        world.sandbox.set_state(&foreign, State::Running);
    }
    let running = add(&world.sandbox, Some("acme"), 0);
    world.sandbox.set_state(&running, State::Running);
    let older = add(&world.sandbox, Some("acme"), 5);
    world.sandbox.set_state(&older, State::Running);
    let list = "{ listJobs { list: items { id outputs { file { presignedUrl } } } } }";
    let json = world.ask("acme", list, json!({})).await.json();
    assert_eq!(json["data"]["listJobs"]["list"].as_array().unwrap().len(), 3);
    let paths: Vec<_> =
        json["errors"].as_array().unwrap().iter().map(|error| error["path"].to_string()).collect();
    let path = |item: usize, output: usize| {
        format!(r#"["listJobs","list",{item},"outputs",{output},"file","presignedUrl"]"#)
    };
    assert_eq!(paths, [path(0, 0), path(0, 1), path(2, 0), path(2, 1)]);
}

#[tokio::test]
async fn the_jobs_of_strangers_on_a_take_are_listed_as_those_of_a_missing_take() {
    let owned = "operations: [\"*\"]\ntakes: { owned: true }\n".to_owned();
    let world =
        Setup::new().tenant("acme", "operations: [\"*\"]\n").tenant("initech", owned).start().await;
    let record = r#"{"_gateway":{"v":1,"owner":"globex","by":"k"}}"#;
    world.sandbox.add_take("take-globex", Some(record));
    for _ in 0..2_100 {
        let (take, metadata) = ("take-globex".to_owned(), Some(record.to_owned()));
        world.sandbox.add_job(Job { take, metadata, ..Job::new(world.sandbox.now()) });
    }
    for tenant in ["acme", "initech"] {
        let mut answers = Vec::new();
        for take in ["take-globex", "take-missing"] {
            world.sandbox.clear_calls();
            let reply = world.ask(tenant, LIST, json!({"first": 5, "take": take})).await;
            let reply = reply.comparable();
            assert_eq!(reply.data("/listJobs"), json!({"first": 5, "after": null, "items": []}));
            let calls: Vec<_> = world.sandbox.calls().into_iter().map(|call| call.field).collect();
            answers.push((format!("{reply:?}"), calls));
        }
        assert_eq!(answers[0].0, answers[1].0);
        // Where takes are somebody's, one call tells.
        assert!(tenant == "acme" || answers[0].1 == answers[1].1, "{answers:?}");
    }
}

#[tokio::test]
async fn a_page_ends_at_100_jobs_or_some_megabytes_and_the_cursor_goes_on() {
    let keys = vec!["sandbox-move-key".to_owned(), "other-move-key".to_owned()];
    let sandbox = SandboxOptions { api_keys: keys, ..SandboxOptions::default() };
    let all = "operations: [\"*\"]\n".to_owned();
    let own = format!("{all}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n");
    let world =
        Setup::new().sandbox(sandbox).tenant("acme", all).tenant("globex", own).start().await;
    // All on one page of Move's are more than the gateway takes of it at once.
    let large = "x".repeat(90_000);
    for (tenant, account) in [("acme", "sandbox-move-key"), ("globex", "other-move-key")] {
        let account = world.sandbox.account(account).unwrap();
        let mut expected = Vec::new();
        for age in 0..105 {
            let metadata = format!(
                r#"{{"{tenant}":"{large}","_gateway":{{"v":1,"owner":"{tenant}","by":"k"}}}}"#
            );
            let created = account.now() - i64::from(age).minutes();
            let job = Job { metadata: Some(metadata), ..Job::new(created) };
            expected.push(job.id.clone());
            account.add_job(job);
        }
        let list = "query($after: AWSJSON) { listJobs(first: 100000, after: $after) {
            first after items { id metadata } } }";
        let (mut found, mut after) = (Vec::new(), Value::Null);
        loop {
            let reply = world.ask(tenant, list, json!({"after": after})).await;
            assert!(reply.text.len() < 5 << 20, "{} bytes", reply.text.len());
            let page = reply.data("/listJobs");
            assert_eq!(page["first"], 100);
            found.extend(ids(&page));
            after = page["after"].clone();
            if after.is_null() {
                break;
            }
        }
        assert_eq!(found, expected, "{tenant}");
    }
}

#[tokio::test]
async fn a_page_of_moves_that_does_not_say_whether_more_follows_is_no_last_page() {
    let world = World::start().await;
    world.create("acme", "{}").await;
    let query = "{ listJobs { items { id } after } }";
    for after in [json!(5), json!({"a": 1}), json!([])] {
        let lost = after.clone();
        let fault = Fault::edit(move |answer| answer["data"]["listJobs"]["after"] = lost.clone());
        world.sandbox.fail_next(Some("listJobs"), fault);
        assert_eq!(world.ask("acme", query, json!({})).await.code(), "UPSTREAM_ERROR", "{after}");
    }
}
