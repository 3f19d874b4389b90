//! The effect of a mutation, told from what Move said and not from a code.

use std::time::{Duration, Instant};

use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE};
use serde_json::{Value, json};

use crate::support::redis::Redis;
use crate::support::{Reply, Setup, World, key, send};

const CREATE: &str = "createSingleCamJob";

async fn keyed(world: &World, own: &str, query: &str, variables: &Value) -> Reply {
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let body = json!({"query": query, "variables": variables});
    send(request.header("idempotency-key", own).json(&body)).await
}

async fn create(world: &World, own: &str) -> Reply {
    let query =
        "mutation($take: String!) { createSingleCamJob(takeId: $take) { id client { id } } }";
    keyed(world, own, query, &json!({"take": SINGLECAM_TAKE})).await
}

fn id(reply: &Reply) -> String {
    reply.data("/createSingleCamJob/id").as_str().unwrap().to_owned()
}

#[derive(Clone, Copy)]
enum Change<'a> {
    Metadata(u32),
    Name(&'a str),
}

async fn update(world: &World, own: &str, job: &str, change: Change<'_>) -> Reply {
    let query = "mutation($id: String!, $m: AWSJSON, $n: String) {
        updateJob(id: $id, metadata: $m, name: $n) { id metadata name } }";
    let mut variables = json!({"id": job});
    match change {
        Change::Metadata(n) => variables["m"] = json!(format!("{{\"n\": {n}}}")),
        Change::Name(name) => variables["n"] = json!(name),
    }
    keyed(world, own, query, &variables).await
}

/// Returns what Move holds of a job: the tenant's value, and the name.
fn held(world: &World, job: &str) -> (Value, Option<String>) {
    let job = world.sandbox.job(job).unwrap();
    let stored: Value = serde_json::from_str(job.metadata.as_deref().unwrap()).unwrap();
    assert_eq!(stored["_gateway"]["owner"], "acme", "{stored}");
    (stored["acme"].clone(), job.name)
}

#[tokio::test]
async fn a_key_is_not_forgotten_when_the_look_for_its_job_fails() {
    let faults = [
        Fault::html(500),
        Fault::too_many_requests(1),
        Fault::GraphqlError { error_type: "Unauthorized", message: "no" },
        Fault::Reset,
        Fault::edit(|answer| answer["data"]["listJobs"]["items"] = json!(null)),
        // The page itself failed: what is on it need not be all.
        Fault::edit(|answer| {
            answer["data"]["listJobs"]["items"] = json!([]);
            answer["errors"] = json!([{"message": "m", "path": ["listJobs", "items"]}]);
        }),
        // Whether more jobs follow is not said.
        Fault::edit(|answer| {
            answer["data"]["listJobs"] = json!({"items": [], "after": 5});
        }),
        Fault::edit(|answer| answer["data"]["listJobs"] = json!({"items": []})),
        // One of the jobs cannot be read: it may be the one.
        Fault::edit(|answer| {
            answer["data"]["listJobs"]["items"][0]["metadata"] = json!(null);
            answer["errors"] =
                json!([{"message": "m", "path": ["listJobs", "items", 0, "metadata"]}]);
        }),
    ];
    for fault in faults {
        let world = World::start().await;
        world.sandbox.fail_next(Some(CREATE), Fault::LoseAnswer);
        assert_eq!(create(&world, "k-1").await.code(), "OUTCOME_UNKNOWN");
        world.sandbox.fail_next(Some("listJobs"), fault.clone());
        assert_eq!(create(&world, "k-1").await.code(), "OUTCOME_UNKNOWN", "{fault:?}");
        id(&create(&world, "k-1").await);
        assert_eq!(world.sandbox.job_count(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_job_whose_answer_lost_a_field_that_may_not_be_null_was_created() {
    let world = World::start().await;
    let bubbled = Fault::edit(|answer| {
        answer["data"] = json!(null);
        answer["errors"] = json!([{"message": "m", "path": ["createSingleCamJob", "client"]}]);
    });
    world.sandbox.fail_next(Some(CREATE), bubbled.clone());
    let found = id(&create(&world, "k-1").await);
    let replay = create(&world, "k-1").await;
    assert_eq!(replay.headers["idempotent-replayed"], "true");
    assert_eq!((id(&replay), world.sandbox.job_count()), (found, 1));
    // Without a key nobody can tell which job it is.
    world.sandbox.fail_next(Some(CREATE), bubbled);
    let query = format!("mutation {{ {CREATE}(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    assert_eq!(world.ask("acme", &query, json!({})).await.code(), "OUTCOME_UNKNOWN");
    let job = world.create("acme", "{}").await;
    let bubbled = Fault::edit(|answer| {
        answer["data"] = json!({"updateJob": null});
        answer["errors"] = json!([{"message": "m", "path": ["updateJob", "client"]}]);
    });
    world.sandbox.fail_next(Some("updateJob"), bubbled);
    let updated = update(&world, "u-1", &job, Change::Metadata(1)).await;
    assert_eq!(updated.data("/updateJob/metadata"), json!("{\"n\": 1}"));
}

#[tokio::test]
async fn a_resolver_that_broke_may_have_written_and_one_that_refused_has_not() {
    let world = World::start().await;
    world.pass(Duration::from_hours(25)).await;
    let broke = Fault::edit(|answer| {
        answer["data"] = json!({"createSingleCamJob": null});
        answer["errors"] = json!([{"message": "m", "errorType": "ExecutionTimeout",
            "path": ["createSingleCamJob"]}]);
    });
    world.sandbox.fail_next(Some(CREATE), broke);
    assert_eq!(create(&world, "k-1").await.code(), "OUTCOME_UNKNOWN");
    id(&create(&world, "k-1").await);
    assert_eq!(world.sandbox.job_count(), 1);
    world.sandbox.clear_calls();
    let refused = Fault::GraphqlError { error_type: "MoveBadRequest", message: "no such take" };
    world.sandbox.fail_next(Some(CREATE), refused);
    assert_eq!(create(&world, "k-2").await.code(), "UPSTREAM_ERROR");
    id(&create(&world, "k-2").await);
    assert_eq!((world.sandbox.count("listJobs"), world.sandbox.job_count()), (0, 2));
}

#[tokio::test]
async fn an_update_is_not_written_over_a_later_one() {
    for (own, first, later) in [
        ("metadata", Change::Metadata(1), Change::Metadata(2)),
        ("name", Change::Name("first"), Change::Name("later")),
    ] {
        let world = World::start().await;
        let job = world.create("acme", "{\"n\": 0}").await;
        world.sandbox.fail_next(Some("updateJob"), Fault::LoseAnswer);
        assert_eq!(update(&world, own, &job, first).await.code(), "OUTCOME_UNKNOWN");
        update(&world, "later", &job, later).await.data("/updateJob/id");
        let expected = held(&world, &job);
        update(&world, own, &job, first).await.data("/updateJob/id");
        update(&world, own, &job, first).await.data("/updateJob/id");
        assert_eq!(held(&world, &job), expected, "{own}");
        assert_eq!(world.sandbox.count("updateJob"), 2, "{own}");
    }
}

#[tokio::test]
async fn an_update_that_was_lost_on_its_way_is_written_by_the_retry() {
    for (change, expected) in [
        (Change::Metadata(1), (json!({"n": 1}), None)),
        (Change::Name("new"), (json!({"n": 0}), Some("new".to_owned()))),
    ] {
        let world = World::start().await;
        let job = world.create("acme", "{\"n\": 0}").await;
        world.sandbox.fail_next(Some("updateJob"), Fault::Reset);
        assert_eq!(update(&world, "u-1", &job, change).await.code(), "OUTCOME_UNKNOWN");
        update(&world, "u-1", &job, change).await.data("/updateJob/id");
        assert_eq!(held(&world, &job), expected);
    }
}

#[tokio::test]
async fn a_job_is_found_by_the_mark_of_its_creation_after_updates() {
    let world = World::start().await;
    world.sandbox.fail_next(Some(CREATE), Fault::LoseAnswer);
    assert_eq!(create(&world, "k-1").await.code(), "OUTCOME_UNKNOWN");
    let made = world.sandbox.jobs()[0].id.clone();
    update(&world, "u-1", &made, Change::Metadata(1)).await.data("/updateJob/id");
    update(&world, "u-2", &made, Change::Name("new")).await.data("/updateJob/id");
    assert_eq!(id(&create(&world, "k-1").await), made);
    assert_eq!(world.sandbox.job_count(), 1);
}

#[tokio::test]
async fn updates_of_one_job_at_once_all_leave_their_marks() {
    let world = World::start().await;
    let job = world.create("acme", "{}").await;
    world.sandbox.set_latency(Duration::from_millis(20));
    let keys: Vec<String> = (0..8).map(|n| format!("u-{n}")).collect();
    let all = keys.iter().map(|own| update(&world, own, &job, Change::Metadata(1)));
    for reply in futures_util::future::join_all(all).await {
        reply.data("/updateJob/id");
    }
    let stored = world.sandbox.job(&job).unwrap().metadata.unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored["_gateway"]["writes"].as_array().unwrap().len(), 8, "{stored}");
}

#[tokio::test]
async fn an_update_whose_outcome_is_unknown_ends_what_redis_and_every_replica_know() {
    let redis = Redis::start();
    let policy = "operations: [\"*\"]\ncache: {}\n";
    let setup = Setup::new().tenant("acme", policy).config(redis.config());
    let (one, other) = setup.start_two().await;
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let counted: (String, u32) =
            redis.command(&["PUBSUB", "NUMSUB", "jobs-gateway:v1:forget"]).await;
        if counted.1 == 2 {
            break;
        }
        assert!(Instant::now() < give_up, "the replicas do not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let job = one.create("acme", "{\"n\": 2}").await;
    for world in [&one, &other] {
        assert_eq!(
            world.get("acme", &job, "metadata").await.data("/getJob/metadata"),
            "{\"n\": 2}"
        );
    }
    // Carried out at once, and answered later than the caller waits.
    one.sandbox.fail_next(Some("updateJob"), Fault::SlowBody(Duration::from_secs(2)));
    let query =
        "mutation($id: String!) { updateJob(id: $id, metadata: \"{\\\"n\\\": 6}\") { id } }";
    let request = one.http.post(one.url()).header("authorization", key("acme"));
    let body = json!({"query": query, "variables": {"id": job}});
    let reply = send(request.header("x-request-timeout", "300ms").json(&body)).await;
    assert_eq!(reply.code(), "OUTCOME_UNKNOWN");
    for world in [&one, &other] {
        assert_eq!(
            world.get("acme", &job, "metadata").await.data("/getJob/metadata"),
            "{\"n\": 6}"
        );
    }
}

#[tokio::test]
async fn a_status_proves_that_nothing_was_done_only_if_it_refuses_the_request() {
    for (status, code) in [
        (204, "OUTCOME_UNKNOWN"),
        (302, "OUTCOME_UNKNOWN"),
        (408, "OUTCOME_UNKNOWN"),
        (409, "OUTCOME_UNKNOWN"),
        (400, "UPSTREAM_ERROR"),
        (404, "UPSTREAM_ERROR"),
        (413, "UPSTREAM_ERROR"),
    ] {
        let world = World::start().await;
        world.sandbox.fail_next(Some(CREATE), Fault::empty(status));
        assert_eq!(create(&world, "k-1").await.code(), code, "{status}");
    }
}

#[tokio::test]
async fn an_error_that_names_no_place_leaves_open_what_was_done() {
    let world = World::start().await;
    let unplaced = Fault::edit(|answer| {
        answer["data"] = json!(null);
        answer["errors"] = json!([{"message": "m", "path": null, "errorType": "Odd"}]);
    });
    world.sandbox.fail_next(Some(CREATE), unplaced);
    assert_eq!(create(&world, "k-1").await.code(), "OUTCOME_UNKNOWN");
    id(&create(&world, "k-1").await);
    assert_eq!(world.sandbox.job_count(), 1, "the retry finds it");
}

#[tokio::test]
async fn an_update_of_a_job_that_is_not_there_says_so_however_often_it_is_sent() {
    let world = World::start().await;
    let missing = "job-00000000-0000-4000-8000-000000000000";
    for _ in 0..2 {
        let reply = update(&world, "k-1", missing, Change::Name("new")).await;
        assert_eq!(reply.code(), "NOT_FOUND", "{reply:?}");
    }
    assert_eq!(world.sandbox.count("updateJob"), 0);
}

#[tokio::test]
async fn a_first_try_that_sends_nothing_says_why_also_where_entries_may_be_missing() {
    let world = World::start().await;
    let job = world.create("acme", "{}").await;
    let query = "mutation($take: String!, $m: AWSJSON) {
        createSingleCamJob(takeId: $take, metadata: $m) { id } }";
    let large = json!({"take": SINGLECAM_TAKE, "m": json!({"x": "y".repeat(20_000)}).to_string()});
    for _ in 0..2 {
        assert_eq!(keyed(&world, "large", query, &large).await.code(), "BAD_USER_INPUT");
    }
    let update = "mutation($id: String!, $m: AWSJSON) { updateJob(id: $id, metadata: $m) { id } }";
    let large = json!({"id": job, "m": large["m"]});
    assert_eq!(keyed(&world, "large-2", update, &large).await.code(), "BAD_USER_INPUT");
    // The breaker opens, and lets nothing through.
    world.sandbox.fail_always(None, Some(Fault::html(503)));
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        world.sandbox.clear_calls();
        world.get("acme", &job, "id").await;
        if world.sandbox.calls().is_empty() {
            break;
        }
        assert!(Instant::now() < give_up, "the breaker does not open");
    }
    world.sandbox.clear_faults();
    for own in ["k-1", "k-1", "k-2"] {
        let reply = create(&world, own).await;
        assert_eq!(reply.code(), "UPSTREAM_UNAVAILABLE", "{reply:?}");
    }
    assert_eq!(world.sandbox.calls().len(), 0);
    world.pass(Duration::from_secs(6)).await;
    // A try that may have been carried out leaves its doubt to those that send nothing.
    world.sandbox.fail_next(Some(CREATE), Fault::LoseAnswer);
    assert_eq!(create(&world, "k-3").await.code(), "OUTCOME_UNKNOWN");
    world.sandbox.fail_next(Some("listJobs"), Fault::html(503));
    assert_eq!(create(&world, "k-3").await.code(), "OUTCOME_UNKNOWN");
    id(&create(&world, "k-3").await);
    id(&create(&world, "k-1").await);
}

#[tokio::test]
async fn a_creation_that_does_not_say_which_job_it_made_is_found_by_its_mark() {
    let world = World::start().await;
    let silent = || Fault::edit(|answer| answer["data"][CREATE]["id"] = Value::Null);
    world.sandbox.fail_next(Some(CREATE), silent());
    let made = id(&create(&world, "k-1").await);
    assert_eq!(made, world.sandbox.jobs()[0].id);
    assert_eq!(id(&create(&world, "k-1").await), made);
    assert_eq!(world.sandbox.job_count(), 1);
    // Without a key there is no mark to look for.
    world.sandbox.fail_next(Some(CREATE), silent());
    let query = "mutation($take: String!) { createSingleCamJob(takeId: $take) { id } }";
    let reply = world.ask("acme", query, json!({"take": SINGLECAM_TAKE})).await;
    assert_eq!(reply.code(), "OUTCOME_UNKNOWN", "{reply:?}");
}
