//! The addresses that callers come from: allow lists, the PROXY protocol, and the way out to Move.

use jobs_gateway::model::KeyHash;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Setup, World, key, send};

const READ: &str = "{ listJobs { first } }";

/// A gateway with one tenant whose one key may be used from some networks alone.
async fn limited_to(tenant: &str, own: &str, server: &str) -> World {
    let hash = KeyHash::of(key("acme").as_bytes());
    let keys = format!("[{{ id: main, sha256: {hash}, sources: [{own}] }}]");
    let policy =
        format!("auth: {{ sources: [{tenant}], api_keys: {keys} }}\noperations: [\"*\"]\n");
    let config = format!(
        "server: {{ listen: 127.0.0.1:0, trusted_proxies: [127.0.0.1/32]{server} }}\n\
         audit: {{ sinks: [{{ file: ./audit/audit.jsonl }}] }}\n"
    );
    Setup::new().tenant("acme", policy).config(config).start().await
}

#[tokio::test]
async fn a_credential_is_taken_from_the_networks_of_its_tenant_and_its_key_alone() {
    let world = limited_to("192.0.2.0/24", "192.0.2.7/32, 203.0.113.0/24", "").await;
    for (source, status) in [
        ("192.0.2.7", 200),
        // Of the tenant's networks and not of the key's; and the other way about.
        ("192.0.2.8", 401),
        ("203.0.113.9", 401),
        ("198.51.100.1", 401),
    ] {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("x-forwarded-for", source);
        let reply = send(request.json(&json!({"query": READ}))).await;
        assert_eq!(reply.status, status, "{source}: {}", reply.text);
        if status == 401 {
            assert!(reply.text.contains("may not be used from this address"), "{}", reply.text);
        }
    }
    let records = crate::support::audit::records(&world, 2).await;
    let refused = records.iter().find(|record| record["src_endpoint"]["ip"] == "192.0.2.8");
    let text = refused.unwrap().to_string();
    assert!(text.contains("credential_source") && text.contains("acme"), "{text}");
}

/// Sends one request, whatever comes before it, and reads until the gateway closes.
async fn raw(world: &World, before: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let body = json!({"query": READ}).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: gateway.test\r\nauthorization: {}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        key("acme"),
        body.len()
    );
    stream.write_all(&[before, request.as_bytes()].concat()).await.unwrap();
    let mut answer = String::new();
    // A connection that is refused may be reset.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_balancer_names_the_caller_by_the_proxy_protocol_and_nobody_connects_without_it() {
    let world = limited_to("192.0.2.0/24", "192.0.2.7/32", ", proxy_protocol: true").await;
    let header = |source: &str| format!("PROXY TCP4 {source} 198.51.100.1 56324 443\r\n");
    let answer = raw(&world, header("192.0.2.7").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = raw(&world, header("192.0.2.8").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let mut version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    version_2.extend([192, 0, 2, 7, 198, 51, 100, 1, 220, 4, 1, 187]);
    let answer = raw(&world, &version_2).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(raw(&world, b"").await, "", "a connection that names nobody is closed");
}

#[tokio::test]
async fn calls_to_move_go_through_the_proxy_that_is_configured() {
    // Only the proxy knows a host of this name: here the sandbox itself.
    let config = "upstream:\n  url: http://move.invalid/ugc/graphql\n  proxy: '${MOVE_API_URL}'\n  \
                  api_key: '${MOVE_API_KEY}'\n";
    let world = Setup::new().config(config).start().await;
    let id = world.create("acme", "{}").await;
    assert!(!id.is_empty());
    assert_eq!(world.sandbox.count("createSingleCamJob"), 1);
}
