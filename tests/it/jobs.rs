//! The main job: create, read, list, update, with a key of one's own.

use jobs_gateway::sandbox::{Fault, MULTICAM_TAKE, SINGLECAM_TAKE, SandboxOptions, State};
use serde_json::{Value, json};

use crate::support::{Setup, World, key, send};

#[tokio::test]
async fn a_job_is_created_read_listed_and_updated() {
    let world = World::start().await;
    let id = world.create("acme", r#"{"shot": 12}"#).await;
    let job = world.get("acme", &id, "id metadata name").await.data("/getJob");
    assert_eq!(job, json!({"id": id, "metadata": r#"{"shot": 12}"#, "name": null}));

    let update = "mutation($id: String!) { updateJob(id: $id, name: \"walk\") { name metadata } }";
    let job = world.ask("acme", update, json!({"id": id})).await.data("/updateJob");
    assert_eq!(job, json!({"name": "walk", "metadata": r#"{"shot": 12}"#}));

    let page = world.ask("acme", "{ listJobs { first after items { id name } } }", json!({})).await;
    assert_eq!(
        page.data("/listJobs"),
        json!({"first": 50, "after": null, "items": [{"id": id, "name": "walk"}]})
    );
}

#[tokio::test]
async fn upstream_is_asked_for_what_was_selected_and_what_ownership_needs() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.clear_calls();
    let query = "query($id: ID!, $no: Boolean = false) {
        j: getJob(jobId: $id) {
            ...Files
            state @include(if: $no)
            percentageComplete
            client { portal }
            take { __typename volume { ... on HumanVolume { humanHeight } } }
        } }
        fragment Files on Job { out: outputs { file { name } } outputs { key @skip(if: true) file { type } } }";
    world.ask("acme", query, json!({"id": id})).await.data("/j");
    let calls = world.sandbox.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].query,
        "query getJob($jobId: ID!) { getJob(jobId: $jobId) {client {__typename} id metadata \
         outputs {file {id metadata name type}} progress {percentageComplete} \
         state take {metadata volume {... on HumanVolume {humanHeight metadata} __typename}}} }"
    );
}

#[tokio::test]
async fn root_fields_of_a_query_are_read_side_by_side_and_answered_in_their_order() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.fail_next(Some("getJob"), Fault::Delay(std::time::Duration::from_millis(200)));
    let query = "query($id: ID!) { b: getJob(jobId: $id) { id } a: getJob(jobId: $id) { id }
        listJobs { items { id } } }";
    let began = std::time::Instant::now();
    let reply = world.ask("acme", query, json!({"id": id})).await;
    assert!(began.elapsed() < std::time::Duration::from_millis(400));
    let places: Vec<_> =
        ["\"b\":", "\"a\":", "\"listJobs\":"].map(|key| reply.text.find(key).unwrap()).into();
    assert!(places.is_sorted(), "{}", reply.text);
}

#[tokio::test]
async fn root_fields_of_a_mutation_are_carried_out_one_after_the_other() {
    let world = World::start().await;
    world
        .sandbox
        .fail_next(Some("createSingleCamJob"), Fault::Delay(std::time::Duration::from_millis(50)));
    let query = format!(
        "mutation {{ a: createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\", name: \"a\") {{ name }}
            b: createMultiCamJob(takeId: \"{MULTICAM_TAKE}\", name: \"b\") {{ name }} }}"
    );
    let reply = world.ask("acme", &query, json!({})).await;
    assert_eq!(reply.data(""), json!({"a": {"name": "a"}, "b": {"name": "b"}}));
    let order: Vec<_> = world.sandbox.calls().into_iter().map(|call| call.field).collect();
    assert_eq!(order, ["getTake", "createSingleCamJob", "getTake", "createMultiCamJob"]);
}

#[tokio::test]
async fn an_error_stands_at_the_callers_alias_in_both_shapes() {
    let world = World::start().await;
    let reply = world.ask("acme", "{ mine: getJob(jobId: \"job-1\") { id } }", json!({})).await;
    let text = reply.text.replace(reply.headers["x-request-id"].to_str().unwrap(), "ID");
    insta::assert_snapshot!(text, @r#"{"errors":[{"message":"No such job.","locations":[{"line":1,"column":3}],"path":["mine"],"errorType":"MoveNotFoundError","errorInfo":null,"extensions":{"code":"NOT_FOUND","requestId":"ID"}}],"data":null}"#);
}

#[tokio::test]
async fn a_nullable_field_that_fails_leaves_its_siblings() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let query =
        "query($id: ID!) { bad: listJobs(first: 0) { first } good: getJob(jobId: $id) { id } }";
    let json = world.ask("acme", query, json!({"id": id})).await.json();
    assert_eq!(json["data"], json!({"bad": null, "good": {"id": id}}));
    assert_eq!(json["errors"][0]["path"], json!(["bad"]));
    assert_eq!(json["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
}

#[tokio::test]
async fn partial_data_stays_partial_with_moves_own_error_at_the_callers_path() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Running);
    let selection = "out: outputs { format f: file { id url: presignedUrl again: presignedUrl } }";
    let json = world.get("acme", &id, selection).await.json();
    assert_eq!(json["data"]["getJob"]["out"][0]["format"], "mp4");
    assert_eq!(json["data"]["getJob"]["out"][0]["f"]["url"], Value::Null);
    let errors = json["errors"].as_array().unwrap();
    let paths: Vec<_> = errors.iter().map(|error| error["path"].to_string()).collect();
    assert_eq!(
        paths,
        [
            r#"["getJob","out",0,"f","url"]"#,
            r#"["getJob","out",0,"f","again"]"#,
            r#"["getJob","out",1,"f","url"]"#,
            r#"["getJob","out",1,"f","again"]"#,
        ]
    );
    assert_eq!(errors[0]["errorType"], "MoveFileError");
    assert_eq!(errors[0]["message"], "File object does not exist");
    assert_eq!(errors[0]["extensions"]["code"], "UPSTREAM_ERROR");
}

#[tokio::test]
async fn a_failed_job_that_arrives_as_an_error_reaches_its_owner_whole() {
    let sandbox = SandboxOptions { failed_as_error: true, ..SandboxOptions::default() };
    let world = Setup::new().sandbox(sandbox).start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Failed);
    let selection = "id state progress { state }";
    let error = world.get("acme", &id, selection).await.json()["errors"][0].clone();
    assert_eq!(error["errorType"], "MoveJobFailedError");
    assert_eq!(error["errorInfo"], json!({"suggestions": ["Film the whole body."]}));
    assert_eq!(error["data"]["progress"], json!({"state": "FAILED"}));
    assert_eq!(world.get("globex", &id, "id state").await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn create_job_becomes_create_single_cam_job_where_move_no_longer_has_it() {
    let query = format!(
        "mutation {{ job: createJob(takeId: \"{SINGLECAM_TAKE}\", metadata: \"{{}}\") {{ id }} }}"
    );
    for (create_job, sent) in [(false, "createSingleCamJob"), (true, "createJob")] {
        let sandbox = SandboxOptions { create_job, ..SandboxOptions::default() };
        let world = Setup::new().sandbox(sandbox).start().await;
        let reply = loop {
            // What Move has is learned beside the requests, right after the start.
            let reply = world.ask("acme", &query, json!({})).await;
            if reply.json().get("errors").is_none() {
                break reply;
            }
        };
        assert!(reply.data("/job/id").is_string());
        assert_eq!(world.sandbox.calls().last().unwrap().field, sent);
    }
}

#[tokio::test]
async fn the_move_accounts_portal_and_metadata_are_never_shown() {
    let policy = "operations: [\"*\"]
client: { portal: 'https://help.example.test/jobs', metadata: { team: acme } }\n";
    let world = Setup::new().tenant("acme", policy).start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Finished);
    let client = "client { portal metadata }";
    let selection = format!(
        "{client} outputs {{ file {{ {client} }} }} take {{ {client} sources {{ file {{ {client} }} }} }}"
    );
    let reply = world.get("acme", &id, &selection).await;
    let job = reply.data("/getJob");
    assert_eq!(
        job["client"],
        json!({"portal": "https://help.example.test/jobs", "metadata": r#"{"team":"acme"}"#})
    );
    assert_eq!(job["outputs"][0]["file"]["client"], job["client"]);
    assert_eq!(job["take"]["client"], job["client"]);
    assert!(!reply.text.contains("svix") && !reply.text.contains("secret"));
    for call in world.sandbox.calls() {
        assert!(!call.query.contains("portal"), "{}", call.query);
    }
}

#[tokio::test]
async fn a_key_is_taken_in_all_three_ways_and_moves_own_key_goes_upstream() {
    let world = World::start().await;
    let query = json!({"query": "{ listJobs { first } }"});
    for (name, value) in [
        ("authorization", key("acme")),
        ("authorization", format!("Bearer {}", key("acme"))),
        ("x-api-key", key("acme")),
    ] {
        let request = world.http.post(world.url()).header(name, value).json(&query);
        assert_eq!(send(request).await.data("/listJobs/first"), 50);
    }
    for call in world.sandbox.calls() {
        assert_eq!(call.header("authorization"), Some("sandbox-move-key"));
        assert!(!format!("{:?}", call.headers).contains(&key("acme")));
    }
}

#[tokio::test]
async fn a_forbidden_operation_is_403_alone_and_an_error_beside_what_is_allowed() {
    let world = Setup::new().tenant("acme", "operations: [getJob, listJobs]\n").start().await;
    let update = "mutation { renamed: updateJob(id: \"job-1\", name: \"n\") { id } }";
    let reply = world.ask("acme", update, json!({})).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"));
    let error = reply.json()["errors"][0].clone();
    assert_eq!(error["path"], json!(["renamed"]));
    assert!(error["message"].as_str().unwrap().contains("updateJob"));
    assert!(world.sandbox.calls().is_empty());
    let mixed = "mutation { __typename updateJob(id: \"job-1\", name: \"n\") { id } }";
    let reply = world.ask("acme", mixed, json!({})).await;
    assert_eq!((reply.status, reply.code().as_str()), (200, "FORBIDDEN"));
}

#[tokio::test]
async fn every_path_of_the_configuration_serves() {
    let world = World::start().await;
    for path in ["/graphql", "/ugc/graphql"] {
        let url = format!("http://{}{path}", world.address);
        let request = world.http.post(url).header("authorization", key("acme"));
        let reply = send(request.json(&json!({"query": "{ __typename }"}))).await;
        assert_eq!(reply.data("/__typename"), "Query");
    }
    let url = format!("http://{}/other", world.address);
    assert_eq!(send(world.http.get(url)).await.status, 404);
}
