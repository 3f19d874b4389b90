//! Shared things upstream are judged by what shares them: a Move account's breaker, its retries, and
//! what callers read of it.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use jobs_gateway::model::KeyHash;
use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::process::{Process, prepare};
use crate::support::{ALL, Reply, Setup, World, key, send};

const LIST: &str = "{ listJobs(first: 1) { items { id } } }";

async fn world(upstream: &str) -> World {
    let config = format!(
        "upstream: {{ url: '${{MOVE_API_URL}}', api_key: '${{MOVE_API_KEY}}', {upstream} }}\n"
    );
    Setup::new().config(config).start().await
}

async fn readyz(world: &World) -> String {
    send(world.http.get(format!("http://{}/readyz", world.admin))).await.text
}

/// Asks with the caller's own time.
async fn ask_within(world: &World, tenant: &str, query: &str, time: &str) -> Reply {
    let request = world.http.post(world.url()).header("authorization", key(tenant));
    send(request.header("x-request-timeout", time).json(&json!({"query": query}))).await
}

#[tokio::test]
async fn calls_that_their_own_caller_gave_up_on_open_no_breaker() {
    let world = world("retries: { max: 0 }").await;
    world.sandbox.set_latency(Duration::from_millis(250));
    let impatient = join_all((0..22).map(|_| ask_within(&world, "acme", LIST, "50ms"))).await;
    assert!(impatient.iter().all(|reply| reply.code() == "UPSTREAM_TIMEOUT"), "{impatient:?}");
    world.create("globex", "{}").await;
    world.create("acme", "{}").await;
    assert_eq!(readyz(&world).await, "ready\ncircuit breaker shared: closed\n");
}

#[tokio::test]
async fn a_move_that_lets_all_its_time_pass_opens_the_breaker() {
    let world = world("retries: { max: 0 }, timeout: 50ms, circuit_breaker: { failures: 4 }").await;
    world.sandbox.fail_always(Some("getJob"), Some(Fault::Stall));
    let jobs = [("acme", "job-1"), ("globex", "job-2"), ("acme", "job-3"), ("globex", "job-4")];
    join_all(jobs.map(|(tenant, job)| world.get(tenant, job, "id"))).await;
    assert_eq!(readyz(&world).await, "ready\ncircuit breaker shared: open\n");
    let gauge = "jobs_gateway_circuit_breaker_state{account=\"shared\"}";
    assert_eq!(world.metric(gauge).await, Some(2.0));
    let refused = world.ask("initech", LIST, json!({})).await;
    assert_eq!(refused.code(), "UPSTREAM_UNAVAILABLE");
    assert_eq!(refused.headers["retry-after"], "5");
}

#[tokio::test]
async fn failures_that_one_tenant_provokes_leave_the_account_to_the_others() {
    let world = world("retries: { max: 0 }").await;
    let id = world.create("globex", "{}").await;
    world.sandbox.fail_always(Some("listJobs"), Some(Fault::html(500)));
    for _ in 0..20 {
        assert_eq!(world.ask("acme", LIST, json!({})).await.code(), "UPSTREAM_ERROR");
    }
    assert_eq!(world.ask("acme", LIST, json!({})).await.code(), "UPSTREAM_UNAVAILABLE");
    assert_eq!(world.get("globex", &id, "id").await.data("/getJob/id"), id);
    world.create("initech", "{}").await;
    let expected =
        "ready\ncircuit breaker shared: closed\ncircuit breaker shared, tenant acme: open\n";
    assert_eq!(readyz(&world).await, expected);
    let gauge = "jobs_gateway_circuit_breaker_state{account=\"shared\",tenant=\"acme\"}";
    assert_eq!(world.metric(gauge).await, Some(2.0));
}

#[tokio::test]
async fn a_tenant_whose_calls_fail_leaves_the_others_their_retries() {
    let world = world("circuit_breaker: { failures: 1000000 }").await;
    world.sandbox.fail_always(Some("getJob"), Some(Fault::empty(503)));
    for n in 0..20 {
        world.get("acme", &format!("job-{n}"), "id").await;
    }
    world.sandbox.clear_faults();
    let id = world.create("globex", "{}").await;
    world.sandbox.fail_next(Some("getJob"), Fault::empty(503));
    assert_eq!(world.get("globex", &id, "id").await.data("/getJob/id"), id);
}

#[tokio::test]
async fn a_tenant_called_shared_is_not_taken_for_the_shared_account() {
    let own = format!("{ALL}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n");
    let setup = Setup::new().two_accounts().tenant("acme", ALL).tenant("shared", own);
    let world = setup.start().await;
    for tenant in ["acme", "shared"] {
        world.create(tenant, "{}").await;
    }
    let expected = "ready\ncircuit breaker shared: closed\ncircuit breaker tenant:shared: closed\n";
    assert_eq!(readyz(&world).await, expected);
    for account in ["shared", "tenant:shared"] {
        let gauge = format!("jobs_gateway_circuit_breaker_state{{account=\"{account}\"}}");
        assert_eq!(world.metric(&gauge).await, Some(0.0));
    }
}

#[tokio::test]
async fn retry_after_is_heeded_as_a_date_and_as_any_number_and_passed_on() {
    let world = world("timeout: 5s").await;
    let in_half_an_hour = SystemTime::now() + Duration::from_mins(30);
    let date = httpdate::fmt_http_date(in_half_an_hour);
    let expected = [
        (date.as_str(), 1_795..=1_801),
        ("1800", 1_800..=1_800),
        ("18446744073709551615", 3_600..=3_600),
    ];
    for (value, seconds) in expected {
        world.sandbox.clear_calls();
        world.sandbox.fail_next(Some("listJobs"), Fault::throttled(value));
        let reply = world.ask("acme", LIST, json!({})).await;
        assert_eq!(reply.code(), "UPSTREAM_UNAVAILABLE", "{value}");
        assert_eq!(world.sandbox.count("listJobs"), 1, "not asked again within the time: {value}");
        let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(seconds.contains(&wait), "{value}: {wait}");
    }
    world.sandbox.clear_calls();
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    world.sandbox.fail_next(Some("listJobs"), Fault::throttled(past));
    world.ask("acme", LIST, json!({})).await.data("/listJobs/items");
    assert_eq!(world.sandbox.count("listJobs"), 2);
}

#[tokio::test]
async fn json_is_json_however_its_media_type_is_spelt() {
    let world = world("retries: { max: 0 }").await;
    let id = world.create("acme", "{}").await;
    let answer = |content_type| {
        let body = json!({"data": {"getJob": {"id": id, "state": "RUNNING", "client": {"id": "c"},
            "metadata": "{\"acme\":{},\"_gateway\":{\"v\":1,\"owner\":\"acme\",\"by\":\"main\"}}"}}});
        Fault::Respond { status: 200, content_type, retry_after: None, body: body.to_string() }
    };
    for media_type in ["Application/JSON", "application/JSON; Charset=\"utf-8\""] {
        world.sandbox.fail_next(Some("getJob"), answer(media_type));
        let reply = world.get("acme", &id, "id state").await;
        assert_eq!(reply.data("/getJob/state"), "RUNNING", "{media_type}");
    }
    world.sandbox.fail_next(Some("getJob"), answer("text/html; note=json"));
    assert_eq!(world.get("acme", &id, "id state").await.code(), "UPSTREAM_ERROR");
}

/// The lines of a gateway's log that say this.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.to_string().contains(message)).collect()
}

/// The URL of a server whose certificate nobody has signed.
async fn untrusted() -> String {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    format!("https://localhost:{port}/graphql")
}

#[tokio::test]
async fn the_log_tells_apart_why_move_is_not_reached_and_for_whom_and_repeats_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let elsewhere = "issuers: [{ name: sso, issuer: 'https://sso.example.test/', audiences: [a], \
                     algorithms: [RS256], jwks: 'http://127.0.0.1:9/keys?key=SECRET', tenant_claim: team }]\n\
                     audit: { sinks: [{ file: ./audit/audit.jsonl }, \
                     { otlp: 'http://127.0.0.1:9/v1/logs?token=SECRET' }] }\n";
    let addresses = prepare(folder.path(), &sandbox, elsewhere);
    let untrusted = untrusted().await;
    let causes = [
        ("refused", "http://127.0.0.1:9/graphql?token=SECRET", "refused"),
        ("nameless", "http://move.invalid/graphql?token=SECRET", "dns error"),
        ("untrusted", &untrusted, "certificate"),
    ];
    for (tenant, url, _) in &causes {
        let hash = KeyHash::of(key(tenant).as_bytes());
        let policy = format!(
            "tenant: {tenant}\noperations: [\"*\"]\ntakes: {{ unclaimed: use }}\nupstream: {{ url: '{url}', api_key: '${{{tenant}}}' }}\n\
             auth: {{ api_keys: [{{ id: main, sha256: {hash} }}] }}\n"
        );
        std::fs::write(folder.path().join(format!("policies/{tenant}.yaml")), policy).unwrap();
    }
    let path = folder.path().join("log.jsonl");
    let log = std::fs::File::create(&path).unwrap();
    let keys = [("refused", "SECRET-1"), ("nameless", "SECRET-2"), ("untrusted", "SECRET-3")];
    let process = Process::start_with(folder.path(), addresses, &keys, Stdio::from(log)).await;
    let http = reqwest::Client::new();
    let mut ids = Vec::new();
    for (tenant, ..) in &causes {
        let request = http.post(process.url()).header("authorization", key(tenant));
        let reply = send(request.json(&json!({"query": LIST}))).await;
        assert_eq!(reply.code(), "UPSTREAM_UNAVAILABLE", "{tenant}");
        ids.push(reply.headers["x-request-id"].to_str().unwrap().to_owned());
    }
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    let told = || std::fs::read_to_string(&path).unwrap();
    while !told().contains("an audit sink") || !told().contains("the issuer's keys") {
        assert!(std::time::Instant::now() < give_up, "{}", told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(process);
    let log = told();
    assert!(!log.contains("SECRET"), "{log}");
    let failed = lines(&log, "a call to Move failed");
    for ((tenant, url, cause), id) in causes.iter().zip(ids) {
        let own = failed.iter().find(|line| line.to_string().contains(&id)).unwrap().to_string();
        let host = url.split('/').nth(2).unwrap().split(':').next().unwrap();
        let account = format!("\"tenant:{tenant}\"");
        for part in [*cause, host, &account, "\"listJobs\"", "\"unreachable\""] {
            assert!(own.contains(part), "no {part} in {own}");
        }
    }
    for message in [
        "cannot learn what Move's API has",
        "the issuer's keys cannot be fetched",
        "an audit sink does not take records",
    ] {
        let told = lines(&log, message);
        assert!(told.iter().any(|line| line.to_string().contains("refused")), "{message}: {log}");
    }
}

#[tokio::test]
async fn the_log_tells_when_and_why_a_breaker_opens_and_when_it_closes() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let addresses = prepare(folder.path(), &sandbox, "");
    let config = folder.path().join("gateway.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("level: warn", "level: info").replace(
        "api_key: '${MOVE_API_KEY}' }",
        "api_key: '${MOVE_API_KEY}', retries: { max: 0 }, circuit_breaker: { failures: 3, open_for: 1ms } }",
    );
    std::fs::write(config, text).unwrap();
    let path = folder.path().join("log.jsonl");
    let log = std::fs::File::create(&path).unwrap();
    let process = Process::start_with(folder.path(), addresses, &[], Stdio::from(log)).await;
    let http = reqwest::Client::new();
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    let ask = |query: &str| {
        let request = http.post(process.url()).header("authorization", key("acme"));
        send(request.json(&json!({"query": query})))
    };
    sandbox.fail_always(Some("listJobs"), Some(Fault::html(502)));
    for _ in 0..3 {
        ask(LIST).await;
    }
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    while ask(&create).await.json().get("errors").is_some() {
        assert!(std::time::Instant::now() < give_up, "it does not close");
    }
    // The log's thread may be some milliseconds behind.
    let log = loop {
        let log = std::fs::read_to_string(&path).unwrap();
        if log.contains("the circuit breaker closes") && log.ends_with('\n') {
            break log;
        }
        assert!(std::time::Instant::now() < give_up, "{log}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    drop(process);
    let opened = lines(&log, "the circuit breaker opens");
    assert_eq!(opened.len(), 1, "{log}");
    for part in ["\"shared\"", "\"acme\"", "HTTP 502"] {
        assert!(opened[0].to_string().contains(part), "{}", opened[0]);
    }
    assert_eq!(lines(&log, "the circuit breaker closes").len(), 1, "{log}");
}
