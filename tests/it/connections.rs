//! Connections: every state of one has a time, and no stranger keeps a caller out.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::edges::{head_of, rest, sent};
use crate::support::{Setup, World, key, send};
use crate::tls::{Authority, tls_world};

const MISSING: &str = "{ getJob(jobId: \"job-none\") { id } }";
const CONNECTIONS: &str = "jobs_gateway_connections";

/// A gateway whose `server` has these settings.
async fn world(server: &str) -> World {
    let config = format!("server: {{ listen: 127.0.0.1:0, {server} }}\n");
    Setup::new().config(config).start().await
}

/// Waits until so many connections are open.
async fn open(world: &World, count: f64) {
    while world.metric(CONNECTIONS).await != Some(count) {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass in steps, as timers that are set anew on the way need it.
async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds.div_ceil(10) {
        world.pass(Duration::from_secs(10)).await;
        // What woke up gets to run, and to set its next timer.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A request of a tenant, whole.
fn request(tenant: &str, query: &str, more: &str) -> String {
    let body = json!({"query": query}).to_string();
    head_of(tenant, &format!("{more}Content-Length: {}\r\n", body.len())) + &body
}

/// Reads one answer, which is shorter than this.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 16 * 1024];
    let read = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

/// Connections that say nothing, or nothing whole.
async fn silent(address: SocketAddr) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for begun in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "G", "POST /graphql HTTP/1.1\r\nHost: x\r\n"]
    {
        held.push(sent(address, begun).await);
    }
    held
}

#[tokio::test]
async fn a_connection_without_a_whole_first_head_is_closed_after_thirty_seconds() {
    let world = world("max_connections: 100").await;
    let held = silent(world.address).await;
    open(&world, 5.0).await;
    pass(&world, 20).await;
    open(&world, 5.0).await;
    pass(&world, 20).await;
    open(&world, 0.0).await;
    for stream in held {
        rest(stream).await;
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.write_server(folder.path());
    let world = tls_world(folder.path(), "").await;
    let _held = [sent(world.address, "\u{16}").await, sent(world.address, "").await];
    open(&world, 2.0).await;
    pass(&world, 40).await;
    open(&world, 0.0).await;
}

#[tokio::test]
async fn when_all_places_are_taken_the_oldest_silent_connection_goes() {
    let world = world("max_connections: 5").await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.extend(silent(world.address).await);
        let reply = world.ask("acme", MISSING, json!({})).await;
        assert_eq!(reply.code(), "NOT_FOUND");
    }
    // The first that came was the first that went.
    let first = tokio::time::timeout(Duration::from_secs(5), rest(held.remove(0)));
    assert_eq!(first.await.unwrap(), "");
}

#[tokio::test]
async fn a_tenant_that_keeps_every_place_idle_keeps_nobody_out() {
    let world = world("max_connections: 4").await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = sent(world.address, &request("globex", MISSING, "")).await;
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
        held.push(stream);
    }
    let mut kept = sent(world.address, &request("acme", MISSING, "")).await;
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200 "));
    for _ in 0..8 {
        let mut stream = sent(world.address, &request("globex", MISSING, "")).await;
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
        held.push(stream);
    }
    // The tenant that has the most gives way: the other's only one is still there.
    kept.write_all(request("acme", MISSING, "").as_bytes()).await.unwrap();
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_connection_is_kept_for_as_long_as_the_setting_says() {
    let world = world("keep_alive: 600s").await;
    let mut stream = sent(world.address, &request("acme", MISSING, "")).await;
    answer(&mut stream).await;
    pass(&world, 300).await;
    stream.write_all(request("acme", MISSING, "").as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
    pass(&world, 620).await;
    assert_eq!(rest(stream).await, "");
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_though_it_answers_pings() {
    let world = world("keep_alive: 20s").await;
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let body = json!({"query": MISSING});
    let ask = http.post(world.url()).header("authorization", key("acme")).json(&body);
    assert_eq!(ask.send().await.unwrap().status(), 200);
    open(&world, 1.0).await;
    pass(&world, 80).await;
    open(&world, 0.0).await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_its_connection() {
    let world = world("keep_alive: 600s").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(world.address).await.unwrap();
    // More than the buffers between the two take.
    let schema = "{ __schema { types { name description fields { name description args { name \
                  description } type { name kind ofType { name kind } } } } } }";
    let many = request("acme", schema, "").repeat(400);
    stream.write_all(many.as_bytes()).await.unwrap();
    open(&world, 1.0).await;
    // Time passes faster here than the gateway writes: give it as much as it needs.
    while world.metric(CONNECTIONS).await != Some(0.0) {
        pass(&world, 10).await;
    }
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    let answers = String::from_utf8_lossy(&read).matches("HTTP/1.1 200 ").count();
    assert!((1..400).contains(&answers), "{answers} answers");
}

/// A connection with little room that sent this request, once the first bytes of the answer are there.
async fn unread(address: SocketAddr, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.peek(&mut [0]).await.unwrap();
    stream
}

#[tokio::test]
async fn a_tenant_that_reads_no_answers_is_refused_until_it_reads_them_or_hangs_up() {
    let tenant = |max: u32| {
        let limits = format!("{{ queries: ~, mutations: ~, max_in_flight: {max} }}");
        let metadata = "metadata: { max_bytes: 250KiB }";
        format!("operations: [\"*\"]\nrate_limit: {limits}\n{metadata}\n")
    };
    let world = Setup::new()
        .tenant("acme", tenant(1000))
        .tenant("globex", tenant(3))
        .config("server: { listen: 127.0.0.1:0 }\n")
        .start()
        .await;
    let ask = async |tenant| world.ask(tenant, MISSING, json!({})).await;
    // Some 6 MB an answer, more than the system takes for a connection.
    let aliases: Vec<_> = (0..28).map(|n| format!("m{n}: metadata")).collect();
    let aliases = aliases.join(" ");
    let metadata = json!({"x": "y".repeat(210_000)}).to_string();
    // Globex uses up its requests at once, acme the memory.
    for (one, other, most, refusal) in [
        ("globex", "acme", 3, "3 requests are under way"),
        ("acme", "globex", 64 * 1024 * 1024 / 5_880_000 + 1, "Read the answers that are waiting"),
    ] {
        let id = world.create(one, &metadata).await;
        let whole = request(one, &format!("{{ getJob(jobId: \"{id}\") {{ {aliases} }} }}"), "");
        let whole = whole.replacen("Host: x\r\n", "Host: x\r\nConnection: close\r\n", 1);
        let mut streams = Vec::new();
        while streams.len() < most {
            assert_eq!(ask(one).await.code(), "NOT_FOUND", "{one} after {}", streams.len());
            streams.push(unread(world.address, &whole).await);
        }
        let reply = ask(one).await;
        assert_eq!((reply.status, reply.code().as_str()), (429, "RATE_LIMITED"), "{one}");
        assert!(reply.text.contains(refusal), "{}", reply.text);
        assert_eq!(ask(other).await.code(), "NOT_FOUND");
        let answer = rest(streams.pop().unwrap()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains(&format!("content-length: {}", body.len())), "{head}");
        assert_eq!(ask(one).await.code(), "NOT_FOUND", "{one} has read one");
        streams.push(unread(world.address, &whole).await);
        assert_eq!(ask(one).await.status, 429, "{one}");
        // Those who hang up are seen as soon as the gateway looks.
        drop(streams);
        while ask(one).await.status == 429 {}
    }
}

#[tokio::test]
async fn a_caller_that_closes_its_side_gets_its_answer() {
    let world = World::start().await;
    world.sandbox.set_latency(Duration::from_millis(200));
    let mut stream = sent(world.address, &request("acme", MISSING, "")).await;
    stream.shutdown().await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("NOT_FOUND"), "{answer}");
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let world = World::start().await;
    for (line, hosts, status) in [
        ("HTTP/1.1", "", "400"),
        ("HTTP/1.1", "Host: a\r\nHost: a\r\n", "400"),
        ("HTTP/1.1", "Host: a b\r\n", "400"),
        ("HTTP/1.1", "Host: a\r\n", "401"),
        ("HTTP/1.0", "", "401"),
    ] {
        let request = format!("GET /graphql?query=x {line}\r\n{hosts}Connection: close\r\n\r\n");
        let answer = rest(sent(world.address, &request).await).await;
        assert!(answer.starts_with(&format!("{line} {status} ")), "{hosts:?}: {answer}");
    }
}

#[tokio::test]
async fn operators_connections_have_times_and_bounds_too() {
    let world = World::start().await;
    let mut held = silent(world.admin).await;
    let invalidate = "POST /cache/invalidate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n";
    let unfinished = sent(world.admin, invalidate).await;
    for _ in 0..200 {
        held.push(sent(world.admin, "G").await);
    }
    let health = world.http.get(format!("http://{}/readyz", world.admin));
    assert_eq!(send(health).await.status, 200);
    drop(unfinished);
    drop(held);
    // A body that does not come is given up.
    let unfinished = sent(world.admin, invalidate).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = tokio::time::timeout(Duration::from_secs(8), rest(unfinished)).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 400 "));
}
