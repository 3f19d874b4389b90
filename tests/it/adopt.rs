//! `jobs-gateway adopt`: what was made in Move directly becomes a tenant's, and nothing else does.

use std::path::Path;
use std::process::{Output, Stdio};

use jobs_gateway::sandbox::{Fault, Job, Sandbox, SandboxOptions, State};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::process::{Process, prepare};
use crate::support::{audit, key};

const AUDIT: &str = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";

const GLOBEX: &str = r#"{"globex":{},"_gateway":{"v":1,"owner":"globex","by":"k"}}"#;
const ACME: &str = r#"{"acme":{},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#;

/// Runs the command for `acme` and says something to it.
async fn adopt(folder: &Path, arguments: &[&str], said: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["adopt", "--tenant", "acme", "--config"])
        .arg(folder.join("gateway.yaml"))
        .args(arguments)
        .env("MOVE_API_KEY", "sandbox-move-key")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who is refused does not listen.
    let _ = child.stdin.take().unwrap().write_all(said.as_bytes()).await;
    child.wait_with_output().await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A record's phase, operation, resource, actor and status.
fn told(record: &Value) -> String {
    let words = [
        &record["unmapped"]["phase"],
        &record["api"]["operation"],
        &record["resources"][0]["uid"],
        &record["actor"]["user"]["uid"],
        &record["status"],
    ];
    words.map(|word| word.as_str().unwrap()).join(" ")
}

async fn world() -> (Sandbox, TempDir) {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), &sandbox, AUDIT);
    (sandbox, folder)
}

#[tokio::test]
async fn what_is_nobodys_becomes_the_tenants_and_all_else_stays_as_it_is() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let addresses = prepare(folder.path(), &sandbox, AUDIT);
    sandbox.add_take("take-free", Some(r#"{ "reel": 7.0 }"#));
    sandbox.add_take("take-null", None);
    sandbox.add_file("file-free", Some("\"a text\""));
    sandbox.add_take("take-globex", Some(GLOBEX));
    sandbox.add_take("take-torn", Some(&GLOBEX[..30]));
    sandbox.add_file("file-acme", Some(ACME));
    // The audit file of a gateway that runs is its own.
    let gateway = Process::start(folder.path(), addresses).await;
    let ids = ["take-free", "take-null", "file-free"];
    let others = ["take-globex", "take-torn", "file-acme", "take-gone"];
    let output = adopt(folder.path(), &[&["--yes"][..], &others, &ids].concat(), "").await;
    insta::assert_snapshot!(text(&output), @r"
    take-globex: another tenant's, so it stays
    take-torn: its metadata does not tell whose it is, so it stays
    file-acme: already acme's
    take-gone: Move has no such thing
    take-free: nobody's
    take-null: nobody's
    file-free: nobody's
    take-free: now acme's
    take-null: now acme's
    file-free: now acme's
    ");
    assert!(!output.status.success(), "not all of it is acme's");
    let stored = sandbox.take("take-free").unwrap().metadata.unwrap();
    assert_eq!(
        stored,
        r#"{"acme":{ "reel": 7.0 },"_gateway":{"v":1,"owner":"acme","by":"operator:adopt"}}"#
    );
    assert!(sandbox.take("take-null").unwrap().metadata.unwrap().starts_with(r#"{"acme":{},"#));
    assert!(sandbox.file("file-free").unwrap().metadata.unwrap().contains(r#""acme":"a text""#));
    assert_eq!(sandbox.take("take-globex").unwrap().metadata.as_deref(), Some(GLOBEX));
    assert_eq!(sandbox.take("take-torn").unwrap().metadata.as_deref(), Some(&GLOBEX[..30]));
    assert_eq!(sandbox.file("file-acme").unwrap().metadata.as_deref(), Some(ACME));

    // The tenant reads its own value, and may change it.
    let ask = async |query: &str| -> Value {
        let request =
            reqwest::Client::new().post(gateway.url()).header("authorization", key("acme"));
        request.json(&json!({"query": query})).send().await.unwrap().json().await.unwrap()
    };
    let read = ask("{ getTake(takeId: \"take-free\") { metadata } }").await;
    assert_eq!(read["data"]["getTake"]["metadata"], r#"{ "reel": 7.0 }"#);
    let named = ask("mutation { updateTake(id: \"take-free\", name: \"n\") { name } }").await;
    assert_eq!(named["data"]["updateTake"]["name"], "n", "{named}");

    // Again: nothing is left to do, and nothing is asked.
    sandbox.clear_calls();
    let again = adopt(folder.path(), &ids, "").await;
    assert!(again.status.success(), "{again:?}");
    assert_eq!((sandbox.count("updateTake"), sandbox.count("updateFile")), (0, 0));

    // An intent and an outcome each, in a chain beside the gateway's.
    let file = folder.path().join("audit/audit.adopt.jsonl");
    let records = audit::records_in(&file);
    let told = records.iter().map(told);
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r"
    intent updateTake take-free operator:adopt Unknown
    intent updateTake take-null operator:adopt Unknown
    intent updateFile file-free operator:adopt Unknown
    outcome updateTake take-free operator:adopt Success
    outcome updateTake take-null operator:adopt Success
    outcome updateFile file-free operator:adopt Success
    ");
    let verified = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["audit", "verify"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

#[tokio::test]
async fn nothing_is_written_before_the_operator_says_yes() {
    let (sandbox, folder) = world().await;
    sandbox.add_take("take-free", Some("{}"));
    for said in ["", "n\n", "\n", "no\n"] {
        let output = adopt(folder.path(), &["take-free"], said).await;
        assert!(
            !output.status.success() && text(&output).ends_with("nothing was changed\n"),
            "{said}"
        );
    }
    assert_eq!(sandbox.count("updateTake"), 0);
    let output = adopt(folder.path(), &["take-free", "take-free"], "y\n").await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sandbox.count("updateTake"), 1, "once, though it was named twice");
}

#[tokio::test]
async fn a_file_that_another_tenants_job_holds_is_not_given_away() {
    let (sandbox, folder) = world().await;
    let own = [("job-globex", GLOBEX), ("job-torn", &GLOBEX[..30]), ("job-free", "{}")];
    for (id, metadata) in own {
        let mut job = Job::new(sandbox.now());
        (job.id, job.metadata) = (id.to_owned(), Some(metadata.to_owned()));
        sandbox.add_job(job);
        sandbox.set_state(id, State::Finished);
    }
    let output_of = |job: &str| {
        let is_its = |content: &jobs_gateway::sandbox::Content| {
            *content == jobs_gateway::sandbox::Content::OutputOf(job.to_owned())
        };
        sandbox.files().into_iter().find(|file| is_its(&file.content)).unwrap().id
    };
    for job in ["job-globex", "job-torn"] {
        let file = output_of(job);
        let before = sandbox.file(&file).unwrap().metadata;
        let refused = adopt(folder.path(), &["--yes", &file], "").await;
        assert!(!refused.status.success(), "{job}");
        assert!(text(&refused).contains("something of another tenant's holds it"), "{refused:?}");
        assert_eq!(sandbox.file(&file).unwrap().metadata, before);
    }
    sandbox.fail_next(Some("listTakes"), Fault::html(500));
    let file = output_of("job-free");
    let unsure = adopt(folder.path(), &["--yes", &file], "").await;
    assert!(!unsure.status.success() && sandbox.count("updateFile") == 0, "{unsure:?}");
    assert!(adopt(folder.path(), &["--yes", &file], "").await.status.success());
}

#[tokio::test]
async fn a_write_of_which_no_answer_came_is_told_and_seen_the_next_time() {
    let (sandbox, folder) = world().await;
    sandbox.add_take("take-free", Some("{}"));
    sandbox.fail_next(Some("updateTake"), Fault::LoseAnswer);
    let lost = adopt(folder.path(), &["--yes", "take-free"], "").await;
    assert!(
        !lost.status.success() && text(&lost).contains("may or may not have happened"),
        "{lost:?}"
    );
    let again = adopt(folder.path(), &["--yes", "take-free"], "").await;
    assert!(again.status.success() && text(&again).contains("already acme's"), "{again:?}");
    let records = audit::records_in(&folder.path().join("audit/audit.adopt.jsonl"));
    let codes: Vec<_> = records.iter().map(|record| record["status_code"].clone()).collect();
    assert_eq!(codes, [Value::Null, json!("OUTCOME_UNKNOWN")]);
}

#[tokio::test]
async fn what_cannot_be_adopted_is_refused_before_move_is_asked() {
    let (sandbox, folder) = world().await;
    for bad in [["take-1", "rig-1"], ["volume-1", "take-1"], ["--tenant", "nobody"]] {
        let refused = adopt(folder.path(), &bad, "").await;
        assert!(!refused.status.success(), "{bad:?}");
    }
    assert!(sandbox.calls().is_empty());
}
