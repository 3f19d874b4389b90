//! Jobs that the index learns of, or forgets, otherwise than by the walk and the newest page.

use std::time::{Duration, Instant};

use jiff::ToSpan;
use jobs_gateway::sandbox::{Job, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use super::{INDEXED, add, by_index, fill, ids, page, until_indexed};
use crate::support::redis::Redis;
use crate::support::{ALL, Setup, World};

/// Lists acme's oldest jobs, of which the index says that no newer page is needed for them.
async fn oldest(world: &World) -> Vec<String> {
    ids(&page(world, "acme", &json!({"first": 3, "order": "ASC"})).await)
}

/// Lets minutes pass until acme's oldest job is this one.
async fn until_oldest(world: &World, id: &str) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while oldest(world).await[0] != id {
        assert!(Instant::now() < give_up, "{id} is not listed");
        world.pass(Duration::from_secs(10)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An index that is wanted at once, of few jobs.
fn wanted(config: impl Into<String>) -> Setup {
    Setup::new().config(config).changed(|folder| {
        std::fs::create_dir_all(folder.join("state")).unwrap();
        std::fs::write(folder.join("state/index.redb"), "").unwrap();
    })
}

/// Gives a job of nobody's to acme, by the command and the configuration of a gateway.
async fn adopt(world: &World, id: &str) {
    let adopted = tokio::process::Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["adopt", "--tenant", "acme", "--yes", "--config"])
        .arg(world.folder().join("gateway.yaml"))
        .arg(id)
        .env("MOVE_API_URL", world.sandbox.url().to_string())
        .env("MOVE_API_KEY", "sandbox-move-key")
        .env("CURSOR_KEY", "07".repeat(32))
        .output();
    let adopted = adopted.await.unwrap();
    assert!(adopted.status.success(), "{adopted:?}");
}

#[tokio::test]
async fn a_job_that_a_caller_or_an_event_showed_is_listed_though_no_page_of_moves_was_read() {
    let world = wanted(format!("{INDEXED}{}", crate::webhooks::CONFIG)).start().await;
    fill(&world.sandbox);
    until_indexed(&world, "acme").await;
    // Move shows it in its listing later than others: no page of the walk had it, and no newest one.
    let late = add(&world.sandbox, "acme", 1_100);
    assert_ne!(oldest(&world).await[0], late);
    world.get("acme", &late, "created take { id }").await.data("/getJob/created");
    world.sandbox.clear_calls();
    assert_eq!(oldest(&world).await[0], late, "at once");
    assert_eq!(world.sandbox.count("listJobs"), 0);

    let later = add(&world.sandbox, "acme", 1_200);
    world.get("acme", &later, "id").await.data("/getJob/id");
    until_oldest(&world, &later).await;
    let last = add(&world.sandbox, "acme", 1_300);
    crate::webhooks::send(&world, "msg_1", &last).await;
    until_oldest(&world, &last).await;
}

#[tokio::test]
async fn a_job_that_an_operator_gave_a_tenant_is_in_its_listings_a_minute_later() {
    let redis = Redis::start();
    let shared = format!("index: {{ calls: 1000/s }}\n{}", redis.config());
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    for age in 0..5 {
        add(&sandbox, "acme", age + 2);
    }
    let nobodys = |age: i64| {
        let job = Job { metadata: None, ..Job::new(sandbox.now() - age.minutes()) };
        let id = job.id.clone();
        sandbox.add_job(job);
        id
    };
    let (first, second) = (nobodys(100), nobodys(200));
    // One is told by word beside its file, and the other by Redis.
    let alone = wanted(INDEXED).over(sandbox.clone()).await;
    until_indexed(&alone, "acme").await;
    assert!(!oldest(&alone).await.contains(&first));
    adopt(&alone, &first).await;
    until_oldest(&alone, &first).await;
    drop(alone);

    let one = wanted(shared.clone()).over(sandbox.clone()).await;
    let two = wanted(shared).over(sandbox.clone()).await;
    until_indexed(&two, "acme").await;
    adopt(&one, &second).await;
    until_oldest(&two, &second).await;
}

#[tokio::test]
async fn a_job_that_was_missing_a_moment_ago_is_listed_as_soon_as_it_is_there() {
    let policy = format!("{ALL}cache: {{ get_job: {{ not_found: 10m }} }}\n");
    let world = wanted(INDEXED).tenant("acme", policy).start().await;
    let own = add(&world.sandbox, "acme", 5);
    until_indexed(&world, "acme").await;
    let job = Job::new(world.sandbox.now() - 1.minutes());
    let metadata = r#"{"acme":{},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#;
    let job = Job { metadata: Some(metadata.to_owned()), ..job };
    assert_eq!(world.get("acme", &job.id, "id").await.code(), "NOT_FOUND");
    world.sandbox.add_job(job.clone());
    world.pass(Duration::from_secs(3)).await;
    let listed = page(&world, "acme", &json!({"first": 5})).await;
    assert_eq!(ids(&listed), [job.id, own]);
}

#[tokio::test]
async fn an_account_whose_jobs_are_other_ones_of_a_sudden_is_sifted_and_indexed_anew() {
    let world = wanted(INDEXED).start().await;
    for is_first_newest in [true, false] {
        for job in world.sandbox.jobs() {
            world.sandbox.remove_job(&job.id);
        }
        let add = |age| add(&world.sandbox, if age % 50 == 7 { "acme" } else { "globex" }, age);
        let mut own: Vec<_> = (1..300).map(add).collect();
        own = own.into_iter().skip(6).step_by(50).collect();
        world.pass(Duration::from_secs(3)).await;
        let order = if is_first_newest { "DESC" } else { "ASC" };
        let first = ids(&page(&world, "acme", &json!({"first": 2, "order": order})).await);
        if !is_first_newest {
            own.reverse();
        }
        assert_eq!(first, own[..2]);
        until_indexed(&world, "acme").await;
        let whole = page(&world, "acme", &json!({"first": 50, "order": order})).await;
        assert_eq!(ids(&whole), own);
    }
    let dropped = "jobs_gateway_index_dropped_total{kind=\"job\",reason=\"account\"";
    assert_eq!(world.metric(dropped).await, Some(1.0));
}

#[tokio::test]
async fn jobs_that_were_created_while_nobody_looked_are_listed_and_one_of_the_future_hides_none() {
    let world = wanted(INDEXED).start().await;
    add(&world.sandbox, "globex", -1_000);
    let old = add(&world.sandbox, "acme", 3);
    until_indexed(&world, "acme").await;
    world.pass(Duration::from_secs(1_000)).await;
    let mut new = Vec::new();
    for age in (1..500).rev() {
        let owner = if age == 499 { "acme" } else { "globex" };
        let metadata = format!(r#"{{"_gateway":{{"v":1,"owner":"{owner}","by":"k"}}}}"#);
        let job = Job::new(world.sandbox.now() - age.seconds());
        new.push(job.id.clone());
        world.sandbox.add_job(Job { metadata: Some(metadata), ..job });
    }
    let listed = page(&world, "acme", &json!({"first": 5})).await;
    assert_eq!(ids(&listed), [new[0].clone(), old.clone()]);
    until_indexed(&world, "acme").await;
    let indexed: (f64, Value) =
        (by_index(&world).await, page(&world, "acme", &json!({"first": 5})).await);
    assert_eq!(ids(&indexed.1), [new[0].clone(), old]);
    assert!(by_index(&world).await > indexed.0);
}

#[tokio::test]
async fn a_job_that_was_given_to_another_tenant_in_move_is_listed_soon_after_that_one_read_it() {
    let world = wanted(INDEXED).start().await;
    fill(&world.sandbox);
    until_indexed(&world, "acme").await;
    // In the middle of the account: neither the newest page nor the walk comes by soon.
    let mut jobs = world.sandbox.jobs();
    jobs.sort_by_key(|job| job.created);
    let job = &jobs[500];
    assert!(job.metadata.as_ref().unwrap().contains("globex"));
    world.sandbox.remove_job(&job.id);
    let metadata = r#"{"acme":{},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#.to_owned();
    world.sandbox.add_job(Job { metadata: Some(metadata), ..job.clone() });
    world.get("acme", &job.id, "id").await.data("/getJob/id");
    let give_up = Instant::now() + Duration::from_secs(30);
    let mut passed = Duration::ZERO;
    while !ids(&page(&world, "acme", &json!({"first": 50})).await).contains(&job.id) {
        assert!(Instant::now() < give_up && passed < Duration::from_mins(3), "it is not listed");
        passed += Duration::from_secs(10);
        world.pass(Duration::from_secs(10)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn jobs_that_are_gone_are_taken_away_as_soon_as_a_listing_met_them() {
    let world = wanted(INDEXED).start().await;
    let own = fill(&world.sandbox);
    until_indexed(&world, "acme").await;
    own[..8].iter().for_each(|id| world.sandbox.remove_job(id));
    let listed = async || ids(&page(&world, "acme", &json!({"first": 2})).await);
    assert_eq!(listed().await, own[8..]);
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        world.sandbox.clear_calls();
        assert_eq!(listed().await, own[8..]);
        // One document asks for the two that are there.
        if world.sandbox.count("getJob") <= 1 {
            break;
        }
        assert!(Instant::now() < give_up, "each listing asks for them anew");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn more_jobs_made_at_once_than_pages_hold_keep_nobody_from_the_index() {
    let world = wanted(INDEXED).start().await;
    let own = fill(&world.sandbox);
    for age in 0..350 {
        let created = world.sandbox.now() - (1_000 + age).milliseconds();
        world.sandbox.add_job(Job { metadata: None, ..Job::new(created) });
    }
    until_indexed(&world, "acme").await;
    for _ in 0..3 {
        let before = by_index(&world).await;
        assert_eq!(ids(&page(&world, "acme", &json!({"first": 50})).await), own);
        assert!((by_index(&world).await - before - 1.0).abs() < 0.5);
        assert_eq!(world.sandbox.count("listJobs"), 1);
        world.pass(Duration::from_secs(3)).await;
        world.sandbox.clear_calls();
    }
}
