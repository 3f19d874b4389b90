//! Every call leaves a record that can be trusted.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::SINGLECAM_TAKE;
use serde_json::{Value, json};

use crate::support::audit::{file_of, records, summaries_of_strangers};
use crate::support::{Setup, World, key, send, until_called};

const AUDIT: &str = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";

async fn audited(config: &str) -> World {
    Setup::new().config(config).start().await
}

pub fn create() -> String {
    format!(
        "mutation {{ made: createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\", metadata: \"{{\\\"secret\\\": 1}}\") {{ id }} }}"
    )
}

#[tokio::test]
async fn allowed_denied_and_failed_calls_leave_a_record_of_each_root_field() {
    let policy = "operations: [getJob, createSingleCamJob]\n".to_owned();
    let world = Setup::new().tenant("acme", policy).config(AUDIT).start().await;
    let made = world.ask("acme", &create(), json!({})).await;
    let id = made.data("/made/id").as_str().unwrap().to_owned();
    let two = format!(
        "{{ a: getJob(jobId: \"{id}\") {{ id }} b: getJob(jobId: \"job-none\") {{ id }} }}"
    );
    world.ask("acme", &two, json!({})).await;
    world.ask("acme", "{ listJobs { first } }", json!({})).await;
    world.ask("acme", "{ oops", json!({})).await;

    let records = records(&world, 6).await;
    let told: Vec<String> = records
        .iter()
        .map(|record| {
            let own = &record["unmapped"];
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            [
                &own["phase"],
                &own["tenant"],
                &record["api"]["operation"],
                &own["alias"],
                &own["decision"],
                &own["rule"],
                &record["status_code"],
            ]
            .map(text)
            .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "intent acme createSingleCamJob made allowed policy -",
            "outcome acme createSingleCamJob made allowed policy -",
            "outcome acme getJob a allowed policy -",
            "outcome acme getJob b allowed policy NOT_FOUND",
            "outcome acme listJobs listJobs denied policy FORBIDDEN",
            "outcome acme none - allowed policy GRAPHQL_PARSE_FAILED",
        ]
    );
    let outcome = &records[1];
    assert_eq!(outcome["resources"][0], json!({"uid": id, "type": "job"}));
    assert_eq!(outcome["resources"][1], json!({"uid": SINGLECAM_TAKE, "type": "take"}));
    assert_eq!(outcome["src_endpoint"]["ip"], "127.0.0.1");
    assert_eq!(outcome["actor"]["user"]["credential_uid"], "main");
    let request_id = made.headers["x-request-id"].to_str().unwrap();
    assert_eq!(outcome["api"]["request"]["uid"], request_id);
    assert_eq!(records[0]["api"]["request"]["uid"], request_id);
    let given = "{\"secret\": 1}";
    assert_eq!(outcome["unmapped"]["metadata"]["bytes"], given.len());
    assert_eq!(
        outcome["unmapped"]["metadata"]["sha256"],
        KeyHash::of(given.as_bytes()).to_string()
    );
    assert!(outcome["unmapped"].get("trace_id").is_none(), "none was sent");
    let text = std::fs::read_to_string(file_of(world.folder())).unwrap();
    for secret in ["secret", &key("acme"), "sandbox-move-key"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

/// The rules of class 6003 in OCSF 1.3.0: <https://schema.ocsf.io/1.3.0/classes/api_activity>.
/// Required are these attributes, of these types; a type's number is made of class and activity.
#[tokio::test]
async fn records_keep_ocsfs_rules_for_api_activity() {
    let world = audited(AUDIT).await;
    let id = world.create("acme", "{}").await;
    world.get("acme", &id, "id").await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    let told = [records(&world, 3).await, summaries_of_strangers(&world, 1).await].concat();
    for record in told {
        let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_i64);
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
        assert_eq!((number("/category_uid"), number("/class_uid")), (Some(6), Some(6003)));
        let activity = number("/activity_id").unwrap();
        assert!([0, 1, 2, 3, 4, 99].contains(&activity));
        assert_eq!(number("/type_uid"), Some(6003 * 100 + activity));
        assert!((0..=6).contains(&number("/severity_id").unwrap()));
        assert!((0..=2).contains(&number("/status_id").unwrap()));
        assert!(number("/time").unwrap() > 1_700_000_000_000, "milliseconds since 1970");
        assert_eq!(text("/metadata/version"), Some("1.3.0"));
        assert!(
            text("/metadata/product/name").is_some()
                && text("/metadata/product/vendor_name").is_some()
        );
        assert!(text("/api/operation").is_some() && text("/api/request/uid").is_some());
        assert!(text("/actor/user/uid").is_some(), "an actor names at least one of its members");
        assert!(text("/src_endpoint/ip").is_some() || text("/src_endpoint/name").is_some());
        let allowed = [
            "activity_id",
            "activity_name",
            "actor",
            "api",
            "category_name",
            "category_uid",
            "class_name",
            "class_uid",
            "count",
            "duration",
            "end_time",
            "message",
            "metadata",
            "resources",
            "severity",
            "severity_id",
            "src_endpoint",
            "start_time",
            "status",
            "status_code",
            "status_detail",
            "status_id",
            "time",
            "type_name",
            "type_uid",
            "unmapped",
        ];
        for name in record.as_object().unwrap().keys() {
            assert!(allowed.contains(&name.as_str()), "{name} is no attribute of the class");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_was_down_catches_up_without_loss() {
    use axum::routing::post as route;

    let taken = Arc::new(std::sync::Mutex::new(Vec::<u64>::new()));
    let refusals = Arc::new(AtomicUsize::new(2));
    let receiver = {
        let (taken, refusals) = (Arc::clone(&taken), Arc::clone(&refusals));
        axum::Router::new().route(
            "/v1/logs",
            route(async move |body: String| {
                if refusals
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok()
                {
                    return axum::http::StatusCode::SERVICE_UNAVAILABLE;
                }
                let body: Value = serde_json::from_str(&body).unwrap();
                for record in
                    body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap()
                {
                    let line: Value =
                        serde_json::from_str(record["body"]["stringValue"].as_str().unwrap())
                            .unwrap();
                    taken.lock().unwrap().push(line["unmapped"]["chain"]["seq"].as_u64().unwrap());
                }
                axum::http::StatusCode::OK
            }),
        )
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let config = format!(
        "audit: {{ sinks: [{{ file: ./audit/audit.jsonl, rotate: 4KiB }}, {{ otlp: 'http://{address}/v1/logs' }}] }}\n"
    );
    let world = audited(&config).await;
    for _ in 0..30 {
        world.ask("acme", "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    let written = records(&world, 30).await.len() as u64;
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = taken.lock().unwrap().clone();
        if (1..=written).all(|seq| seen.contains(&seq)) {
            break;
        }
        assert!(Instant::now() < give_up, "{written} were written, these came: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refusals.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn records_are_found_by_all_that_they_say() {
    let world = audited(AUDIT).await;
    let id = world.create("acme", "{}").await;
    let read = world.get("globex", &id, "id").await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    records(&world, 3).await;
    summaries_of_strangers(&world, 1).await;
    let file = file_of(world.folder());
    let query = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["audit", "query", "--file"])
            .arg(&file)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let is_record = |line: &&str| !line.starts_with("time ");
        text.lines().filter(is_record).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(query(&[]).len(), 3);
    assert_eq!(query(&["--tenant", "acme", "--since", "1h"]).len(), 2);
    assert_eq!(query(&["--operation", "getJob", "--outcome", "not_found"]).len(), 1);
    assert_eq!(query(&["--outcome", "unknown"]).len(), 1, "an intent");
    assert_eq!(query(&["--outcome", "success"]).len(), 1);
    assert_eq!(query(&["--since", "0"]).len(), 0);
    assert_eq!(query(&["--until", "1h"]).len(), 0);
    assert_eq!(query(&["--since", "2020-01-01T00:00:00Z"]).len(), 3);
    assert_eq!(query(&["--key", "main"]).len(), 3);
    assert_eq!(query(&["--key", "other"]).len(), 0);
    let request_id = read.headers["x-request-id"].to_str().unwrap();
    let newest = query(&["--limit", "1"]);
    assert_eq!(query(&["--request-id", request_id]), newest);
    let json: Value =
        serde_json::from_str(&query(&["--tenant", "globex", "--format", "json"])[0]).unwrap();
    assert_eq!(json["resources"][0]["uid"], json!(id));
    assert!(query(&["--job", &id]).iter().any(|row| row.contains("createSingleCamJob")));
    let strangers = query(&["--strangers", "--outcome", "denied"]);
    assert_eq!(strangers.len(), 1);
    assert!(
        strangers[0].ends_with("1 request from 127.0.0.1: credential_unknown"),
        "{strangers:?}"
    );
}

#[test]
fn a_search_that_can_find_nothing_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let query = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["audit", "query"])
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = query(&[]);
    assert!(missing.contains("audit/audit.jsonl") && missing.contains("--file"), "{missing}");
    assert!(query(&["--outcome", "foo"]).contains("RATE_LIMITED"));
    assert!(query(&["--operation", "getjob"]).contains("getJob"));
    assert!(query(&["--since", "yesterday"]).contains("2030-01-01T00:00:00Z"));
}

#[tokio::test]
async fn a_callers_trace_is_in_the_record_if_it_is_one() {
    let world = audited(AUDIT).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for parent in [format!("00-{trace}-b7ad6b7169203331-01"), "00-00-evil\"-1".to_owned()] {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request =
            request.header("content-type", "application/json").header("traceparent", parent);
        request.body(r#"{"query":"{ getJob(jobId: \"job-none\") { id } }"}"#).send().await.unwrap();
    }
    let records = records(&world, 2).await;
    assert_eq!(records[0]["unmapped"]["trace_id"], trace);
    assert!(records[1]["unmapped"].get("trace_id").is_none());
}

#[tokio::test]
async fn refused_credentials_and_forbidden_operations_are_counted() {
    let policy = "operations: [getJob]\n".to_owned();
    let world = Setup::new().tenant("counted", policy).start().await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    world.ask("counted", "{ listJobs { first } }", json!({})).await;
    let forbidden =
        "jobs_gateway_requests_total{code=\"FORBIDDEN\",operation=\"listJobs\",tenant=\"counted\"";
    assert_eq!(world.metric(forbidden).await, Some(1.0));
    let refused =
        "jobs_gateway_requests_total{code=\"UNAUTHENTICATED\",operation=\"none\",tenant=\"none\"";
    assert!(world.metric(refused).await.is_some_and(|count| count >= 1.0));
}

#[tokio::test]
async fn an_intent_names_the_policies_and_the_trace_as_its_outcome_does() {
    let world = audited(AUDIT).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    send(request.json(&json!({"query": create()}))).await;
    let records = records(&world, 2).await;
    let [intent, outcome] = [0, 1].map(|at: usize| &records[at]["unmapped"]);
    assert_eq!((&intent["phase"], &outcome["phase"]), (&json!("intent"), &json!("outcome")));
    assert!(outcome["policy_version"].is_string());
    assert_eq!(intent["policy_version"], outcome["policy_version"]);
    assert_eq!(intent["trace_id"], trace);
}

#[tokio::test]
async fn a_read_whose_caller_hung_up_is_not_told_as_a_success() {
    let world = audited(AUDIT).await;
    world.sandbox.set_latency(Duration::from_mins(1));
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let request = request.json(&json!({"query": "{ listJobs { first } }"})).send();
    let asked = tokio::spawn(request);
    until_called(&world.sandbox, "listJobs", 1).await;
    asked.abort();
    let told = &records(&world, 1).await[0];
    assert_eq!(told["api"]["response"]["code"], 499, "{told}");
    assert_eq!((&told["status"], &told["status_id"]), (&json!("Unknown"), &json!(0)), "{told}");
}
