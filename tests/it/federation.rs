//! The gateway as a subgraph: composition, and ownership through `_entities`.

use serde_json::{Value, json};

use crate::clients::{node, passes};
use crate::entities::of;
use crate::support::{Setup, World};

#[test]
fn the_subgraph_composes_with_one_that_extends_job_by_both_public_composers() {
    let sdl = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(sdl.path(), jobs_gateway::graphql::sdl(true)).unwrap();
    if let Some(mut node) = node("compose.mjs") {
        passes(node.arg(sdl.path()));
    }
}

const ENTITIES: &str = "query($jobs: [_Any!]!) {
    _entities(representations: $jobs) { ... on Job { id metadata client { portal } } } }";

fn representation(id: &str) -> Value {
    json!({"__typename": "Job", "id": id})
}

#[tokio::test]
async fn an_entity_is_null_unless_it_is_the_callers_own_job() {
    let world = World::start().await;
    let own = world.create("acme", r#"{"a":1}"#).await;
    let foreign = world.create("globex", "{}").await;
    world.sandbox.clear_calls();
    let ids = [foreign.as_str(), own.as_str(), "job-missing"];
    let jobs = ids.map(representation);
    let json = world.ask("acme", ENTITIES, json!({"jobs": jobs})).await.json();
    let entities = &json["data"]["_entities"];
    assert_eq!((&entities[0], &entities[2]), (&Value::Null, &Value::Null));
    assert_eq!((&entities[1]["id"], &entities[1]["metadata"]), (&json!(own), &json!(r#"{"a":1}"#)));
    let mut errors = json["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 2, "{json}");
    // Each once, where the router can place it.
    let paths: Vec<Value> = errors.iter_mut().map(|error| error["path"].take()).collect();
    assert_eq!(paths, [json!(["_entities", 0]), json!(["_entities", 2])]);
    assert_eq!(errors[0], errors[1], "foreign and missing differ");
    assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
    // All three in one, and the others without the one that is missing.
    assert_eq!(world.sandbox.calls().len(), 2);
}

#[tokio::test]
async fn an_entitys_id_may_be_a_whole_number_as_any_id_may() {
    let world = World::start().await;
    let jobs = json!([{"__typename": "Job", "id": 5}]);
    let reply = world.ask("acme", ENTITIES, json!({"jobs": jobs})).await;
    assert_eq!(reply.code(), "NOT_FOUND", "{reply:?}");
    let literal =
        "{ _entities(representations: [{ __typename: \"Job\", id: 5 }]) { ... on Job { id } } }";
    assert_eq!(world.ask("acme", literal, json!({})).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn entities_need_the_grant_of_get_job() {
    let world = Setup::new().tenant("acme", "operations: [listJobs]\n").start().await;
    let jobs = [representation("job-1")];
    let reply = world.ask("acme", ENTITIES, json!({"jobs": jobs})).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"));
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn the_service_tells_its_subgraph() {
    let world = World::start().await;
    let sdl = world.ask("acme", "{ _service { sdl } }", json!({})).await.data("/_service/sdl");
    let sdl = sdl.as_str().unwrap();
    assert!(sdl.contains(
        "type Job implements Identifier & Timestamped & ClientOwner @key(fields: \"id\")"
    ));
}

#[tokio::test]
async fn takes_files_and_volumes_are_entities_of_a_federated_graph() {
    let world = World::start().await;
    world.sandbox.add_take("take-own", Some(&of("acme")));
    world.sandbox.add_take("take-foreign", Some(&of("globex")));
    world.sandbox.add_file("file-own", Some(&of("acme")));
    world.sandbox.add_volume("volume-own", Some(&of("acme")));
    let query = "query($all: [_Any!]!) { _entities(representations: $all) { __typename
        ... on Take { id metadata } ... on File { id } ... on HumanVolume { id name } } }";
    let one = |kind: &str, id: &str| json!({"__typename": kind, "id": id});
    let all = [
        one("Take", "take-own"),
        one("File", "file-own"),
        one("HumanVolume", "volume-own"),
        one("Take", "take-foreign"),
        one("Rig", "rig-1"),
    ];
    let json = world.ask("acme", query, json!({"all": all})).await.json();
    let found = json["data"]["_entities"].as_array().unwrap();
    let ids: Vec<_> = found.iter().map(|one| one["id"].as_str()).collect();
    assert_eq!(ids, [Some("take-own"), Some("file-own"), Some("volume-own"), None, None], "{json}");
    assert_eq!(found[2]["__typename"], "HumanVolume");
    let codes: Vec<_> = json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["extensions"]["code"].clone())
        .collect();
    assert_eq!(codes, ["NOT_FOUND", "BAD_USER_INPUT"]);
}
