//! Many ids are one document to Move: the root fields of one query, and the representations of `_entities`.

use std::time::Duration;

use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE};
use serde_json::{Value, json};

use crate::support::{Reply, Setup, World, until_called};

const ENTITIES: &str =
    "query($r: [_Any!]!) { _entities(representations: $r) { ... on Job { id metadata } } }";

/// Asks for jobs as entities.
async fn entities(world: &World, ids: &[String]) -> Reply {
    let of = |id: &String| json!({"__typename": "Job", "id": id});
    let representations: Vec<_> = ids.iter().map(of).collect();
    world.ask("acme", ENTITIES, json!({ "r": representations })).await
}

/// Creates jobs as a tenant.
async fn jobs(world: &World, tenant: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(world.create(tenant, "{}").await);
    }
    world.sandbox.clear_calls();
    ids
}

/// The id at each place of an answer, or the code of the error there: one each.
fn outcomes(reply: &Reply) -> Vec<String> {
    let json = reply.json();
    let none = Vec::new();
    let errors = json["errors"].as_array().unwrap_or(&none);
    let found = json["data"]["_entities"].as_array().unwrap_or_else(|| panic!("{json}"));
    let outcome = |(place, entity): (usize, &Value)| {
        let own: Vec<_> = errors.iter().filter(|error| error["path"][1] == place).collect();
        match (entity["id"].as_str(), own.as_slice()) {
            (Some(id), []) => id.to_owned(),
            (None, [error]) => error["extensions"]["code"].as_str().unwrap().to_owned(),
            _ => panic!("neither one thing nor the other at {place}: {json}"),
        }
    };
    found.iter().enumerate().map(outcome).collect()
}

#[tokio::test]
async fn a_hundred_representations_are_four_calls_and_foreign_ones_null_at_their_places() {
    let world = World::start().await;
    let (own, foreign) = (jobs(&world, "acme", 1).await, jobs(&world, "globex", 1).await);
    // Job after job of the tenant's, and a foreign one at every fifth place.
    let mut sandbox_ids = Vec::new();
    for place in 0..100 {
        let id = format!("job-{place}");
        let (owner, model) =
            if place % 5 == 0 { ("globex", &foreign[0]) } else { ("acme", &own[0]) };
        let mut job = world.sandbox.job(model).unwrap();
        job.id = id.clone();
        assert!(job.metadata.as_deref().unwrap().contains(owner));
        world.sandbox.add_job(job);
        sandbox_ids.push(id);
    }
    let reply = entities(&world, &sandbox_ids).await;
    let expected: Vec<_> = sandbox_ids
        .iter()
        .enumerate()
        .map(|(place, id)| if place % 5 == 0 { "NOT_FOUND".to_owned() } else { id.clone() })
        .collect();
    assert_eq!(outcomes(&reply), expected);
    let calls = world.sandbox.calls();
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|call| call.query.matches(": getJob(").count() == 25));
}

#[tokio::test]
async fn missing_ones_are_null_with_an_error_each_and_harm_no_other() {
    let world = World::start().await;
    let mut ids = jobs(&world, "acme", 20).await;
    let missing = [3, 11, 19];
    for place in missing {
        ids[place] = format!("job-missing-{place}");
    }
    let reply = entities(&world, &ids).await;
    for place in missing {
        ids[place] = "NOT_FOUND".to_owned();
    }
    assert_eq!(outcomes(&reply), ids);
    let calls = world.sandbox.calls().len();
    assert!(calls <= 2 * missing.len() + 1, "{calls} calls");
    // One that is missing: it is named, and the others are asked for once more.
    world.sandbox.clear_calls();
    for place in &missing[1..] {
        ids[*place] = ids[0].clone();
    }
    ids[3] = "job-missing".to_owned();
    assert_eq!(outcomes(&entities(&world, &ids).await)[3], "NOT_FOUND");
    assert_eq!(world.sandbox.calls().len(), 2);
}

#[tokio::test]
async fn root_fields_of_every_kind_that_the_cache_does_not_know_are_one_document() {
    let cached = "operations: [\"*\"]\ncache: { get_job: { unfinished: 1h, finished: 1h } }\n";
    let world = Setup::new().tenant("acme", cached).start().await;
    let ids = jobs(&world, "acme", 2).await;
    world.get("acme", &ids[0], "id name").await.data("/getJob");
    world.sandbox.clear_calls();
    let all = format!(
        "{{ known: getJob(jobId: \"{}\") {{ name }} a: getJob(jobId: \"{}\") {{ name }}
            t: getTake(takeId: \"{SINGLECAM_TAKE}\") {{ id }} c: client {{ name }} r: listRigs {{ items {{ name }} }} }}",
        ids[0], ids[1]
    );
    let reply = world.ask("acme", &all, json!({})).await;
    assert_eq!(reply.data("/t/id"), SINGLECAM_TAKE);
    assert!(reply.data("/r/items/0/name").is_string() && reply.data("/c/name").is_string());
    let calls = world.sandbox.calls();
    assert_eq!(calls.len(), 1);
    insta::assert_snapshot!(calls[0].query, @"query batch($e0: ID!, $e1: ID!) { e0: getJob(jobId: $e0) {id metadata name state} e1: getTake(takeId: $e1) {id metadata} e2: client {id name} e3: listRigs {__typename items {name}} }");
    assert_eq!(calls[0].variables, json!({"e0": ids[1], "e1": SINGLECAM_TAKE}));
    // All of it is known now, each by itself.
    world.ask("acme", &all.replace("known", "k"), json!({})).await.data("/k");
    world.get("acme", &ids[1], "name").await.data("/getJob");
    assert_eq!(world.sandbox.calls().len(), 1);
}

#[tokio::test]
async fn one_thing_that_is_left_to_ask_is_asked_as_if_it_were_alone() {
    let world = World::start().await;
    let id = jobs(&world, "acme", 1).await.remove(0);
    world.get("acme", &id, "name").await.data("/getJob");
    let alone = world.sandbox.calls().remove(0);
    world.sandbox.clear_calls();
    let query = format!(
        "{{ a: getJob(jobId: \"{id}\") {{ name }} b: getJob(jobId: \"{id}\") {{ name }}
            bad: getTake(takeId: \"{id}\") {{ id }} listJobs {{ first }} }}"
    );
    world.ask("acme", &query, json!({})).await;
    let calls = world.sandbox.calls();
    let own: Vec<_> = calls.iter().filter(|call| call.field == "getJob").collect();
    assert_eq!((own.len(), &own[0].query, &own[0].variables), (1, &alone.query, &alone.variables));
}

#[tokio::test]
async fn one_id_asked_for_in_two_ways_is_asked_for_once_with_the_union_of_both() {
    let world = World::start().await;
    let ids = jobs(&world, "acme", 2).await;
    let query = format!(
        "{{ a: getJob(jobId: \"{}\") {{ name }} b: getJob(jobId: \"{}\") {{ created }}
            c: getJob(jobId: \"{0}\") {{ created }} }}",
        ids[0], ids[1]
    );
    let reply = world.ask("acme", &query, json!({})).await;
    assert!(reply.data("/a").get("created").is_none() && reply.data("/c/created").is_string());
    let calls = world.sandbox.calls();
    assert_eq!((calls.len(), calls[0].query.matches("getJob(").count()), (1, 2));
    assert_eq!(calls[0].query.matches("created").count(), 2);
}

/// Odd words of Move about the second of five jobs, and the code that its caller reads.
fn oddities(ids: &[String]) -> Vec<(&'static str, Fault, &'static str)> {
    let other = ids[0].clone();
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let edit = |change: fn(&mut Value)| Fault::edit(change);
    vec![
        (
            "another's id under its alias",
            Fault::edit(move |answer| answer["data"]["e1"]["id"] = json!(other)),
            "UPSTREAM_ERROR",
        ),
        (
            "no metadata",
            edit(|answer| answer["data"]["e1"]["metadata"] = json!(7)),
            "UPSTREAM_ERROR",
        ),
        (
            "an error at it and no data at all",
            edit(|answer| {
                answer["errors"] =
                    json!([{"path": ["e1"], "errorType": "MoveNotFoundError", "message": "gone"}]);
                answer["data"] = Value::Null;
            }),
            "NOT_FOUND",
        ),
        (
            "an error at it and null in its place",
            edit(|answer| {
                answer["errors"] =
                    json!([{"path": ["e1"], "errorType": "MoveNotFoundError", "message": "gone"}]);
                answer["data"]["e1"] = Value::Null;
            }),
            "NOT_FOUND",
        ),
        // From here on it is asked for again, alone, and is well then.
        ("null without a word", edit(|answer| answer["data"]["e1"] = Value::Null), ""),
        ("a number", edit(|answer| answer["data"]["e1"] = json!(7)), ""),
        (
            "nothing",
            edit(|answer| {
                answer["data"].as_object_mut().unwrap().remove("e1");
            }),
            "",
        ),
        (
            "an error below it that took everything along",
            edit(|answer| {
                answer["errors"] = json!([{"path": ["e1", "client", "id"], "message": "odd"}]);
                answer["data"] = Value::Null;
            }),
            "",
        ),
        (
            "more than is read",
            Fault::replace(move |answer| answer.to_string().replacen("null", &deep, 1)),
            "",
        ),
        (
            "an error of nobody",
            edit(|answer| answer["errors"] = json!([{"path": null, "message": "odd"}])),
            "",
        ),
        (
            "an error of something that was not asked for",
            edit(|answer| answer["errors"] = json!([{"path": ["e77"], "message": "odd"}])),
            "",
        ),
        ("too much", Fault::Huge(9 << 20), ""),
        ("too long a document", Fault::empty(413), ""),
    ]
}

#[tokio::test]
async fn one_odd_record_or_half_an_answer_harms_no_other() {
    let world = World::start().await;
    let ids = jobs(&world, "acme", 5).await;
    for (name, fault, code) in oddities(&ids) {
        world.sandbox.fail_next(None, fault);
        let mut expected = ids.clone();
        if !code.is_empty() {
            expected[1] = code.to_owned();
        }
        assert_eq!(outcomes(&entities(&world, &ids).await), expected, "{name}");
    }
}

#[tokio::test]
async fn a_partial_error_stays_with_its_job_and_costs_it_nothing_beside_one_that_is_missing() {
    let world = World::start().await;
    let mut ids = jobs(&world, "acme", 3).await;
    let query = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Job { id name } } }";
    let ask = async |ids: &[String]| {
        let of = |id: &String| json!({"__typename": "Job", "id": id});
        let representations: Vec<_> = ids.iter().map(of).collect();
        world.ask("acme", query, json!({ "r": representations })).await.json()
    };
    let odd = json!({"path": ["e1", "name"], "message": "no name today"});
    let partial = odd.clone();
    world.sandbox.fail_next(None, Fault::edit(move |answer| answer["errors"] = json!([partial])));
    let json = ask(&ids).await;
    assert_eq!(json["errors"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["errors"][0]["path"], json!(["_entities", 1, "name"]));
    assert_eq!(json["data"]["_entities"][1]["id"], ids[1]);
    // Nobody knows whether it has a value where another one is missing: it is asked for by itself.
    ids[0] = "job-missing".to_owned();
    world.sandbox.fail_next(
        None,
        Fault::edit(move |answer| answer["errors"].as_array_mut().unwrap().push(odd.clone())),
    );
    let json = ask(&ids).await;
    assert_eq!(json["errors"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["errors"][0]["path"], json!(["_entities", 0]));
    assert_eq!(json["data"]["_entities"][1]["id"], ids[1]);
}

#[tokio::test]
async fn a_document_that_runs_out_of_time_is_an_error_of_each_and_is_not_asked_again() {
    let config = "upstream: { url: '${MOVE_API_URL}', api_key: '${MOVE_API_KEY}', timeout: 200ms, \
                  retries: { max: 0 } }\n";
    let world = Setup::new().config(config).start().await;
    let ids = jobs(&world, "acme", 3).await;
    world.sandbox.fail_next(None, Fault::Stall);
    assert_eq!(outcomes(&entities(&world, &ids).await), ["UPSTREAM_TIMEOUT"; 3]);
    assert_eq!(world.sandbox.calls().len(), 1);
    assert_eq!(outcomes(&entities(&world, &ids).await), ids);
}

#[tokio::test]
async fn a_document_and_single_reads_bring_each_other_what_they_share() {
    let world = World::start().await;
    let ids = jobs(&world, "acme", 3).await;
    world.sandbox.set_latency(Duration::from_millis(300));
    let under_way = async |field: &str, calls| {
        until_called(&world.sandbox, field, calls).await;
    };
    // A single read joins the document.
    let (together, single) = tokio::join!(entities(&world, &ids), async {
        under_way("getJob", 1).await;
        world.get("acme", &ids[1], "metadata").await
    });
    assert_eq!((outcomes(&together), single.data("/getJob/metadata")), (ids.clone(), json!("{}")));
    assert_eq!(single.headers["x-cache"], "COALESCED");
    assert_eq!(world.sandbox.calls().len(), 1);
    // A document leaves out what a single read brings, and does not wait for it to begin.
    world.sandbox.clear_calls();
    world.sandbox.set_latency(Duration::ZERO);
    world.sandbox.fail_next(None, Fault::Delay(Duration::from_millis(300)));
    let (single, together) = tokio::join!(world.get("acme", &ids[0], "metadata"), async {
        under_way("getJob", 1).await;
        entities(&world, &ids).await
    });
    single.data("/getJob/metadata");
    assert_eq!(outcomes(&together), ids);
    let calls = world.sandbox.calls();
    assert_eq!((calls.len(), calls[1].query.matches("getJob(").count()), (2, 2));
}

#[tokio::test]
async fn a_call_for_several_is_counted_once_in_the_records_and_named_in_each() {
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
    let world = Setup::new().config(config).start().await;
    let mut ids = jobs(&world, "acme", 3).await;
    ids[1] = "job-missing".to_owned();
    entities(&world, &ids).await;
    let records = crate::support::audit::records(&world, 9).await;
    let of_reads = records.iter().filter(|record| record["api"]["operation"] == "getJob");
    let calls = of_reads.map(|record| record["unmapped"]["upstream"]["calls"].as_u64().unwrap());
    assert_eq!(calls.collect::<Vec<_>>().iter().sum::<u64>(), 2);
    assert_eq!(world.sandbox.calls().len(), 2);
}
