//! The findings of `check`: it passes nothing that `serve` would stumble over, and nothing that lends a tenant
//! what is another's.

use std::fs;
use std::process::Command;

use jobs_gateway::config::secrets::HeaderSecret;
use jobs_gateway::model::TenantId;
use jobs_gateway::policy::Changes;
use jobs_gateway::settings::Scalar as _;

use crate::configuration::{Files, GATEWAY, load};

/// The policy of a tenant and the rest of it.
fn policy(tenant: &str, rest: &str) -> String {
    let digit = tenant.bytes().map(u32::from).sum::<u32>() % 10;
    format!(
        "tenant: {tenant}\nauth: {{ api_keys: [{{ id: main, sha256: {} }}] }}\n{rest}",
        digit.to_string().repeat(64)
    )
}

/// The findings of one tenant's policy.
fn findings_of(rest: &str) -> String {
    Files::new(GATEWAY, &[("acme.yaml", &policy("acme", rest))]).findings()
}

#[test]
fn a_url_holds_no_password_and_a_key_goes_nowhere_in_clear_text_without_a_warning() {
    let key = "api_key: '${MOVE_API_KEY}'";
    for urls in ["proxy: 'http://me:pw@proxy.test'", "url: 'https://me:pw@move.test/graphql'"] {
        let files =
            Files::new(&format!("policies: policies\nupstream: {{ {key}, {urls} }}\n"), &[]);
        let findings = files.findings();
        assert!(findings.contains("without a name and a password"), "{findings}");
        assert!(!findings.contains("me:pw"), "{findings}");
    }
    // Nor is a secret shown that stands where it cannot be read.
    for slip in [
        "shared_state: { redis: 'redis://:in-plain/sight@127.0.0.1' }",
        "shared_state: { redis: 'redis//:in-plain-sight@127.0.0.1' }",
        "telemetry: { otlp: { endpoint: 'htp://h.test/?token=in-plain-sight' } }",
        "cursor_kye: in-plain-sight",
        "cursor_key: '${NOPE:in-plain-sight}'",
    ] {
        let findings = Files::new(&format!("{GATEWAY}{slip}\n"), &[]).findings();
        assert!(findings.contains("error: ") && !findings.contains("in-plain"), "{findings}");
    }
    for (url, is_plain) in [("http://move.test/", true), ("http://127.0.0.1:1/", false)] {
        let files =
            Files::new(&format!("policies: policies\nupstream: {{ {key}, url: '{url}' }}\n"), &[]);
        assert_eq!(files.findings().contains("is plain http"), is_plain, "{url}");
    }
}

#[test]
fn paths_of_secrets_are_relative_to_the_file_they_stand_in() {
    let gateway = "upstream: { api_key: '${file:secrets/move.key}' }\npolicies: ./policies\n";
    let own = policy("acme", "upstream: { api_key: '${file:../secrets/own.key}' }\n");
    let files = Files::new(gateway, &[("acme.yaml", &own)]);
    let secrets = files.0.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("move.key"), "shared-key\n").unwrap();
    fs::write(secrets.join("own.key"), "own-key\n").unwrap();
    let (config, policies, _) = load(&files.0.path().join("gateway.yaml")).unwrap();
    assert_eq!(config.upstream.api_key.expose(), "shared-key");
    let acme = policies.tenant(&TenantId::parse("acme").unwrap()).unwrap();
    assert_eq!(acme.account.api_key.expose(), "own-key");
}

#[test]
fn a_policy_shows_no_variable_of_the_process() {
    for rest in [
        "client: { metadata: { x: '${GLOBEX_MOVE_API_KEY}' } }\n",
        "client: { metadata: { x: ['a ${GLOBEX_MOVE_API_KEY}'] } }\n",
        "client: { portal: 'https://a.test/${GLOBEX_MOVE_API_KEY}' }\n",
        "metadata: { stamp: { x: '${file:/etc/hostname}' } }\n",
        "metadata: { namespace: '${GLOBEX_MOVE_API_KEY}' }\n",
        "description: '${GLOBEX_MOVE_API_KEY}'\n",
        "upstream: { url: 'https://a.test/${GLOBEX_MOVE_API_KEY}', api_key: '${GLOBEX_MOVE_API_KEY}' }\n",
    ] {
        let findings = findings_of(rest);
        assert!(findings.contains("is replaced in secrets alone"), "{rest}: {findings}");
        assert!(!findings.contains("another-move-key"), "{rest}: {findings}");
    }
}

#[test]
fn a_policy_cannot_send_the_gateways_own_secrets_somewhere() {
    let rest = "upstream: { url: 'https://a.test/', api_key: '${MOVE_API_KEY}' }\n";
    let findings = findings_of(rest);
    assert!(findings.contains("MOVE_API_KEY is the gateway's own"), "{findings}");
    let own = "upstream: { url: 'https://a.test/', api_key: '${GLOBEX_MOVE_API_KEY}' }\n";
    assert_eq!(findings_of(own), "");
}

#[test]
fn a_reload_tells_which_tenants_and_keys_came_and_went() {
    let snapshot = |policies: &[(&str, &str)]| {
        let files = Files::new(GATEWAY, policies);
        load(&files.0.path().join("gateway.yaml")).unwrap().1
    };
    let keys = |keys: &[(&str, char)]| {
        let keys: Vec<_> = keys
            .iter()
            .map(|(id, digit)| format!("{{ id: {id}, sha256: {} }}", digit.to_string().repeat(64)))
            .collect();
        format!("tenant: acme\nauth: {{ api_keys: [{}] }}\n", keys.join(", "))
    };
    let (globex, initech) = (policy("globex", ""), policy("initech", ""));
    let before = snapshot(&[
        ("acme.yaml", &keys(&[("old", 'a'), ("kept", 'b'), ("turned", 'c')])),
        ("globex.yaml", &globex),
    ]);
    let after = snapshot(&[
        ("acme.yaml", &keys(&[("kept", 'b'), ("turned", 'd'), ("new", 'e')])),
        ("initech.yaml", &initech),
    ]);
    let changes = Changes::between(&before, &after);
    assert_eq!(changes.tenants_added.to_string(), "initech");
    assert_eq!(changes.tenants_removed.to_string(), "globex");
    assert_eq!(changes.keys_added.to_string(), "acme/new, acme/turned, initech/main");
    assert_eq!(changes.keys_removed.to_string(), "acme/old, acme/turned, globex/main");
    assert_eq!(Changes::between(&before, &before), Changes::default());
}

#[test]
fn an_account_of_its_own_is_no_other_tenants_and_not_the_shared_one() {
    let own = |variable: &str| format!("upstream: {{ api_key: '${{{variable}}}' }}\n");
    let shared = findings_of(&own("SAME_MOVE_API_KEY"));
    assert!(shared.contains("that of the account that tenants share"), "{shared}");
    assert!(
        shared.contains("policies/acme.yaml:3:11") && !shared.contains("a-move-key"),
        "{shared}"
    );
    let rest = own("GLOBEX_MOVE_API_KEY");
    let policies = [policy("acme", &rest), policy("globex", &rest)];
    let files = Files::new(GATEWAY, &[("acme.yaml", &policies[0]), ("globex.yaml", &policies[1])]);
    let findings = files.findings();
    assert!(findings.contains("also that of tenant `acme`"), "{findings}");
    assert_eq!(findings_of(&rest), "");
}

#[test]
fn limits_that_no_process_can_hold_are_errors() {
    for rest in [
        "rate_limit: { per_credential: { queries: { rate: 1/h, burst: 10000000 } } }\n",
        "rate_limit: { queries: { rate: 1/h, burst: 4000000000 } }\n",
        "cache: { get_job: { finished: 99999999999d } }\n",
    ] {
        let findings = findings_of(rest);
        assert!(findings.contains("error: ") && findings.contains("at most"), "{findings}");
    }
    let most = "rate_limit: { per_credential: { queries: { rate: 1/h, burst: 1000000 } } }\n";
    assert_eq!(findings_of(most), "");
    let gateway = format!("{GATEWAY}idempotency: {{ keep: 99999999999d }}\n");
    let findings = Files::new(&gateway, &[("acme.yaml", &policy("acme", ""))]).findings();
    assert!(findings.contains("`idempotency.keep`: must be at most 3650d"), "{findings}");
}

#[test]
fn operations_that_cost_more_than_a_limit_ever_gives_are_warned_of() {
    for rest in
        ["rate_limit: { queries: { rate: 3/s, burst: 3 } }\n", "rate_limit: { max_cost: 3 }\n"]
    {
        let findings = findings_of(rest);
        assert!(findings.contains("warning: tenant `acme` may call listJobs"), "{findings}");
        assert!(!findings.contains("getJob"), "{findings}");
    }
    let never = "operations: [getJob]\nrate_limit: { queries: { rate: 3/s, burst: 3 } }\n";
    assert_eq!(findings_of(never), "");
}

/// The findings of a gateway.yaml beside one good policy.
fn findings_of_gateway(more: &str) -> String {
    let gateway = format!("{GATEWAY}{more}");
    Files::new(&gateway, &[("acme.yaml", &policy("acme", ""))]).findings()
}

#[test]
fn what_is_wrong_only_beside_another_key_is_found() {
    for (more, finding) in [
        (
            "server: { paths: [/graphql, /graphql] }\n",
            "error: `server.paths`: /graphql is listed twice",
        ),
        ("server: { paths: [] }\n", "error: `server.paths` must have one path at least"),
        (
            "server: { listen: '127.0.0.1:9090' }\n",
            "error: `admin.listen` and `server.listen` cannot",
        ),
        (
            "server: { listen: '0.0.0.0:4000' }\nadmin: { listen: '127.0.0.1:4000' }\n",
            "error: `admin.listen` and `server.listen` cannot",
        ),
        ("server: { request_timeout: 2s }\n", "warning: `server.request_timeout` is shorter"),
        ("server: { drain_delay: 1m }\n", "warning: `server.drain_delay` leaves nothing"),
    ] {
        let findings = findings_of_gateway(more);
        assert!(findings.contains(finding), "{more}: {findings}");
        assert!(findings.contains("gateway.yaml:"), "{more}: {findings}");
    }
    assert_eq!(
        findings_of_gateway(
            "server: { listen: '127.0.0.1:0' }\nadmin: { listen: '127.0.0.1:0' }\n"
        ),
        ""
    );
}

#[test]
fn two_issuers_that_take_the_same_tokens_are_an_error() {
    let issuer = |name: &str, audience: &str| {
        format!(
            "  - {{ name: {name}, issuer: 'https://sso.test', audiences: [{audience}], \
             jwks: 'https://sso.test/keys', tenant_claim: team }}\n"
        )
    };
    let both = |one: &str, other: &str| {
        findings_of_gateway(&format!("issuers:\n{}{}", issuer("a", one), issuer("b", other)))
    };
    assert!(both("gateway", "other, gateway").contains("`a` and `b` take the same tokens"));
    assert!(!both("gateway", "other").contains("same tokens"));
}

#[test]
fn findings_about_a_policy_point_at_the_line_that_is_wrong() {
    let hidden = findings_of("hidden_fields: [File.thumbnailUrl, File.thumbnail]\n");
    assert!(hidden.contains("policies/acme.yaml:3:36"), "{hidden}");
    let same = "metadata: { namespace: same }\n";
    let files = [policy("acme", same), policy("globex", same)];
    let findings =
        Files::new(GATEWAY, &[("acme.yaml", &files[0]), ("globex.yaml", &files[1])]).findings();
    assert!(findings.contains("policies/globex.yaml:3:24"), "{findings}");
}

#[test]
fn a_folder_that_says_nothing_or_too_much_is_told() {
    let empty = Files::new(GATEWAY, &[]).findings();
    assert!(empty.contains("policies holds no tenant: nobody can call"), "{empty}");
    let below = Files::new(GATEWAY, &[("acme.yaml", &policy("acme", ""))]);
    fs::create_dir_all(below.0.path().join("policies/teams")).unwrap();
    let own = policy("globex", "");
    fs::write(below.0.path().join("policies/teams/globex.yaml"), own).unwrap();
    let findings = below.findings();
    assert!(findings.contains("policies/teams/globex.yaml is passed over"), "{findings}");
    let defaults = "tenant: acme\nauth: { api_keys: [] }\n";
    let findings =
        Files::new(GATEWAY, &[("acme.yaml", &policy("acme", "")), ("defaults.yaml", defaults)])
            .findings();
    for key in ["`tenant` belongs", "`auth.api_keys` belongs"] {
        assert!(findings.contains(key), "{findings}");
    }
}

#[test]
fn what_wants_quotes_or_another_file_is_told() {
    let star = findings_of("operations: [*]\n");
    assert!(star.contains("a star needs quotes: \"*\""), "{star}");
    let reference = "upstream: { api_key: ${MOVE_API_KEY} }\npolicies: policies\n";
    let findings = Files::new(reference, &[]).findings();
    assert!(findings.contains("a reference needs quotes: '${NAME}'"), "{findings}");
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("gateway.yaml")).unwrap_err().to_string();
    assert!(missing.contains("`--config` names another file"), "{missing}");
}

#[test]
fn a_secret_that_ends_in_a_newline_says_so() {
    let newline = HeaderSecret::parse("key\n").unwrap_err();
    assert!(newline.contains("ends in a newline") && !newline.contains("key"), "{newline}");
}

#[test]
fn a_secret_that_is_none_is_told_by_its_key_and_where_it_was_read() {
    let gateway = "upstream: { api_key: '${file:secrets/move.key}' }\npolicies: ./policies\n\
                   cursor_key: '${file:secrets/missing}'\n\
                   webhooks: { accounts: { shared: { secrets: ['${file:secrets/hook}'] } } }\n";
    let files = Files::new(gateway, &[("acme.yaml", &policy("acme", ""))]);
    let secrets = files.0.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("move.key"), "the-text\nof-it").unwrap();
    fs::write(secrets.join("hook"), "the-text").unwrap();
    let findings = files.findings();
    for (key, file) in [
        ("upstream.api_key", "move.key"),
        ("cursor_key", "missing"),
        ("webhooks.accounts.shared.secrets", "hook"),
    ] {
        let (key, file) = (format!("`{key}`"), format!("secrets/{file}"));
        let is_told = |line: &str| line.contains(&key) && line.contains(&file);
        assert!(findings.lines().any(is_told), "{key}, {file}: {findings}");
    }
    assert!(!findings.contains("the-text"), "{findings}");
}

/// Returns what `check` says of a folder, and whether it passes it.
fn check(files: &Files) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .args(["check", "--config"])
        .arg(files.0.path().join("gateway.yaml"))
        .env("MOVE_API_KEY", "a-move-key")
        .env("CURSOR_KEY", "07".repeat(32))
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn check_builds_what_serve_builds() {
    // The URL has the form of one, and its database is no number: only the client finds that.
    let redis = "cursor_key: ${CURSOR_KEY}\nshared_state: { redis: 'redis://127.0.0.1:6379/x' }\n";
    let acme = policy("acme", "");
    let (ok, text) = check(&Files::new(&format!("{GATEWAY}{redis}"), &[("acme.yaml", &acme)]));
    assert!(!ok && text.contains("`shared_state.redis` is no address"), "{text}");
    let files = Files::new(GATEWAY, &[("acme.yaml", &acme)]);
    let before = fs::read_dir(files.0.path()).unwrap().count();
    let (ok, text) = check(&files);
    let (version, counts) = text.split_once('\n').unwrap();
    assert!(ok && counts == "1 tenant, 1 key, 0 errors, 0 warnings\n", "{text}");
    // As `jobs_gateway_policy_info` has it.
    let (_, policies, _) = load(&files.0.path().join("gateway.yaml")).unwrap();
    assert_eq!(version, format!("policy version {}", policies.version()));
    assert_eq!(fs::read_dir(files.0.path()).unwrap().count(), before, "it leaves nothing behind");
}

#[test]
fn an_expectation_about_one_tenant_is_not_met_by_a_token_of_another() {
    let gateway = format!(
        "{GATEWAY}issuers: [{{ name: sso, issuer: 'https://sso.test', audiences: [a], \
         jwks: 'https://sso.test/keys', tenant_claim: team }}]\n"
    );
    let rest = "operations: [getJob]\n";
    let with_issuer = |tenant| policy(tenant, rest).replace("api_keys", "issuers: [sso], api_keys");
    let (acme, globex) = (with_issuer("acme"), with_issuer("globex"));
    let files = Files::new(&gateway, &[("acme.yaml", &acme), ("globex.yaml", &globex)]);
    let folder = files.0.path().join("tests");
    fs::create_dir(&folder).unwrap();
    let run = |team: &str, expect: &str| {
        let test = format!(
            "tests:\n  - name: one\n    caller: {{ tenant: acme, claims: {{ iss: 'https://sso.test', \
             team: {team} }} }}\n    operation: getJob\n    expect: {expect}\n"
        );
        fs::write(folder.join("one.yaml"), test).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
            .args(["policy", "test", "--config"])
            .arg(files.0.path().join("gateway.yaml"))
            .arg(&folder)
            .env("MOVE_API_KEY", "a-move-key")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert!(run("acme", "allow").0);
    for expect in ["allow", "deny"] {
        let (ok, text) = run("globex", expect);
        assert!(!ok && text.contains("the token is one of tenant `globex`"), "{text}");
    }
}
