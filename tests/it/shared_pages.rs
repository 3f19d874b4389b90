//! Move's pages of listings are fetched once for all tenants, and none is told of what is older than what it knows.

use std::time::Duration;

use futures_util::future::join_all;
use jobs_gateway::sandbox::{Fault, Job, State};
use serde_json::{Value, json};

use crate::support::{Setup, World, key, send, until_called};

const LIST: &str = "{ listJobs(first: 100) { items { id state } } }";

/// Tenants whose policy lets a page be given again, and one whose policy does not.
async fn world() -> World {
    let keeps = "operations: [\"*\"]\ncache: { get_job: { unfinished: 10s, no_cache: true } }\n";
    let tenants = vec![
        ("acme", keeps.to_owned()),
        ("globex", keeps.to_owned()),
        ("initech", "operations: [\"*\"]\n".to_owned()),
    ];
    World::set_up(Setup { tenants, ..Setup::default() }).await
}

/// Lists a tenant's jobs: ids and states.
async fn list(world: &World, tenant: &str) -> Vec<(String, String)> {
    let items = world.ask(tenant, LIST, json!({})).await.data("/listJobs/items");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = items.as_array().unwrap().iter();
    items.map(|item| (text(&item["id"]), text(&item["state"]))).collect()
}

/// Puts a job of a tenant's into the account past the gateway.
fn add(world: &World, tenant: &str, id: &str) {
    let mut job = Job::new(world.sandbox.now());
    id.clone_into(&mut job.id);
    job.metadata =
        Some(format!(r#"{{"{tenant}":{{}},"_gateway":{{"v":1,"owner":"{tenant}","by":"k"}}}}"#));
    world.sandbox.add_job(job);
}

fn has(listed: &[(String, String)], id: &str) -> bool {
    listed.iter().any(|(own, _)| own == id)
}

#[tokio::test]
async fn equal_listings_of_all_tenants_at_once_are_one_call_and_each_has_its_own() {
    let world = world().await;
    for tenant in ["acme", "globex", "initech"] {
        add(&world, tenant, &format!("job-of-{tenant}"));
    }
    world.sandbox.set_latency(Duration::from_millis(500));
    let tenants = ["acme", "globex", "initech"].repeat(4);
    let all = join_all(tenants.iter().map(|tenant| list(&world, tenant))).await;
    for (tenant, listed) in tenants.iter().zip(all) {
        let ids: Vec<_> = listed.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [format!("job-of-{tenant}")]);
    }
    assert_eq!(world.sandbox.count("listJobs"), 1);
    let from = |source: &str| {
        format!("jobs_gateway_listing_pages_total{{field=\"listJobs\",source=\"{source}\"")
    };
    assert!(world.metric(&from("joined")).await.unwrap() >= 11.0);
}

#[tokio::test]
async fn a_page_is_given_again_for_two_seconds_to_tenants_whose_policy_lets_it() {
    let world = world().await;
    for tenant in ["acme", "globex", "initech"] {
        add(&world, tenant, &format!("job-of-{tenant}"));
    }
    // On a machine that is busy two seconds may pass meanwhile: then once more.
    for _ in 0..20 {
        world.pass(Duration::from_secs(3)).await;
        world.sandbox.clear_calls();
        let began = world.sandbox.now();
        for tenant in ["acme", "globex", "acme"] {
            assert!(has(&list(&world, tenant).await, &format!("job-of-{tenant}")));
        }
        let calls = world.sandbox.count("listJobs");
        if world.sandbox.now().duration_since(began).as_secs() < 2 {
            assert_eq!(calls, 1);
            list(&world, "initech").await;
            assert_eq!(world.sandbox.count("listJobs"), 2, "initech's policy keeps nothing");
            return;
        }
    }
    panic!("two seconds passed each time");
}

#[tokio::test]
async fn what_a_tenant_wrote_or_was_told_since_a_page_is_in_its_next_listing() {
    let world = world().await;
    add(&world, "acme", "job-old");
    world.sandbox.set_state("job-old", State::Running);
    for _ in 0..3 {
        for tenant in ["acme", "globex"] {
            list(&world, tenant).await;
        }
        let made = world.create("acme", "{}").await;
        assert!(has(&list(&world, "acme").await, &made), "it was created through the gateway");
    }
    // Move finishes it, and a read is told.
    world.sandbox.set_state("job-old", State::Finished);
    world.pass(Duration::from_secs(11)).await;
    list(&world, "globex").await;
    world.sandbox.set_state("job-old", State::Failed);
    assert_eq!(world.get("acme", "job-old", "state").await.data("/getJob/state"), "FAILED");
    let listed = list(&world, "acme").await;
    assert!(listed.contains(&("job-old".to_owned(), "FAILED".to_owned())), "{listed:?}");
}

#[tokio::test]
async fn a_page_that_began_later_and_was_read_earlier_takes_nothing_back() {
    let with_created = "{ listJobs(first: 100) { items { id state created } } }";
    for other in ["acme", "globex"] {
        let world = world().await;
        add(&world, "acme", "job");
        world.sandbox.set_state("job", State::Running);
        let late = async {
            world.sandbox.fail_next(None, Fault::Delay(Duration::from_millis(400)));
            list(&world, "acme").await
        };
        let early = async {
            until_called(&world.sandbox, "listJobs", 1).await;
            world.sandbox.fail_next(None, Fault::SlowBody(Duration::from_millis(800)));
            world.ask(other, with_created, json!({})).await.data("/listJobs")
        };
        let finish = async {
            until_called(&world.sandbox, "listJobs", 2).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.sandbox.set_state("job", State::Finished);
        };
        let (told, ..) = tokio::join!(late, early, finish);
        assert_eq!(told[0].1, "FINISHED");
        let next = world.ask("acme", with_created, json!({})).await;
        assert_eq!(next.data("/listJobs/items/0/state"), "FINISHED", "{other} asked meanwhile");
    }
}

#[tokio::test]
async fn a_page_that_is_too_old_or_not_wanted_or_has_errors_is_fetched_anew() {
    let world = world().await;
    list(&world, "acme").await;
    add(&world, "acme", "job-later");
    world.pass(Duration::from_secs(2)).await;
    assert!(has(&list(&world, "acme").await, "job-later"), "two seconds are over");
    add(&world, "acme", "job-now");
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let request = request.header("cache-control", "no-cache").json(&json!({"query": LIST}));
    assert!(send(request).await.text.contains("job-now"), "the caller wanted a fresh one");
    world.pass(Duration::from_secs(2)).await;
    let odd = json!({"path": ["listJobs", "items", 0, "state"], "message": "odd"});
    world
        .sandbox
        .fail_next(Some("listJobs"), Fault::edit(move |answer| answer["errors"] = json!([odd])));
    assert!(world.ask("acme", LIST, json!({})).await.text.contains("odd"));
    list(&world, "acme").await;
    list(&world, "globex").await;
}

#[tokio::test]
async fn a_listing_whose_time_is_over_takes_no_other_along() {
    let world = world().await;
    add(&world, "globex", "job-of-globex");
    world.sandbox.fail_next(Some("listJobs"), Fault::Delay(Duration::from_secs(5)));
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let hasty = request.header("x-request-timeout", "300ms").json(&json!({"query": LIST}));
    let (hasty, patient) = tokio::join!(send(hasty), async {
        until_called(&world.sandbox, "listJobs", 1).await;
        list(&world, "globex").await
    });
    assert_eq!(hasty.code(), "UPSTREAM_TIMEOUT", "{hasty:?}");
    assert!(has(&patient, "job-of-globex"));
    assert_eq!(world.sandbox.count("listJobs"), 2);
}

#[tokio::test]
async fn nobody_waits_in_the_queue_of_a_tenant_with_many_calls() {
    let config = "upstream: { url: '${MOVE_API_URL}', api_key: '${MOVE_API_KEY}', max_in_flight: 1, \
                  retries: { max: 0 } }\n";
    let world = World::set_up(Setup { config: config.to_owned(), ..Setup::default() }).await;
    world.sandbox.fail_next(Some("getJob"), Fault::Delay(Duration::from_secs(3)));
    let busy = async {
        until_called(&world.sandbox, "getJob", 1).await;
        let reads = (0..5).map(async |n| world.get("acme", &format!("job-{n}"), "id").await);
        tokio::join!(join_all(reads), list(&world, "acme"))
    };
    let patient = async {
        while world.metric("jobs_gateway_upstream_waiting").await != Some(6.0) {
            tokio::task::yield_now().await;
        }
        list(&world, "globex").await
    };
    tokio::join!(world.get("acme", "job-slow", "id"), busy, patient);
    let calls = world.sandbox.calls();
    let listings: Vec<_> =
        calls.iter().enumerate().filter(|(_, call)| call.field == "listJobs").collect();
    assert_eq!(listings.len(), 2, "each its own");
    assert!(listings[0].0 <= 2, "after {} calls", listings[0].0);
}
