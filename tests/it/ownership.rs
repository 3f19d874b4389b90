//! No tenant sees, changes or learns of another tenant's job.

use jobs_gateway::sandbox::{Job, SINGLECAM_TAKE, SandboxOptions, State};
use serde_json::{Value, json};

use crate::support::{Reply, Setup, World};

/// An answer without what differs from one request to the next.
fn comparable(reply: Reply) -> String {
    format!("{:?}", reply.comparable())
}

#[tokio::test]
async fn foreign_missing_and_unclaimed_jobs_have_one_answer_and_cost_the_same_calls() {
    let world = World::start().await;
    let foreign = world.create("globex", "{}").await;
    let missing = "job-43171933-7526-41a9-a1e2-d6ef328e2cbe".to_owned();
    let unclaimed = Job { metadata: Some("{}".into()), ..Job::new(world.sandbox.now()) };
    let ids = [foreign, missing, unclaimed.id.clone()];
    world.sandbox.add_job(unclaimed);
    for document in [
        "query($id: ID!) { getJob(jobId: $id) { id metadata take { id } outputs { file { presignedUrl } } } }",
        "query($id: ID!) { getJob(jobId: $id) { __typename } }",
        "mutation($id: String!) { updateJob(id: $id, name: \"mine\") { id } }",
        "mutation($id: String!) { updateJob(id: $id, metadata: \"{}\") { id client { portal } } }",
    ] {
        let mut answers = Vec::new();
        for id in &ids {
            world.sandbox.clear_calls();
            let reply = world.ask("acme", document, json!({"id": id})).await;
            assert_eq!(reply.code(), "NOT_FOUND");
            let calls: Vec<_> =
                world.sandbox.calls().into_iter().map(|call| (call.field, call.query)).collect();
            assert_eq!(calls.len(), 1);
            answers.push((comparable(reply), calls));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    }
    for id in &ids {
        let is_untouched = world.sandbox.job(id).is_none_or(|job| job.name.is_none());
        assert!(is_untouched, "{id} was changed");
    }
}

#[tokio::test]
async fn what_a_tenant_stores_comes_back_to_the_letter_and_cannot_forge_the_record() {
    let world = World::start().await;
    for metadata in [
        r#"{"b":1, "a" : 2,"a":3}"#,
        "123456789012345678901234567890.10e5",
        "null",
        r#""{\"twice\": \"encoded\"}""#,
        r#"{"_gateway":{"v":1,"owner":"globex","by":"x"}}"#,
        r#"{"acme":{"_gateway":{"v":1,"owner":"globex"}}}"#,
        "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
        r#""\u0000 \ud83d\ude00""#,
    ] {
        let id = world.create("acme", metadata).await;
        let job = world.get("acme", &id, "metadata").await.data("/getJob");
        assert_eq!(job["metadata"], metadata);
        assert_eq!(world.get("globex", &id, "id").await.code(), "NOT_FOUND");
        let update =
            "mutation($id: String!, $m: AWSJSON) { updateJob(id: $id, metadata: $m) { metadata } }";
        let variables = json!({"id": id, "m": metadata});
        let job = world.ask("acme", update, variables).await.data("/updateJob");
        assert_eq!(job["metadata"], metadata);
    }
}

#[tokio::test]
async fn the_envelope_names_owner_credential_and_stamp_and_an_update_keeps_them() {
    let policy = "operations: [\"*\"]
metadata: { namespace: studio, stamp: { cost_center: \"4711\", n: 7 } }\n";
    let world = Setup::new().tenant("acme", policy).start().await;
    let id = world.create("acme", r#"{"shot": 1}"#).await;
    let stored = || world.sandbox.job(&id).unwrap().metadata.unwrap();
    let record =
        r#""_gateway":{"v":1,"owner":"acme","by":"main","stamp":{"cost_center":"4711","n":7}}"#;
    assert_eq!(stored(), format!(r#"{{"studio":{{"shot": 1}},{record}}}"#));

    let rename = "mutation($id: String!) { updateJob(id: $id, name: \"walk\") { id } }";
    world.ask("acme", rename, json!({"id": id})).await.data("/updateJob");
    assert_eq!(stored(), format!(r#"{{"studio":{{"shot": 1}},{record}}}"#));

    let change = "mutation($id: String!) { updateJob(id: $id, metadata: \"2\") { metadata } }";
    world.ask("acme", change, json!({"id": id})).await.data("/updateJob");
    assert_eq!(stored(), format!(r#"{{"studio":2,{record}}}"#));
    assert_eq!(world.get("acme", &id, "metadata").await.data("/getJob/metadata"), "2");
}

#[tokio::test]
async fn other_namespaces_survive_an_update() {
    let world = World::start().await;
    let shared =
        r#"{"billing":{"n":1.0},"acme":{"old":1},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#;
    let job = Job { metadata: Some(shared.into()), ..Job::new(world.sandbox.now()) };
    let id = job.id.clone();
    world.sandbox.add_job(job);
    let change = "mutation($id: String!) { updateJob(id: $id, metadata: \"{}\") { metadata } }";
    let reply = world.ask("acme", change, json!({"id": id})).await;
    assert_eq!(reply.data("/updateJob/metadata"), "{}");
    assert_eq!(
        world.sandbox.job(&id).unwrap().metadata.unwrap(),
        r#"{"acme":{},"billing":{"n":1.0},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#
    );
}

#[tokio::test]
async fn unclaimed_jobs_can_be_read_where_policy_says_and_never_changed() {
    let policy = "operations: [\"*\"]\nmetadata: { unclaimed_jobs: read }\n".to_owned();
    let world = Setup::new().tenant("acme", policy).start().await;
    let job =
        Job { metadata: Some(r#"{"made": "in Move"}"#.into()), ..Job::new(world.sandbox.now()) };
    let id = job.id.clone();
    world.sandbox.add_job(job);
    let read = world.get("acme", &id, "metadata").await;
    assert_eq!(read.data("/getJob/metadata"), r#"{"made": "in Move"}"#);
    let page = world.ask("acme", "{ listJobs { items { id } } }", json!({})).await;
    assert_eq!(page.data("/listJobs/items/0/id"), id.as_str());
    let rename = "mutation($id: String!) { updateJob(id: $id, name: \"x\") { id } }";
    let reply = world.ask("acme", rename, json!({"id": id})).await;
    assert_eq!(reply.code(), "FORBIDDEN");
    assert_eq!(world.sandbox.count("updateJob"), 0);
}

#[tokio::test]
async fn metadata_of_a_take_is_shown_out_of_its_envelope_or_not_at_all() {
    let world = World::start().await;
    for (take, metadata, shown) in [
        (
            "take-own",
            r#"{"acme":{"t":1},"_gateway":{"v":1,"owner":"acme"}}"#,
            json!({"metadata": r#"{"t":1}"#}),
        ),
        ("take-foreign", r#"{"globex":{"t":1},"_gateway":{"v":1,"owner":"globex"}}"#, json!(null)),
        ("take-plain", r#"{"t":1}"#, json!({"metadata": r#"{"t":1}"#})),
    ] {
        world.sandbox.add_take(take, Some(metadata));
        // One that began on a take of somebody else's.
        let own = Some(r#"{"_gateway":{"v":1,"owner":"acme","by":"k"}}"#.to_owned());
        let job = Job { take: take.to_owned(), metadata: own, ..Job::new(world.sandbox.now()) };
        let id = job.id.clone();
        world.sandbox.add_job(job);
        let reply = world.get("acme", &id, "take { metadata }").await;
        assert_eq!(reply.data("/getJob")["take"], shown, "{take}");
    }
}

const ON_TAKE: &str = "mutation($take: String!) { createSingleCamJob(takeId: $take) { id } }";

/// The answers to a creation on each of these takes, and the calls it made: the same for all.
async fn refused_alike(world: &World, takes: &[&str]) {
    let mut answers = Vec::new();
    for take in takes {
        world.sandbox.clear_calls();
        let reply = world.ask("acme", ON_TAKE, json!({"take": take})).await;
        assert_eq!(reply.code(), "NOT_FOUND", "{take}");
        assert_eq!(world.sandbox.calls().len(), 1, "{take}");
        answers.push(comparable(reply));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn a_job_needs_a_take_with_the_tenants_envelope() {
    for takes in ["", "takes: { unclaimed: hide }\n", "takes: { owned: true }\n"] {
        let policy = format!("operations: [\"*\"]\n{takes}# takes:\n");
        let world = Setup::new().tenant("acme", policy).start().await;
        world.sandbox.add_take("take-own", Some(r#"{"_gateway":{"v":1,"owner":"acme"}}"#));
        world.sandbox.add_take("take-foreign", Some(r#"{"_gateway":{"v":1,"owner":"globex"}}"#));
        refused_alike(&world, &["take-foreign", "take-missing", SINGLECAM_TAKE]).await;
        for calls in [2, 1] {
            world.sandbox.clear_calls();
            let reply = world.ask("acme", ON_TAKE, json!({"take": "take-own"})).await;
            assert!(reply.data("/createSingleCamJob/id").is_string());
            assert_eq!(world.sandbox.calls().len(), calls, "what was proven is not asked again");
        }
    }
}

#[tokio::test]
async fn a_take_of_another_tenant_can_never_be_used_whatever_policy_says_of_takes() {
    for takes in ["takes: { unclaimed: use }\n", "takes: { owned: false }\n"] {
        let policy = format!("operations: [\"*\"]\n{takes}");
        let world = Setup::new().tenant("acme", policy).start().await;
        world.sandbox.add_take("take-foreign", Some(r#"{"_gateway":{"v":1,"owner":"globex"}}"#));
        refused_alike(&world, &["take-foreign", "take-missing"]).await;
        for _ in 0..2 {
            world.sandbox.clear_calls();
            let reply = world.ask("acme", ON_TAKE, json!({"take": SINGLECAM_TAKE})).await;
            assert!(reply.data("/createSingleCamJob/id").is_string());
            // It may become somebody's any time.
            assert_eq!(world.sandbox.calls().len(), 2);
        }
    }
}

#[tokio::test]
async fn what_is_another_tenants_is_not_there_also_where_it_stands_inside_ones_own() {
    let world = World::start().await;
    let on = |take: &str, owner: &str| {
        world
            .sandbox
            .add_take(take, Some(&format!(r#"{{"_gateway":{{"v":1,"owner":"{owner}"}}}}"#)));
        let metadata = Some(r#"{"_gateway":{"v":1,"owner":"acme"}}"#.into());
        let job = Job { metadata, take: take.to_owned(), ..Job::new(world.sandbox.now()) };
        let id = job.id.clone();
        world.sandbox.add_job(job);
        id
    };
    let (own, foreign) = (on("take-own", "acme"), on("take-foreign", "globex"));
    for fields in [
        "take { id name }",
        "take { __typename }",
        "take { metadata sources { file { presignedUrl } } }",
    ] {
        let job = world.get("acme", &own, fields).await.data("/getJob");
        assert!(job["take"].is_object(), "{job}");
        let job = world.get("acme", &foreign, fields).await.data("/getJob");
        assert_eq!(job, json!({"take": null}));
        let query = format!("{{ listJobs {{ items {{ {fields} }} }} }}");
        let items = world.ask("acme", &query, json!({})).await.data("/listJobs/items");
        let shown = items.as_array().unwrap().iter().filter(|job| job["take"].is_object()).count();
        assert_eq!((items.as_array().unwrap().len(), shown), (2, 1), "{items}");
    }
}

#[tokio::test]
async fn ids_of_another_kind_and_impossible_times_are_refused_before_anything_is_sent() {
    let world = World::start().await;
    let job = |arguments: &str| format!("mutation {{ createSingleCamJob({arguments}) {{ id }} }}");
    for (query, said) in [
        (
            "{ getJob(jobId: \"take-1\") { id } }".to_owned(),
            "\"jobId\": a job id is of another kind",
        ),
        (
            "{ listJobs(takeId: \"job-1\") { first } }".to_owned(),
            "\"takeId\": a take id is of another",
        ),
        (job("takeId: \"job-1\""), "\"takeId\": a take id is of another kind"),
        (job("takeId: \"\""), "\"takeId\": a take id is empty"),
        (
            job("takeId: \"take-1\", clipWindow: {startTime: -1, endTime: 2}"),
            "\"clipWindow\": startTime is negative",
        ),
        (
            job("takeId: \"take-1\", clipWindow: {startTime: 2, endTime: 2}"),
            "\"clipWindow\": endTime is not after startTime",
        ),
        (
            "mutation { updateJob(id: \"take-1\", name: \"n\") { id } }".to_owned(),
            "\"id\": a job id is of another kind",
        ),
    ] {
        let reply = world.ask("acme", &query, json!({})).await;
        assert_eq!(reply.code(), "BAD_USER_INPUT", "{query}: {reply:?}");
        let json = reply.json();
        let message = json["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(said), "{query}: {message}");
        assert_eq!(world.sandbox.calls().len(), 0, "{query}");
    }
}

#[tokio::test]
async fn a_tenant_with_an_account_of_its_own_is_alone_in_it() {
    let keys = vec!["sandbox-move-key".to_owned(), "other-move-key".to_owned()];
    let sandbox = SandboxOptions { api_keys: keys, ..SandboxOptions::default() };
    let all = "operations: [\"*\"]\n".to_owned();
    let own = format!("{all}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n");
    let world =
        Setup::new().sandbox(sandbox).tenant("acme", all).tenant("globex", own).start().await;
    let acmes = world.create("acme", "{}").await;
    let globexs = world.create("globex", r#"{"g":1}"#).await;
    assert_eq!(world.sandbox.calls().last().unwrap().api_key, "other-move-key");
    assert_eq!(
        world.get("globex", &globexs, "metadata").await.data("/getJob/metadata"),
        r#"{"g":1}"#
    );
    assert_eq!(world.get("acme", &globexs, "id").await.code(), "NOT_FOUND");
    assert_eq!(world.get("globex", &acmes, "id").await.code(), "NOT_FOUND");
    for _ in 0..4 {
        world.create("globex", "{}").await;
    }
    world.sandbox.clear_calls();
    let list =
        "query($after: AWSJSON) { listJobs(first: 3, after: $after) { after items { id } } }";
    let first = world.ask("globex", list, json!({})).await.data("/listJobs");
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let rest = world.ask("globex", list, json!({"after": first["after"]})).await.data("/listJobs");
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["after"]), (2, &Value::Null));
    assert_eq!(world.sandbox.calls().len(), 2, "pages straight through");
    assert!(world.sandbox.calls().iter().all(|call| call.variables["first"] == 3));
}

#[tokio::test]
async fn states_and_progress_move_with_time() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let job = world
            .get("acme", &id, "state percentageComplete progress { state }")
            .await
            .data("/getJob");
        assert_eq!(job["state"], job["progress"]["state"]);
        seen.push((
            job["state"].as_str().unwrap().to_owned(),
            job["percentageComplete"].as_i64().unwrap(),
        ));
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        tokio::time::resume();
    }
    let states: Vec<_> = seen.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["NOT_STARTED", "STARTED", "RUNNING", "FINISHED"]);
    assert!(seen.is_sorted_by_key(|(_, percentage)| *percentage) && seen[3].1 == 100, "{seen:?}");
    world.sandbox.set_state(&id, State::Failed);
    assert_eq!(world.get("acme", &id, "state").await.data("/getJob/state"), "FAILED");
}
