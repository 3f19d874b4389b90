//! `getJob` from memory: what is answered so, and what never is.

use std::time::Duration;

use futures_util::future::join_all;
use jobs_gateway::sandbox::{Fault, Job, SandboxOptions};
use reqwest::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use serde_json::json;

use crate::support::{Reply, Setup, World, key, send};

/// Tenants under the default policy for caching, but for the lines that are given.
async fn world_with(sandbox: SandboxOptions, lines: &str) -> World {
    let policy = format!("operations: [\"*\"]\ncache: {{ get_job: {{ {lines} }} }}\n");
    Setup::new()
        .sandbox(sandbox)
        .tenant("acme", policy.clone())
        .tenant("globex", policy)
        .start()
        .await
}

async fn world() -> World {
    world_with(SandboxOptions::default(), "").await
}

fn x_cache(reply: &Reply) -> &str {
    reply.headers.get("x-cache").map_or("", |value| value.to_str().unwrap())
}

fn reads(world: &World) -> usize {
    world.sandbox.count("getJob")
}

#[tokio::test]
async fn polling_asks_move_once_an_interval() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    for expected in ["MISS", "HIT", "HIT"] {
        let reply = world.get("acme", &id, "id state").await;
        assert_eq!((x_cache(&reply), reply.data("/getJob/id")), (expected, json!(id)));
    }
    assert_eq!(reads(&world), 1);
    world.pass(Duration::from_secs(3)).await;
    assert_eq!(x_cache(&world.get("acme", &id, "id state").await), "STALE");
    while reads(&world) < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_is_served_when_what_is_known_covers_it_and_else_the_union_is_fetched() {
    let world = world().await;
    let id = world.create("acme", "{\"shot\": 1}").await;
    let mut seen = Vec::new();
    for selection in [
        "id state take { id name }",
        "take { name }",
        "name",
        "id name take { id }",
        "metadata client { name }",
    ] {
        let reply = world.get("acme", &id, selection).await;
        reply.data("/getJob");
        seen.push(x_cache(&reply).to_owned());
    }
    assert_eq!(seen, ["MISS", "HIT", "MISS", "HIT", "MISS"]);
    let calls = world.sandbox.calls();
    let second = calls.iter().filter(|call| call.field == "getJob").nth(1);
    assert!(second.unwrap().query.contains("take {id metadata name}"), "the union");
}

#[tokio::test]
async fn a_thousand_concurrent_reads_of_a_cold_job_make_one_call() {
    let world = world_with(SandboxOptions::default(), "unfinished: 60s").await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_latency(Duration::from_millis(200));
    let replies = join_all((0..1000).map(|_| world.get("acme", &id, "id state"))).await;
    assert_eq!(reads(&world), 1);
    assert_eq!(replies.iter().filter(|reply| x_cache(reply) == "MISS").count(), 1);
    for reply in &replies {
        assert_eq!(reply.data("/getJob/id"), json!(id));
    }
}

#[tokio::test]
async fn whoever_started_a_fetch_may_go_away_and_a_failed_one_is_not_shared_later() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_latency(Duration::from_millis(300));
    let leaving = tokio::time::timeout(Duration::from_millis(100), world.get("acme", &id, "id"));
    let (left, joined) = tokio::join!(leaving, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.get("acme", &id, "id").await
    });
    assert!(left.is_err(), "it went away");
    assert_eq!((x_cache(&joined), joined.data("/getJob/id")), ("COALESCED", json!(id)));
    assert_eq!(reads(&world), 1);

    let other = world.create("acme", "{}").await;
    world.sandbox.clear_calls();
    world.sandbox.fail_next(Some("getJob"), Fault::html(502));
    let failed = join_all((0..10).map(|_| world.get("acme", &other, "id"))).await;
    assert!(failed.iter().all(|reply| reply.code() == "UPSTREAM_ERROR"), "{failed:?}");
    assert_eq!(x_cache(&world.get("acme", &other, "id").await), "MISS");
    assert_eq!(reads(&world), 2);
}

#[tokio::test]
async fn who_joins_a_fetch_has_its_own_time_and_not_that_of_who_began_it() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_latency(Duration::from_millis(600));
    let body = json!({"query": format!("{{ getJob(jobId: \"{id}\") {{ id }} }}")});
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let hurried = send(request.header("x-request-timeout", "200ms").json(&body));
    let patient = async {
        while reads(&world) == 0 {
            tokio::task::yield_now().await;
        }
        world.post("acme", &body).await
    };
    let (hurried, patient) = tokio::join!(hurried, patient);
    assert_eq!(hurried.code(), "UPSTREAM_TIMEOUT");
    assert_eq!((x_cache(&patient), patient.data("/getJob/id")), ("COALESCED", json!(id)));
    assert_eq!(reads(&world), 1);
}

#[tokio::test]
async fn nothing_is_shared_across_tenants_not_even_that_a_job_is_missing() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    world.get("acme", &id, "id").await.data("/getJob/id");
    for expected in ["MISS", "HIT"] {
        let foreign = world.get("globex", &id, "id").await;
        assert_eq!((x_cache(&foreign), foreign.code().as_str()), (expected, "NOT_FOUND"));
    }
    let missing = world.get("globex", "job-nowhere", "id").await;
    assert_eq!((x_cache(&missing), missing.code().as_str()), ("MISS", "NOT_FOUND"));
    assert_eq!(reads(&world), 3);
}

#[tokio::test]
async fn errors_are_not_remembered() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    for _ in 0..2 {
        world.sandbox.fail_next(Some("getJob"), Fault::html(500));
        assert_eq!(world.get("acme", &id, "id").await.code(), "UPSTREAM_ERROR");
    }
    assert_eq!(world.get("acme", &id, "id").await.data("/getJob/id"), json!(id));
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_also_when_its_outcome_is_unknown() {
    let world = world().await;
    let id = world.create("acme", "{\"n\": 0}").await;
    let update = "mutation($id: String!, $m: AWSJSON) { updateJob(id: $id, metadata: $m) { id } }";
    for n in 1..4 {
        world.get("acme", &id, "metadata").await.data("/getJob/metadata");
        let metadata = format!("{{\"n\": {n}}}");
        if n == 3 {
            world.sandbox.fail_next(Some("updateJob"), Fault::LoseAnswer);
        }
        let reply = world.ask("acme", update, json!({"id": id, "m": metadata})).await;
        assert_eq!(reply.code(), if n == 3 { "OUTCOME_UNKNOWN" } else { "" });
        let read = world.get("acme", &id, "metadata").await;
        assert_eq!(read.data("/getJob/metadata"), json!(metadata));
    }
}

#[tokio::test]
async fn a_fetch_that_began_before_a_write_never_puts_the_old_answer_back() {
    let world = world().await;
    let id = world.create("acme", "{\"n\": 0}").await;
    // The read is answered from the old state, and its answer is under way while the write happens.
    world.sandbox.fail_next(Some("getJob"), Fault::Delay(Duration::from_millis(400)));
    let slow = world.get("acme", &id, "metadata");
    let write = async {
        while reads(&world) == 0 {
            tokio::task::yield_now().await;
        }
        let update =
            "mutation($id: String!) { updateJob(id: $id, metadata: \"{\\\"n\\\": 1}\") { id } }";
        world.ask("acme", update, json!({"id": id})).await.data("/updateJob/id");
        world.get("acme", &id, "metadata").await
    };
    let (_, read) = tokio::join!(slow, write);
    assert_eq!(read.data("/getJob/metadata"), json!("{\"n\": 1}"), "while the old fetch flies");
    let read = world.get("acme", &id, "metadata").await;
    assert_eq!(read.data("/getJob/metadata"), json!("{\"n\": 1}"), "after it landed");
}

#[tokio::test]
async fn operators_forget_a_job_or_a_tenant_at_the_admin_listener() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    let admin = format!("http://{}/cache/invalidate", world.admin);
    for body in [json!({"tenant": "acme", "job": id}), json!({"tenant": "acme"})] {
        world.get("acme", &id, "id").await;
        assert_eq!(x_cache(&world.get("acme", &id, "id").await), "HIT");
        let reply = send(world.http.post(&admin).body(body.to_string())).await;
        assert_eq!(reply.status, 204, "{reply:?}");
        assert_eq!(x_cache(&world.get("acme", &id, "id").await), "MISS");
    }
    for bad in ["", "{}", r#"{"tenant": "acme", "jbo": "x"}"#, r#"{"tenant": "_"}"#] {
        assert_eq!(send(world.http.post(&admin).body(bad)).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn operators_forget_a_take_file_or_volume_by_its_id() {
    let world = world().await;
    let own = r#"{"acme":{},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#;
    world.sandbox.add_take("take-own", Some(own));
    world.sandbox.add_file("file-own", Some(own));
    world.sandbox.add_volume("volume-own", Some(own));
    let admin = format!("http://{}/cache/invalidate", world.admin);
    for (id, query) in [
        ("take-own", "{ getTake(takeId: \"take-own\") { id } }"),
        ("file-own", "{ getFile(fileId: \"file-own\") { id } }"),
        ("volume-own", "{ getVolume(id: \"volume-own\") { ... on HumanVolume { id } } }"),
    ] {
        world.ask("acme", query, json!({})).await;
        assert_eq!(x_cache(&world.ask("acme", query, json!({})).await), "HIT", "{id}");
        let body = json!({"tenant": "acme", "id": id}).to_string();
        assert_eq!(send(world.http.post(&admin).body(body)).await.status, 204);
        assert_eq!(x_cache(&world.ask("acme", query, json!({})).await), "MISS", "{id}");
    }
    for bad in
        [json!({"id": "rig-1"}), json!({"id": "job-1", "job": "job-1"}), json!({"job": "take-1"})]
    {
        let mut body = bad.clone();
        body["tenant"] = "acme".into();
        let refused = send(world.http.post(&admin).body(body.to_string())).await;
        assert_eq!(refused.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_url_in_the_answer_still_works_for_a_minute_when_it_is_handed_out() {
    let sandbox = SandboxOptions {
        step: Duration::from_secs(1),
        url_lifetime: Duration::from_secs(200),
        ..SandboxOptions::default()
    };
    let world = world_with(sandbox, "").await;
    let id = world.create("acme", "{}").await;
    world.pass(Duration::from_secs(10)).await;
    let selection = "state outputs { file { presignedUrl } }";
    let first = world.get("acme", &id, selection).await;
    assert_eq!(first.data("/getJob/state"), json!("FINISHED"));
    // Policy says ten minutes; the URL lives 200 s: fresh for 140 s, the least of 150 and 140.
    world.pass(Duration::from_secs(130)).await;
    assert_eq!(x_cache(&world.get("acme", &id, selection).await), "HIT");
    world.pass(Duration::from_secs(11)).await;
    world.sandbox.fail_always(Some("getJob"), Some(Fault::html(502)));
    let reply = world.get("acme", &id, selection).await;
    assert_eq!(reply.code(), "UPSTREAM_ERROR", "not even when Move is down: {reply:?}");
}

#[tokio::test]
async fn finished_jobs_still_answer_while_move_is_down_for_an_hour_and_say_that_they_are_stale() {
    let sandbox = SandboxOptions { step: Duration::from_secs(1), ..SandboxOptions::default() };
    let world = world_with(sandbox, "").await;
    let id = world.create("acme", "{}").await;
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(world.get("acme", &id, "id state").await.data("/getJob/state"), json!("FINISHED"));
    world.sandbox.fail_always(Some("getJob"), Some(Fault::html(503)));
    for minute in (0..60).step_by(4) {
        let reply = world.get("acme", &id, "id state").await;
        assert_eq!(reply.data("/getJob/state"), json!("FINISHED"), "minute {minute}");
        if minute > 10 {
            assert_eq!(x_cache(&reply), "STALE");
            let age = reply.json()["extensions"]["cache"]["age"].as_u64().unwrap();
            assert!(age >= minute * 60, "{age} s at minute {minute}");
            assert_eq!(reply.headers["age"].to_str().unwrap(), age.to_string());
            assert_eq!(reply.json()["extensions"]["cache"]["status"], "STALE");
        }
        world.pass(Duration::from_mins(4)).await;
    }
    world.pass(Duration::from_mins(12)).await;
    assert_eq!(world.get("acme", &id, "id state").await.code(), "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn that_a_job_is_missing_is_never_said_past_its_time() {
    let lines = "not_found: 1s, stale_while_revalidate: 1h, stale_if_error: 1h";
    let world = world_with(SandboxOptions::default(), lines).await;
    assert_eq!(world.get("acme", "job-late", "id").await.code(), "NOT_FOUND");
    world.pass(Duration::from_millis(1_500)).await;
    let late = Job { id: "job-late".to_owned(), ..Job::new(world.sandbox.now()) };
    let metadata = Some(r#"{"_gateway":{"v":1,"owner":"acme","by":"k"}}"#.to_owned());
    world.sandbox.add_job(Job { metadata, ..late });
    world.sandbox.fail_next(Some("getJob"), Fault::html(503));
    assert_eq!(world.get("acme", "job-late", "id").await.code(), "UPSTREAM_UNAVAILABLE");
    world.get("acme", "job-late", "id").await.data("/getJob/id");
}

#[tokio::test]
async fn no_cache_forces_a_fresh_read_where_policy_permits() {
    let heeding = "operations: [\"*\"]\ncache: { get_job: { no_cache: true } }\n".to_owned();
    let deaf = "operations: [\"*\"]\ncache: {}\n".to_owned();
    let world = Setup::new().tenant("acme", heeding).tenant("globex", deaf).start().await;
    for (tenant, expected) in [("acme", "MISS"), ("globex", "HIT")] {
        let id = world.create(tenant, "{}").await;
        world.get(tenant, &id, "id").await;
        let query = json!({"query": format!("{{ getJob(jobId: \"{id}\") {{ id }} }}")});
        let ask = || world.http.post(world.url()).header("authorization", key(tenant)).json(&query);
        send(ask()).await;
        let forced = send(ask().header(CACHE_CONTROL, "max-age=0, No-Cache")).await;
        assert_eq!(x_cache(&forced), expected);
    }
}

#[tokio::test]
async fn a_get_may_be_kept_by_its_caller_and_is_validated_by_its_bytes() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    let query = format!("{{ getJob(jobId: \"{id}\") {{ id }} }}");
    let url = format!("{}?{}", world.url(), serde_urlencoded(&[("query", &query)]));
    let ask = || world.http.get(&url).header("authorization", key("acme"));
    let first = send(ask()).await;
    assert_eq!(first.headers[CACHE_CONTROL], "private, max-age=1");
    let etag = first.headers[ETAG].clone();
    for validator in [etag.to_str().unwrap().to_owned(), "W/\"x\", *".to_owned()] {
        let second = send(ask().header(IF_NONE_MATCH, validator)).await;
        assert_eq!((second.status, second.text.as_str()), (304, ""));
        assert_eq!(second.headers[ETAG], etag);
    }
    assert_eq!(send(ask().header(IF_NONE_MATCH, "\"other\"")).await.status, 200);
    let post = world.get("acme", &id, "id").await;
    assert_eq!(post.headers[CACHE_CONTROL], "no-store");
}

fn serde_urlencoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[tokio::test]
async fn introspection_is_answered_with_stored_bytes_until_the_rules_change() {
    let world = world().await;
    let query = "{ __schema { queryType { name } } }";
    let first = world.ask("acme", query, json!({})).await;
    let second = world.ask("acme", query, json!({})).await;
    assert_eq!((x_cache(&first), x_cache(&second)), ("MISS", "HIT"));
    assert_eq!(first.text, second.text);
    world.write_policy("acme", "introspection: false\ncache: {}\n");
    while world.ask("acme", query, json!({})).await.code() != "FORBIDDEN" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_key_with_fewer_rights_gets_no_answer_that_was_stored_for_another() {
    let policy = format!(
        "operations: [getJob, listJobs, createSingleCamJob]\ncache: {{}}\nauth: {{ api_keys: [\
         {{ id: main, sha256: {} }}, {{ id: lister, sha256: {}, operations: [listJobs] }}] }}\n",
        jobs_gateway::model::KeyHash::of(key("acme").as_bytes()),
        jobs_gateway::model::KeyHash::of(key("lister").as_bytes())
    );
    let world = Setup::new().tenant("acme", policy).start().await;
    let id = world.create("acme", "{}").await;
    for _ in 0..2 {
        world.get("acme", &id, "id").await.data("/getJob/id");
    }
    let refused = world.get("lister", &id, "id").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "FORBIDDEN"));
}

#[tokio::test]
async fn several_reads_in_one_request_are_as_good_as_the_worst_of_them() {
    let world = world().await;
    let (a, b) = (world.create("acme", "{}").await, world.create("acme", "{}").await);
    world.get("acme", &a, "id").await;
    let query =
        format!("{{ a: getJob(jobId: \"{a}\") {{ id }} b: getJob(jobId: \"{b}\") {{ id }} }}");
    for expected in ["MISS", "HIT"] {
        let reply = world.ask("acme", &query, json!({})).await;
        assert_eq!((reply.data("/a/id"), x_cache(&reply)), (json!(a), expected));
    }
    let mixed = format!("{{ getJob(jobId: \"{a}\") {{ id }} listJobs {{ first }} }}");
    world.ask("acme", &mixed, json!({})).await.data("/listJobs/first");
    world.create("acme", "{}").await;
    world.ask("acme", &mixed, json!({})).await.data("/listJobs/first");
    assert_eq!(world.sandbox.count("listJobs"), 2, "an answer with a listing is never kept");
}

#[tokio::test]
async fn partial_errors_reach_those_who_asked_for_the_field_and_are_not_remembered() {
    let world = world().await;
    let id = world.create("acme", "{}").await;
    let metadata = world.sandbox.job(&id).unwrap().metadata;
    let partial = json!({
        "data": {"getJob": {"id": id, "metadata": metadata, "state": "RUNNING", "name": null}},
        "errors": [{"path": ["getJob", "name"], "message": "no name today", "errorType": "Odd"}],
    });
    world.sandbox.fail_next(Some("getJob"), Fault::json(200, partial.to_string()));
    let reply = world.get("acme", &id, "id name").await.json();
    assert_eq!(reply["errors"][0]["path"], json!(["getJob", "name"]));
    assert_eq!(reply["data"]["getJob"]["id"], json!(id));
    let again = world.get("acme", &id, "id name").await;
    assert_eq!((x_cache(&again), again.data("/getJob/id")), ("MISS", json!(id)));
}
