//! Files, takes and volumes: each its tenant's, as jobs are.

use jobs_gateway::sandbox::{Fault, State};
use serde_json::{Value, json};

use crate::support::{Reply, Setup, World, key, send};

/// An answer without what differs from one request to the next.
fn comparable(reply: Reply) -> String {
    format!("{:?}", reply.comparable())
}

/// The metadata of what a tenant made.
pub fn of(tenant: &str) -> String {
    format!(r#"{{"{tenant}":{{"n":1}},"_gateway":{{"v":1,"owner":"{tenant}","by":"k"}}}}"#)
}

pub const FILE: &str =
    "mutation($m: AWSJSON) { createFile(type: \"mp4\", metadata: $m, name: \"f\") {
    id type created metadata presignedUrl name client { portal } } }";

const SOURCES: &str = "sources: [{deviceLabel: \"cam01\", fileId: $file, format: MP4}]";

/// Makes a file as a tenant, and fills it.
pub async fn filled(world: &World, tenant: &str) -> String {
    let file = world.ask(tenant, FILE, json!({"m": "{\"f\":1}"})).await.data("/createFile");
    let put = world.http.put(file["presignedUrl"].as_str().unwrap()).body("the film");
    assert_eq!(put.send().await.unwrap().status(), 200);
    file["id"].as_str().unwrap().to_owned()
}

async fn take_of(world: &World, tenant: &str, file: &str) -> Reply {
    let query = format!(
        "mutation($file: String!, $m: AWSJSON) {{ createSingleCamTake({SOURCES}, metadata: $m, name: \"t\") {{
            id created metadata name takeType sources {{ deviceLabel file {{ id }} }} }} }}"
    );
    world.ask(tenant, &query, json!({"file": file, "m": "{\"t\":1}"})).await
}

/// Makes a finished job as a tenant: from the bytes of a film to the file that came of it.
async fn finished(world: &World, tenant: &str) -> (String, String, String) {
    let file = filled(world, tenant).await;
    let take = take_of(world, tenant, &file).await.data("/createSingleCamTake/id");
    let query = "mutation($take: String!) { createSingleCamJob(takeId: $take) { id } }";
    let job = world.ask(tenant, query, json!({"take": take})).await.data("/createSingleCamJob/id");
    let job = job.as_str().unwrap().to_owned();
    world.sandbox.set_state(&job, State::Finished);
    (file, take.as_str().unwrap().to_owned(), job)
}

#[tokio::test]
async fn a_tenant_goes_from_the_bytes_of_a_film_to_the_motion_without_moves_key() {
    let tenants =
        vec![("acme", "operations: [\"*\", sharing]\ntakes: { unclaimed: hide }\n".to_owned())];
    let world = Setup::new().tenants(tenants).start().await;
    let (file, take, job) = finished(&world, "acme").await;
    let stored = world.sandbox.take(&take).unwrap();
    assert!(stored.metadata.unwrap().starts_with(r#"{"acme":{"t":1},"_gateway":"#));
    let take = world
        .ask(
            "acme",
            "query($id: ID!) { getTake(takeId: $id) { name metadata sources { file { id } } } }",
            json!({"id": take}),
        )
        .await
        .data("/getTake");
    assert_eq!(
        take,
        json!({"name": "t", "metadata": "{\"t\":1}", "sources": [{"file": {"id": file}}]})
    );
    let outputs = world.get("acme", &job, "outputs { file { presignedUrl } }").await;
    let url = outputs.data("/getJob/outputs/0/file/presignedUrl");
    let bytes = world.http.get(url.as_str().unwrap()).send().await.unwrap();
    assert_eq!(bytes.status(), 200);
    // Its outputs are the tenant's since they were read.
    let output =
        world.get("acme", &job, "outputs { file { id } }").await.data("/getJob/outputs/0/file/id");
    let query = "query($id: ID!) { getFile(fileId: $id) { id type metadata } }";
    let read = world.ask("acme", query, json!({"id": output})).await.data("/getFile");
    assert_eq!((&read["id"], &read["metadata"]), (&output, &json!("{}")));
    let share = "mutation($id: String!) { generateShareCode(fileId: $id) { code expires url file { id } } }";
    let code = world.ask("acme", share, json!({"id": output})).await.data("/generateShareCode");
    assert!(code["code"].is_string() && code["file"]["id"] == output, "{code}");
}

/// Adds one of each kind that is another tenant's, and one that is nobody's.
fn add_strangers(world: &World) {
    for kind in ["file", "take", "volume"] {
        for (name, metadata) in [("foreign", of("globex")), ("unclaimed", "{}".to_owned())] {
            let id = format!("{kind}-{name}");
            match kind {
                "file" => world.sandbox.add_file(&id, Some(&metadata)),
                "take" => world.sandbox.add_take(&id, Some(&metadata)),
                _ => world.sandbox.add_volume(&id, Some(&metadata)),
            }
        }
    }
}

#[tokio::test]
async fn foreign_missing_and_unclaimed_things_differ_in_nothing_wherever_they_are_named() {
    let all = "operations: [\"*\", sharing]\ntakes: { unclaimed: hide }\n".to_owned();
    let world = Setup::new().tenant("acme", all).start().await;
    let own = filled(&world, "acme").await;
    add_strangers(&world);
    let source = |id: &str| format!("{{deviceLabel: \"c\", fileId: {id}, format: MP4}}");
    let (own, theirs) = (source(&format!("\"{own}\"")), source("$id"));
    let volume = "humanHeight: 1.8, areaType: NORMAL";
    for (kind, query) in [
        ("file", "query($id: ID!) { getFile(fileId: $id) { id presignedUrl } }".to_owned()),
        ("file", "mutation($id: String!) { updateFile(id: $id, name: \"n\") { id } }".to_owned()),
        (
            "file",
            "mutation($id: String!) { updateFile(id: $id, metadata: \"{}\") { id } }".to_owned(),
        ),
        ("file", "mutation($id: String!) { generateShareCode(fileId: $id) { code } }".to_owned()),
        (
            "file",
            format!(
                "mutation($id: String!) {{ createSingleCamTake(sources: [{own}, {theirs}]) {{ id }} }}"
            ),
        ),
        (
            "file",
            format!(
                "mutation($id: String!) {{ createVolumeWithHuman(sources: [{theirs}, {own}], {volume}) {{ id }} }}"
            ),
        ),
        (
            "file",
            format!(
                "mutation($id: String!) {{ createMultiCamTake(sources: [{theirs}], volumeId: \"volume-missing\") {{ id }} }}"
            ),
        ),
        (
            "volume",
            format!(
                "mutation($id: String!) {{ createMultiCamTake(sources: [{own}], volumeId: $id) {{ id }} }}"
            ),
        ),
        (
            "volume",
            "query($id: ID!) { getVolume(id: $id) { ... on HumanVolume { id name } } }".to_owned(),
        ),
        ("take", "query($id: ID!) { getTake(takeId: $id) { id name } }".to_owned()),
        (
            "take",
            "mutation($id: String!) { updateTake(id: $id, metadata: \"{}\") { id } }".to_owned(),
        ),
        ("take", "mutation($id: String!) { createSingleCamJob(takeId: $id) { id } }".to_owned()),
    ] {
        let mut answers = Vec::new();
        for name in ["foreign", "missing", "unclaimed"] {
            for _ in 0..2 {
                world.sandbox.clear_calls();
                let id = json!({"id": format!("{kind}-{name}")});
                let reply = world.ask("acme", &query, id).await;
                assert_eq!(reply.code(), "NOT_FOUND", "{name} {query}: {reply:?}");
                let calls = world.sandbox.calls().into_iter().map(|call| call.query);
                answers.push((comparable(reply), calls.collect::<Vec<_>>()));
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{query}: {answers:?}");
        assert_eq!(answers[0].1.len(), 1, "{query}");
    }
}

#[tokio::test]
async fn listings_of_takes_and_volumes_hold_the_tenants_own() {
    let world = World::start().await;
    for (tenant, n) in [("globex", 0), ("acme", 1), ("acme", 2), ("globex", 3), ("acme", 4)] {
        world.sandbox.add_take(&format!("take-{n}"), Some(&of(tenant)));
        world.sandbox.add_volume(&format!("volume-{n}"), Some(&of(tenant)));
    }
    let policy = "operations: [\"*\"]\ntakes: { unclaimed: hide }\n";
    let world = Setup::new().tenant("acme", policy).over(world.sandbox).await;
    for (field, item, prefix) in [
        ("listTakes", "__typename id metadata", "take"),
        ("listVolumes", "... on HumanVolume { __typename id metadata }", "volume"),
    ] {
        let query = format!(
            "query($after: AWSJSON) {{ {field}(first: 2, after: $after, sortDirection: ASC) {{ after first items {{ {item} }} }} }}"
        );
        let (mut found, mut after) = (Vec::new(), Value::Null);
        loop {
            // As Move's Python client sends it: the object itself.
            let given =
                after.as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
            let page =
                world.ask("acme", &query, json!({"after": given})).await.data(&format!("/{field}"));
            for item in page["items"].as_array().unwrap() {
                assert_eq!(item["metadata"], "{\"n\":1}");
                found.push(item["id"].as_str().unwrap().to_owned());
            }
            after = page["after"].clone();
            if after.is_null() {
                break;
            }
        }
        let mut expected: Vec<_> = [1, 2, 4].map(|n| format!("{prefix}-{n}")).into();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn volumes_are_calibrated_and_multi_camera_takes_made_on_them() {
    let world = World::start().await;
    let file = filled(&world, "acme").await;
    let create = format!(
        "mutation($file: String!) {{ createVolumeWithHuman({SOURCES}, humanHeight: 1.8, areaType: LARGE, name: \"\",
            clipWindow: null, metadata: \"{{}}\", syncMethod: {{clapWindow: null}}) {{
            id name metadata areaType humanHeight state progress {{ state }} }} }}"
    );
    let volume =
        world.ask("acme", &create, json!({"file": file})).await.data("/createVolumeWithHuman");
    assert_eq!((&volume["metadata"], &volume["areaType"]), (&json!("{}"), &json!("LARGE")));
    let id = volume["id"].as_str().unwrap().to_owned();
    let stored = world.sandbox.volume(&id).unwrap().metadata.unwrap();
    assert!(stored.contains(r#""owner":"acme""#), "{stored}");
    world.sandbox.set_state(&id, State::Finished);
    let get = "query($id: ID!) { v: getVolume(id: $id) { __typename ... on HumanVolume { state outputs { file { id } } } } }";
    let read = world.ask("acme", get, json!({"id": id})).await.data("/v");
    assert_eq!((&read["__typename"], &read["state"]), (&json!("HumanVolume"), &json!("FINISHED")));
    let create = format!(
        "mutation($file: String!, $volume: String!) {{ createMultiCamTake({SOURCES}, volumeId: $volume) {{
            id takeType volume {{ ... on HumanVolume {{ id }} }} }} }}"
    );
    world.sandbox.clear_calls();
    let take = world.ask("acme", &create, json!({"file": file, "volume": id})).await;
    assert_eq!(take.data("/createMultiCamTake/volume/id"), json!(id));
    assert_eq!(world.sandbox.calls().len(), 1, "all of it was seen to be the tenant's");
}

#[tokio::test]
async fn updates_keep_the_envelope_and_a_file_that_move_made_keeps_its_metadata() {
    let world = World::start().await;
    let (file, take, job) = finished(&world, "acme").await;
    for (field, id) in [("updateFile", &file), ("updateTake", &take)] {
        let query = format!(
            "mutation($id: String!) {{ u: {field}(id: $id, metadata: \"[2]\", name: \"new\") {{ id name metadata }} }}"
        );
        let updated = world.ask("acme", &query, json!({"id": id})).await.data("/u");
        assert_eq!(updated, json!({"id": id, "name": "new", "metadata": "[2]"}));
        let other = world.ask("globex", &query, json!({"id": id})).await;
        assert_eq!(other.code(), "NOT_FOUND");
    }
    assert!(
        world
            .sandbox
            .file(&file)
            .unwrap()
            .metadata
            .unwrap()
            .starts_with(r#"{"acme":[2],"_gateway""#)
    );
    let output =
        world.get("acme", &job, "outputs { file { id } }").await.data("/getJob/outputs/0/file/id");
    let rename = "mutation($id: String!) { updateFile(id: $id, name: \"walk.fbx\") { name } }";
    assert_eq!(
        world.ask("acme", rename, json!({"id": output})).await.data("/updateFile/name"),
        "walk.fbx"
    );
    world.sandbox.clear_calls();
    let write = "mutation($id: String!) { updateFile(id: $id, metadata: \"{}\") { name } }";
    assert_eq!(world.ask("acme", write, json!({"id": output})).await.code(), "FORBIDDEN");
    assert_eq!(world.sandbox.count("updateFile"), 0);
}

#[tokio::test]
async fn what_no_envelope_can_say_is_the_tenants_whose_thing_holds_it_and_nobody_elses() {
    let world = World::start().await;
    let (_, _, job) = finished(&world, "acme").await;
    let output = world.sandbox.job(&job).map(|_| ()).and_then(|()| {
        world.sandbox.files().into_iter().rev().find(|file| file.metadata.as_deref() == Some("{}"))
    });
    let output = json!(output.unwrap().id);
    let query = "query($id: ID!) { getFile(fileId: $id) { id } }";
    let ask = async |tenant: &str| world.ask(tenant, query, json!({"id": output})).await;
    let before = ask("acme").await;
    assert_eq!(before.code(), "NOT_FOUND", "nobody knows yet whose it is");
    let listed =
        world.ask("acme", "{ listJobs { items { outputs { file { type } } } } }", json!({})).await;
    assert!(listed.data("/listJobs/items/0/outputs").is_array());
    let held = world.get("acme", &job, "outputs { file { id } }").await.data("/getJob/outputs");
    let output = &held[0]["file"]["id"];
    assert_eq!(world.ask("acme", query, json!({"id": output})).await.data("/getFile/id"), *output);
    let foreign = world.ask("globex", query, json!({"id": output})).await;
    assert_eq!(comparable(foreign), comparable(before));
}

#[tokio::test]
async fn the_account_shows_what_policy_says_and_the_catalogue_is_asked_for_once() {
    let policy = "operations: [\"*\", account, webhooks]\nclient: { portal: 'https://a.test/', metadata: { a: 1 } }\n";
    let world = Setup::new().tenant("acme", policy).start().await;
    let query = "{ client { id name created portal metadata }
        listRigs { after first items { __typename name } } listCameraSettings { items { lens } } }";
    for _ in 0..3 {
        let read = world.ask("acme", query, json!({})).await.data("");
        assert_eq!(read["client"]["portal"], "https://a.test/");
        assert_eq!(read["client"]["metadata"], r#"{"a":1}"#);
        assert!(read["client"]["id"].as_str().unwrap().starts_with("client-"), "{read}");
        assert_eq!(read["listRigs"]["items"][0]["__typename"], "Rig");
        assert!(!read["listCameraSettings"]["items"].as_array().unwrap().is_empty());
    }
    let calls = world.sandbox.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(
        calls.iter().all(|call| !call.query.contains("portal") && !call.query.contains("metadata"))
    );
    world.sandbox.clear_calls();
    for (query, said) in [
        ("mutation { updateClient(metadata: \"{}\") { id } }", "client.metadata"),
        (
            "mutation { upsertWebhookEndpoint(uid: \"u\", url: \"https://h.test/\") { uid } }",
            "jobsUpdated",
        ),
    ] {
        let reply = world.ask("acme", query, json!({})).await;
        assert_eq!(reply.code(), "FORBIDDEN");
        assert!(reply.text.contains(said), "{reply:?}");
    }
    assert!(world.sandbox.calls().is_empty(), "never forwarded");
}

#[tokio::test]
async fn bad_arguments_are_refused_before_anything_is_sent_each_by_its_name() {
    let policy = "operations: [\"*\", sharing]\nmetadata: { max_bytes: 100 }\n".to_owned();
    let world = Setup::new().tenant("acme", policy).start().await;
    let source = "{deviceLabel: \"c\", fileId: \"file-1\", format: MP4}";
    let large = "x".repeat(200);
    let many = format!("{source},").repeat(25);
    for (arguments, argument) in [
        ("createSingleCamTake".to_owned(), "sources"),
        ("createSingleCamTake(sources: [])".to_owned(), "sources"),
        ("createSingleCamTake(sources: null)".to_owned(), "sources"),
        (format!("createSingleCamTake(sources: [{many}])"), "sources"),
        (
            format!("createSingleCamTake(sources: [{}])", source.replace("file-1", "take-1")),
            "sources",
        ),
        (format!("createMultiCamTake(sources: [{source}], volumeId: \"take-1\")"), "volumeId"),
        (
            format!(
                "createMultiCamTake(sources: [{source}], volumeId: \"volume-1\", syncMethod: {{clapWindow: {{startTime: 2, endTime: 1}}}})"
            ),
            "syncMethod",
        ),
        (
            format!("createVolumeWithHuman(sources: [{source}], areaType: LARGE, humanHeight: -1)"),
            "humanHeight",
        ),
        (
            format!(
                "createVolumeWithHuman(sources: [{source}], areaType: LARGE, humanHeight: 2, clipWindow: {{startTime: -1, endTime: 1}})"
            ),
            "clipWindow",
        ),
        (format!("createFile(type: \"mp4\", metadata: \"\\\"{large}\\\"\")"), "metadata"),
        ("updateFile(id: \"job-1\", name: \"n\")".to_owned(), "id"),
        ("updateTake(id: \"file-1\", name: \"n\")".to_owned(), "id"),
        ("generateShareCode(fileId: \"take-1\")".to_owned(), "fileId"),
    ] {
        let reply = world
            .ask("acme", &format!("mutation {{ {arguments} {{ __typename }} }}"), json!({}))
            .await;
        assert_eq!(reply.code(), "BAD_USER_INPUT", "{arguments}: {reply:?}");
        assert!(reply.text.contains(&format!("\\\"{argument}\\\"")), "{arguments}: {reply:?}");
    }
    let text = "mutation { createFile(type: \"mp4\", metadata: \"{\") { id } }";
    assert_eq!(world.ask("acme", text, json!({})).await.code(), "GRAPHQL_VALIDATION_FAILED");
    let variable = "mutation($m: AWSJSON) { createFile(type: \"mp4\", metadata: $m) { id } }";
    assert_eq!(world.ask("acme", variable, json!({"m": "{"})).await.code(), "BAD_USER_INPUT");
    assert!(world.sandbox.calls().is_empty());
}

/// Sends a mutation of `acme` with an `Idempotency-Key`.
pub async fn keyed(world: &World, own: &str, query: &str, variables: Value) -> Reply {
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let body = json!({"query": query, "variables": variables});
    send(request.header("idempotency-key", own).json(&body)).await
}

#[tokio::test]
async fn with_a_key_a_take_and_a_volume_are_found_again_by_their_mark_when_the_answer_was_lost() {
    let world = World::start().await;
    let file = filled(&world, "acme").await;
    for (field, more) in [
        ("createSingleCamTake", ""),
        ("createVolumeWithHuman", ", areaType: LARGE, humanHeight: 2"),
    ] {
        let query =
            format!("mutation($file: String!) {{ made: {field}({SOURCES}{more}) {{ id }} }}");
        world.sandbox.fail_next(Some(field), Fault::LoseAnswer);
        let lost = keyed(&world, field, &query, json!({"file": file})).await;
        assert_eq!(lost.code(), "OUTCOME_UNKNOWN", "{lost:?}");
        let found = keyed(&world, field, &query, json!({"file": file})).await.data("/made/id");
        let again = keyed(&world, field, &query, json!({"file": file})).await.data("/made/id");
        assert_eq!(found, again);
        assert_eq!(world.sandbox.count(field), 1, "made once");
    }
}

#[tokio::test]
async fn reads_of_takes_files_and_volumes_come_from_memory_until_they_are_written() {
    let policy = "operations: [\"*\"]\ncache: { get_job: { finished: 10m } }\n".to_owned();
    let world = Setup::new().tenant("acme", policy).start().await;
    world.sandbox.add_take("take-own", Some(&of("acme")));
    world.sandbox.add_file("file-own", Some(&of("acme")));
    world.sandbox.add_volume("volume-own", Some(&of("acme")));
    let query = "{ getTake(takeId: \"take-own\") { name } getFile(fileId: \"file-own\") { name presignedUrl }
        getVolume(id: \"volume-own\") { ... on HumanVolume { name } } }";
    for _ in 0..3 {
        world.ask("acme", query, json!({})).await.data("");
    }
    assert_eq!(world.sandbox.calls().len(), 1, "all three in one");
    world
        .ask("acme", "mutation { updateTake(id: \"take-own\", name: \"new\") { id } }", json!({}))
        .await
        .data("");
    world.sandbox.clear_calls();
    let read = world.ask("acme", query, json!({})).await;
    assert_eq!(read.data("/getTake/name"), "new");
    assert_eq!(world.sandbox.calls().len(), 1);
}
