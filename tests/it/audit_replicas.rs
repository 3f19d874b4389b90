//! Audit records over the operators' listener: `/audit`, and `jobs-gateway audit query --url`.

use std::process::Command;

use jobs_gateway::model::KeyHash;
use serde_json::{Value, json};

use crate::configuration::{Files, GATEWAY};
use crate::support::audit::{file_of, records, summaries_of_strangers};
use crate::support::process::free_address;
use crate::support::{Reply, Setup, World, key, send};

const KEY: &str = "jgw_of-the-night-shift";

/// Lines of a configuration with audit records in small files, and with keys for them.
fn config(rotate: &str, keys: &[&str]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|key| format!("{{ id: night-shift, sha256: {} }}", KeyHash::of(key.as_bytes())))
        .collect();
    format!(
        "audit: {{ sinks: [{{ file: ./audit/audit.jsonl, rotate: {rotate} }}] }}\n\
         admin: {{ listen: 127.0.0.1:0, audit_keys: [{}] }}\n",
        keys.join(", ")
    )
}

/// A gateway that recorded a read of `acme`'s and one of `globex`'s.
async fn recorded() -> World {
    let world = Setup::new().config(config("100MiB", &[KEY])).start().await;
    for tenant in ["acme", "globex"] {
        world.ask(tenant, "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    records(&world, 2).await;
    world
}

async fn get(world: &World, query: &str, key: Option<&str>) -> Reply {
    let request = world.http.get(format!("http://{}/audit{query}", world.admin));
    send(match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    })
    .await
}

/// Runs `jobs-gateway audit query`; returns its status, its answer and what else it says.
fn query(key: &str, arguments: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["audit", "query"])
        .args(arguments)
        .env("JOBS_GATEWAY_AUDIT_KEY", key)
        // As the image sets it: a replica that is named comes first.
        .env("JOBS_GATEWAY_AUDIT", "/nowhere/audit.jsonl")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

fn url(world: &World) -> String {
    format!("http://{}", world.admin)
}

#[tokio::test]
async fn records_of_replicas_are_merged_and_one_that_is_down_is_told() {
    let worlds = [recorded().await, recorded().await];
    let [one, two] = worlds.each_ref().map(url);
    // The second recorded later, and is named first.
    let both = ["--url", &two, "--url", &one];
    let ask = |more: &[&str]| query(KEY, &[&both, more].concat());
    let (status, answer, told) = ask(&["--operation", "getJob"]);
    assert_eq!((status, told.as_str()), (0, ""));
    let rows: Vec<Vec<_>> =
        answer.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let origins = worlds.each_ref().map(|world| world.admin.to_string());
    let origin = |row: &Vec<&str>| origins.iter().position(|origin| origin == row[1]).unwrap();
    assert_eq!(rows.iter().map(origin).collect::<Vec<_>>(), [0, 0, 1, 1], "{answer}");
    assert!(rows.is_sorted(), "{answer}");
    // Filters are those of files.
    let (_, answer, _) =
        ask(&["--tenant", "acme", "--job", "job-none", "--columns", "origin,tenant"]);
    assert_eq!(answer.lines().filter(|line| line.ends_with(" acme")).count(), 2, "{answer}");
    let (_, answer, _) = ask(&["--operation", "getJob", "--limit", "1", "--format", "json"]);
    let newest: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(newest["unmapped"]["tenant"], "globex");
    let (status, answer, told) = ask(&["--request-id", "nobody's"]);
    let why =
        format!("nothing matches in {}, {}: there is no record yet with", origins[1], origins[0]);
    assert!((status, answer.as_str()) == (0, "") && told.contains(&why), "{told}");
    // One that is down.
    let down = format!("http://{}", free_address());
    let (status, answer, told) = ask(&["--url", &down, "--operation", "getJob"]);
    assert_eq!((status, answer.lines().count()), (1, 5), "what is there is shown");
    assert!(
        told.contains(&format!("error: {down}/ does not answer, and its records are missing: ")),
        "{told}"
    );
    // A reading is recorded, with the name of the key and what was asked for.
    let read = records(&worlds[0], 4).await.pop().unwrap();
    assert_eq!(read["actor"]["user"]["credential_uid"], "night-shift");
    assert_eq!(read["src_endpoint"]["ip"], "127.0.0.1");
    assert!(read["message"].as_str().unwrap().starts_with("audit records are read"), "{read}");
}

#[tokio::test]
async fn audit_records_are_for_those_who_show_a_key_for_them() {
    let world = Setup::new().config(config("100MiB", &[])).start().await;
    world.create("acme", "{}").await;
    let nobody = get(&world, "", Some(KEY)).await;
    assert!(nobody.status == 403 && nobody.text.contains("`admin.audit_keys`"), "{nobody:?}");
    // With a reload.
    let path = world.folder().join("gateway.yaml");
    let without = std::fs::read_to_string(&path).unwrap();
    let hash = KeyHash::of(KEY.as_bytes());
    let with = format!("audit_keys: [{{ id: night-shift, sha256: {hash} }}]");
    std::fs::write(&path, without.replace("audit_keys: []", &with)).unwrap();
    while get(&world, "", Some(KEY)).await.status == 403 {
        tokio::task::yield_now().await;
    }
    for shown in [None, Some("jgw_another"), Some(&*key("acme"))] {
        let stranger = get(&world, "", shown).await;
        assert_eq!(
            (stranger.status, &stranger.headers["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
        assert!(!stranger.text.contains("acme"));
    }
    let (status, answer, told) = query("jgw_another", &["--url", &url(&world)]);
    assert!(
        (status, answer.as_str()) == (1, "") && told.contains("gives no records: 401"),
        "{told}"
    );
    assert_eq!(
        get(&world, "?tenant=acme", Some(KEY)).await.status,
        400,
        "an unknown filter is said"
    );
    assert_eq!(get(&world, "?since=yesterday", Some(KEY)).await.status, 400);
    // A key that is taken away opens nothing any more.
    std::fs::write(&path, without).unwrap();
    while get(&world, "", Some(KEY)).await.status != 403 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn all_files_are_given_as_they_are_and_a_window_of_them() {
    let world = Setup::new().config(config("8KiB", &[KEY])).start().await;
    for _ in 0..30 {
        world.ask("acme", "{ getJob(jobId: \"job-none\") { id } }", json!({})).await;
    }
    let written = records(&world, 30).await;
    assert!(std::fs::read_dir(world.folder().join("audit")).unwrap().count() > 4, "several files");
    let given = get(&world, "", Some(KEY)).await;
    assert_eq!(given.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> =
        given.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, records(&world, written.len()).await[..lines.len()]);
    let numbers: Vec<_> =
        lines.iter().map(|line| line["unmapped"]["chain"]["seq"].as_u64()).collect();
    assert!(numbers.iter().zip(1..).all(|(own, wanted)| *own == Some(wanted)), "{numbers:?}");
    let at = jiff::Timestamp::from_millisecond(written[10]["time"].as_i64().unwrap()).unwrap();
    let request = written[10]["api"]["request"]["uid"].as_str().unwrap();
    let window = format!("?since={at}&until={at}&text={request}");
    assert_eq!(get(&world, &window, Some(KEY)).await.text.lines().count(), 1);
    let before = "?until=2020-01-01T00:00:00Z";
    assert_eq!(get(&world, before, Some(KEY)).await.text, "");
}

#[test]
fn a_name_or_a_key_that_stands_there_twice_is_an_error() {
    let (one, other) = ("3b".repeat(32), "4c".repeat(32));
    let found = |ids: [&str; 2], hashes: [&str; 2]| {
        let keys =
            ids.iter().zip(hashes).map(|(id, hash)| format!("{{ id: {id}, sha256: {hash} }}"));
        let keys = keys.collect::<Vec<_>>().join(", ");
        Files::new(&format!("{GATEWAY}admin: {{ audit_keys: [{keys}] }}\n"), &[]).findings()
    };
    assert!(found(["a", "a"], [&one, &other]).contains("error: `admin.audit_keys` has `a` twice"));
    assert!(found(["a", "b"], [&one, &one]).contains("error: `a` and `b` are one key"));
    assert!(!found(["a", "b"], [&one, &other]).contains("error"));
}

#[tokio::test]
async fn strangers_are_found_over_the_network_and_in_a_file_of_their_own() {
    let world = recorded().await;
    world.ask("nobody", "{ getJob(jobId: \"x\") { id } }", json!({})).await;
    let odd = world.http.post(world.url()).header("content-type", "text/plain").body("x");
    assert_eq!(send(odd).await.status, 415);
    summaries_of_strangers(&world, 2).await;
    let file = file_of(world.folder()).with_file_name("audit.refused.jsonl");
    let file = file.to_str().unwrap();
    for from in [["--url", &url(&world)], ["--file", file]] {
        let columns = ["--strangers", "--columns", "decision,code,about"];
        let (status, answer, told) = query(KEY, &[&from[..], &columns].concat());
        assert_eq!((status, told.as_str()), (0, ""), "{answer}");
        for row in [
            "denied   UNAUTHENTICATED      1 request from 127.0.0.1: credential_unknown",
            "denied   BAD_USER_INPUT       1 request from 127.0.0.1: BAD_USER_INPUT",
        ] {
            assert!(answer.lines().any(|line| line == row), "{answer}");
        }
    }
}
