//! One odd value of Move's is one error: nothing beside it is spoilt.

use jobs_gateway::sandbox::Fault;
use serde_json::{Value, json};

use crate::support::World;

/// Puts a text in the place of another in the next answer.
fn swap(world: &World, field: &str, from: &'static str, to: &'static str) {
    let swap = move |answer: Value| {
        let text = answer.to_string();
        assert!(text.contains(from), "no {from} in {text}");
        text.replacen(from, to, 1)
    };
    world.sandbox.fail_next(Some(field), Fault::replace(swap));
}

#[tokio::test]
async fn an_odd_value_of_one_job_leaves_the_others_of_a_page_alone() {
    let world = World::start().await;
    let ids = [world.create("acme", "{}").await, world.create("acme", "{}").await];
    let query =
        "{ listJobs { items { id name progress { percentageComplete } percentageComplete } } }";
    for (from, to, odd) in [
        ("\"name\":null", "\"name\":\"Clip \\ud83d\"", None),
        ("\"name\":null", "\"name\":7", Some("name")),
        ("\"name\":null", "\"name\":{\"a\":[]}", Some("name")),
        ("\"name\":null", "\"name\":\"a\",\"name\":\"b\"", Some("name")),
        ("\"percentageComplete\":0", "\"percentageComplete\":33.3", Some("percentageComplete")),
        (
            "\"percentageComplete\":0",
            "\"percentageComplete\":99999999999",
            Some("percentageComplete"),
        ),
    ] {
        swap(&world, "listJobs", from, to);
        let reply = world.ask("acme", query, json!({})).await;
        // Half an emoji is no text that a parser must take: it is passed on to the letter.
        let text = reply.text.replace("\\ud83d", "?");
        let json: Value = serde_json::from_str(&text).unwrap();
        let items = json["data"]["listJobs"]["items"].as_array().unwrap();
        let shown: Vec<_> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert!(shown.len() == 2 && ids.iter().all(|id| shown.contains(&id.as_str())), "{text}");
        match odd {
            None => assert!(json.get("errors").is_none(), "{text}"),
            Some(odd) => {
                let errors = json["errors"].as_array().unwrap();
                assert!(
                    errors
                        .iter()
                        .all(|error| error["path"].as_array().unwrap().last() == Some(&json!(odd))),
                    "{text}"
                );
                assert_eq!(errors[0]["extensions"]["code"], "UPSTREAM_ERROR", "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_record_that_nobody_owns_does_not_matter_however_odd_it_is() {
    let world = World::start().await;
    let own = world.create("acme", "{}").await;
    world.create("globex", "{}").await;
    let query = "{ listJobs { items { id state } } }";
    for odd in
        [r#""id":7"#, r#""id":null"#, r#""state":{"x":1,"x":2},"id":"job-x""#, r#""id":"\ud83d""#]
    {
        let own_id = own.clone();
        let edit = move |answer: Value| {
            let items = answer["data"]["listJobs"]["items"].as_array().unwrap();
            let texts = items.iter().map(|item| {
                if item["id"] == own_id {
                    item.to_string()
                } else {
                    format!("{{{odd},\"metadata\":\"{{}}\"}}")
                }
            });
            let items = texts.collect::<Vec<_>>().join(",");
            format!(r#"{{"data":{{"listJobs":{{"after":null,"items":[{items}]}}}}}}"#)
        };
        world.sandbox.fail_next(Some("listJobs"), Fault::replace(edit));
        let items = world.ask("acme", query, json!({})).await.data("/listJobs/items");
        assert_eq!(items[0]["id"], json!(own), "{odd}");
        assert_eq!(items.as_array().unwrap().len(), 1, "{odd}");
    }
}

#[tokio::test]
async fn a_creation_on_a_take_with_half_an_emoji_in_its_name_is_answered() {
    let world = World::start().await;
    let edit = |answer: Value| {
        let mut answer = answer;
        answer["data"]["createSingleCamJob"]["take"] = json!({"name": "HALF"});
        answer.to_string().replace("HALF", "Clip \\ud83d")
    };
    world.sandbox.fail_next(Some("createSingleCamJob"), Fault::replace(edit));
    let query = format!(
        "mutation {{ createSingleCamJob(takeId: \"{}\") {{ id take {{ name }} }} }}",
        jobs_gateway::sandbox::SINGLECAM_TAKE
    );
    let reply = world.ask("acme", &query, json!({})).await;
    assert!(reply.text.contains(r#""take":{"name":"Clip \ud83d"}"#), "{}", reply.text);
    assert!(!reply.text.contains("\"errors\""), "{}", reply.text);
}

#[tokio::test]
async fn the_data_beside_an_error_shows_what_was_selected_and_no_more_than_the_tenant_may_see() {
    let world = World::start().await;
    let id = world.create("acme", r#"{"a":1}"#).await;
    // So that the owner is known.
    world.get("acme", &id, "id").await;
    let stored = r#"{"acme":{"a":1},"_gateway":{"v":1,"owner":"acme","stamp":{"secret":"STAMP"}}}"#;
    let own = id.clone();
    world.sandbox.fail_next(
        Some("getJob"),
        Fault::edit(move |answer| {
            *answer = json!({"data": null, "errors": [{
                "path": ["getJob"], "message": "failed", "errorType": "MoveJobFailedError",
                "errorInfo": {"suggestions": ["again"]},
                "data": {"id": own, "metadata": stored, "name": 7, "state": "FAILED", "rig": {"name": "r"},
                         "client": {"portal": "https://login.move.test/LINK", "metadata": "{\"k\":\"ACCOUNT\"}", "id": "c"}},
            }]});
        }),
    );
    let selection = "i: id metadata name state client { portal metadata }";
    let json = world.get("acme", &id, selection).await.json();
    let error = &json["errors"][0];
    assert_eq!(error["errorInfo"], json!({"suggestions": ["again"]}));
    let portal = error["data"]["client"]["portal"].clone();
    assert_eq!(
        error["data"],
        json!({"id": id, "metadata": r#"{"a":1}"#, "state": "FAILED",
               "client": {"portal": portal, "metadata": "{}"}})
    );
    for secret in ["STAMP", "LINK", "ACCOUNT", "_gateway"] {
        assert!(!json.to_string().contains(secret), "{secret} in {json}");
    }
}

#[tokio::test]
async fn a_path_of_twenty_thousand_steps_ends_a_call_and_not_the_process() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let path: Vec<Value> =
        std::iter::once(json!("getJob")).chain((0..20_000).map(|_| json!(0))).collect();
    world.sandbox.fail_next(
        Some("getJob"),
        Fault::edit(move |answer| {
            answer["errors"] = json!([{"path": path, "message": "deep", "errorType": "X"}]);
        }),
    );
    assert_eq!(world.get("acme", &id, "id").await.code(), "UPSTREAM_ERROR");
    assert_eq!(world.get("acme", &id, "id").await.data("/getJob/id"), json!(id));
}

#[tokio::test]
async fn a_promised_value_that_is_missing_nulls_what_the_schema_says_and_is_one_error() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let selection = "id take { name client { name created } }";
    world.sandbox.fail_next(
        Some("getJob"),
        Fault::edit(|answer| {
            answer["data"]["getJob"]["take"]["client"].as_object_mut().unwrap().remove("name");
        }),
    );
    let json = world.get("acme", &id, selection).await.json();
    // The client is promised, the take is not.
    assert_eq!(json["data"]["getJob"], json!({"id": id, "take": null}));
    assert_eq!(json["errors"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["errors"][0]["path"], json!(["getJob", "take", "client", "name"]));
}

#[tokio::test]
async fn a_time_that_is_none_is_an_error_of_its_own_field() {
    let world = World::start().await;
    world.create("acme", "{}").await;
    let query = "{ listJobs { items { id take { id created } } } }";
    for (time, is_one) in [
        ("2026-01-01T00:00:00.000Z", true),
        ("2026-01-01T01:00:00+01:00", true),
        ("2026-01-01T01:00:00", false),
        ("2026-01-01", false),
        ("yesterday", false),
        ("", false),
    ] {
        let edit = move |answer: &mut Value| {
            answer["data"]["listJobs"]["items"][0]["take"]["created"] = time.into();
        };
        world.sandbox.fail_next(Some("listJobs"), Fault::edit(edit));
        let reply = world.ask("acme", query, json!({})).await.json();
        let job = &reply["data"]["listJobs"]["items"][0];
        assert!(job["id"].is_string(), "{reply}");
        if is_one {
            assert_eq!(job["take"]["created"], time, "{reply}");
            assert_eq!(reply.get("errors"), None, "{reply}");
        } else {
            // A take has one in the schema, so it is the take that is null.
            assert_eq!(job["take"], Value::Null, "{reply}");
            let error = &reply["errors"][0];
            assert_eq!(error["extensions"]["code"], "UPSTREAM_ERROR", "{reply}");
            assert_eq!(
                error["path"],
                json!(["listJobs", "items", 0, "take", "created"]),
                "{reply}"
            );
        }
    }
}
