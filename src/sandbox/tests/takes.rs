//! Files to takes, takes to jobs; volumes for those by several cameras.

use super::*;

const SOURCES: &str = "sources: [{deviceLabel: \"left\", fileId: $file, format: MOV}]";

async fn take_of(sandbox: &Sandbox, file: &str) -> Value {
    let query = format!(
        "mutation($file: String!) {{ createSingleCamTake({SOURCES}, name: \"\", metadata: \"[1]\") {{
            id name metadata takeType sources {{ deviceLabel format file {{ id }} }} }} }}"
    );
    ask(sandbox, &query, json!({"file": file})).await["data"]["createSingleCamTake"].take()
}

async fn state_at_the_end(sandbox: &Sandbox, take: &Value) -> Value {
    let job = ask(sandbox, CREATE, json!({"take": take["id"]})).await["data"]["job"]["id"].take();
    tokio::time::advance(Duration::from_secs(30)).await;
    ask(sandbox, GET, json!({"id": job})).await["data"]["getJob"]["state"].take()
}

#[tokio::test(start_paused = true)]
async fn a_job_on_a_take_of_an_uploaded_film_finishes_and_without_its_bytes_fails() {
    let sandbox = start(SandboxOptions::default()).await;
    let file = upload(&sandbox, b"a film").await;
    let take = take_of(&sandbox, &file).await;
    assert_eq!((&take["takeType"], &take["name"]), (&json!("SINGLE_CAM"), &Value::Null));
    let source = json!({"deviceLabel": "left", "format": "MOV", "file": {"id": file}});
    assert_eq!((&take["metadata"], &take["sources"]), (&json!("[1]"), &json!([source])));
    assert_eq!(state_at_the_end(&sandbox, &take).await, "FINISHED");
    let (empty, _) = create_file(&sandbox, "mov").await;
    let take = take_of(&sandbox, &empty).await;
    assert_eq!(state_at_the_end(&sandbox, &take).await, "FAILED");
}

#[tokio::test]
async fn takes_and_volumes_of_no_or_unknown_films_are_refused() {
    let sandbox = start(SandboxOptions::default()).await;
    let file = upload(&sandbox, b"a film").await;
    let known = format!("{{deviceLabel: \"l\", fileId: \"{file}\", format: MP4}}");
    let unknown = "{deviceLabel: \"l\", fileId: \"file-unknown\", format: MP4}";
    let many = format!("[{known}, {unknown}]");
    let body = "metadata: \"{}\") { id } }";
    for (sources, expected) in [
        ("null", "ValidationError"),
        ("[]", "ValidationError"),
        (many.as_str(), "MoveNotFoundError"),
    ] {
        for document in [
            format!("mutation {{ createSingleCamTake(sources: {sources}, {body}"),
            format!(
                "mutation {{ createMultiCamTake(volumeId: \"{HUMAN_VOLUME}\", sources: {sources}, {body}"
            ),
            format!(
                "mutation {{ createVolumeWithHuman(humanHeight: 1.7, areaType: NORMAL, sources: {sources}, {body}"
            ),
        ] {
            let answer = ask(&sandbox, &document, json!({})).await;
            assert_eq!(answer["errors"][0]["errorType"], expected, "{document}: {answer}");
        }
    }
    let nowhere = format!(
        "mutation {{ createMultiCamTake(volumeId: \"volume-unknown\", sources: [{known}], {body}"
    );
    let answer = ask(&sandbox, &nowhere, json!({})).await;
    assert_eq!(answer["errors"][0]["errorType"], "MoveNotFoundError");
    assert_eq!((sandbox.takes().len(), sandbox.volumes().len()), (3, 1), "those of the seed");
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_calibrated_in_time_and_serves_a_take_by_several_cameras() {
    let sandbox = start(SandboxOptions::default()).await;
    let file = upload(&sandbox, b"a film").await;
    let create = format!(
        "mutation($file: String!) {{ createVolumeWithHuman({SOURCES}, humanHeight: 1.82,
            areaType: LARGE, name: \"\", clipWindow: null, metadata: \"{{}}\") {{ id name }} }}"
    );
    let answer = ask(&sandbox, &create, json!({"file": file})).await;
    let volume = &answer["data"]["createVolumeWithHuman"];
    assert_eq!(volume["name"], "", "never null");
    let get = "query($id: ID!) { getVolume(id: $id) { ... on Volume { ...V } } }
        fragment V on HumanVolume { state areaType humanHeight progress { state percentageComplete }
            outputs { format file { presignedUrl } } }";
    let mut states = Vec::new();
    for _ in 0..4 {
        let answer = ask(&sandbox, get, json!({"id": volume["id"]})).await;
        let volume = &answer["data"]["getVolume"];
        assert_eq!(volume["state"], volume["progress"]["state"]);
        states.push(volume["state"].clone());
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    assert_eq!(states, ["NOT_STARTED", "RUNNING", "RUNNING", "FINISHED"]);
    let answer = ask(&sandbox, get, json!({"id": volume["id"]})).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    assert_eq!(answer["data"]["getVolume"]["outputs"].as_array().map(Vec::len), Some(3));

    let create = format!(
        "mutation($file: String!, $volume: String!) {{ createMultiCamTake({SOURCES},
            volumeId: $volume, syncMethod: {{timecodeSync: {{useTimecode: true}}}}) {{
            id takeType syncMethod {{ clapWindow {{ endTime }} timecodeSync {{ useTimecode }} }}
            volume {{ ... on HumanVolume {{ id humanHeight }} }} }} }}"
    );
    let variables = json!({"file": file, "volume": volume["id"]});
    let answer = ask(&sandbox, &create, variables).await;
    let take = &answer["data"]["createMultiCamTake"];
    assert_eq!(take["takeType"], "MULTI_CAM");
    assert_eq!(take["volume"], json!({"id": volume["id"], "humanHeight": 1.82}));
    let sync = json!({"clapWindow": null, "timecodeSync": {"useTimecode": true}});
    assert_eq!(take["syncMethod"], sync);
    assert_eq!(state_at_the_end(&sandbox, take).await, "FINISHED");
}

#[tokio::test]
async fn takes_and_volumes_are_listed_by_creation_with_the_last_ones_key_as_cursor() {
    let sandbox = start(SandboxOptions::default()).await;
    for n in 0..4 {
        sandbox.add_take(&format!("take-{n}"), None);
        sandbox.add_volume(&format!("volume-{n}"), None);
    }
    let list = "query($after: AWSJSON, $sort: SortDirection) {
        takes: listTakes(first: 3, after: $after, sortDirection: $sort) { after items { id } }
        volumes: listVolumes(first: 3, sortDirection: $sort) { after items {
            ... on HumanVolume { id } } } }";
    let page = ask(&sandbox, list, json!({})).await["data"].take();
    let ids = |items: &Value| -> Vec<String> {
        let items = items.as_array().expect("items");
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&page["takes"]["items"]), ["take-3", "take-2", "take-1"]);
    assert_eq!(ids(&page["volumes"]["items"]), ["volume-3", "volume-2", "volume-1"]);
    let after = page["takes"]["after"].as_str().expect("a cursor");
    let key: Value = serde_json::from_str(after).expect("AWSJSON");
    assert_eq!(key["id"], "take-1");
    let page = ask(&sandbox, list, json!({"after": after})).await["data"].take();
    assert_eq!(ids(&page["takes"]["items"])[..2], ["take-0", FAILING_TAKE]);
    let page = ask(&sandbox, list, json!({"sort": "ASC"})).await["data"].take();
    assert_eq!(ids(&page["takes"]["items"]), [SINGLECAM_TAKE, MULTICAM_TAKE, FAILING_TAKE]);
    assert_eq!(ids(&page["volumes"]["items"]), [HUMAN_VOLUME, "volume-0", "volume-1"]);
}

#[tokio::test]
async fn updates_replace_what_is_given_and_leave_the_rest() {
    let sandbox = start(SandboxOptions::default()).await;
    let file = upload(&sandbox, b"a film").await;
    for (field, id) in [("updateTake", SINGLECAM_TAKE), ("updateFile", &file)] {
        let update = format!(
            "mutation($metadata: AWSJSON, $name: String) {{
                {field}(id: \"{id}\", metadata: $metadata, name: $name) {{ metadata name }} }}"
        );
        let first = json!({"metadata": "[1]", "name": "new"});
        assert_eq!(ask(&sandbox, &update, first.clone()).await["data"][field], first);
        let answer = ask(&sandbox, &update, json!({"metadata": null, "name": null})).await;
        assert_eq!(answer["data"][field], first);
    }
}

#[tokio::test]
async fn a_webhooks_secret_is_told_when_it_is_made_and_never_again() {
    let sandbox = start(SandboxOptions::default()).await;
    let upsert = "mutation($events: [String!], $url: String!, $secret: String) {
        upsertWebhookEndpoint(uid: \"u\", url: $url, events: $events, secret: $secret) {
            uid url events description secret metadata } }";
    let url = "https://app.example.test/hook";
    let variables = json!({"url": url, "events": ["ugc.job.state.failed"]});
    let made = ask(&sandbox, upsert, variables).await["data"]["upsertWebhookEndpoint"].take();
    assert!(made["secret"].as_str().is_some_and(|own| own.starts_with("whsec_")), "{made}");
    let variables = json!({"url": format!("{url}/2"), "secret": "whsec_of-mine"});
    let changed = ask(&sandbox, upsert, variables).await["data"]["upsertWebhookEndpoint"].take();
    let expected = json!({"uid": "u", "url": format!("{url}/2"), "events": ["ugc.job.state.failed"],
        "description": "", "secret": null, "metadata": "{}"});
    assert_eq!(changed, expected);
    let answer = ask(&sandbox, upsert, json!({"url": "ftp://app.example.test"})).await;
    assert_eq!(answer["errors"][0]["errorType"], "ValidationError");
}

#[tokio::test]
async fn faults_meet_every_root_field() {
    let sandbox = start(SandboxOptions::default()).await;
    sandbox.fail_next(Some("createFile"), Fault::LoseAnswer);
    let create = "mutation { createFile(type: \"mp4\") { id } }";
    let files = sandbox.files().len();
    assert!(send(&sandbox, create).await.is_err());
    assert_eq!(sandbox.files().len(), files + 1, "carried out all the same");
    sandbox.fail_always(Some("getVolume"), Some(Fault::html(502)));
    let get = format!("{{ getVolume(id: \"{HUMAN_VOLUME}\") {{ __typename }} }}");
    assert_eq!(send(&sandbox, &get).await.expect("an answer").status(), 502);
}
