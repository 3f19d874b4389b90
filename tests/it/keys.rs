//! `jobs-gateway key`, as the platform team runs it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use jobs_gateway::model::KeyHash;
use jobs_gateway::reload::ConfigSource;

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_new_key_of_a_tenant_that_has_a_policy_is_lines_to_add_to_it() {
    let made = run(&["key", "new", "--tenant", "acme"], "");
    let told = text(&made.stderr);
    assert!(told.contains("policies/acme.yaml exists") && told.contains("- id: main"), "{told}");
    assert!(!told.contains("operations:"), "{told}");
}

#[test]
fn a_new_key_is_for_operations_or_groups_of_them() {
    let made = run(&["key", "new", "--operations", "files,getJob,*"], "");
    assert!(text(&made.stderr).contains("      operations: [files, getJob, \"*\"]\n"));
    let unknown = run(&["key", "new", "--operations", "fils"], "");
    let told = text(&unknown.stderr);
    assert!(
        !unknown.status.success() && told.contains("wanted \"*\" or one of jobs takes files"),
        "{told}"
    );
}

#[test]
fn a_new_tenants_policy_is_written_whole_and_lets_it_create_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let file = policies.join("atlas.yaml");
    let path = file.to_str().unwrap();
    let new = ["key", "new", "--tenant", "atlas", "--id", "pipeline", "--expires", "90d"];
    let narrow = ["--operations", "getJob,createSingleCamJob", "--file", path];
    let arguments = [&new[..], &narrow].concat();

    let made = run(&arguments, "");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let key = text(&made.stdout).trim_end();
    let policy = std::fs::read_to_string(&file).unwrap();
    assert!(policy.contains(&format!("sha256: {}", KeyHash::of(key.as_bytes()))), "{policy}");
    assert!(policy.contains("operations: [getJob, createSingleCamJob]"), "{policy}");
    assert!(policy.ends_with("operations: [\"*\"]\n"), "{policy}");
    assert!(!policy.contains(key) && !text(&made.stderr).contains(key), "the key is in no file");

    let config = folder.path().join("gateway.yaml");
    std::fs::write(&config, "upstream: { api_key: '${KEY}' }\npolicies: ./policies\n").unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["check", "--config", config.to_str().unwrap()])
        .env("KEY", "a-key-of-move")
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));

    let again = run(&arguments, "");
    assert!(!again.status.success(), "a policy that exists is not written over");
    let told = text(&again.stderr);
    assert!(told.contains("atlas.yaml exists: leave out --file"), "{told}");
    assert!(again.stdout.is_empty(), "no key without its policy");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), policy);
}

#[test]
fn a_rotated_key_and_the_one_in_its_place_are_both_good_until_the_grace_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let config = folder.path().join("gateway.yaml");
    std::fs::write(&config, "upstream: { api_key: '${KEY}' }\npolicies: ./policies\n").unwrap();
    let file = policies.join("atlas.yaml");
    let old = KeyHash::of(b"the-old-key");
    let policy = format!(
        "# The pipeline team.\ntenant: atlas\nauth:\n  api_keys:\n    - id: pipeline # nightly\n      \
         sha256: {old}\n      owner: ana\n"
    );
    std::fs::write(&file, &policy).unwrap();
    let path = file.to_str().unwrap();
    let rotate = ["key", "rotate", "--tenant", "atlas", "--file", path, "--id"];

    let unknown = run(&[&rotate[..], &["nope"]].concat(), "");
    assert!(!unknown.status.success() && unknown.stdout.is_empty());
    assert!(text(&unknown.stderr).contains("has no key `nope`: pipeline"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), policy);

    let made = run(&[&rotate[..], &["pipeline", "--grace", "24h"]].concat(), "");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let key = text(&made.stdout).trim_end();
    let now = std::fs::read_to_string(&file).unwrap();
    assert!(now.starts_with("# The pipeline team.\n") && now.contains("# nightly"), "{now}");
    assert!(!now.contains(key) && !text(&made.stderr).contains(key), "the key is in no file");
    let loaded = ConfigSource::new(&config, Arc::new(|_| Some("a-key-of-move".to_owned())));
    let loaded = loaded.load(jiff::Timestamp::now()).unwrap();
    let (_, fresh) = loaded.policies.key(&KeyHash::of(key.as_bytes())).unwrap();
    assert_eq!((fresh.id.as_str(), fresh.expires), ("pipeline-2", None));
    assert_eq!(fresh.owner.as_deref(), Some("ana"));
    let (_, ending) = loaded.policies.key(&old).unwrap();
    let left = ending.expires.unwrap().duration_since(jiff::Timestamp::now()).as_hours();
    assert!((23..=24).contains(&left), "{left}");
    assert_eq!(std::fs::read_dir(&policies).unwrap().count(), 1, "no draft is left");
}

#[test]
fn a_policy_is_not_written_where_nobody_looks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bar.yaml");
    let made = run(&["key", "new", "--tenant", "foo", "--file", file.to_str().unwrap()], "");
    assert!(!made.status.success() && made.stdout.is_empty() && !file.exists());
    assert!(text(&made.stderr).contains("foo.yaml"), "{}", text(&made.stderr));
}

#[test]
fn a_key_that_somebody_has_is_hashed_without_its_newline() {
    let hashed = run(&["key", "hash"], "jgw_abc\n");
    assert_eq!(text(&hashed.stdout).trim_end(), KeyHash::of(b"jgw_abc").to_string());
    assert!(!run(&["key", "hash"], "\n").status.success());
}

#[test]
fn an_expiry_in_the_past_or_an_unknown_operation_is_refused() {
    for (flag, value, told) in [
        ("--expires", "2001-01-01T00:00:00Z", "in the past"),
        ("--expires", "soon", "90d"),
        ("--operations", "getJobs", "createSingleCamJob"),
    ] {
        let refused = run(&["key", "new", flag, value], "");
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }
}

#[test]
fn completions_and_manual_pages_name_the_commands() {
    let completions = run(&["completions", "bash"], "");
    assert!(text(&completions.stdout).contains("jobs-gateway") && completions.status.success());
    let folder = tempfile::tempdir().unwrap();
    let made = run(&["man", folder.path().join("man").to_str().unwrap()], "");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let page = folder.path().join("man/jobs-gateway-serve.1");
    assert!(std::fs::read_to_string(page).unwrap().contains("jobs"), "a page for each command");
}
