//! The edges of HTTP: what callers, clients and strangers send besides a well-formed request.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Reply, Setup, World, key, send};

const MISSING: &str = "{ getJob(jobId: \"job-none\") { id } }";

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// A gateway with one tenant of this policy and another without limits.
async fn world(policy: &str, config: &str) -> World {
    let free = "rate_limit: { queries: ~, mutations: ~, max_in_flight: 1000 }\n";
    let tenant = |limits: &str| format!("operations: [\"*\"]\n{limits}");
    Setup::new()
        .tenant("acme", tenant(policy))
        .tenant("globex", tenant(free))
        .config(config)
        .start()
        .await
}

/// The head of a POST of a tenant, with these lines besides.
pub fn head_of(tenant: &str, more: &str) -> String {
    format!(
        "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\
         Content-Type: application/json\r\n{more}\r\n",
        key(tenant)
    )
}

/// Opens a connection and sends bytes.
pub async fn sent(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Reads until the gateway closes.
pub async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn bodies_that_do_not_come_hold_their_own_tenants_places_and_no_others() {
    let limits = "rate_limit: { queries: ~, max_in_flight: 4 }\n";
    let world = world(limits, "server: { listen: 127.0.0.1:0, max_requests: 2 }\n").await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let unfinished = head_of("acme", "Content-Length: 100\r\n") + "{\"query\":";
        held.push(sent(world.address, &unfinished).await);
    }
    while world.ask("acme", MISSING, json!({})).await.status != 429 {}
    for _ in 0..3 {
        assert_eq!(world.ask("globex", MISSING, json!({})).await.code(), "NOT_FOUND");
    }
    // A body has a time of its own, shorter than the request's.
    world.pass(Duration::from_secs(5)).await;
    for stream in held {
        assert!(rest(stream).await.starts_with("HTTP/1.1 408 "));
    }
    assert_eq!(world.ask("acme", MISSING, json!({})).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn strangers_who_wait_for_an_issuer_hold_no_place() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "server: {{ listen: 127.0.0.1:0, max_requests: 1 }}\nissuers: [{{ name: sso, issuer: \
         https://sso.example.test/, audiences: [jobs], tenant_claim: team, jwks: 'http://{}/' }}]\n",
        silent.local_addr().unwrap()
    );
    let world = world("", &config).await;
    // {"alg":"ES256","kid":"made-up"} . {"iss":"https://sso.example.test/"} . no signature
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6Im1hZGUtdXAifQ.\
                 eyJpc3MiOiJodHRwczovL3Nzby5leGFtcGxlLnRlc3QvIn0.AAAA";
    let body = json!({"query": MISSING});
    let strangers = (0..4).map(|_| {
        let request = world.http.post(world.url()).bearer_auth(token).json(&body);
        tokio::spawn(request.send())
    });
    let strangers: Vec<_> = strangers.collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..3 {
        assert_eq!(world.ask("globex", MISSING, json!({})).await.code(), "NOT_FOUND");
    }
    for stranger in strangers {
        stranger.abort();
    }
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up_at_the_least_rate() {
    let world = World::start().await;
    let head = head_of("acme", "Connection: close\r\nContent-Length: 200000\r\n");
    let begun = format!("{head}{{\"query\":\"{}", "x".repeat(100_000));
    let mut stream = sent(world.address, &begun).await;
    let mut answer = [0];
    // What has come is worth six seconds more than the five that every body has.
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.pass(Duration::from_secs(6)).await;
    let early = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut answer)).await;
    assert!(early.is_err(), "{early:?}");
    world.pass(Duration::from_secs(6)).await;
    assert!(rest(stream).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn documents_that_are_refused_cost_a_unit_and_say_what_is_left() {
    for document in
        ["{ nope }", "{ nope", "{ __typename }", "{ ...F } fragment F on Query { ...F }"]
    {
        let limits = "rate_limit: { queries: { rate: 1/h, burst: 3 } }\n";
        let world = world(limits, "").await;
        for left in ["2", "1", "0"] {
            let reply = world.ask("acme", document, json!({})).await;
            let state = header(&reply, "ratelimit");
            assert!(
                state.starts_with(&format!("\"queries\";r={left};t=")),
                "{document}: {reply:?}"
            );
        }
        let refused = world.ask("acme", document, json!({})).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"));
    }
    let world = world("rate_limit: { queries: { rate: 1/h, burst: 2 } }\n", "").await;
    for (body, status) in [("7", 400), ("{}", 400), ("7", 429)] {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("content-type", "application/json").body(body);
        assert_eq!(send(request).await.status, status);
    }
}

#[tokio::test]
async fn a_message_about_a_document_is_short_however_long_its_lines_are() {
    let world = World::start().await;
    let long = "a".repeat(200_000);
    for document in [format!("{{ \"{long}"), format!("{{ {long} }}")] {
        let reply = world.ask("acme", &document, json!({})).await;
        assert!(reply.json().get("errors").is_some());
        assert!(reply.text.len() < 1_000, "{} bytes", reply.text.len());
    }
}

#[tokio::test]
async fn an_empty_operation_name_is_none() {
    let world = World::start().await;
    let url = format!("{}?query=%7B__typename%7D&operationName=", world.url());
    let reply = send(world.http.get(url).header("authorization", key("acme"))).await;
    assert_eq!(reply.data("/__typename"), "Query");
    let body = json!({"query": "{ __typename }", "operationName": ""});
    assert_eq!(world.post("acme", &body).await.data("/__typename"), "Query");
}

#[tokio::test]
async fn a_client_with_persisted_queries_is_told_to_send_the_text_and_then_served() {
    let world = World::start().await;
    let extensions = json!({"persistedQuery": {"version": 1, "sha256Hash": "ab".repeat(32)}});
    let posted = world.post("acme", &json!({"extensions": extensions})).await;
    let parameters = [("extensions", extensions.to_string())];
    let get = world.http.get(world.url()).query(&parameters).header("authorization", key("acme"));
    for reply in [posted, send(get).await] {
        assert_eq!(reply.status, 200);
        let error = &reply.json()["errors"][0];
        assert_eq!(error["message"], "PersistedQueryNotSupported");
        assert_eq!(error["extensions"]["code"], "PERSISTED_QUERY_NOT_SUPPORTED");
    }
    let body = json!({"query": "{ __typename }", "extensions": extensions});
    assert_eq!(world.post("acme", &body).await.data("/__typename"), "Query");
}

#[tokio::test]
async fn a_refused_body_names_nothing_of_the_program() {
    let world = World::start().await;
    for body in [json!(7), json!("x"), json!({}), json!(null), json!({"query": 1})] {
        let reply = world.post("acme", &body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert!(!reply.text.contains("struct") && !reply.text.contains("Request`"), "{reply:?}");
    }
    // An array of the members in their order is no request either.
    assert_eq!(world.post("acme", &json!(["{ __typename }"])).await.status, 400);
}

#[tokio::test]
async fn a_body_in_gzip_is_read_within_the_bound_and_another_coding_is_refused() {
    let world = World::start().await;
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let post = |coding: &str, body: Vec<u8>| {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("content-type", "application/json");
        send(request.header("content-encoding", coding).body(body))
    };
    let query = json!({"query": "{ __typename }"}).to_string();
    assert_eq!(post("gzip", gzip(&query)).await.data("/__typename"), "Query");
    let bomb = json!({"query": " ".repeat(1 << 20)}).to_string();
    assert_eq!(post("gzip", gzip(&bomb)).await.status, 413);
    assert_eq!(post("gzip", query.clone().into()).await.status, 400);
    for coding in ["br", "gzip, gzip", "zstd"] {
        let refused = post(coding, query.clone().into()).await;
        assert_eq!((refused.status, header(&refused, "accept-encoding")), (415, "gzip, identity"));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_gets_its_answer_though_it_is_sent_to_its_end_first() {
    let world = World::start().await;
    let body = "x".repeat(8 << 20);
    let length = format!("Connection: close\r\nContent-Length: {}\r\n", body.len());
    let chunk = "Connection: close\r\nTransfer-Encoding: chunked\r\n";
    for (head, status) in [
        (head_of("acme", &length), "413"),
        (head_of("acme", chunk), "413"),
        (head_of("nobody", chunk), "401"),
    ] {
        let body = if head.contains("chunked") {
            format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        } else {
            body.clone()
        };
        let stream = sent(world.address, &format!("{head}{body}")).await;
        let answer = rest(stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_head_request_is_a_get_without_the_body() {
    let world = World::start().await;
    let url = format!("{}?query=%7B__typename%7D", world.url());
    let ask = |method| send(world.http.request(method, &url).header("authorization", key("acme")));
    let (head, get) = (ask(Method::HEAD).await, ask(Method::GET).await);
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    for name in ["content-type", "etag", "content-length"] {
        assert_eq!(header(&head, name), header(&get, name), "{name}");
    }
}

#[tokio::test]
async fn a_header_of_one_value_is_given_once() {
    let world = World::start().await;
    for (name, values) in [
        ("content-type", ["application/json", "text/plain"]),
        ("idempotency-key", ["a", "b"]),
        ("x-request-timeout", ["1s", "2s"]),
    ] {
        let mut request = world.http.post(world.url()).header("authorization", key("acme"));
        for value in values {
            request = request.header(name, value);
        }
        let reply = send(request.body("{\"query\":\"{__typename}\"}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "BAD_USER_INPUT"), "{name}");
        assert!(reply.text.contains(name), "{reply:?}");
    }
    let _: Value = world.ask("acme", "{ __typename }", json!({})).await.data("/__typename");
}

#[tokio::test]
async fn a_coding_that_nobody_has_is_no_reason_to_refuse_what_was_done() {
    let world = World::start().await;
    let take = jobs_gateway::sandbox::SINGLECAM_TAKE;
    let query = format!("mutation {{ createSingleCamJob(takeId: \"{take}\") {{ id }} }}");
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    let request = request.header("accept-encoding", "br, *;q=0").json(&json!({"query": query}));
    let reply = send(request).await;
    assert_eq!((reply.status, header(&reply, "content-encoding")), (200, ""));
    assert!(reply.data("/createSingleCamJob/id").is_string());
    assert_eq!(world.sandbox.count("createSingleCamJob"), 1);
}

#[tokio::test]
async fn an_answer_as_it_is_and_in_gzip_share_no_strong_validator() {
    let world = world("cache: {}\n", "").await;
    let query = [("query", "{ __schema { types { name fields { name } } } }")];
    let ask = |coding: &'static str| {
        let request =
            world.http.get(world.url()).query(&query).header("authorization", key("acme"));
        send(request.header("accept-encoding", coding))
    };
    let (plain, gzip) = (ask("identity").await, ask("gzip").await);
    assert_eq!(header(&gzip, "content-encoding"), "gzip");
    for reply in [plain, gzip] {
        assert!(header(&reply, "etag").starts_with("W/\""), "{:?}", reply.headers);
    }
}

#[tokio::test]
async fn pages_may_send_what_known_clients_send_and_read_what_answers_say() {
    let config = "server: { listen: 127.0.0.1:0, cors: { origins: ['https://app.example.test'], \
                  headers: [x-app-version] } }\n\
                  upstream: { url: '${MOVE_API_URL}', api_key: '${MOVE_API_KEY}', \
                  forward_headers: [x-correlation-id] }\n";
    let world = world("", config).await;
    let from_page = |method: Method| {
        world.http.request(method, world.url()).header("origin", "https://app.example.test")
    };
    for sent in [
        "apollographql-client-name,apollographql-client-version,x-apollo-operation-name",
        "apollo-require-preflight,traceparent,tracestate,cache-control,if-none-match,accept",
        "x-request-id,prefer,idempotency-key,x-request-timeout,x-api-key,content-type",
        "x-app-version,x-correlation-id",
    ] {
        let preflight = from_page(Method::OPTIONS)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", sent);
        let reply = send(preflight).await;
        let allowed = header(&reply, "access-control-allow-headers").to_owned();
        for name in sent.split(',') {
            assert!(allowed.split(',').any(|known| known.trim() == name), "{name}: {allowed}");
        }
    }
    let reply = send(from_page(Method::POST).header("authorization", key("acme"))).await;
    let read = header(&reply, "access-control-expose-headers");
    for name in ["etag", "age", "retry-after", "ratelimit", "x-cache", "x-request-id"] {
        assert!(read.split(',').any(|known| known.trim() == name), "{name}: {read}");
    }
}

#[tokio::test]
async fn records_name_the_caller_that_a_trusted_proxy_names_and_believe_nobody_else() {
    for (trusted, expected) in [("[127.0.0.1/32, 10.0.0.0/8]", "192.0.2.7"), ("[]", "127.0.0.1")] {
        let config = format!(
            "server: {{ listen: 127.0.0.1:0, trusted_proxies: {trusted} }}\n\
             audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}] }}\n"
        );
        let world = world("", &config).await;
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9");
        send(request.json(&json!({"query": MISSING}))).await;
        let records = crate::support::audit::records(&world, 1).await;
        assert_eq!(records[0]["src_endpoint"]["ip"], expected);
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let world = World::start().await;
    let nowhere = send(world.http.get(format!("http://{}/nowhere", world.address))).await;
    assert_eq!((nowhere.status, header(&nowhere, "x-request-id").len()), (404, 36));
    let hosts = "POST /graphql HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n";
    let answer = rest(sent(world.address, hosts).await).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("x-request-id: "), "{answer}");
}

#[tokio::test]
async fn a_transfer_coding_that_nobody_undoes_is_refused() {
    let world = World::start().await;
    for (coding, status) in [("chunked", "200"), ("Chunked", "200"), ("gzip, chunked", "501")] {
        let head =
            head_of("acme", &format!("Connection: close\r\nTransfer-Encoding: {coding}\r\n"));
        let body = json!({"query": "{ __typename }"}).to_string();
        let bytes = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let answer = rest(sent(world.address, &bytes).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{coding}: {answer}");
    }
}
