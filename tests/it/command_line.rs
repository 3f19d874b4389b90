//! The command line, as people and programs run it.

use std::fs;
use std::process::{Command, Output, Stdio};

use jobs_gateway::sandbox::{Sandbox, SandboxOptions};
use jsonwebtoken::Algorithm;

use crate::configuration::{Files, GATEWAY};
use crate::support::WEBHOOK_SECRET;
use crate::support::collector::Collector;
use crate::support::redis::Redis;
use crate::tokens::{Issuer, Key};

/// A command in a folder, with Move's key in its environment.
pub fn command(files: &Files, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"));
    command
        .args(arguments)
        .current_dir(files.0.path())
        .env("MOVE_API_KEY", "a-move-key")
        .env_remove("JOBS_GATEWAY_CONFIG");
    command
}

/// Runs it; returns its status, its answer and what else it says.
fn run(files: &Files, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(files, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A gateway with an issuer, and two tenants: `acme` takes its tokens, `globex` does not.
fn files() -> Files {
    let gateway = format!(
        "{GATEWAY}issuers: [{{ name: sso, issuer: 'https://sso.test', audiences: [a], \
         jwks: 'https://sso.test/keys', tenant_claim: team }}]\n"
    );
    let acme = format!(
        "tenant: acme\nauth:\n  issuers: [sso]\n  api_keys:\n    - {{ id: main, sha256: {} }}\n    \
         - {{ id: old, sha256: {}, expires: 2020-01-01T00:00:00Z }}\noperations: [jobs]\n\
         hidden_fields: [Job.progress]\nrate_limit: {{ queries: {{ rate: 1/s, burst: 10 }}, max_cost: 12 }}\n",
        "0".repeat(64),
        "1".repeat(64)
    );
    let globex = format!(
        "tenant: globex\nauth: {{ api_keys: [{{ id: main, sha256: {} }}] }}\n",
        "2".repeat(64)
    );
    Files::new(&gateway, &[("acme.yaml", &acme), ("globex.yaml", &globex)])
}

#[test]
fn what_a_command_cannot_find_is_named_with_what_there_is() {
    let files = files();
    for (name, claims) in [
        ("other.json", "{\"iss\": \"https://other.test\", \"team\": \"acme\"}"),
        ("bare.json", "{\"team\": \"acme\"}"),
        ("teamless.json", "{\"iss\": \"https://sso.test\"}"),
        ("stranger.json", "{\"iss\": \"https://sso.test\", \"team\": \"initech\"}"),
        ("globex.json", "{\"iss\": \"https://sso.test\", \"team\": \"globex\"}"),
        ("none.json", "[]"),
    ] {
        fs::write(files.0.path().join(name), claims).unwrap();
    }
    for (arguments, told) in [
        (&["--tenant", "zz"][..], "error: there is no tenant `zz`: acme, globex\n"),
        (&["--tenant", "acme", "--key-id", "x"], "tenant `acme` has no key `x`: main, old\n"),
        (&["--tenant", "acme", "--key-id", "old"], "has expired since 2020-01-01T00:00:00Z\n"),
        (&["--tenant", "acme", "--query", "no.graphql"], "cannot read no.graphql: No such file"),
        (&["--tenant", "acme", "--claims", "no.json"], "cannot read no.json: No such file"),
        (&["--tenant", "acme", "--claims", "none.json"], "none.json holds no claims: "),
        (
            &["--tenant", "acme", "--claims", "other.json"],
            "no issuer of gateway.yaml has `iss` https://other.test: https://sso.test\n",
        ),
        (&["--tenant", "acme", "--claims", "bare.json"], "the claims have no text `iss`\n"),
        (
            &["--tenant", "acme", "--claims", "teamless.json"],
            "no text `team`, in which issuer `sso` names the tenant\n",
        ),
        (
            &["--tenant", "acme", "--claims", "stranger.json"],
            "`team` names initech, and there is no such tenant\n",
        ),
        (
            &["--tenant", "globex", "--claims", "globex.json"],
            "tenant `globex` does not list issuer `sso` in `auth.issuers`\n",
        ),
        (&["--tenant", "acme", "--config", "no.yaml"], "error: cannot read no.yaml"),
    ] {
        let (status, _, says) = run(&files, &[&["explain"], arguments].concat());
        assert!(status == 1 && says.contains(told), "{arguments:?}: {says}");
        assert!(!says.contains("error: error:") && !says.ends_with("\n\n"), "{says}");
    }
    let (_, answer, _) = run(&files, &["explain", "--tenant", "acme"]);
    assert!(answer.contains("1 unit/s, 10 units at once"), "{answer}");
}

#[test]
fn files_that_cannot_be_written_are_told_by_check() {
    let files = files();
    let path = files.0.path().join("gateway.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let more = "audit: { sinks: [{ file: ./gateway.yaml/audit.jsonl }] }
idempotency: { file: ./policies }\n";
    fs::write(&path, format!("{text}{more}")).unwrap();
    let (_, told, _) = run(&files, &["check"]);
    assert!(
        told.contains("`audit.sinks`: ") && told.contains("gateway.yaml is no folder"),
        "{told}"
    );
    assert!(told.contains("`idempotency.file`: ") && told.contains("it is a folder"), "{told}");
    assert!(!files.0.path().join("audit").exists());
    // Nobody, root neither, makes a file there, though rights allow it.
    let secrets = "{ shared: { secrets: ['${file:./secret.txt}'] } }";
    fs::write(files.0.path().join("secret.txt"), WEBHOOK_SECRET).unwrap();
    let more = format!(
        "audit: {{ sinks: [{{ file: /proc/none/audit.jsonl }}] }}\n\
         idempotency: {{ file: /proc/none/i.redb }}\nwebhooks: {{ accounts: {secrets} }}\n"
    );
    fs::write(&path, format!("{text}{more}")).unwrap();
    let (_, told, _) = run(&files, &["check"]);
    for file in ["audit.jsonl", "i.redb", "index.redb", "webhooks.redb"] {
        assert!(
            told.contains(&format!(": /proc/none/{file} cannot be written here: /proc: ")),
            "{told}"
        );
    }
    let more = "idempotency: { file: ./i.redb }\nindex: { file: ./i.redb }\n";
    fs::write(&path, format!("{text}{more}")).unwrap();
    let (_, told, _) = run(&files, &["check"]);
    assert!(told.contains("i.redb is the file of `idempotency.file`, too"), "{told}");
    fs::write(&path, format!("{text}index: {{ file: ./gateway.yaml }}\n")).unwrap();
    let (_, told, _) = run(&files, &["check"]);
    assert!(told.contains("gateway.yaml holds something else"), "{told}");
}

#[test]
fn a_file_of_events_that_cannot_be_opened_is_named() {
    let files = files();
    let path = files.0.path().join("gateway.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let secrets = "{ shared: { secrets: ['${file:./secret.txt}'] } }";
    fs::write(files.0.path().join("secret.txt"), WEBHOOK_SECRET).unwrap();
    let more = format!("idempotency: {{ file: ./i.redb }}\nwebhooks: {{ accounts: {secrets} }}\n");
    fs::write(&path, format!("{text}{more}")).unwrap();
    fs::create_dir(files.0.path().join("webhooks.redb")).unwrap();
    let (status, _, says) = run(&files, &["serve"]);
    let told = "webhooks.redb, beside `idempotency.file`, cannot be opened: ";
    assert!(status == 1 && says.contains(told), "{says}");
}

#[test]
fn a_query_that_no_full_bucket_admits_is_told_beforehand() {
    let files = files();
    let reads = |count: usize| {
        let all = (0..count).map(|n| format!("a{n}: getJob(jobId: \"x\") {{ id }} "));
        format!("{{ {} }}", all.collect::<String>())
    };
    for (count, told) in [(10, None), (11, Some("is never admitted, OPERATION_TOO_COMPLEX: "))] {
        fs::write(files.0.path().join("q.graphql"), reads(count)).unwrap();
        let (status, text, _) =
            run(&files, &["explain", "--tenant", "acme", "--query", "q.graphql"]);
        assert!(status == 0 && text.contains(&format!("costs {count} units in all")), "{text}");
        assert_eq!(text.contains("never admitted"), told.is_some(), "{text}");
        assert!(told.is_none_or(|told| text.contains(told)), "{text}");
    }
    let follow = "subscription { jobUpdated(jobId: \"x\") { id } }";
    fs::write(files.0.path().join("q.graphql"), follow).unwrap();
    let (_, text, _) = run(&files, &["explain", "--tenant", "acme", "--query", "q.graphql"]);
    assert!(text.contains("costs 5 units in all"), "{text}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let files = files();
    for arguments in [&["completions", "bash"][..], &["tenants"], &["check"], &["schema"]] {
        let mut child = command(&files, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let says = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success() && says.is_empty(), "{arguments:?}: {says}");
    }
}

#[test]
fn the_configuration_may_be_named_by_the_environment() {
    let files = files();
    let path = files.0.path().join("elsewhere.yaml");
    fs::rename(files.0.path().join("gateway.yaml"), &path).unwrap();
    let listed = command(&files, &["tenants"]).env("JOBS_GATEWAY_CONFIG", &path).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.status.success() && text.contains("globex"), "{text}");
}

/// Writes expectations and runs them.
fn test(files: &Files, expectations: &str, format: &str) -> (i32, String, String) {
    let folder = files.0.path().join("tests");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("one.yaml"), format!("tests:\n{expectations}")).unwrap();
    run(files, &["policy", "test", "--format", format, "tests"])
}

#[test]
fn expectations_cover_fields_limits_costs_and_claims() {
    let files = files();
    let caller = "caller: { tenant: acme, key: main }";
    let met = format!(
        "  - {{ name: a field, {caller}, query: '{{ getJob(jobId: \"x\") {{ id }} }}', expect: allow, cost: 1 }}\n\
         \x20 - {{ name: hidden, {caller}, query: '{{ getJob(jobId: \"x\") {{ progress {{ state }} }} }}', \
         expect: deny, code: GRAPHQL_VALIDATION_FAILED }}\n\
         \x20 - {{ name: two listings, {caller}, operation: listJobs, times: 2, expect: allow, cost: 5 }}\n\
         \x20 - {{ name: a third, {caller}, operation: listJobs, times: 3, expect: deny, code: RATE_LIMITED }}\n\
         \x20 - {{ name: too much, {caller}, query: 'mutation {{ a: createJob(takeId: \"t\") {{ id }} \
         b: createJob(takeId: \"t\") {{ id }} }}', expect: deny, code: OPERATION_TOO_COMPLEX }}\n\
         \x20 - {{ name: a variable, {caller}, query: 'query($id: ID!) {{ getJob(jobId: $id) {{ id }} }}', \
         variables: {{ id: x }}, expect: allow }}\n\
         \x20 - {{ name: a token, caller: {{ tenant: acme, claims: {{ iss: 'https://sso.test', team: acme }} }}, \
         operation: getJob, expect: allow }}\n\
         \x20 - {{ name: a token of before, caller: {{ tenant: acme, claims: {{ iss: 'https://sso.test', team: acme, \
         exp: 1577836800 }} }}, operation: getJob, expect: deny, code: UNAUTHENTICATED }}\n\
         \x20 - {{ name: over, caller: {{ tenant: acme, key: old }}, operation: getJob, expect: deny, \
         code: UNAUTHENTICATED }}\n\
         \x20 - {{ name: a subscription, {caller}, operation: jobUpdated, expect: allow, cost: 5 }}\n"
    );
    let (status, answer, says) = test(&files, &met, "text");
    assert!(status == 0 && answer.ends_with("10 passed, 0 failed\n"), "{answer}{says}");

    let unmet = format!(
        "  - {{ name: \"<cost>\", {caller}, operation: listJobs, expect: allow, cost: 1 }}\n\
         \x20 - {{ name: twice, {caller}, operation: listJobs, times: 3, expect: allow }}\n\
         \x20 - {{ name: code, {caller}, operation: getTake, expect: deny, code: RATE_LIMITED }}\n\
         \x20 - {{ name: nobody, caller: {{ tenant: acme, key: x }}, operation: getJob, expect: allow }}\n"
    );
    let (status, answer, _) = test(&files, &unmet, "text");
    assert_eq!(status, 1);
    for told in [
        "it costs 5",
        "it is denied, RATE_LIMITED: so many at once cost 15 units",
        "it is denied, FORBIDDEN: This credential may not call getTake.",
        "it is denied, UNAUTHENTICATED: tenant `acme` has no key `x`: main, old",
        "0 passed, 4 failed",
    ] {
        assert!(answer.contains(told), "{answer}");
    }
    let (status, xml, _) = test(&files, &unmet, "junit");
    assert!(status == 1 && xml.contains("tests=\"4\" failures=\"4\""), "{xml}");
    assert!(xml.contains("name=\"&lt;cost&gt;\""), "{xml}");
}

#[test]
fn expectations_that_say_nothing_are_errors() {
    let files = files();
    let caller = "caller: { tenant: acme }";
    for (expectation, told) in [
        (format!("  - {{ name: a, {caller}, expect: allow }}\n"), "either `operation` or `query`"),
        (
            format!(
                "  - {{ name: a, {caller}, operation: getJob, query: '{{ a }}', expect: allow }}\n"
            ),
            "either `operation` or `query`",
        ),
        (
            format!("  - {{ name: a, {caller}, operation: getJob, expect: deny, code: NOPE }}\n"),
            "must be a code",
        ),
        (
            format!("  - {{ name: a, {caller}, operation: getNothing, expect: deny }}\n"),
            "must be an operation",
        ),
        (String::new(), "holds no expectation"),
    ] {
        let (status, _, says) = test(&files, &expectation, "text");
        assert!(status == 1 && says.contains(told), "{says}");
        assert!(
            told.starts_with("either") || !says.contains("either"),
            "it says no more than is so: {says}"
        );
    }
}

/// Runs `check --live` with an account of `globex`'s own and a configuration's other lines.
async fn check_live(sandbox: &Sandbox, own_key: &'static str, more: &str) -> (i32, String) {
    let gateway = format!(
        "upstream: {{ url: '{}', api_key: '${{MOVE_API_KEY}}' }}\npolicies: policies\n{more}",
        sandbox.url()
    );
    let acme = "tenant: acme\nauth: { issuers: [sso] }\noperations: [jobs]\n";
    let globex =
        "tenant: globex\nauth: { issuers: [sso] }\nupstream: { api_key: '${GLOBEX_KEY}' }\n";
    let files = Files::new(&gateway, &[("acme.yaml", acme), ("globex.yaml", globex)]);
    let run = move || {
        command(&files, &["check", "--live"])
            .env("MOVE_API_KEY", "sandbox-move-key")
            .env("GLOBEX_KEY", own_key)
            .env("CURSOR_KEY", "07".repeat(32))
            .output()
            .unwrap()
    };
    let ran = tokio::task::spawn_blocking(run).await.unwrap();
    (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap())
}

/// The lines of gateway.yaml for everybody who is asked.
fn everybody(jwks: &str, redis: &str, collector: &str, sink: &str) -> String {
    format!(
        "issuers: [{{ name: sso, issuer: 'https://sso.test', audiences: [a], jwks: '{jwks}', \
         tenant_claim: team }}]\ncursor_key: '${{CURSOR_KEY}}'\nshared_state: {{ redis: '{redis}' }}\n\
         telemetry: {{ otlp: {{ endpoint: '{collector}' }} }}\n\
         audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}, {{ otlp: '{sink}/v1/logs?token=s3cret' }}] }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_everybody_and_tells_each_answer_in_a_line() {
    let api_keys = vec!["sandbox-move-key".to_owned(), "key-of-globex".to_owned()];
    let sandbox = SandboxOptions { api_keys, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(sandbox).await.unwrap();
    let issuer = Issuer::start(&[&Key::new("ec", Algorithm::ES256)]).await;
    let (redis, collector) = (Redis::start(), Collector::default());
    let (grpc, http) = (collector.serve_grpc(), collector.serve_http().await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/v1/logs", axum::routing::post(async || "{}"));
    tokio::spawn(axum::serve(listener, router).into_future());
    let more = everybody(&issuer.url, &redis.url(), &format!("http://{grpc}"), &sink);
    let (status, text) = check_live(&sandbox, "key-of-globex", &more).await;
    let more = more.replace(&format!("http://{grpc}'"), &format!("http://{http}', protocol: http"));
    let over_http = check_live(&sandbox, "key-of-globex", &more).await;
    assert!(over_http.0 == 0 && over_http.1.contains("ok: collector"), "{}", over_http.1);
    for told in [
        "ok: Move, account shared (http://127.0.0.1:",
        "ok: Move, account tenant:globex (http://127.0.0.1:",
        "ok: Redis: takes writes\n",
        "ok: issuer sso (http://127.0.0.1:",
        "1 usable key\n",
        "ok: collector (http://127.0.0.1:",
        "ok: audit sink (http://127.0.0.1:",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_eq!(status, 0, "{text}");
    assert_eq!(sandbox.count("createSingleCamJob"), 0, "it changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_the_cause_of_each_that_gives_no_good_answer_and_no_secret() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    // Nobody listens there.
    let more = everybody(
        "http://127.0.0.1:9/keys?token=s3cret",
        "redis://:s3cret@127.0.0.1:9",
        "http://127.0.0.1:9",
        "http://127.0.0.1:9",
    );
    let (status, text) = check_live(&sandbox, "s3cret", &more).await;
    assert_eq!(status, 1);
    for told in [
        "ok: Move, account shared",
        "error: Move, account tenant:globex (http://127.0.0.1:",
        "Move refused the account's API key (HTTP 401)",
        "error: Redis: ",
        "error: issuer sso (http://127.0.0.1:9): no answer: ",
        "error: collector (http://127.0.0.1:9): ",
        "error: audit sink (http://127.0.0.1:9): ",
        "5 errors",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_eq!(text.matches("refused").count(), 5, "each says why: {text}");
    assert!(!text.contains("s3cret"), "{text}");
}
