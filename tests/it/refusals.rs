//! Who is refused over and over leaves little behind, and nothing of anybody else is lost for it.

use std::collections::BTreeMap;
use std::time::Duration;

use jobs_gateway::audit::{Segments, verify};
use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{Sandbox, SandboxOptions};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::audit::{file_of, records, records_in, summaries_of_strangers};
use crate::support::{Setup, key, process, send};

const AUDIT: &str =
    "audit: { sinks: [{ file: ./audit/audit.jsonl, rotate: 64KiB, keep: 3, keep_for: 0 }] }\n";

fn audited() -> Setup {
    Setup::new().config(AUDIT)
}

/// Requests by the reason of their refusal, over all summaries: a minute may have passed meanwhile.
fn counts(records: &[Value]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for record in records {
        let reason = record["status_detail"].as_str().unwrap_or("-");
        *counts.entry(reason).or_default() += record["count"].as_u64().unwrap();
    }
    counts
}

#[tokio::test]
async fn a_stranger_leaves_a_number_and_pushes_no_record_out() {
    let world = audited().start().await;
    let id = world.create("acme", "{}").await;
    let mut last = None;
    for n in 0..1_200 {
        let request = world.http.get(format!("{}?query=%7B__typename%7D", world.url()));
        let request = if n % 3 == 0 { request } else { request.header("x-api-key", "guess") };
        last = Some(send(request).await);
    }
    let last = last.unwrap();
    assert_eq!(last.status, 401);
    let strangers = summaries_of_strangers(&world, 1_200).await;
    let expected = [("credential_missing", 400), ("credential_unknown", 800)];
    assert_eq!(counts(&strangers), expected.into());
    let is_guess = |record: &&Value| record["status_detail"] == "credential_unknown";
    let guesses = strangers.iter().rfind(is_guess).unwrap();
    assert_eq!(guesses["src_endpoint"]["ip"], "127.0.0.1");
    assert_eq!(guesses["status_code"], "UNAUTHENTICATED");
    assert_eq!(guesses["unmapped"]["phase"], "refusals");
    assert!(guesses["start_time"].as_i64() <= guesses["end_time"].as_i64());
    let request_id = last.headers["x-request-id"].to_str().unwrap();
    assert_eq!(guesses["api"]["request"]["uid"], request_id, "the last of them");
    // The creation is what the file holds, and all it holds.
    let file = file_of(world.folder());
    let kept = records_in(&file);
    assert_eq!(kept.len(), 2, "{kept:#?}");
    assert_eq!(kept[1]["resources"][0]["uid"], json!(id));
    let segments = Segments::new(&file);
    assert_eq!(verify::verify(&segments, None, |_| {}).unwrap().records, 2);
    let told = verify::verify(&segments.refused(), None, |_| {}).unwrap().records;
    assert_eq!(told, strangers.len() as u64);
}

#[tokio::test]
async fn a_key_that_expired_is_its_tenants_and_one_that_is_unknown_nobodys() {
    let hash = KeyHash::of(key("acme").as_bytes());
    let policy = format!(
        "operations: [getJob]\nauth: {{ api_keys: [{{ id: old, sha256: {hash}, expires: '2020-01-01T00:00:00Z' }}] }}\n"
    );
    let world = audited().tenant("acme", policy).start().await;
    assert_eq!(world.ask("acme", "{ __typename }", json!({})).await.status, 401);
    assert_eq!(world.ask("globex", "{ __typename }", json!({})).await.status, 401);
    let told = &records(&world, 1).await[0];
    assert_eq!(told["status_detail"], "credential_expired", "{told}");
    assert_eq!(told["unmapped"]["tenant"], "acme");
    assert_eq!(told["unmapped"]["decision"], "denied");
    assert_eq!(told["actor"]["user"]["credential_uid"], "old");
    let strangers = summaries_of_strangers(&world, 1).await;
    assert_eq!(counts(&strangers), [("credential_unknown", 1)].into());
    assert!(strangers[0]["unmapped"].get("tenant").is_none());
}

#[tokio::test]
async fn a_token_that_expired_is_its_subjects_unless_somebody_else_signed_it() {
    let policy = "operations: [getJob]\nauth: { issuers: [sso] }\n".to_owned();
    let config = format!(
        "issuers: [{{ name: sso, issuer: 'https://sso.example.test/', audiences: [jobs-gateway], \
         secret: '${{TOKEN_SECRET}}', tenant_claim: team }}]\n{AUDIT}"
    );
    let world = Setup::new().tenant("acme", policy).config(config).start().await;
    let claims = json!({
        "iss": "https://sso.example.test/", "aud": "jobs-gateway", "team": "acme", "sub": "kim",
        "exp": 1_500_000_000,
    });
    for secret in
        ["a-secret-of-thirty-two-bytes-or-more", "a-secret-that-a-stranger-made-up-for-it"]
    {
        let signed = EncodingKey::from_secret(secret.as_bytes());
        let token = encode(&Header::default(), &claims, &signed).unwrap();
        let request = world.http.post(world.url()).bearer_auth(token);
        assert_eq!(send(request.json(&json!({"query": "{ __typename }"}))).await.status, 401);
    }
    let told = &records(&world, 1).await[0];
    assert_eq!(told["status_detail"], "credential_expired", "{told}");
    assert_eq!(told["unmapped"]["tenant"], "acme");
    assert_eq!(told["actor"]["user"]["credential_uid"], "sso:kim");
    let strangers = summaries_of_strangers(&world, 1).await;
    assert_eq!(counts(&strangers), [("token_signature", 1)].into());
}

#[tokio::test]
async fn a_tenant_over_its_limit_leaves_ten_records_a_minute_and_a_number() {
    let policy =
        "operations: [getJob]\nrate_limit: { queries: { rate: 1/h, burst: 1 } }\n".to_owned();
    let world = audited().tenant("acme", policy).start().await;
    for _ in 0..100 {
        world.ask("acme", "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    world.pass(Duration::from_mins(1)).await;
    let is_told = |record: &&Value| record["count"].is_u64();
    let limited = |record: &Value| u64::from(record["status_code"] == "RATE_LIMITED");
    let requests = |record: &Value| record["count"].as_u64().unwrap_or_else(|| limited(record));
    let file = file_of(world.folder());
    let told = loop {
        let told = records_in(&file);
        if told.iter().map(requests).sum::<u64>() == 99 {
            break told;
        }
        tokio::task::yield_now().await;
    };
    let summaries: Vec<_> = told.iter().filter(is_told).collect();
    // One request was done, and ten between two summaries have records of their own.
    assert!(told.len() - summaries.len() <= 1 + 10 * summaries.len(), "{told:#?}");
    assert_eq!(summaries[0]["status_code"], "RATE_LIMITED");
    assert_eq!(summaries[0]["unmapped"]["tenant"], "acme");
    assert_eq!(summaries[0]["unmapped"]["decision"], "limited");
    assert_eq!(summaries[0]["actor"]["user"]["credential_uid"], "main");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_sixty_lines_of_strangers_a_minute_and_a_number() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let addresses = process::prepare(folder.path(), &sandbox, "");
    let config = folder.path().join("gateway.yaml");
    let text = std::fs::read_to_string(&config).unwrap().replace("level: warn", "level: info");
    std::fs::write(&config, text).unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut gateway = process::Process::start_with(folder.path(), addresses, &[], log.into()).await;
    let http = reqwest::Client::new();
    for _ in 0..300 {
        http.get(gateway.url()).header("x-api-key", "guess").send().await.unwrap();
    }
    gateway.signal("TERM");
    tokio::task::block_in_place(|| gateway.child.wait().unwrap());
    let text = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let refused: Vec<_> = lines.iter().filter(|line| line["status"] == 401).collect();
    assert_eq!(refused[0]["reason"], "credential_unknown", "{}", refused[0]);
    assert_eq!(refused[0]["source_ip"], "127.0.0.1");
    let silent = lines.iter().filter(|line| line["callers"] == "strangers");
    let silent: u64 = silent.map(|line| line["calls"].as_u64().unwrap()).sum();
    // On a machine that is too slow for 300 calls in a minute there are more lines, and none is lost.
    assert!(refused.len() >= 60 && silent > 0, "{} lines, {silent} without", refused.len());
    assert_eq!(refused.len() as u64 + silent, 300);
}
