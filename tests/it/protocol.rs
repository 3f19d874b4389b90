//! Bad input: each a clear error that names the cause, the right status, nothing forwarded.

use jobs_gateway::sandbox::Fault;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Reply, Setup, World, key, send};

const JSON: &str = "application/json";

/// Sends bytes as a tenant.
async fn raw(world: &World, content_type: &str, body: &str) -> Reply {
    let request = world.http.post(world.url()).header("authorization", key("acme"));
    send(request.header("content-type", content_type).body(body.to_owned())).await
}

#[tokio::test]
async fn a_request_that_is_no_graphql_request_is_refused_before_anything_else() {
    let world = World::start().await;
    let large = format!(r#"{{"query": "{{ a }}", "x": "{}"}}"#, "x".repeat(300 * 1024));
    for (content_type, body, status, says) in [
        (JSON, "{", 400, "not JSON"),
        (JSON, "", 400, "not JSON"),
        (JSON, "\u{0}", 400, "not JSON"),
        (JSON, "7", 400, "not a GraphQL request"),
        (JSON, "[]", 400, "batches are not taken"),
        (JSON, "{}", 400, "`query`"),
        (JSON, r#"{"query": 7}"#, 400, "`query` must be a string"),
        (JSON, r#"{"query": "{a}", "variables": "x"}"#, 400, "`variables`"),
        (JSON, r#"{"query": "{a}", "operationName": {}}"#, 400, "`operationName`"),
        (JSON, &large, 413, "larger than 262144 bytes"),
        ("text/plain", r#"{"query": "{ __typename }"}"#, 415, "application/json"),
        ("application/x-www-form-urlencoded", "query={__typename}", 415, "application/json"),
        ("multipart/form-data; boundary=x", "--x--", 415, "application/json"),
        ("application/json; charset=utf-16", "{}", 415, "UTF-8"),
    ] {
        let reply = raw(&world, content_type, body).await;
        assert_eq!(
            reply.status,
            status,
            "{content_type} {} {reply:?}",
            &body[..body.len().min(40)]
        );
        assert_eq!(reply.code(), "BAD_USER_INPUT");
        assert!(reply.text.contains(says), "{reply:?} should say {says}");
    }
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn a_document_that_cannot_be_executed_is_named_with_its_place() {
    let world = World::start().await;
    let unknown_name = json!({"query": "query A { __typename }", "operationName": "B"});
    let two = json!({"query": "query A { __typename } query B { __typename }"});
    let job = "getJob(jobId: \"job-1\")";
    for (body, code, says) in [
        (json!({"query": ""}), "GRAPHQL_PARSE_FAILED", "cannot be parsed"),
        (json!({"query": "{"}), "GRAPHQL_PARSE_FAILED", "cannot be parsed"),
        (json!({"query": "{ nope }"}), "GRAPHQL_VALIDATION_FAILED", "nope"),
        (json!({"query": format!("{{ {job} {{ nope }} }}")}), "GRAPHQL_VALIDATION_FAILED", "nope"),
        (json!({"query": format!("{{ {job} }}")}), "GRAPHQL_VALIDATION_FAILED", "getJob"),
        (json!({"query": "{ getJob { id } }"}), "GRAPHQL_VALIDATION_FAILED", "jobId"),
        (json!({"query": "{ getJob(jobId: true) { id } }"}), "GRAPHQL_VALIDATION_FAILED", "jobId"),
        (json!({"query": "subscription { a }"}), "GRAPHQL_VALIDATION_FAILED", "Subscription"),
        (
            json!({"query": "{ ...F } fragment F on Query { ...F }"}),
            "GRAPHQL_VALIDATION_FAILED",
            "F",
        ),
        (unknown_name, "BAD_USER_INPUT", "no operation named"),
        (two, "BAD_USER_INPUT", "operationName"),
        (
            json!({"query": "query($id: ID!) { getJob(jobId: $id) { id } }"}),
            "BAD_USER_INPUT",
            "$id",
        ),
        (
            json!({"query": "query($n: Int) { listJobs(first: $n) { first } }",
                   "variables": {"n": "ten"}}),
            "BAD_USER_INPUT",
            "$n",
        ),
        (
            json!({"query": "query($o: SortDirection) { listJobs(sortDirection: $o) { first } }",
                   "variables": {"o": "UP"}}),
            "BAD_USER_INPUT",
            "UP",
        ),
        (
            json!({"query": "mutation { updateJob(id: \"job-1\", metadata: \"{\") { id } }"}),
            "GRAPHQL_VALIDATION_FAILED",
            "JSON text",
        ),
        (
            json!({"query": "mutation { updateJob(id: \"job-1\", metadata: {a: 1}) { id } }"}),
            "GRAPHQL_VALIDATION_FAILED",
            "JSON text in a string",
        ),
        (
            json!({"query": format!("{{ {} }}", "a: __typename ".repeat(31))}),
            "OPERATION_TOO_COMPLEX",
            "aliases",
        ),
        (
            json!({"query": format!("{{ {} }}", "__typename ".repeat(2001))}),
            "OPERATION_TOO_COMPLEX",
            "tokens",
        ),
    ] {
        let request = world.http.post(world.url()).header("authorization", key("acme")).json(&body);
        let accept = "application/graphql-response+json";
        let reply = send(request.header("accept", accept)).await;
        assert_eq!(reply.code(), code, "{body} {reply:?}");
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.text.contains(says), "{reply:?} should say {says}");
        assert!(reply.json().get("data").is_none());
        // The same to a client of the older media type is a well-formed request.
        assert_eq!(world.post("acme", &body).await.status, 200);
    }
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn bad_arguments_are_refused_at_their_field_before_anything_is_sent() {
    let world = World::start().await;
    let long = "x".repeat(20_000);
    for (query, says) in [
        ("{ f: getJob(jobId: \"job 1\") { id } }".to_owned(), "a job id"),
        ("{ f: getJob(jobId: \"\") { id } }".to_owned(), "is empty"),
        ("{ f: getJob(jobId: \"job-\\u00e9\") { id } }".to_owned(), "ASCII"),
        (format!("{{ f: getJob(jobId: \"{long}\") {{ id }} }}"), "longer than"),
        ("{ f: listJobs(first: -1) { first } }".to_owned(), "first"),
        ("{ f: listJobs(takeId: \"a b\") { first } }".to_owned(), "a take id"),
        ("{ f: listJobs(after: \"{}\") { first } }".to_owned(), "cursor"),
        ("{ f: listJobs(after: {id: \"job-1\"}) { first } }".to_owned(), "cursor"),
        ("mutation { f: createJob(takeId: \"\") { id } }".to_owned(), "a take id"),
        (
            format!(
                "mutation {{ f: updateJob(id: \"job-1\", metadata: \"\\\"{long}\\\"\") {{ id }} }}"
            ),
            "at most 16384",
        ),
    ] {
        let reply = world.ask("acme", &query, json!({})).await;
        assert_eq!(reply.code(), "BAD_USER_INPUT", "{reply:?}");
        assert_eq!(reply.json()["errors"][0]["path"], json!(["f"]), "{reply:?}");
        assert!(reply.text.contains(says), "{reply:?} should say {says}");
    }
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn methods_and_media_types_are_what_graphql_over_http_says() {
    let world = World::start().await;
    let get = |query: &[(&str, &str)]| {
        let url = url::Url::parse_with_params(&world.url(), query).unwrap();
        world.http.get(url).header("authorization", key("acme"))
    };
    let reply = send(get(&[("query", "{ __typename }")])).await;
    assert_eq!((reply.status, reply.data("/__typename")), (200, json!("Query")));
    let reply = send(get(&[("query", "mutation { __typename }")])).await;
    assert_eq!(reply.status, 405);
    assert_eq!(reply.headers["allow"], "POST");
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let request = world.http.request(method.clone(), world.url());
        let reply = send(request.header("authorization", key("acme"))).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.headers["allow"], "GET, HEAD, POST");
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
    }
    let body = json!({"query": "{ __typename }"});
    for (accept, status, content_type) in [
        ("*/*", 200, "application/json; charset=utf-8"),
        ("application/json", 200, "application/json; charset=utf-8"),
        (
            "application/graphql-response+json",
            200,
            "application/graphql-response+json; charset=utf-8",
        ),
        ("text/html", 406, "application/json; charset=utf-8"),
    ] {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let reply = send(request.header("accept", accept).json(&body)).await;
        assert_eq!(reply.status, status, "{accept}");
        assert_eq!(reply.headers["content-type"], content_type);
    }
}

#[tokio::test]
async fn a_wrong_empty_or_missing_key_is_401_and_says_no_more_than_that() {
    let world = Setup::new().tenant("acme", format!(
            "auth: {{ api_keys: [{{ id: old, sha256: {}, expires: 2020-01-01T00:00:00Z }}] }}\n",
            jobs_gateway::model::KeyHash::of(key("acme").as_bytes())
        )).start().await;
    let body = json!({"query": "{ listJobs { first } }"});
    for (header, says) in [
        (None, "Send an API key"),
        (Some(""), "Send an API key"),
        (Some("Bearer"), "Send an API key"),
        (Some("no-such-key-at-all"), "not known"),
        (Some("Bearer no-such-key-at-all"), "not known"),
        (Some("key-of-acme-0001"), "expired"),
    ] {
        let mut request = world.http.post(world.url()).json(&body);
        if let Some(value) = header {
            request = request.header("authorization", value);
        }
        let reply = send(request).await;
        assert_eq!(reply.status, 401, "{header:?}");
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        let error = &reply.json()["errors"][0];
        assert_eq!(error["extensions"]["code"], "UNAUTHENTICATED");
        assert_eq!(error["errorType"], "UnauthorizedException");
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    }
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn cors_is_off_unless_configured_and_then_for_the_configured_origins_alone() {
    let config =
        "server: { listen: 127.0.0.1:0, cors: { origins: ['https://app.example.test'] } }\n";
    let world = Setup::new().config(config).start().await;
    let preflight = |origin: &str| {
        world
            .http
            .request(Method::OPTIONS, world.url())
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let allowed = send(preflight("https://app.example.test")).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://app.example.test");
    let foreign = send(preflight("https://evil.example.test")).await;
    assert!(!foreign.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn no_answer_or_header_ever_shows_moves_key() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    for fault in [
        None,
        Some(Fault::html(502)),
        Some(Fault::Respond {
            status: 401,
            content_type: "application/json",
            retry_after: None,
            body: json!({"errors": [{"message": "bad key sandbox-move-key"}]}).to_string(),
        }),
        Some(Fault::Truncate),
        Some(Fault::ResetMidBody),
    ] {
        if let Some(fault) = fault.clone() {
            world.sandbox.fail_next(None, fault);
        }
        let reply = world.get("acme", &id, "id metadata client { id }").await;
        assert!(!format!("{reply:?}").contains("sandbox-move-key"), "{fault:?}");
        assert_eq!(reply.json().get("errors").is_some(), fault.is_some(), "{reply:?}");
    }
    let _: Value = world.get("acme", &id, "id").await.data("/getJob");
}

#[tokio::test]
async fn health_is_told_on_the_admin_address_and_nowhere_else() {
    let world = World::start().await;
    for path in ["livez", "readyz"] {
        let admin = format!("http://{}/{path}", world.admin);
        assert_eq!(send(world.http.get(admin)).await.status, 200);
        let public = format!("http://{}/{path}", world.address);
        assert_eq!(send(world.http.get(public)).await.status, 404);
    }
}

#[tokio::test]
async fn introspection_can_be_switched_off_for_a_tenant() {
    let policy = "operations: [\"*\"]\nintrospection: false\n".to_owned();
    let world = Setup::new().tenant("acme", policy).start().await;
    let reply = world.ask("acme", "{ __schema { types { name } } }", json!({})).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"));
    assert_eq!(world.ask("acme", "{ __typename }", json!({})).await.data("/__typename"), "Query");
}
