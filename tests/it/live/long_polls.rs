//! `Prefer: wait`: a read of a job that is answered when the job changes.

use jobs_gateway::sandbox::{Fault, Job, State};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{pass_until, with_a_running_job};
use crate::support::{ALL, Reply, Setup, World, key, send};

/// Asks for a job's state, and would wait.
fn wait_for(world: &World, tenant: &str, job: &str, wait: &str) -> JoinHandle<Reply> {
    let query = "query($id: ID!) { getJob(jobId: $id) { state percentageComplete } }";
    let body = json!({"query": query, "variables": {"id": job}});
    let request = world.http.post(world.url()).header("authorization", key(tenant));
    tokio::spawn(send(request.header("prefer", wait).json(&body)))
}

fn applied(reply: &Reply) -> Option<&str> {
    reply.headers.get("preference-applied").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn whoever_waits_is_answered_when_the_job_changes_and_move_is_asked_once_for_all() {
    let (world, job) = with_a_running_job("").await;
    let waiting: Vec<_> =
        (0..200).map(|_| wait_for(&world, "acme", &job, "respond-async, wait=14")).collect();
    pass_until(&world, || world.sandbox.count("getJob") > 1).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "nothing has changed");
    let asked = world.sandbox.count("getJob");
    world.sandbox.set_state(&job, State::Finished);
    pass_until(&world, || waiting.iter().all(JoinHandle::is_finished)).await;
    assert_eq!(world.sandbox.count("getJob"), asked + 1);
    for reply in waiting {
        let reply = reply.await.unwrap();
        assert_eq!(reply.data("/getJob/state"), "FINISHED");
        assert_eq!(applied(&reply), Some("wait=14"));
    }
    // What is over is not waited for.
    let at_once = wait_for(&world, "acme", &job, "wait=14").await.unwrap();
    assert_eq!(
        (at_once.data("/getJob/state"), applied(&at_once)),
        (json!("FINISHED"), Some("wait=14"))
    );
}

#[tokio::test]
async fn a_wait_ends_with_its_time_and_outlives_trouble_at_move() {
    let (world, job) = with_a_running_job("").await;
    let waiting = wait_for(&world, "acme", &job, "wait=12");
    pass_until(&world, || world.sandbox.count("getJob") == 1).await;
    world.sandbox.fail_always(Some("getJob"), Some(Fault::empty(503)));
    pass_until(&world, || waiting.is_finished()).await;
    let reply = waiting.await.unwrap();
    assert_eq!((reply.status, reply.data("/getJob/state")), (200, json!("RUNNING")));
    assert!(world.sandbox.count("getJob") > 1, "it was asked for meanwhile");
}

#[tokio::test]
async fn what_did_not_change_is_told_as_it_is_at_the_end_of_the_wait() {
    let (world, job) = with_a_running_job("").await;
    let query = "query($id: ID!) { getJob(jobId: $id) { state name } }";
    let body = json!({"query": query, "variables": {"id": job}});
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let waiting = tokio::spawn(send(request.header("prefer", "wait=14").json(&body)));
    pass_until(&world, || world.sandbox.count("getJob") == 1).await;
    // Past the gateway, which looks at the state alone while it waits.
    let renamed = Job { name: Some("new".to_owned()), ..world.sandbox.job(&job).unwrap() };
    world.sandbox.add_job(renamed);
    pass_until(&world, || waiting.is_finished()).await;
    assert_eq!(waiting.await.unwrap().data("/getJob"), json!({"state": "RUNNING", "name": "new"}));
}

#[tokio::test]
async fn a_wait_ends_with_its_time_however_long_move_takes_and_says_where_its_answer_came_from() {
    let (world, job) = with_a_running_job("").await;
    world.get("acme", &job, "state percentageComplete").await;
    world.pass(std::time::Duration::from_secs(3)).await;
    // It begins with what is stale, and ends with what Move says now.
    let waiting = wait_for(&world, "acme", &job, "wait=14");
    pass_until(&world, || world.sandbox.count("getJob") > 1).await;
    world.sandbox.set_state(&job, State::Finished);
    pass_until(&world, || waiting.is_finished()).await;
    let reply = waiting.await.unwrap();
    assert_eq!(reply.data("/getJob/state"), "FINISHED");
    assert_ne!(reply.headers["x-cache"], "STALE", "{reply:?}");
    // The first read takes most of the time that its caller would wait.
    let (world, job) = with_a_running_job("").await;
    let slow = std::time::Duration::from_millis(2_500);
    world.sandbox.fail_next(Some("getJob"), Fault::Delay(slow));
    let began = std::time::Instant::now();
    let reply = wait_for(&world, "acme", &job, "wait=3").await.unwrap();
    assert_eq!((reply.data("/getJob/state"), applied(&reply)), (json!("RUNNING"), Some("wait=3")));
    assert!(began.elapsed() < slow + std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_wait_that_is_cut_says_for_how_long_it_was() {
    let (world, job) = with_a_running_job("").await;
    let waiting = wait_for(&world, "acme", &job, "wait=99999999999999");
    pass_until(&world, || waiting.is_finished()).await;
    let reply = waiting.await.unwrap();
    assert_eq!((reply.status, applied(&reply)), (200, Some("wait=15")), "{reply:?}");
}

#[tokio::test]
async fn who_waits_is_told_nothing_that_was_learnt_after_a_reload() {
    let (world, job) = with_a_running_job("").await;
    let waiting = wait_for(&world, "acme", &job, "wait=14");
    pass_until(&world, || world.sandbox.count("getJob") == 1).await;
    world.write_policy("acme", "operations: [listJobs]\ncache: {}\n");
    let query = format!("{{ getJob(jobId: \"{job}\") {{ id }} }}");
    while world.ask("acme", &query, json!({})).await.code() != "FORBIDDEN" {
        tokio::task::yield_now().await;
    }
    world.sandbox.set_state(&job, State::Finished);
    pass_until(&world, || waiting.is_finished()).await;
    assert_eq!(waiting.await.unwrap().data("/getJob/state"), "RUNNING");
}

#[tokio::test]
async fn a_foreign_job_is_not_waited_for_and_neither_is_anything_but_one_job() {
    let (world, job) = with_a_running_job("").await;
    let foreign = wait_for(&world, "globex", &job, "wait=14").await.unwrap();
    let missing = wait_for(&world, "globex", "job-none", "wait=14").await.unwrap();
    assert_eq!((foreign.code(), missing.code()), ("NOT_FOUND".into(), "NOT_FOUND".into()));
    for query in
        ["{ a: getJob(jobId: \"j\") { id } b: getJob(jobId: \"k\") { id } }", "{ __typename }"]
    {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let reply = send(request.header("prefer", "wait=14").json(&json!({"query": query}))).await;
        assert_eq!(applied(&reply), None, "{query}");
    }
}

#[tokio::test]
async fn who_waits_holds_a_place_among_streams_and_none_among_requests() {
    let policy = format!("{ALL}rate_limit: {{ max_in_flight: 1 }}\nsubscriptions: {{ max: 1 }}\n");
    let world = Setup::new().tenant("acme", policy).start().await;
    let job = world.create("acme", "{}").await;
    world.sandbox.set_state(&job, State::Running);
    world.sandbox.clear_calls();
    let waiting = wait_for(&world, "acme", &job, "wait=14");
    pass_until(&world, || world.sandbox.count("getJob") == 1).await;
    // Its first look holds one for a moment.
    let mut read = world.get("acme", &job, "state").await;
    while read.code() == "RATE_LIMITED" {
        tokio::task::yield_now().await;
        read = world.get("acme", &job, "state").await;
    }
    assert_eq!(read.data("/getJob/state"), "RUNNING");
    let second = wait_for(&world, "acme", &job, "wait=14").await.unwrap();
    assert_eq!((second.status, second.code()), (429, "RATE_LIMITED".into()));
    assert!(second.text.contains("1 streams and long polls are open"), "{second:?}");
    // A write through the gateway is looked at at once; a state that stays is waited for on.
    let update = "mutation($id: String!) { updateJob(id: $id, metadata: \"{}\") { id } }";
    let updated = world.ask("acme", update, json!({"id": job})).await;
    assert!(updated.json().get("errors").is_none(), "{updated:?}");
    assert!(!waiting.is_finished());
    waiting.abort();
    let mut third = wait_for(&world, "acme", &job, "wait=1");
    pass_until(&world, || third.is_finished()).await;
    while (&mut third).await.unwrap().status == 429 {
        third = wait_for(&world, "acme", &job, "wait=1");
        pass_until(&world, || third.is_finished()).await;
    }
}
