//! Jobs: creating, reading, changing and listing them.

use super::*;

const LIST: &str = "query($first: Int, $after: AWSJSON, $sort: SortDirection, $take: String) {
    listJobs(first: $first, after: $after, sortDirection: $sort, takeId: $take) {
        first after items { id } } }";

async fn list(sandbox: &Sandbox, variables: Value) -> (Vec<String>, Value) {
    let answer = ask(sandbox, LIST, variables).await;
    let page = &answer["data"]["listJobs"];
    let items = page["items"].as_array().unwrap_or_else(|| panic!("no page: {answer}"));
    let ids = items.iter().map(|job| job["id"].as_str().unwrap().to_owned());
    (ids.collect(), page["after"].clone())
}

fn job(id: &str, created: &str) -> Job {
    Job { id: id.to_owned(), ..Job::new(created.parse().expect("a timestamp")) }
}

#[tokio::test(start_paused = true)]
async fn a_job_comes_along_with_time() {
    let sandbox = start(SandboxOptions::default()).await;
    let id = create(&sandbox, json!("{}")).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let job = ask(&sandbox, GET, json!({"id": id})).await["data"]["getJob"].take();
        assert_eq!(job["state"], job["progress"]["state"]);
        seen.push((job["state"].clone(), job["progress"]["percentageComplete"].clone()));
        tokio::time::advance(Duration::from_millis(7500)).await;
    }
    let expected = [
        ("NOT_STARTED", 0),
        ("NOT_STARTED", 0),
        ("STARTED", 0),
        ("RUNNING", 25),
        ("FINISHED", 100),
    ];
    assert_eq!(seen, expected.map(|(state, percentage)| (json!(state), json!(percentage))));
}

#[tokio::test(start_paused = true)]
async fn a_job_on_the_failing_take_fails_in_the_end_without_outputs() {
    let sandbox = start(SandboxOptions::default()).await;
    let answer = ask(&sandbox, CREATE, json!({"take": FAILING_TAKE})).await;
    tokio::time::advance(Duration::from_secs(30)).await;
    let answer = ask(&sandbox, GET, json!({"id": answer["data"]["job"]["id"]})).await;
    assert_eq!(answer["data"]["getJob"]["state"], "FAILED");
    assert_eq!(answer["data"]["getJob"]["outputs"], json!([]));
}

#[tokio::test]
async fn a_failed_job_may_arrive_as_an_error_with_its_state_and_suggestions() {
    let sandbox = start(SandboxOptions { failed_as_error: true, ..Default::default() }).await;
    let id = create(&sandbox, json!("{}")).await;
    sandbox.set_state(&id, State::Failed);
    let answer = ask(&sandbox, GET, json!({"id": id})).await;
    let error = &answer["errors"][0];
    assert_eq!(error["path"], json!(["getJob"]));
    assert_eq!(error["data"]["progress"]["state"], "FAILED");
    assert!(error["errorInfo"]["suggestions"][0].is_string(), "{answer}");
}

#[tokio::test]
async fn a_file_that_does_not_exist_yet_is_an_error_beside_the_rest() {
    let sandbox = start(SandboxOptions::default()).await;
    let id = create(&sandbox, json!("{}")).await;
    sandbox.set_state(&id, State::Running);
    let answer = ask(&sandbox, GET, json!({"id": id})).await;
    assert_eq!(answer["data"]["getJob"]["outputs"][0]["format"], "mp4");
    let error = &answer["errors"][0];
    assert_eq!(error["message"], "File object does not exist");
    assert_eq!(error["path"], json!(["getJob", "outputs", 0, "file", "presignedUrl"]));
}

#[tokio::test(start_paused = true)]
async fn presigned_urls_are_made_anew_and_expire_by_the_sandboxs_clock() {
    for url_style in [Style::SignatureV2, Style::SignatureV4] {
        let url_lifetime = Duration::from_mins(15);
        let options = SandboxOptions { url_lifetime, url_style, ..Default::default() };
        let sandbox = start(options).await;
        let id = create(&sandbox, json!("{}")).await;
        sandbox.set_state(&id, State::Finished);
        let mut urls = Vec::new();
        for _ in 0..2 {
            let answer = ask(&sandbox, GET, json!({"id": id})).await;
            let output = &answer["data"]["getJob"]["outputs"][1];
            assert_eq!((&output["key"], &output["format"]), (&json!("fbx"), &json!("fbx")));
            let url = output["file"]["presignedUrl"].as_str().unwrap();
            let url: url::Url = url.parse().unwrap();
            assert!(url.path().ends_with("fbx"));
            let pairs: HashMap<_, _> = url.query_pairs().into_owned().collect();
            let now = sandbox.now();
            match url_style {
                Style::SignatureV2 => {
                    assert_eq!(pairs["Expires"], (now.as_second() + 900).to_string());
                }
                Style::SignatureV4 => {
                    assert_eq!(pairs["X-Amz-Date"], now.strftime("%Y%m%dT%H%M%SZ").to_string());
                    assert_eq!(pairs["X-Amz-Expires"], "900");
                }
            }
            urls.push(url);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_ne!(urls[0], urls[1]);
    }
}

#[tokio::test]
async fn metadata_comes_back_to_the_letter_and_is_replaced_whole() {
    let sandbox = start(SandboxOptions::default()).await;
    let odd = r#" { "b": 1.0, "a" :[1e3, "\u00e9"], "b": "twice" }"#;
    let id = create(&sandbox, json!(odd)).await;
    assert_eq!(sandbox.job(&id).unwrap().metadata.as_deref(), Some(odd));
    let update = "mutation($id: String!, $metadata: AWSJSON, $name: String) {
        updateJob(id: $id, metadata: $metadata, name: $name) { metadata name } }";
    let variables = json!({"id": id, "metadata": null, "name": "walk"});
    let answer = ask(&sandbox, update, variables).await;
    assert_eq!(answer["data"]["updateJob"], json!({"metadata": odd, "name": "walk"}));
    let answer = ask(&sandbox, update, json!({"id": id, "metadata": "[2]"})).await;
    assert_eq!(answer["data"]["updateJob"], json!({"metadata": "[2]", "name": "walk"}));
}

#[tokio::test]
async fn metadata_that_is_not_json_text_is_refused_before_anything_is_done() {
    let sandbox = start(SandboxOptions::default()).await;
    for metadata in [json!("{"), json!(""), json!({"a": 1}), json!(7)] {
        let variables = json!({"take": SINGLECAM_TAKE, "metadata": metadata});
        let answer = ask(&sandbox, CREATE, variables).await;
        assert_eq!(answer["data"], Value::Null);
        assert_eq!(answer["errors"][0]["errorType"], "ValidationError", "{answer}");
    }
    let literal = format!(
        "mutation {{ a: createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }}
            b: createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\", metadata: \"{{\") {{ id }} }}"
    );
    assert_eq!(ask(&sandbox, &literal, json!({})).await["data"], Value::Null);
    assert_eq!(sandbox.job_count(), 0);
}

#[tokio::test]
async fn what_a_job_is_created_with_comes_back() {
    let sandbox = start(SandboxOptions::default()).await;
    let query = format!(
        "mutation {{ createMultiCamJob(takeId: \"{MULTICAM_TAKE}\", name: \"\", rig: \"biped\",
            numberOfActors: 2, clipWindow: {{startTime: 0.5, endTime: 2.5}},
            options: {{trackFingers: true, mocapModel: M2}}, outputs: [MAIN_FBX, SYNC_DATA]) {{
            id name rig {{ name }} take {{ id }}
            inputs {{ numberOfActors clipWindow {{ startTime endTime }}
                options {{ trackFingers trackBall mocapModel }} }} }} }}"
    );
    let job = ask(&sandbox, &query, json!({})).await["data"]["createMultiCamJob"].take();
    assert_eq!((&job["name"], &job["rig"]), (&Value::Null, &json!({"name": "biped"})));
    assert_eq!(job["take"]["id"], MULTICAM_TAKE);
    let inputs = json!({
        "numberOfActors": 2,
        "clipWindow": {"startTime": 0.5, "endTime": 2.5},
        "options": {"trackFingers": true, "trackBall": null, "mocapModel": "M2"},
    });
    assert_eq!(job["inputs"], inputs);
    let stored = sandbox.job(job["id"].as_str().unwrap()).unwrap();
    assert_eq!(stored.outputs, ["main_fbx", "sync_data"]);
}

#[tokio::test]
async fn listings_are_sorted_by_creation_and_paged_by_the_last_items_key() {
    let sandbox = start(SandboxOptions::default()).await;
    for (id, second) in [("job-c", 2), ("job-a", 1), ("job-d", 2), ("job-b", 1), ("job-e", 3)] {
        sandbox.add_job(job(id, &format!("2026-01-01T00:00:0{second}Z")));
    }
    let ascending = ["job-a", "job-b", "job-c", "job-d", "job-e"];
    let (all, after) = list(&sandbox, json!({"sort": "ASC"})).await;
    assert_eq!((all, after), (ascending.map(str::to_owned).to_vec(), Value::Null));
    for (sort, expected) in
        [(json!("ASC"), ascending), (Value::Null, ["job-e", "job-d", "job-c", "job-b", "job-a"])]
    {
        let (mut seen, mut after) = (Vec::new(), Value::Null);
        loop {
            let variables = json!({"first": 2, "sort": sort, "after": after});
            let (page, next) = list(&sandbox, variables).await;
            assert!(page.len() <= 2);
            seen.extend(page);
            let Some(text) = next.as_str() else { break };
            let key: Value = serde_json::from_str(text).expect("AWSJSON");
            assert_eq!(&key["id"], seen.last().unwrap());
            assert!(key["created"].is_string());
            after = next;
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn listings_keep_to_a_take_and_refuse_odd_pages_and_cursors() {
    let sandbox = start(SandboxOptions::default()).await;
    sandbox.add_take("take-own", Some(r#"{"of": "a test"}"#));
    let own = Job { take: "take-own".to_owned(), ..job("job-own", "2026-01-01T00:00:00Z") };
    sandbox.add_job(own);
    create(&sandbox, json!("{}")).await;
    let (ids, _) = list(&sandbox, json!({"take": "take-own"})).await;
    assert_eq!(ids, ["job-own"]);
    let answer = ask(&sandbox, LIST, json!({})).await;
    assert_eq!(answer["data"]["listJobs"]["first"], 50);
    for odd in [
        json!({"first": 0}),
        json!({"first": 101}),
        json!({"after": "7"}),
        json!({"after": "{\"id\": \"job-unknown\"}"}),
        json!({"after": {"id": "job-own"}}),
    ] {
        let answer = ask(&sandbox, LIST, odd.clone()).await;
        assert_eq!(answer["errors"][0]["errorType"], "ValidationError", "{odd}");
    }
}

#[tokio::test]
async fn every_field_of_the_seeded_takes_is_filled() {
    let sandbox = start(SandboxOptions::default()).await;
    let query = "query($id: ID!) { getTake(takeId: $id) {
        id name created metadata takeType client { id name metadata portal created }
        additionalFiles { key format file { id type presignedUrl client { id } } }
        sources { deviceLabel format cameraSettings { lens } file { id client { id } } }
        syncMethod { clapWindow { startTime endTime } timecodeSync { useTimecode } }
        videoFile { id presignedUrl created metadata }
        volume { __typename ... on HumanVolume { id name state humanHeight areaType metadata created
            client { id } clipWindow { startTime endTime } progress { state percentageComplete }
            outputs { file { presignedUrl client { id } } } sources { file { id } } } } } }";
    for (id, kind) in [(SINGLECAM_TAKE, "SINGLE_CAM"), (MULTICAM_TAKE, "MULTI_CAM")] {
        let answer = ask(&sandbox, query, json!({"id": id})).await;
        assert!(answer.get("errors").is_none(), "{answer}");
        let take = &answer["data"]["getTake"];
        assert_eq!(take["takeType"], kind);
        assert!(take["client"]["portal"].is_string());
        assert_eq!(take["sources"][0]["file"]["client"]["id"], take["client"]["id"]);
        if kind == "MULTI_CAM" {
            assert_eq!(take["volume"]["client"]["id"], take["client"]["id"]);
            assert!(take["syncMethod"]["clapWindow"]["endTime"].is_number());
        } else {
            assert!(take["videoFile"]["presignedUrl"].is_string());
        }
    }
}

#[tokio::test]
async fn accounts_do_not_see_each_other() {
    let api_keys = vec!["first-key".to_owned(), "second-key".to_owned()];
    let sandbox = start(SandboxOptions { api_keys, ..Default::default() }).await;
    let second = sandbox.account("second-key").expect("an account");
    assert!(sandbox.account("third-key").is_none());
    sandbox.add_job(job("job-first", "2026-01-01T00:00:00Z"));
    second.add_job(job("job-second", "2026-01-02T00:00:00Z"));
    second.add_take("take-second", None);
    let take = "{ getTake(takeId: \"take-second\") { client { id } } }";
    let mut clients = Vec::new();
    for (key, own, take_is_there) in
        [("first-key", "job-first", false), ("second-key", "job-second", true)]
    {
        let answer =
            ask_as(&sandbox, key, "{ listJobs { items { id client { id } } } }", json!({})).await;
        let items = answer["data"]["listJobs"]["items"].as_array().unwrap();
        assert_eq!((items.len(), &items[0]["id"]), (1, &json!(own)));
        clients.push(items[0]["client"]["id"].clone());
        let answer = ask_as(&sandbox, key, take, json!({})).await;
        assert_eq!(answer.get("errors").is_none(), take_is_there);
    }
    assert_ne!(clients[0], clients[1]);
    let ids: Vec<_> = sandbox.jobs().into_iter().map(|job| job.id).collect();
    assert_eq!(ids, ["job-first", "job-second"]);
}
