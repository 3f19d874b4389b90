//! gateway.yaml and policies: what must load, loads; what is wrong is said at its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use jobs_gateway::config::{self, Config};
use jobs_gateway::model::{Group, KeyHash, RootField, RootFields, TenantId, UnclaimedJobs};
use jobs_gateway::policy::Snapshot;
use jobs_gateway::reload::ConfigSource;
use jobs_gateway::settings::{Diagnostics, Source, Sources};
use tempfile::TempDir;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "MOVE_API_URL" => "https://api.move.ai/ugc/graphql",
        "MOVE_API_KEY" | "SAME_MOVE_API_KEY" => "a-move-key",
        "GLOBEX_MOVE_API_KEY" => "another-move-key",
        "JWKS" => "https://sso.example.test/jwks.json",
        "CURSOR_KEY" => "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        _ => return None,
    };
    Some(value.to_owned())
}

fn now() -> jiff::Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

pub fn load(path: &Path) -> Result<(Config, Snapshot, Diagnostics), Diagnostics> {
    let loaded = ConfigSource::new(path, Arc::new(env)).load(now())?;
    Ok((loaded.config, loaded.policies, loaded.warnings))
}

/// A folder with a gateway.yaml and policies; `check` is what loading says of it.
pub struct Files(pub TempDir);

impl Files {
    pub fn new(gateway: &str, policies: &[(&str, &str)]) -> Self {
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("gateway.yaml"), gateway).unwrap();
        fs::create_dir(files.path().join("policies")).unwrap();
        for (name, text) in policies {
            fs::write(files.path().join("policies").join(name), text).unwrap();
        }
        Self(files)
    }

    /// All findings, paths without the temporary folder.
    pub fn findings(&self) -> String {
        let findings = match load(&self.0.path().join("gateway.yaml")) {
            Ok((_, _, warnings)) => warnings,
            Err(problems) => problems,
        };
        findings.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

pub const GATEWAY: &str = "upstream: { api_key: '${MOVE_API_KEY}' }\npolicies: policies\n";

#[test]
fn the_contracts_files_load() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/contract/gateway.yaml");
    let (config, policies, warnings) = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    // Its limits are narrower than what came to `"*"` since.
    let is_known = |told: &str| told.contains("createVolumeWithHuman, which costs 20");
    let told: Vec<_> = warnings.0.iter().map(ToString::to_string).collect();
    assert!(told.iter().all(|told| is_known(told)), "{warnings}");
    assert_eq!(config.server.paths, ["/graphql", "/ugc/graphql"]);
    assert_eq!(config.server.max_body, 256 * 1024);
    assert_eq!(config.cursor_key, Some([0; 32]));
    let tenant = |name: &str| policies.tenant(&TenantId::parse(name).unwrap()).unwrap().clone();
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    assert_eq!(acme.operations, Group::Jobs.fields());
    assert_eq!(acme.metadata.stamp.as_deref(), Some(r#"{"cost_center":"4711"}"#));
    assert_eq!(acme.metadata.max_bytes, 16 * 1024);
    assert_eq!(acme.client.portal.as_str(), "https://jobs.example.test/");
    assert_eq!(acme.metadata.unclaimed_jobs, UnclaimedJobs::Hide);
    assert!(acme.account.is_shared() && !globex.account.is_shared());
    let hash = KeyHash::parse(&"1".repeat(64)).unwrap();
    let (_, dashboard) = policies.key(&hash).unwrap();
    let read: RootFields = [RootField::GetJob, RootField::ListJobs].into_iter().collect();
    assert_eq!(dashboard.operations, read);
}

#[test]
fn the_samples_load_with_the_move_key_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .current_dir(root)
        .arg("check")
        .env_clear()
        .env("MOVE_API_KEY", "a-move-key")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.ends_with("2 tenants, 3 keys, 0 errors, 0 warnings\n"), "{text}");
}

#[test]
fn everything_wrong_with_a_configuration_is_said_at_once_and_at_its_place() {
    let files = Files::new(
        "server:
  lisen: 127.0.0.1:4000
  max_body: 3KB
  paths: [graphql]
  cors: { origins: ['https://a.test/path'] }
upstream:
  api_key: ${NOT_SET}
  timeout: 0s
  retries: { budget: 120% }
polices: ./policies
cursor_key: in-plain-sight
audit:
  sinks:
    - { fle: ./audit.jsonl }
telemetry:
  log: { format: xml }
  otlp:
    endpoint: http://collector.test:4317
    headers: { grpc-key: in-plain-sight }
",
        &[],
    );
    let findings = files.findings();
    assert!(!findings.contains("in-plain-sight"), "a secret is not shown");
    insta::assert_snapshot!(findings);
}

#[test]
fn what_is_not_yaml_is_said_at_its_place() {
    for (name, text) in
        [("tab", "a:\n\t- b\n"), ("twice", "a: 1\na: 2\n"), ("alias", "a: &x 1\nb: *x\n")]
    {
        insta::assert_snapshot!(name, Files::new(text, &[]).findings());
    }
}

#[test]
fn everything_wrong_with_policies_is_said_at_once_and_at_its_place() {
    let files = Files::new(
        GATEWAY,
        &[
            ("defaults.yaml", "operations: [getJob]\nrate_limit: { queries: { rate: 0/s } }\n"),
            (
                "acme.yaml",
                "tenant: acme
auth:
  api_keys:
    - { id: a, sha256: 0000000000000000000000000000000000000000000000000000000000000000 }
    - { id: a, sha256: 1111111111111111111111111111111111111111111111111111111111111111, operations: [updateJob] }
    - { id: c, sha256: 12345 }
  issuers: [nobody]
operations: [getJob, listJob]
",
            ),
            ("umbrella.yaml", "tenant: umbrella\nmetadata: { namespace: _gateway }\n"),
            (
                "other.yaml",
                "tenant: globex
auth:
  api_keys:
    - { id: b, sha256: 0000000000000000000000000000000000000000000000000000000000000000 }
metadata: { namespace: same }
hidden_fields: [thumbnailUrl]
",
            ),
            ("initech.yaml", "tenant: initech\nmetadata: { namespace: same, max_bytes: lots }\n"),
            ("zeta.yaml", "tenant: initech\n"),
            ("notes.txt", "not a policy"),
        ],
    );
    insta::assert_snapshot!(files.findings());
}

#[test]
fn keys_that_expired_or_soon_will_are_warned_about() {
    let files = Files::new(
        GATEWAY,
        &[(
            "acme.yaml",
            "tenant: acme
auth:
  api_keys:
    - id: gone
      sha256: 0000000000000000000000000000000000000000000000000000000000000000
      expires: 2026-05-01T00:00:00Z
    - id: going
      sha256: 1111111111111111111111111111111111111111111111111111111111111111
      expires: 2026-06-08T00:00:00Z
    - id: rotated
      sha256: 3333333333333333333333333333333333333333333333333333333333333333
      expires: 2026-06-08T00:00:00Z
    - id: rotated-2
      sha256: 4444444444444444444444444444444444444444444444444444444444444444
    - id: good
      sha256: 2222222222222222222222222222222222222222222222222222222222222222
      expires: 2027-01-01T00:00:00Z
",
        )],
    );
    insta::assert_snapshot!(files.findings());
}

#[test]
fn a_start_with_a_bad_configuration_ends_with_status_64_and_says_why() {
    let files = Files::new("upstream: {}\npolicies: policies\n", &[]);
    let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["serve", "--config"])
        .arg(files.0.path().join("gateway.yaml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("`upstream.api_key` must be set"), "{text}");
}

#[test]
fn a_new_key_is_printed_once_with_its_hash_for_the_policy() {
    let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["key", "new", "--tenant", "atlas", "--id", "pipeline"])
        .output()
        .unwrap();
    let key = String::from_utf8(output.stdout).unwrap();
    let key = key.trim();
    let snippet = String::from_utf8(output.stderr).unwrap();
    assert!(key.starts_with("jgw_") && key.len() == 47, "{key}");
    assert!(snippet.contains(&KeyHash::of(key.as_bytes()).to_string()));
    assert!(snippet.contains("tenant: atlas") && !snippet.contains(key));
}

/// Runs a command with the samples at the top of the project.
fn with_samples(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .env_clear()
        .env("MOVE_API_KEY", "a-move-key")
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn explain_tells_what_a_key_may_do_and_which_line_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "query($id: ID!) { job: getJob(jobId: $id) { id } listJobs { first } }")
        .unwrap();
    let query = file.path().to_str().unwrap();
    let (ok, text) =
        with_samples(&["explain", "--tenant", "acme", "--key-id", "dashboard", "--query", query]);
    assert!(ok);
    insta::assert_snapshot!(text.replace(query, "query.graphql"));
}

#[test]
fn explain_tells_what_a_token_would_grant() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/contract");
    let file = tempfile::NamedTempFile::new().unwrap();
    let claims = r#"{"iss": "https://sso.example.test/", "team": "acme", "scope": "jobs:read"}"#;
    fs::write(file.path(), claims).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"));
    for name in ["MOVE_API_URL", "MOVE_API_KEY", "GLOBEX_MOVE_API_KEY", "JWKS", "CURSOR_KEY"] {
        command.env(name, env(name).unwrap());
    }
    command.current_dir(folder).args(["explain", "--tenant", "acme", "--claims"]).arg(file.path());
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let granted = text.lines().find(|line| line.starts_with("may call")).unwrap_or_default();
    assert!(granted.contains("getJob, listJobs ") && !granted.contains("updateJob"), "{text}");
    for (claim, told) in [
        (r#""aud": ["another-service"]"#, "audience"),
        (r#""exp": 1577836800"#, "expired"),
        (r#""nbf": 4102444800"#, "not valid yet"),
    ] {
        fs::write(file.path(), claims.replace('}', &format!(", {claim}}}"))).unwrap();
        let output = command.output().unwrap();
        let says = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && says.contains(told), "{claim}: {says}");
    }
}

#[test]
fn the_samples_own_expectations_are_met_and_a_wrong_one_is_told() {
    let (ok, text) = with_samples(&["policy", "test", "policies/tests"]);
    assert!(ok && text.ends_with("7 passed, 0 failed\n"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let wrong = "tests:
  - name: a wish
    caller: { tenant: globex, key: main }
    operation: updateJob
    expect: allow
  - name: a slip of the pen
    caller: { tenant: globexx, key: main }
    operation: updateJob
    expect: deny
";
    fs::write(folder.path().join("wrong.yaml"), wrong).unwrap();
    let (ok, text) = with_samples(&["policy", "test", folder.path().to_str().unwrap()]);
    assert!(!ok && text.contains("FAILED  a wish") && text.contains("it is denied, FORBIDDEN: "));
    assert!(
        text.contains("wrong.yaml:2:5") && text.contains("FAILED  a slip of the pen"),
        "{text}"
    );
    fs::write(folder.path().join("wrong.yaml"), wrong.replace("updateJob", "updatJob")).unwrap();
    let (ok, text) = with_samples(&["policy", "test", folder.path().to_str().unwrap()]);
    assert!(!ok && text.contains("did you mean `updateJob`?"), "{text}");
}

#[test]
fn what_two_folders_of_policies_differ_in_is_listed_and_ends_with_1() {
    let key =
        |id: &str, digit: &str| format!("    - {{ id: {id}, sha256: {} }}\n", digit.repeat(64));
    let policy = |tenant: &str, keys: &[String], rest: &str| {
        format!("tenant: {tenant}\nauth:\n  api_keys:\n{}{rest}", keys.concat())
    };
    let acme = policy("acme", &[key("a", "1"), key("b", "2")], "operations: [getJob, createJob]\n");
    let globex = policy("globex", &[key("a", "3")], "");
    let files = Files::new(GATEWAY, &[("acme.yaml", &acme), ("globex.yaml", &globex)]);
    let after = files.0.path().join("after");
    fs::create_dir(&after).unwrap();
    let kept = format!(
        "    - {{ id: a, sha256: {}, sources: [10.0.0.0/8], expires: 2030-01-01T00:00:00Z }}\n",
        "1".repeat(64)
    );
    let rest = "scopes: { \"jobs:read\": [getJob] }
rate_limit: { queries: { rate: 9/s } }
operations: [getJob, updateJob]
hidden_fields: [Job.inputs]
introspection: false
takes: { unclaimed: use }
metadata: { unclaimed_jobs: read, stamp: { cost_center: R7 } }
cache: { get_job: { unfinished: 5s } }
upstream: { api_key: \"${ACME_KEY}\" }
";
    fs::write(after.join("acme.yaml"), policy("acme", &[kept, key("c", "4")], rest)).unwrap();
    fs::write(after.join("initech.yaml"), policy("initech", &[key("a", "5")], "")).unwrap();
    let diff = |one: &Path, other: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["policy", "diff", "--config"])
            .args([&files.0.path().join("gateway.yaml"), one, other])
            .env("MOVE_API_KEY", "a-move-key")
            .env("ACME_KEY", "another-move-key")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let before = files.0.path().join("policies");
    assert_eq!(diff(&before, &before), (Some(0), String::new()));
    let (status, text) = diff(&before, &after);
    assert_eq!(status, Some(1));
    insta::assert_snapshot!(text, @r#"
    + tenant initech
    - tenant globex
    + key acme/c
    + key initech/a
    - key acme/b
    - key globex/a
    + right acme/updateJob
    - right acme/createJob
    ~ limit acme/queries: 50/s (burst 100) -> 9/s (burst 100)
    ~ setting acme/a/expires: never -> 2030-01-01T00:00:00Z
    ~ setting acme/a/sources: none -> 10.0.0.0/8
    ~ setting acme/cache.get_job.unfinished: 2s -> 5s
    ~ setting acme/hidden_fields: none -> Job.inputs
    ~ setting acme/introspection: true -> false
    ~ setting acme/metadata.stamp: none -> {"cost_center":"R7"}
    ~ setting acme/metadata.unclaimed_jobs: hide -> read
    ~ setting acme/scopes.jobs:read: none -> getJob
    ~ setting acme/takes.unclaimed: hide -> use
    ~ setting acme/upstream.api_key: replaced
    "#);
}

#[test]
fn tenants_and_keys_are_listed_with_who_answers_for_them() {
    let policy = "tenant: acme
auth:
  api_keys:
    - id: render-farm
      description: nightly renders
      owner: pipeline@acme.example.test
      sha256: 0000000000000000000000000000000000000000000000000000000000000000
      sources: [10.1.0.0/16]
    - id: spare
      sha256: 1111111111111111111111111111111111111111111111111111111111111111
      operations: [getJob]
operations: [getJob, listJobs]
";
    let other = "tenant: globex\noperations: [\"*\", generateShareCode]\n";
    let files = Files::new(GATEWAY, &[("acme.yaml", policy), ("globex.yaml", other)]);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(arguments)
            .arg("--config")
            .arg(files.0.path().join("gateway.yaml"))
            .env("MOVE_API_KEY", "a-move-key")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (ok, text) = run(&["tenants"]);
    assert!(ok);
    insta::assert_snapshot!(text, @r#"
    tenant  keys  issuers  account  may call
    acme    2     -        shared   getJob, listJobs
    globex  0     -        shared   "*", sharing
    "#);
    let (ok, text) = run(&["keys", "--tenant", "acme"]);
    assert!(ok);
    insta::assert_snapshot!(text, @r"
    tenant  key          expires  owner                       from         may call          description
    acme    render-farm  never    pipeline@acme.example.test  10.1.0.0/16  getJob, listJobs  nightly renders
    acme    spare        never    -                           anywhere     getJob            -
    ");
    let (ok, text) = run(&["keys", "--tenant", "nobody"]);
    assert!(!ok && text.contains("there is no tenant `nobody`"), "{text}");
}

#[test]
fn findings_are_printed_for_other_programs_too() {
    let files = Files::new(GATEWAY, &[("acme.yaml", "tenant: acme\noperatons: <all>\n")]);
    let check = |format: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["check", "--format", format, "--config"])
            .arg(files.0.path().join("gateway.yaml"))
            .env("MOVE_API_KEY", "a-move-key")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&check("json")).unwrap();
    assert_eq!(json["errors"], 1);
    let finding = json["findings"].as_array().unwrap();
    let finding = finding.iter().find(|finding| finding["severity"] == "error").unwrap();
    assert_eq!((finding["line"].as_u64(), finding["column"].as_u64()), (Some(2), Some(1)));
    let sarif: serde_json::Value = serde_json::from_str(&check("sarif")).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let error = results.iter().find(|result| result["level"] == "error").unwrap();
    let place = &error["locations"][0]["physicalLocation"];
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("policies/acme.yaml"));
    assert_eq!(place["region"]["startLine"], 2);
    let junit = check("junit");
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("acme.yaml:2:1: unknown key"),
        "{junit}"
    );
}

#[test]
fn keys_that_operators_need_load_by_their_names() {
    let gateway = "server:
  trusted_proxies: [10.0.0.0/8, 127.0.0.1/32]
  proxy_protocol: false
upstream:
  api_key: ${MOVE_API_KEY}
  proxy: null
policies: ./policies
reload:
  allow_removal: 50%
  on_error: keep_all
";
    let unset = Files::new(GATEWAY, &[]);
    let files = Files::new(gateway, &[]);
    assert_eq!(files.findings(), unset.findings());
    let files = Files::new(&format!("{GATEWAY}server: {{ proxy_protocol: true }}\n"), &[]);
    assert!(files.findings().contains("name the balancers in `server.trusted_proxies`"));
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_read_without_a_panic(text in "(\\PC|[\n :\\[\\]{}'\"&*#|>-]){0,200}") {
            let source = Source { name: "any.yaml".to_owned(), text };
            let _ = config::load_text(&Arc::new(source), &Sources::new(&env))
                .map_err(|problems| problems.to_string());
        }
    }
}
