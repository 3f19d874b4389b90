//! The units of a document are one list: permitted, charged, recorded and done once each.

use std::collections::BTreeSet;

use jobs_gateway::sandbox::{Fault, MULTICAM_TAKE, SINGLECAM_TAKE};
use serde_json::{Value, json};

use crate::support::audit::records;
use crate::support::{Reply, Setup, World};

const AUDIT: &str = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";

/// Limits that do not fill again while a test runs.
const LIMITS: &str = "operations: [\"*\"]\n\
    rate_limit: { queries: { rate: 1/h, burst: 100000 }, mutations: { rate: 1/h, burst: 100000 }, \
    max_cost: 10000, max_in_flight: 10000 }\n";

async fn audited() -> World {
    Setup::new().tenant("acme", LIMITS).config(AUDIT).start().await
}

/// Returns the number of units that are left, of either kind.
fn left(reply: &Reply) -> u64 {
    let text = reply.headers["ratelimit"].to_str().unwrap();
    let (_, rest) = text.split_once("r=").unwrap();
    rest.split(';').next().unwrap().parse().unwrap()
}

/// Returns the cost of `query`.
async fn cost(world: &World, query: &str, variables: Value) -> (u64, Reply) {
    let probe = if query.trim_start().starts_with("mutation") {
        format!("mutation {{ createJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}")
    } else {
        "{ listJobs(first: 1) { first } }".to_owned()
    };
    let before = left(&world.ask("acme", &probe, json!({})).await);
    world.sandbox.clear_calls();
    let reply = world.ask("acme", query, variables).await;
    (before - left(&reply), reply)
}

#[tokio::test]
async fn twenty_equal_creations_are_one_job_one_charge_and_one_record() {
    let world = audited().await;
    let one = format!("createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\", metadata: \"{{}}\")");
    let many = ["id", "state", "name", "created"].repeat(5);
    let many: Vec<_> = many.iter().map(|field| format!("{one} {{ {field} }}")).collect();
    let before = world.sandbox.job_count();
    let (units, reply) =
        cost(&world, &format!("mutation {{ {} }}", many.join(" ")), json!({})).await;
    let job = reply.data("/createSingleCamJob");
    assert_eq!(
        job.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["created", "id", "name", "state"]
    );
    // One for the question what is left, and one.
    assert_eq!((world.sandbox.job_count() - before, units), (2, 10));
    assert_eq!(world.sandbox.count("createSingleCamJob"), 1);
    let records = records(&world, 4).await;
    let own: Vec<_> = records
        .iter()
        .filter(|record| record["api"]["operation"] == "createSingleCamJob")
        .collect();
    assert_eq!(own.len(), 2, "an intent and an outcome: {own:#?}");
}

#[tokio::test]
async fn fragments_on_the_root_make_one_listing() {
    let world = audited().await;
    world.create("acme", "{}").await;
    let query = "query { ...A ...B listJobs { first } }
        fragment A on Query { listJobs { items { id } } }
        fragment B on Query { listJobs { items { name state } } }";
    let (units, reply) = cost(&world, query, json!({})).await;
    assert_eq!((units, world.sandbox.count("listJobs")), (5, 1));
    let item = reply.data("/listJobs/items/0");
    assert_eq!(item.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "name", "state"]);
}

#[tokio::test]
async fn two_things_under_one_key_are_refused_and_nothing_is_done() {
    let world = World::start().await;
    for query in [
        format!(
            "mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }}
             ... on Mutation {{ createSingleCamJob(takeId: \"{MULTICAM_TAKE}\") {{ id }} }} }}"
        ),
        "{ a: getJob(jobId: \"job-1\") { id } ... on Query { a: listJobs { first } } }".to_owned(),
        "{ a: getJob(jobId: \"job-1\") { id } ...F } \
         fragment F on Query { a: getJob(jobId: \"job-2\") { id } }"
            .to_owned(),
    ] {
        let reply = world.ask("acme", &query, json!({})).await;
        assert_eq!(reply.code(), "GRAPHQL_VALIDATION_FAILED", "{query}");
    }
    assert!(world.sandbox.calls().is_empty());
}

/// Choices that a seed decides.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// A random query, and the keys that it asks for: each of `fields` may stand in it again and again.
fn random(dice: &mut Dice, fields: &[(&str, String)]) -> (String, BTreeSet<usize>) {
    fn selections(
        dice: &mut Dice,
        fields: &[(&str, String)],
        depth: u64,
        is_on: bool,
        fragments: &mut Vec<String>,
        asked: &mut BTreeSet<usize>,
    ) -> String {
        let mut text = String::new();
        for _ in 0..=dice.roll(4) {
            let (directive, stays) = match dice.roll(6) {
                0 => (" @skip(if: true)", false),
                1 => (" @include(if: $off)", false),
                2 => (" @include(if: $on)", true),
                3 => (" @skip(if: $byDefault)", true),
                _ => ("", true),
            };
            let is_on = is_on && stays;
            match dice.roll(if depth < 3 { 5 } else { 3 }) {
                3 => {
                    let below = selections(dice, fields, depth + 1, is_on, fragments, asked);
                    text += &format!(" ... on Query{directive} {{ __typename {below} }}");
                }
                4 => {
                    let below = selections(dice, fields, depth + 1, is_on, fragments, asked);
                    let name = format!("F{}", fragments.len());
                    fragments.push(format!("fragment {name} on Query {{ __typename {below} }}"));
                    text += &format!(" ...{name}{directive}");
                }
                _ => {
                    let which = usize::try_from(dice.roll(fields.len() as u64)).unwrap();
                    let (selected, field) = &fields[which];
                    if is_on {
                        asked.insert(which);
                    }
                    let more = ["__typename", "__typename t: __typename", "t: __typename"];
                    let more = more[usize::try_from(dice.roll(3)).unwrap()];
                    text += &format!(" {field}{directive} {{ {selected} {more} }}");
                }
            }
        }
        text
    }
    let (mut fragments, mut asked) = (Vec::new(), BTreeSet::new());
    let text = selections(dice, fields, 0, true, &mut fragments, &mut asked);
    let head = "query($on: Boolean!, $off: Boolean!, $byDefault: Boolean! = false)";
    // Every variable is used, whatever the dice say.
    let used =
        "__typename @include(if: $on) @skip(if: $off) ... @skip(if: $byDefault) { __typename }";
    (format!("{head} {{ {used} {text} }} {}", fragments.join("\n")), asked)
}

#[tokio::test]
async fn units_and_records_are_the_distinct_keys_of_random_documents_and_calls_two_at_most() {
    let tenants = vec![("acme", LIMITS.to_owned())];
    let limits = "limits: { root_fields: 500, aliases: 500, directives: 500, tokens: 5000 }\n";
    let config = format!("{AUDIT}{limits}");
    let world = Setup::new().tenants(tenants).config(config).start().await;
    let mut fields =
        vec![("first", "listJobs".to_owned()), ("first", "l: listJobs(first: 3)".to_owned())];
    for key in ["getJob", "a: getJob", "b: getJob"] {
        let id = world.create("acme", "{}").await;
        fields.push(("id", format!("{key}(jobId: \"{id}\")")));
    }
    let weight = |which: &usize| if *which < 2 { 5 } else { 1 };
    // Three creations, each with an intent.
    let mut expected = 6;
    let mut dice = Dice(7);
    let mut sizes = BTreeSet::new();
    let before = left(&world.ask("acme", "{ listJobs(first: 1) { first } }", json!({})).await);
    let (mut remaining, mut done) = (before, 1);
    for round in 0..60 {
        let (query, asked) = random(&mut dice, &fields);
        world.sandbox.clear_calls();
        let reply = world.ask("acme", &query, json!({"on": true, "off": false})).await;
        assert!(reply.json().get("errors").is_none(), "{round}: {query}: {reply:?}");
        // Both listings go through one page; all that is read of single jobs is one document.
        let listings = asked.iter().filter(|which| **which < 2).count();
        let calls = usize::from(listings > 0) + usize::from(asked.len() > listings);
        assert_eq!(world.sandbox.calls().len(), calls, "{round}: {query}");
        // Of two listings one makes the call, and the other costs what an answer from memory does.
        let from_memory = listings.saturating_sub(1);
        let units = asked.iter().map(weight).sum::<u64>() - 4 * from_memory as u64;
        // An operation that asks for nothing of the API is charged nothing here.
        let now = reply.headers.get("ratelimit").map_or(remaining, |_| left(&reply));
        assert!(asked.is_empty() || remaining - now == units, "{round}: {query}");
        remaining = now;
        done += asked.len();
        expected += usize::from(asked.is_empty());
        sizes.insert(asked.len());
    }
    // It is about something.
    assert!(sizes.len() >= 4, "{sizes:?}");
    let records = records(&world, expected + done).await;
    let recorded = records.iter().filter(|record| record["api"]["operation"] != "-").count();
    let of_api = |record: &&Value| {
        matches!(record["api"]["operation"].as_str(), Some("getJob" | "listJobs"))
    };
    assert!(recorded >= done);
    assert_eq!(records.iter().filter(of_api).count(), done);
}

#[tokio::test]
async fn representations_are_charged_and_recorded_one_by_one_and_bounded() {
    let world = audited().await;
    let own = [world.create("acme", "{}").await, world.create("acme", "{}").await];
    let query = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Job { id } } }";
    let of = |id: &str| json!({"__typename": "Job", "id": id});
    let asked =
        json!([of(&own[0]), of("job-of-nobody"), of(&own[1]), {"__typename": "Rig", "id": "t"}]);
    let (units, reply) = cost(&world, query, json!({ "r": asked })).await;
    // One document for three, and one for two without the one that is missing.
    assert_eq!((units, world.sandbox.count("getJob")), (4, 2));
    let json = reply.json();
    let entities = &json["data"]["_entities"];
    assert_eq!((&entities[0]["id"], &entities[2]["id"]), (&json!(own[0]), &json!(own[1])));
    assert!(entities[1].is_null() && entities[3].is_null());
    let errors: Vec<_> = json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["path"].to_string(), error["extensions"]["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        errors,
        [
            ("[\"_entities\",1]".to_owned(), "NOT_FOUND"),
            ("[\"_entities\",3]".to_owned(), "BAD_USER_INPUT")
        ]
    );
    // Two creations with intents, a listing, and these four.
    let records = records(&world, 9).await;
    let reads: Vec<_> =
        records.iter().filter(|record| record["api"]["operation"] == "getJob").collect();
    assert_eq!(reads.len(), 4, "{reads:#?}");
    assert_eq!(reads.iter().filter(|read| read["status_code"] == "NOT_FOUND").count(), 1);

    world.sandbox.clear_calls();
    let many: Vec<_> = (0..101).map(|n| of(&format!("job-{n}"))).collect();
    let refused = world.ask("acme", query, json!({ "r": many })).await;
    assert_eq!(refused.code(), "OPERATION_TOO_COMPLEX");
    assert!(
        refused.text.contains("101 representations")
            && refused.text.contains("limits.representations")
    );
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn an_object_of_which_everything_is_skipped_is_empty_and_move_is_asked_nothing_it_refuses() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let no = json!({"id": id, "x": false});
    for (selection, pointer) in [
        ("client { ...C @include(if: $x) }", "/client"),
        ("client { id @include(if: $x) }", "/client"),
        ("progress { state @include(if: $x) }", "/progress"),
        ("take { client { id @include(if: $x) } }", "/take/client"),
        ("outputs { file { id @include(if: $x) } }", ""),
        ("take { volume { __typename @include(if: $x) } }", ""),
        ("inputs { options { trackBall @include(if: $x) } }", ""),
        ("... @include(if: $x) { id }", ""),
    ] {
        let query = format!(
            "query($id: ID!, $x: Boolean!) {{ getJob(jobId: $id) {{ {selection} __typename ...U @include(if: $x) }} }}
             fragment C on Client {{ id }} fragment U on Job {{ client {{ ...C }} }}"
        );
        let reply = world.ask("acme", &query, no.clone()).await;
        let value = reply.data(&format!("/getJob{pointer}"));
        assert!(pointer.is_empty() || value == json!({}), "{selection}: {value}");
    }
    let query = "mutation($take: String!, $x: Boolean!) {
        createSingleCamJob(takeId: $take) { client { id @include(if: $x) } progress { state @skip(if: true) } } }";
    let made = world.ask("acme", query, json!({"take": SINGLECAM_TAKE, "x": false})).await;
    assert_eq!(made.data("/createSingleCamJob"), json!({"client": {}, "progress": {}}));
    let query = "query($x: Boolean!) { listJobs { items { client { id @include(if: $x) } } } }";
    let listed = world.ask("acme", query, json!({"x": false})).await;
    assert_eq!(listed.data("/listJobs/items/0"), json!({"client": {}}));
}

#[tokio::test]
async fn a_fragment_on_an_interface_asks_move_only_for_what_the_type_has() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.clear_calls();
    let selection =
        "... on Identifier { id ... on Take { sources { deviceLabel } } ... on Job { state } }";
    let job = world.get("acme", &id, selection).await.data("/getJob");
    assert_eq!(job.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "state"]);
    assert!(!world.sandbox.calls()[0].query.contains("sources"));
}

#[tokio::test]
async fn after_a_mutation_that_makes_the_answer_null_no_more_is_done() {
    let world = audited().await;
    let before = world.sandbox.job_count();
    let create = format!("createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }}");
    let query =
        format!("mutation {{ a: {create} b: updateJob(id: \"job-none\") {{ id }} c: {create} }}");
    let json = world.ask("acme", &query, json!({})).await.json();
    assert_eq!((&json["data"], &json["errors"][0]["path"]), (&Value::Null, &json!(["b"])));
    assert_eq!(json["errors"].as_array().unwrap().len(), 1);
    assert_eq!(world.sandbox.job_count(), before + 1);
    let records = records(&world, 4).await;
    let last = records.iter().find(|record| {
        record["unmapped"]["alias"] == "c" && record["unmapped"]["phase"] != "intent"
    });
    let last = last.unwrap_or_else(|| panic!("no record of c: {records:#?}"));
    assert_eq!(last["status_code"], "NOT_FOUND", "{last:#}");
}

#[tokio::test]
async fn reads_beside_one_that_fails_are_made_and_recorded() {
    let world = audited().await;
    let own = [world.create("acme", "{}").await, world.create("acme", "{}").await];
    let query = format!(
        "{{ a: getJob(jobId: \"job-none\") {{ id }} b: getJob(jobId: \"{}\") {{ id }} c: getJob(jobId: \"{}\") {{ id }} }}",
        own[0], own[1]
    );
    let json = world.ask("acme", &query, json!({})).await.json();
    assert_eq!(json["data"], Value::Null);
    assert_eq!(json["errors"].as_array().unwrap().len(), 1);
    let records = records(&world, 7).await;
    for (alias, id) in [("b", &own[0]), ("c", &own[1])] {
        let record = records.iter().find(|record| record["unmapped"]["alias"] == alias).unwrap();
        assert!(record["resources"].to_string().contains(id.as_str()), "{record:#}");
    }
}

#[tokio::test]
async fn an_answer_that_aliases_would_blow_up_is_given_up_before_its_memory_is_spent() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let stored = format!(
        "{{\"acme\":\"{}\",\"_gateway\":{{\"v\":1,\"owner\":\"acme\"}}}}",
        "x".repeat(1024 * 1024)
    );
    let own = id.clone();
    world.sandbox.fail_next(
        Some("getJob"),
        Fault::edit(move |answer| {
            answer["data"]["getJob"] = json!({"id": own, "metadata": stored, "state": "RUNNING"});
        }),
    );
    let aliases: Vec<_> = (0..28).map(|n| format!("m{n}: metadata")).collect();
    let reply = world.get("acme", &id, &aliases.join(" ")).await;
    assert_eq!(reply.code(), "OPERATION_TOO_COMPLEX");
    assert!(reply.text.len() < 1_000, "{}", reply.text.len());
}
