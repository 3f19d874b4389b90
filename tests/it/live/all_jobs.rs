//! A subscription to all jobs of a tenant: what changes, what is made, and what was missed.

use std::time::Duration;

use jobs_gateway::sandbox::{Fault, Job, MULTICAM_TAKE, SINGLECAM_TAKE, State};
use serde_json::{Value, json};

use super::replicas::connected;
use super::streams::{Follower, SSE};
use super::{WAITING, passing, with_a_running_job};
use crate::index::{INDEXED, fill, page, until_indexed};
use crate::support::redis::Redis;
use crate::support::{Setup, World, key};

const FOLLOW: &str = "subscription($take: String, $after: String) {
    all: jobsUpdated(takeId: $take, after: $after) { cursor job { id state metadata } } }";

async fn follow(world: &World, tenant: &str, variables: Value) -> Follower {
    let body = json!({"query": FOLLOW, "variables": variables});
    Follower::post(world, tenant, &body, SSE).await
}

/// The next answer that is no heartbeat, while time passes.
async fn answer(world: &World, stream: &mut Follower) -> Value {
    passing(world, answer_now(stream)).await
}

/// The same while no more time passes than that takes.
async fn answer_now(stream: &mut Follower) -> Value {
    loop {
        let event = stream.event().await.unwrap();
        if let Some(data) = event.strip_prefix("event: next\ndata: ") {
            return serde_json::from_str(data).unwrap();
        }
        assert_eq!(event, ":\n\n");
    }
}

/// The next event: the job, its state and the cursor.
async fn event(world: &World, stream: &mut Follower) -> (String, String, String) {
    parts(&answer(world, stream).await)
}

fn parts(answer: &Value) -> (String, String, String) {
    let text = |pointer: &str| match answer.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        _ => panic!("{answer}"),
    };
    (text("/data/all/job/id"), text("/data/all/job/state"), text("/data/all/cursor"))
}

/// Follows a stream until a job is in a state; other jobs must not come before it.
async fn until(world: &World, stream: &mut Follower, job: &str, state: &str) -> String {
    loop {
        let (id, own, cursor) = event(world, stream).await;
        assert_eq!(id, job);
        if own == state {
            return cursor;
        }
    }
}

async fn create_on(world: &World, tenant: &str, take: &str) -> String {
    let field = if take == MULTICAM_TAKE { "createMultiCamJob" } else { "createSingleCamJob" };
    let query = format!("mutation {{ own: {field}(takeId: \"{take}\") {{ id }} }}");
    let made = world.ask(tenant, &query, json!({})).await;
    let id = made.data("/own/id").as_str().unwrap().to_owned();
    world.sandbox.set_state(&id, State::Running);
    id
}

#[tokio::test]
async fn each_own_job_that_is_made_or_changes_is_told_and_a_broken_stream_goes_on_where_it_was() {
    let (world, old) = with_a_running_job("").await;
    let mut stream = follow(&world, "acme", json!({})).await;
    assert_eq!(stream.event().await.unwrap(), ":\n\n", "it says that it is open");
    create_on(&world, "globex", SINGLECAM_TAKE).await;
    let new = create_on(&world, "acme", SINGLECAM_TAKE).await;
    let cursor = until(&world, &mut stream, &new, "RUNNING").await;
    // Nobody asks for it but the poller: it was known from the first look.
    world.sandbox.set_state(&old, State::Finished);
    let finished = until(&world, &mut stream, &old, "FINISHED").await;
    drop(stream);
    world.sandbox.set_state(&new, State::Failed);
    let mut again = follow(&world, "acme", json!({"after": cursor})).await;
    assert_eq!(event(&world, &mut again).await.0, old, "it changed behind the cursor");
    until(&world, &mut again, &new, "FAILED").await;
    let mut later = follow(&world, "acme", json!({"after": finished})).await;
    until(&world, &mut later, &new, "FAILED").await;
    // Metadata that is written is a change as well, be the job over or not.
    let update = "mutation($id: String!) { updateJob(id: $id, metadata: \"[]\") { id } }";
    world.ask("acme", update, json!({"id": old})).await.data("/updateJob/id");
    for stream in [&mut again, &mut later] {
        assert_eq!(event(&world, stream).await.0, old);
    }
}

/// A job that runs and was made past this gateway.
fn made_elsewhere(world: &World, owner: Option<&str>) -> Job {
    let metadata = match owner {
        Some(owner) => {
            json!({owner: {}, "_gateway": {"v": 1, "owner": owner, "by": "k"}}).to_string()
        }
        None => "{}".to_owned(),
    };
    let (metadata, pinned) = (Some(metadata), Some(State::Running));
    let job = Job { metadata, pinned, ..Job::new(world.sandbox.now()) };
    world.sandbox.add_job(job.clone());
    job
}

#[tokio::test]
async fn what_is_made_past_the_gateway_is_told_to_whoever_may_see_it_and_what_was_there_is_not() {
    let reader = format!("{WAITING}metadata: {{ unclaimed_jobs: read }}\n");
    let tenants = [("acme", WAITING.to_owned()), ("globex", reader)];
    let world = Setup::new().tenants(tenants).start().await;
    for owner in [Some("acme"), Some("globex"), None] {
        made_elsewhere(&world, owner);
    }
    let (mut acme, mut globex) =
        (follow(&world, "acme", json!({})).await, follow(&world, "globex", json!({})).await);
    world.pass(Duration::from_secs(1)).await;
    for _ in 0..2 {
        let nobodys = made_elsewhere(&world, None);
        let (of_acme, of_globex) =
            (made_elsewhere(&world, Some("acme")), made_elsewhere(&world, Some("globex")));
        until(&world, &mut acme, &of_acme.id, "RUNNING").await;
        let told = [event(&world, &mut globex).await.0, event(&world, &mut globex).await.0];
        assert!(told.contains(&nobodys.id) && told.contains(&of_globex.id), "{told:?}");
    }
    let ended = made_elsewhere(&world, Some("acme"));
    until(&world, &mut acme, &ended.id, "RUNNING").await;
    world.sandbox.set_state(&ended.id, State::Finished);
    until(&world, &mut acme, &ended.id, "FINISHED").await;
}

#[tokio::test]
async fn what_the_page_of_anothers_listing_shows_is_told_and_move_is_asked_for_no_other() {
    let setup = Setup::new().config(INDEXED).tenant("acme", WAITING).tenant("globex", WAITING);
    let world = setup.start().await;
    fill(&world.sandbox);
    until_indexed(&world, "acme").await;
    let mut stream = follow(&world, "acme", json!({})).await;
    // The page of its beginning is not shared any more.
    world.pass(Duration::from_secs(2)).await;
    let new = made_elsewhere(&world, Some("acme"));
    world.sandbox.clear_calls();
    page(&world, "globex", &json!({"first": 1})).await;
    let (told, state, _) = parts(&answer_now(&mut stream).await);
    assert_eq!((told, &*state), (new.id, "RUNNING"));
    assert_eq!(world.sandbox.count("listJobs"), 1);
}

#[tokio::test]
async fn what_does_not_change_is_not_told_and_what_changes_together_is_read_together() {
    let (world, first) = with_a_running_job("").await;
    let mut jobs = vec![first];
    for _ in 0..30 {
        jobs.push(create_on(&world, "acme", SINGLECAM_TAKE).await);
    }
    // The name is read by the stream alone, and not by the poller.
    let query = "subscription { all: jobsUpdated { cursor job { id state name } } }";
    let mut stream = Follower::post(&world, "acme", &json!({"query": query}), SSE).await;
    let read = "{ listJobs(first: 100) { items { id state } } }";
    world.ask("acme", read, json!({})).await.data("/listJobs/items");
    for _ in 0..60 {
        world.pass(Duration::from_millis(500)).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.get("acme", &jobs[0], "id state").await.data("/getJob/id");
    world.sandbox.clear_calls();
    for job in &jobs {
        world.sandbox.set_state(job, State::Finished);
    }
    let mut told = Vec::new();
    while told.len() < jobs.len() {
        let (job, state, _) = event(&world, &mut stream).await;
        assert_eq!(state, "FINISHED", "{job}");
        told.push(job);
    }
    told.sort();
    jobs.sort();
    assert_eq!(told, jobs, "each once");
    let asked = world.sandbox.count("getJob");
    assert!(asked <= 8, "{asked} documents");
}

#[tokio::test]
async fn a_cursor_that_is_not_known_any_more_is_told_and_the_stream_goes_on() {
    let (world, job) = with_a_running_job("").await;
    for after in ["none", "0123456789abcdef.7"] {
        let mut stream = follow(&world, "acme", json!({"after": after})).await;
        let missing = answer(&world, &mut stream).await;
        let error = &missing["errors"][0];
        assert_eq!(error["extensions"]["code"], "RESYNC", "{missing}");
        assert_eq!((&error["path"], &missing["data"]), (&json!(["all"]), &Value::Null));
        let update = "mutation($id: String!) { updateJob(id: $id, metadata: \"{}\") { id } }";
        world.ask("acme", update, json!({"id": job})).await.data("/updateJob/id");
        let cursor = until(&world, &mut stream, &job, "RUNNING").await;
        // Behind the place that the error named is what came after it.
        let after = &error["extensions"]["cursor"];
        let mut again = follow(&world, "acme", json!({"after": after})).await;
        assert_eq!(event(&world, &mut again).await.2, cursor);
    }
}

#[tokio::test]
async fn with_a_take_its_jobs_alone_are_told_and_another_tenants_take_has_none() {
    let (world, _) = with_a_running_job("").await;
    let mut stream = follow(&world, "acme", json!({"take": MULTICAM_TAKE})).await;
    create_on(&world, "acme", SINGLECAM_TAKE).await;
    let own = create_on(&world, "acme", MULTICAM_TAKE).await;
    until(&world, &mut stream, &own, "RUNNING").await;
    let body = json!({"query": FOLLOW, "variables": {"take": "volume-1"}});
    let refused = world.post("acme", &body).await;
    assert_eq!((refused.status, refused.code()), (400, "BAD_USER_INPUT".into()), "{refused:?}");
    let mut foreign = follow(&world, "globex", json!({"take": MULTICAM_TAKE})).await;
    create_on(&world, "acme", MULTICAM_TAKE).await;
    // A job whose take is gone is of none.
    let metadata = Some(r#"{"globex":{},"_gateway":{"v":1,"owner":"globex","by":"k"}}"#.to_owned());
    let bare = Job { metadata, take: "gone".to_owned(), ..Job::new(world.sandbox.now()) };
    world.sandbox.add_job(bare.clone());
    let read = world.get("globex", &bare.id, "take { id }").await;
    assert_eq!(read.data("/getJob/take"), Value::Null);
    let last = create_on(&world, "globex", MULTICAM_TAKE).await;
    until(&world, &mut foreign, &last, "RUNNING").await;
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_read_again_and_at_last_said_to_be_missing() {
    let (world, job) = with_a_running_job("").await;
    let mut stream = follow(&world, "acme", json!({})).await;
    let update = "mutation($id: String!) { updateJob(id: $id, metadata: \"{}\") { id } }";
    world.ask("acme", update, json!({"id": job})).await.data("/updateJob/id");
    until(&world, &mut stream, &job, "RUNNING").await;
    world.ask("acme", update, json!({"id": job})).await.data("/updateJob/id");
    world.sandbox.fail_always(Some("getJob"), Some(Fault::empty(503)));
    world.ask("acme", update, json!({"id": job})).await;
    let told = answer(&world, &mut stream).await;
    assert_eq!(told["errors"][0]["extensions"]["code"], "RESYNC", "{told}");
    world.sandbox.fail_always(Some("getJob"), None);
    world.sandbox.set_state(&job, State::Finished);
    until(&world, &mut stream, &job, "FINISHED").await;
}

/// Follows a stream until each of these was told, in its state if that is given; gives the last cursor.
async fn told_of(stream: &mut Follower, jobs: &[(&str, Option<&str>)]) -> String {
    let mut left = jobs.to_vec();
    loop {
        // Not while time passes: Redis has 20 ms for an answer.
        let (job, state, cursor) = parts(&answer_now(stream).await);
        left.retain(|(own, wanted)| *own != job || wanted.is_some_and(|wanted| wanted != state));
        if left.is_empty() {
            return cursor;
        }
    }
}

#[tokio::test]
async fn with_redis_a_stream_goes_on_at_a_replica_that_knew_nothing_of_it_until_redis_was_lost() {
    let mut redis = Redis::start();
    let (one, two) = Setup::new().tenant("acme", WAITING).config(redis.config()).start_two().await;
    connected(&[&one, &two]).await;
    let old = create_on(&one, "acme", SINGLECAM_TAKE).await;
    let mut stream = follow(&one, "acme", json!({})).await;
    let new = create_on(&one, "acme", SINGLECAM_TAKE).await;
    let cursor = told_of(&mut stream, &[(&new, None)]).await;
    drop(stream);
    // Nobody listens anywhere: one is over meanwhile, of which nobody tells, and one is made.
    one.sandbox.set_state(&old, State::Finished);
    let made = create_on(&one, "acme", SINGLECAM_TAKE).await;
    let mut stream = follow(&two, "acme", json!({"after": cursor})).await;
    let both = [(&*made, None), (&*old, Some("FINISHED"))];
    let cursor = told_of(&mut stream, &both).await;
    drop(stream);
    // The first replica, whose listeners went, has what the second one told since.
    let update = "mutation($id: String!) { updateJob(id: $id, metadata: \"{}\") { id } }";
    two.ask("acme", update, json!({"id": new})).await.data("/updateJob/id");
    let mut stream = follow(&one, "acme", json!({"after": cursor})).await;
    let cursor = told_of(&mut stream, &[(&new, None)]).await;
    drop(stream);
    redis.kill();
    redis.restart();
    let mut stream = follow(&two, "acme", json!({"after": cursor})).await;
    let missing = answer_now(&mut stream).await;
    assert_eq!(missing["errors"][0]["extensions"]["code"], "RESYNC", "{missing}");
}

#[tokio::test]
async fn what_changes_at_one_replica_is_told_at_another_and_a_lost_redis_is_said() {
    let mut redis = Redis::start();
    let (one, two) = Setup::new().tenant("acme", WAITING).config(redis.config()).start_two().await;
    connected(&[&one, &two]).await;
    let mut stream = follow(&two, "acme", json!({})).await;
    let job = create_on(&one, "acme", SINGLECAM_TAKE).await;
    let told = parts(&answer_now(&mut stream).await);
    assert_eq!(told.0, job);
    redis.kill();
    redis.restart();
    // Not while time passes: a connection has a second to come about.
    while !stream.event().await.unwrap().contains("RESYNC") {}
    connected(&[&one, &two]).await;
    one.sandbox.set_state(&job, State::Finished);
    one.pass(Duration::from_secs(20)).await;
    until(&two, &mut stream, &job, "FINISHED").await;
}

#[tokio::test]
async fn what_is_read_while_redis_is_slow_and_is_as_it_was_is_told_nobody() {
    let redis = Redis::start();
    let (one, two) = Setup::new().tenant("acme", WAITING).config(redis.config()).start_two().await;
    connected(&[&one, &two]).await;
    let old = create_on(&one, "acme", SINGLECAM_TAKE).await;
    one.sandbox.set_state(&old, State::Running);
    assert_eq!(two.get("acme", &old, "state").await.data("/getJob/state"), "RUNNING");
    let mut stream = follow(&two, "acme", json!({})).await;
    let counter = format!("jobs-gateway:v1:writes:acme:{old}");
    let told: u64 = redis.command(&["GET", &counter]).await;
    redis.freeze(true);
    let body = json!({"query": format!("{{ getJob(jobId: \"{old}\") {{ state }} }}")});
    let read = one.http.post(one.url()).header("authorization", key("acme")).json(&body);
    let read = read.header("cache-control", "no-cache").send().await.unwrap();
    assert!(read.text().await.unwrap().contains("RUNNING"));
    redis.freeze(false);
    // Once when Redis goes on, and once by the replica that had no word of that.
    while redis.command::<u64>(&["GET", &counter]).await < told + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let new = create_on(&one, "acme", SINGLECAM_TAKE).await;
    assert_eq!(parts(&answer_now(&mut stream).await).0, new);
}
