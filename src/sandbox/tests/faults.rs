//! Faults and latency, as a client meets them.

use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use super::*;

/// Any call that succeeds.
const TRIVIAL: &str = "{ listJobs { first } }";

#[tokio::test]
async fn http_faults_replace_the_answer() {
    let sandbox = start(SandboxOptions::default()).await;
    let faults = [
        (Fault::html(502), 502, "text/html", "<html>"),
        (Fault::empty(500), 500, "application/json", ""),
        (Fault::json(200, "not JSON"), 200, "application/json", "not JSON"),
        (Fault::json(200, "{\"data\": []}"), 200, "application/json", "{\"data\": []}"),
        (Fault::too_many_requests(7), 429, "application/json", "{\"errors\""),
    ];
    for (fault, status, content_type, body) in faults {
        sandbox.fail_next(Some("listJobs"), fault);
        let response = send(&sandbox, TRIVIAL).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], content_type);
        let retry_after = response.headers().get("retry-after").map(HeaderValue::as_bytes);
        assert_eq!(retry_after, (status == 429).then_some(b"7".as_slice()));
        let text = response.text().await.unwrap();
        assert!(text.starts_with(body), "{text}");
    }
    sandbox.fail_next(None, Fault::GraphqlError { error_type: "Odd", message: "so it is" });
    let answer = ask(&sandbox, "{ mine: listJobs { first } }", json!({})).await;
    assert_eq!(answer["errors"][0]["errorType"], "Odd");
    assert_eq!(answer["errors"][0]["path"], json!(["mine"]));
    assert_eq!(ask(&sandbox, TRIVIAL, json!({})).await["data"]["listJobs"]["first"], 50);
}

#[tokio::test]
async fn faults_of_the_body_leave_half_of_it_or_much_too_much() {
    let sandbox = start(SandboxOptions::default()).await;
    sandbox.fail_next(None, Fault::Truncate);
    let text = send(&sandbox, TRIVIAL).await.unwrap().text().await.unwrap();
    assert!(text.starts_with("{\"data\"") && serde_json::from_str::<Value>(&text).is_err());
    sandbox.fail_next(None, Fault::ResetMidBody);
    let response = send(&sandbox, TRIVIAL).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.bytes().await.is_err(), "the body breaks off");
    sandbox.fail_next(None, Fault::Huge(1 << 20));
    let response = send(&sandbox, TRIVIAL).await.unwrap();
    assert_eq!(response.content_length(), None, "streamed");
    assert_eq!(response.bytes().await.unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn a_reset_does_nothing_and_a_lost_answer_everything() {
    let sandbox = start(SandboxOptions::default()).await;
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    for (fault, jobs) in [(Fault::Reset, 0), (Fault::LoseAnswer, 1)] {
        sandbox.fail_next(Some("createSingleCamJob"), fault);
        assert!(send(&sandbox, &create).await.is_err());
        assert_eq!(sandbox.jobs().len(), jobs);
    }
    assert_eq!(sandbox.count("createSingleCamJob"), 2, "each sent once");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_call_never_ends_and_a_slow_one_does_in_its_time() {
    let sandbox = start(SandboxOptions::default()).await;
    sandbox.fail_next(None, Fault::Stall);
    let day = Duration::from_hours(24);
    assert!(tokio::time::timeout(day, send(&sandbox, TRIVIAL)).await.is_err());
    sandbox.set_latency(Duration::from_secs(2));
    sandbox.fail_next(None, Fault::Delay(Duration::from_secs(3)));
    let began = Instant::now();
    send(&sandbox, TRIVIAL).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_carried_out_also_if_its_client_leaves() {
    let sandbox = start(SandboxOptions::default()).await;
    sandbox.set_latency(Duration::from_secs(2));
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    let patience = Duration::from_secs(1);
    assert!(tokio::time::timeout(patience, send(&sandbox, &create)).await.is_err());
    assert_eq!(sandbox.job_count(), 0);
    tokio::time::sleep(patience * 2).await;
    assert_eq!(sandbox.job_count(), 1);
}

#[tokio::test]
async fn a_standing_fault_meets_every_call_of_its_field_until_it_is_ended() {
    let sandbox = start(SandboxOptions::default()).await;
    sandbox.fail_always(Some("listJobs"), Some(Fault::html(503)));
    sandbox.fail_next(Some("listJobs"), Fault::html(500));
    for status in [500, 503, 503] {
        assert_eq!(send(&sandbox, TRIVIAL).await.unwrap().status(), status);
    }
    assert_eq!(send(&sandbox, "{ __typename }").await.unwrap().status(), 200);
    sandbox.fail_always(Some("listJobs"), None);
    assert_eq!(send(&sandbox, TRIVIAL).await.unwrap().status(), 200);
    sandbox.fail_always(None, Some(Fault::Reset));
    assert!(send(&sandbox, TRIVIAL).await.is_err());
    sandbox.clear_faults();
    assert_eq!(send(&sandbox, TRIVIAL).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stopped_sandbox_takes_no_calls() {
    let sandbox = start(SandboxOptions::default()).await;
    let clone = sandbox.clone();
    drop(sandbox);
    assert!(send(&clone, TRIVIAL).await.is_ok(), "its last handle keeps it");
    clone.stop().await;
    assert!(send(&clone, TRIVIAL).await.is_err());
}

#[tokio::test]
async fn an_answer_is_edited_or_replaced_after_the_call_is_carried_out() {
    let sandbox = start(SandboxOptions::default()).await;
    sandbox.fail_next(None, Fault::edit(|answer| answer["data"]["listJobs"]["first"] = json!(7)));
    assert_eq!(ask(&sandbox, TRIVIAL, json!({})).await["data"]["listJobs"]["first"], 7);
    sandbox
        .fail_next(None, Fault::replace(|answer| answer.to_string().replace("50", r#""\ud83d""#)));
    let text = send(&sandbox, TRIVIAL).await.unwrap().text().await.unwrap();
    assert_eq!(text, r#"{"data":{"listJobs":{"first":"\ud83d"}}}"#);
    assert_eq!(ask(&sandbox, TRIVIAL, json!({})).await["data"]["listJobs"]["first"], 50);
}
