//! Rules are what the files say, however the files are replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::{Setup, World};
use crate::tokens::{Key, claims, set_of, with_token};

const READ: &str = "{ listJobs { first } }";
const RELOADS: &str = "jobs_gateway_policy_reloads_total{outcome=\"ok\"";
const RELOAD_OK: &str = "jobs_gateway_policy_reload_ok";

/// Waits until something is so.
async fn becomes(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert!(in_time.is_ok(), "{what}");
}

/// Names and texts of the files of a folder.
type Files = Vec<(&'static str, String)>;

fn write_all(folder: &Path, files: &Files) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn remove(path: &Path) {
    if path.is_symlink() || path.is_file() {
        fs::remove_file(path).unwrap();
    } else if path.exists() {
        fs::remove_dir_all(path).unwrap();
    }
}

/// Puts a link in place of what is there, at one stroke.
fn link_over(target: &Path, name: &Path) {
    let draft = name.with_file_name("draft-of-a-link");
    symlink(target, &draft).unwrap();
    if !name.is_symlink() {
        remove(name);
    }
    fs::rename(draft, name).unwrap();
}

/// A way to replace what is in a folder; the number is another one each time.
type Way = fn(&Path, &Path, usize, &Files);

fn moved(folder: &Path, beside: &Path, n: usize, files: &Files) {
    write_all(&beside.join(format!("new-{n}")), files);
    fs::rename(folder, beside.join(format!("old-{n}"))).unwrap();
    fs::rename(beside.join(format!("new-{n}")), folder).unwrap();
}

fn removed_and_copied(folder: &Path, _: &Path, _: usize, files: &Files) {
    remove(folder);
    write_all(folder, files);
}

fn renamed_over(folder: &Path, _: &Path, n: usize, files: &Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        if !files.iter().any(|(own, _)| name == *own) {
            remove(&folder.join(name));
        }
    }
    for (name, text) in files {
        fs::write(folder.join(format!("{name}.{n}~")), text).unwrap();
        fs::rename(folder.join(format!("{name}.{n}~")), folder.join(name)).unwrap();
    }
}

fn link_swapped_beside(folder: &Path, beside: &Path, n: usize, files: &Files) {
    write_all(&beside.join(format!("release-{n}")), files);
    link_over(&beside.join(format!("release-{n}")), folder);
}

/// As git-sync does it: a link to a link, which is swapped in a folder of its own.
fn link_swapped_elsewhere(folder: &Path, beside: &Path, n: usize, files: &Files) {
    let elsewhere = beside.join("elsewhere");
    write_all(&elsewhere.join(format!("worktrees/{n}")), files);
    link_over(Path::new(&format!("worktrees/{n}")), &elsewhere.join("current"));
    if fs::read_link(folder).ok() != Some(elsewhere.join("current")) {
        link_over(&elsewhere.join("current"), folder);
    }
    if let Some(before) = n.checked_sub(1) {
        remove(&elsewhere.join(format!("worktrees/{before}")));
    }
}

/// As Kubernetes mounts a ConfigMap: files are links into `..data`, which is a link itself.
fn data_link_swapped(folder: &Path, _: &Path, n: usize, files: &Files) {
    fs::create_dir_all(folder).unwrap();
    write_all(&folder.join(format!("..{n}")), files);
    link_over(Path::new(&format!("..{n}")), &folder.join("..data"));
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with("..") && !files.iter().any(|(own, _)| name == *own) {
            remove(&folder.join(name));
        }
    }
    for (name, _) in files {
        link_over(&Path::new("..data").join(name), &folder.join(name));
    }
}

const WAYS: [(&str, Way); 6] = [
    ("moved", moved),
    ("removed and copied", removed_and_copied),
    ("renamed over", renamed_over),
    ("link swapped beside", link_swapped_beside),
    ("link swapped elsewhere", link_swapped_elsewhere),
    ("..data swapped", data_link_swapped),
];

/// The files as they are, and the same without one of them.
fn with_and_without(folder: &Path, gone: &str) -> (Files, Files) {
    let read = |name: &'static str| (name, fs::read_to_string(folder.join(name)).unwrap());
    let with = vec![read("acme.yaml"), read("globex.yaml"), read("initech.yaml")];
    let without = with.iter().filter(|(name, _)| *name != gone).cloned().collect();
    (with, without)
}

/// Replaces the policies in every way, with and without a tenant, `rounds` times each. Returns the longest time until a
/// revoked key was refused.
async fn replaced(rounds: usize) -> Duration {
    let world = World::start().await;
    let (policies, beside) = (world.folder().join("policies"), world.folder().join("beside"));
    fs::create_dir(&beside).unwrap();
    let (with, without) = with_and_without(&policies, "acme.yaml");
    let (mut number, mut longest) = (0, Duration::ZERO);
    for round in 0..rounds {
        for (name, replace) in WAYS {
            for (files, status) in [(&without, 401), (&with, 200)] {
                replace(&policies, &beside, number, files);
                number += 1;
                let began = Instant::now();
                becomes(&format!("{status} in round {round}, {name}"), async || {
                    world.ask("acme", READ, json!({})).await.status == status
                })
                .await;
                if status == 401 {
                    longest = longest.max(began.elapsed());
                }
            }
            assert_eq!(world.ask("globex", READ, json!({})).await.status, 200);
        }
    }
    longest
}

#[tokio::test]
async fn a_revoked_key_is_refused_however_the_policies_are_replaced() {
    replaced(4).await;
}

#[tokio::test]
#[ignore = "takes minutes: each way 50 times"]
async fn a_revoked_key_is_refused_within_two_seconds_however_often_the_policies_are_replaced() {
    let longest = replaced(50).await;
    println!("the longest of {} revocations: {longest:?}", 50 * WAYS.len());
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_where_a_folder_far_above_the_policies_is_replaced() {
    let world = World::start().await;
    let (policies, root) = (world.folder().join("policies"), world.folder().to_owned());
    let (with, without) = with_and_without(&policies, "acme.yaml");
    write_all(&root.join("a/b/policies"), &with);
    remove(&policies);
    symlink(root.join("a/b/policies"), &policies).unwrap();
    for (n, files, status) in [(0, &without, 401), (1, &with, 200), (2, &without, 401)] {
        write_all(&root.join(format!("new-{n}/b/policies")), files);
        fs::rename(root.join("a"), root.join(format!("old-{n}"))).unwrap();
        fs::rename(root.join(format!("new-{n}")), root.join("a")).unwrap();
        becomes(&format!("{status} after {n}"), async || {
            world.ask("acme", READ, json!({})).await.status == status
        })
        .await;
    }
}

/// A way to replace one file.
type FileWay = (&'static str, fn(&Path, &str));

fn file_ways() -> Vec<FileWay> {
    vec![
        ("rewritten in place", |path, text| {
            let held = fs::read_to_string(path).unwrap_or_default();
            // Through a link too, and never shorter or longer for a moment.
            assert_ne!(held, text);
            fs::write(path, text).unwrap();
        }),
        ("renamed over", |path, text| {
            let draft = path.with_extension("draft");
            fs::write(&draft, text).unwrap();
            fs::rename(draft, path).unwrap();
        }),
        ("removed and made anew", |path, text| {
            remove(path);
            fs::write(path, text).unwrap();
        }),
        ("folder replaced", |path, text| {
            let folder = path.parent().unwrap();
            remove(folder);
            fs::create_dir(folder).unwrap();
            fs::write(path, text).unwrap();
        }),
        ("a link to another file", |path, text| {
            let name = format!("{}.json", jobs_gateway::model::KeyHash::of(text.as_bytes()));
            let target = path.parent().unwrap().parent().unwrap().join(name);
            fs::write(&target, text).unwrap();
            link_over(&target, path);
        }),
    ]
}

#[tokio::test]
async fn a_withdrawn_signing_key_is_refused_however_its_file_is_replaced() {
    let (first, second) = (Key::new("1", Algorithm::ES256), Key::new("2", Algorithm::ES256));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys/jwks.json");
    fs::create_dir(folder.path().join("keys")).unwrap();
    let sets = [set_of(&[&first]), set_of(&[&second])];
    fs::write(&file, &sets[0]).unwrap();
    let config = format!(
        "issuers: [{{ name: sso, issuer: 'https://sso.example.test/', audiences: [jobs-gateway], \
         jwks: '{}', tenant_claim: team }}]\n",
        file.display()
    );
    let world = Setup::new()
        .tenant("acme", "auth: { issuers: [sso] }\noperations: [listJobs]\n")
        .config(config)
        .start()
        .await;
    let tokens = [&first, &second].map(|key| key.token(Algorithm::ES256, &claims("acme")));
    for round in 0..2 {
        for (name, replace) in file_ways() {
            for good in [1, 0] {
                replace(&file, &sets[good]);
                let status = async |at: usize| with_token(&world, &tokens[at], READ).await.status;
                becomes(&format!("key {good}, round {round}, {name}"), async || {
                    status(good).await == 200
                })
                .await;
                assert_eq!(status(1 - good).await, 401, "{name}: the other is withdrawn");
            }
        }
    }
}

#[tokio::test]
async fn a_secret_in_a_file_beside_the_policies_is_read_again_when_it_changes() {
    let keys = vec!["sandbox-move-key".to_owned(), "other-move-key".to_owned(), "third".to_owned()];
    let sandbox = jobs_gateway::sandbox::SandboxOptions { api_keys: keys, ..Default::default() };
    let world = Setup::new()
        .sandbox(sandbox)
        .tenant("acme", "operations: [\"*\"]\n")
        .tenant("globex", "operations: [\"*\"]\n")
        .start()
        .await;
    let secret = world.folder().join("secrets/key");
    fs::create_dir(world.folder().join("secrets")).unwrap();
    fs::write(&secret, "other-move-key\n").unwrap();
    world.write_policy(
        "acme",
        "operations: [\"*\"]\nupstream: { api_key: '${file:../secrets/key}' }\n",
    );
    let used = async || {
        world.ask("acme", READ, json!({})).await;
        world.sandbox.calls().last().map(|call| call.api_key.clone()).unwrap_or_default()
    };
    becomes("the account of its own", async || used().await == "other-move-key").await;
    let names = ["third\n", "other-move-key\n"];
    for (name, replace) in file_ways() {
        for text in names {
            replace(&secret, text);
            becomes(name, async || used().await == text.trim()).await;
        }
    }
}

#[tokio::test]
async fn files_beside_that_nothing_is_read_from_make_no_reload() {
    let config = "audit: { sinks: [{ file: ./audit.jsonl }] }\n".to_owned();
    let world = Setup::new().config(config).start().await;
    for n in 0..20 {
        assert_eq!(world.ask("acme", READ, json!({})).await.status, 200);
        fs::write(world.folder().join("h"), n.to_string()).unwrap();
        fs::write(world.folder().join("policies/h"), n.to_string()).unwrap();
        fs::write(world.folder().join(format!("policies/.acme.yaml.{n}")), "x").unwrap();
    }
    assert!(
        world.folder().join("audit.jsonl.head").exists(),
        "the records are beside gateway.yaml"
    );
    let text = fs::read_to_string(world.folder().join("gateway.yaml")).unwrap();
    fs::write(world.folder().join("gateway.yaml"), format!("{text}# changed\n")).unwrap();
    // What comes after the others and is noticed shows that they were not.
    becomes("a reload", async || world.metric(RELOADS).await.is_some_and(|count| count > 0.0))
        .await;
    assert_eq!(world.metric(RELOADS).await, Some(1.0));
}

#[tokio::test]
async fn a_reload_that_would_take_away_every_tenant_is_refused() {
    let world = World::start().await;
    let policies = world.folder().join("policies");
    let (all, _) = with_and_without(&policies, "");
    let away = world.folder().join("away");
    fs::create_dir(&away).unwrap();
    for (name, _) in &all {
        fs::rename(policies.join(name), away.join(name)).unwrap();
    }
    becomes("refused", async || world.metric(RELOAD_OK).await == Some(0.0)).await;
    assert_eq!(world.ask("acme", READ, json!({})).await.status, 200);
    // One of three may go.
    for name in ["globex.yaml", "initech.yaml"] {
        fs::rename(away.join(name), policies.join(name)).unwrap();
    }
    becomes("reloaded", async || world.metric(RELOAD_OK).await == Some(1.0)).await;
    assert_eq!(world.ask("acme", READ, json!({})).await.status, 401);
    assert_eq!(world.ask("globex", READ, json!({})).await.status, 200);
}

#[tokio::test]
async fn a_panic_while_rules_are_read_is_a_refused_reload_and_the_next_one_goes_on() {
    let world = World::start().await;
    assert_eq!(world.metric(RELOAD_OK).await, Some(1.0), "what was read at start is in force");
    // The test's environment panics when it is asked for this variable.
    world.write_policy("acme", "operations: []\nupstream: { api_key: '${PANIC}' }\n");
    becomes("refused", async || world.metric(RELOAD_OK).await == Some(0.0)).await;
    assert_eq!(world.ask("acme", READ, json!({})).await.status, 200);
    world.write_policy("acme", "operations: [getJob]\n");
    becomes("in force", async || world.ask("acme", READ, json!({})).await.status == 403).await;
    assert_eq!(world.metric(RELOAD_OK).await, Some(1.0));
}

#[tokio::test]
async fn what_changed_before_the_gateway_watched_is_noticed() {
    let change = |folder: &Path| {
        let acme: PathBuf = folder.join("policies/acme.yaml");
        let text = fs::read_to_string(&acme).unwrap();
        fs::write(&acme, text.replace("[\"*\"]", "[getJob]")).unwrap();
    };
    let world = Setup::new().changed(change).start().await;
    becomes("the change counts", async || world.ask("acme", READ, json!({})).await.status == 403)
        .await;
}
