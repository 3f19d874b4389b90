//! `jobs-gateway audit query` and `verify`, over one file, several and folders.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::audit::{file_of, records, summaries_of_strangers};
use crate::support::{Setup, World};

/// Runs `jobs-gateway audit`; returns its status, its answer and what else it says.
fn audit(arguments: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .arg("audit")
        .args(arguments)
        .env_remove("JOBS_GATEWAY_AUDIT")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A gateway that recorded a read of `acme`'s and one of `globex`'s.
async fn recorded() -> World {
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n".to_owned();
    let world = Setup::new().config(config).start().await;
    for tenant in ["acme", "globex"] {
        world.ask(tenant, "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    records(&world, 2).await;
    world
}

#[tokio::test]
async fn a_search_that_finds_nothing_says_which_filter_left_nothing() {
    let world = recorded().await;
    let file = file_of(world.folder());
    let query = |arguments: &[&str]| {
        let (status, answer, told) =
            audit(&[&["query", "--file", shown(&file)], arguments].concat());
        assert_eq!((status, answer.as_str()), (0, ""), "nothing is an answer");
        told
    };
    for (arguments, told) in [
        (
            &["--tenant", "nope"][..],
            "of 2 records, none has --tenant nope (there are acme, globex)",
        ),
        (&["--key", "nope"], "none has --key nope (there are main)"),
        (&["--operation", "createJob"], "none has --operation createJob (there are getJob)"),
        (
            &["--outcome", "limited", "--job", "job-1"],
            "none has --outcome limited, nor --job job-1",
        ),
        (&["--request-id", "x"], "none has --request-id x"),
        (&["--until", "1d"], "there is no record until 20"),
        (&["--since", "1h", "--until", "5m"], "there is no record from 20"),
    ] {
        let says = query(arguments);
        assert!(says.contains("nothing matches in ") && says.contains(told), "{says}");
        assert!(says.contains("--strangers shows them"), "{says}");
    }
    let both = query(&["--tenant", "acme", "--outcome", "success"]);
    assert!(both.contains("none has --outcome Success"), "{both}");
}

#[tokio::test]
async fn columns_are_chosen_and_csv_is_for_spreadsheets() {
    let world = recorded().await;
    let file = file_of(world.folder());
    let query = |arguments: &[&str]| {
        let (status, answer, told) =
            audit(&[&["query", "--file", shown(&file)], arguments].concat());
        assert_eq!((status, told.as_str()), (0, ""));
        answer
    };
    let columns = "number,tenant,operation,status,address,code,about";
    assert_eq!(
        query(&["--columns", columns, "--format", "csv"]),
        "number,tenant,operation,status,address,code,about\r\n\
         1,acme,getJob,200,127.0.0.1,NOT_FOUND,job-none\r\n\
         2,globex,getJob,200,127.0.0.1,NOT_FOUND,job-none\r\n"
    );
    let table = query(&["--columns", "tenant,code", "--tenant", "acme"]);
    assert_eq!(table, "tenant       code\nacme         NOT_FOUND\n");
    assert!(query(&[]).lines().next().unwrap().starts_with("time "), "a header says what is what");
    let (status, _, told) = audit(&["query", "--columns", "nope"]);
    assert!(
        status == 2 && told.contains("possible values: time, origin, number, tenant"),
        "{told}"
    );
}

#[tokio::test]
async fn records_of_several_replicas_and_of_folders_come_in_one_order() {
    let worlds = [recorded().await, recorded().await];
    // The second replica recorded later, and is named first.
    let files = [1, 0].map(|n: usize| file_of(worlds[n].folder()));
    let folders = files.each_ref().map(|file| file.parent().unwrap());
    for paths in [[shown(&files[0]), shown(&files[1])], folders.map(shown)] {
        let arguments = ["query", "--columns", "time,tenant", "--file", paths[0], paths[1]];
        let (status, answer, _) = audit(&arguments);
        let rows: Vec<_> = answer.lines().skip(1).collect();
        assert_eq!((status, rows.len()), (0, 4), "{answer}");
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(rows, sorted);
    }
    let newest = ["query", "--limit", "1", "--columns", "tenant", "--file", shown(folders[0])];
    assert_eq!(audit(&newest).1, "tenant\nglobex\n");
}

#[tokio::test]
async fn a_folder_is_verified_with_all_chains_in_it() {
    let world = recorded().await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    summaries_of_strangers(&world, 1).await;
    let folder = world.folder().join("audit");
    let other = folder.join("replica-1.jsonl");
    for (from, to) in
        [("audit.jsonl", "replica-1.jsonl"), ("audit.jsonl.head", "replica-1.jsonl.head")]
    {
        std::fs::copy(folder.join(from), folder.join(to)).unwrap();
    }
    let (status, answer, _) = audit(&["verify", shown(&folder)]);
    let chains: Vec<_> = answer.lines().filter(|line| line.contains(" records, ")).collect();
    assert_eq!((status, chains.len()), (0, 3), "{answer}");
    let text = std::fs::read_to_string(&other).unwrap();
    std::fs::write(&other, text.replacen("acme", "evil", 1)).unwrap();
    let (status, answer, _) = audit(&["verify", shown(&folder)]);
    assert!(status == 1 && answer.contains("replica-1.jsonl: BROKEN"), "{answer}");
    let empty = tempfile::tempdir().unwrap();
    for command in ["verify", "query"] {
        let file: &[&str] = if command == "query" { &["--file"] } else { &[] };
        let (status, _, told) = audit(&[&[command], file, &[shown(empty.path())]].concat());
        assert!(status == 1 && told.contains("holds no audit records"), "{told}");
    }
    let (status, _, told) = audit(&["verify", "--head", "4711:8c1f", shown(&folder)]);
    assert!(status == 2 && told.contains("must be COUNT:HASH"), "{told}");
}

#[tokio::test]
async fn keys_are_listed_with_their_last_use_and_their_calls() {
    let world = recorded().await;
    // Two root fields are one call.
    let both = "{ a: getJob(jobId: \"job-1\") { id } b: getJob(jobId: \"job-2\") { id } }";
    world.ask("acme", both, json!({})).await;
    records(&world, 4).await;
    let keys = |audit: &Path| {
        let ran = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["keys", "--config", shown(&world.folder().join("gateway.yaml"))])
            .args(["--audit", shown(audit)])
            .env("MOVE_API_URL", world.sandbox.url().as_str())
            .env("MOVE_API_KEY", "sandbox-move-key")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ran.status.success(), text(ran.stdout), text(ran.stderr))
    };
    let (ok, text, told) = keys(&world.folder().join("audit"));
    assert!(ok, "{told}");
    let cells = |tenant: &str| {
        let line = text.lines().find(|line| line.starts_with(tenant)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(cells("tenant")[3..6], ["last", "used", "calls"]);
    assert_eq!((cells("acme")[4].as_str(), cells("globex")[4].as_str()), ("2", "1"));
    assert_eq!(cells("initech")[3..5], ["-", "0"]);
    assert!(cells("acme")[3].ends_with('Z'), "{text}");
    let (ok, _, told) = keys(&world.folder().join("nowhere.jsonl"));
    assert!(!ok && told.contains("nowhere.jsonl: no such file"), "{told}");
}

#[tokio::test]
async fn a_subscription_is_found_by_its_own_name_and_its_end_by_its_phase() {
    let world = recorded().await;
    let query = json!({"query": "subscription { jobUpdated(jobId: \"job-none\") { id } }"});
    world.post("acme", &query).await;
    records(&world, 4).await;
    let file = file_of(world.folder());
    let found = |arguments: &[&str]| {
        let (status, answer, told) =
            audit(&[&["query", "--file", shown(&file)], arguments].concat());
        assert_eq!(status, 0, "{told}");
        answer.lines().filter(|line| line.contains(arguments[1])).count()
    };
    assert_eq!(found(&["--operation", "jobUpdated"]), 2);
    assert_eq!(found(&["--operation", "jobUpdated", "--phase", "close"]), 1);
    assert_eq!(found(&["--operation", "getJob", "--phase", "outcome"]), 2);
}
