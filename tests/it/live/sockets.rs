//! Subscriptions over a WebSocket, by the protocol's own words and codes.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jobs_gateway::sandbox::State;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{WAITING, passing, with_a_running_job};
use crate::support::audit::records;
use crate::support::{Setup, World, key};

pub const FOLLOW: &str = "subscription($id: ID!) { jobUpdated(jobId: $id) { state } }";

/// A handshake as a browser makes it (RFC 6455, section 1.3).
const HANDSHAKE: &[u8] =
    b"GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n";

pub struct Socket(pub WebSocketStream<TcpStream>);

impl Socket {
    async fn open(world: &World, protocol: &str, credential: Option<&str>) -> Self {
        let stream = TcpStream::connect(world.address).await.unwrap();
        Self::over(stream, protocol, credential).await
    }

    /// One over a connection that is there.
    pub async fn over(stream: TcpStream, protocol: &str, credential: Option<&str>) -> Self {
        let address = stream.peer_addr().unwrap();
        let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
        let headers = request.headers_mut();
        if !protocol.is_empty() {
            headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        if let Some(credential) = credential {
            headers.insert("authorization", credential.parse().unwrap());
        }
        Self(tokio_tungstenite::client_async(request, stream).await.unwrap().0)
    }

    /// One that was acknowledged.
    pub async fn acknowledged(world: &World, tenant: &str) -> Self {
        let stream = TcpStream::connect(world.address).await.unwrap();
        Self::acknowledged_over(stream, tenant).await
    }

    /// One that was acknowledged, over a connection that is there.
    pub async fn acknowledged_over(stream: TcpStream, tenant: &str) -> Self {
        let mut socket = Self::over(stream, "graphql-transport-ws", None).await;
        let payload = json!({"Authorization": format!("Bearer {}", key(tenant))});
        socket.say(&json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.hear().await, json!({"type": "connection_ack"}));
        socket
    }

    pub async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn subscribe(&mut self, id: &str, query: &str, job: &str) {
        let payload = json!({"query": query, "variables": {"id": job}});
        self.say(&json!({"id": id, "type": "subscribe", "payload": payload})).await;
    }

    /// The next message but pings; the code if it is closed.
    pub async fn hear(&mut self) -> Value {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] != "ping" {
                        return message;
                    }
                    self.say(&json!({"type": "pong"})).await;
                }
                Some(Ok(Message::Close(Some(frame)))) => return json!(u16::from(frame.code)),
                Some(Ok(_)) => {}
                end => panic!("{end:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_socket_is_a_connection_and_strangers_shut_none_out_who_shows_a_key_at_once() {
    let (world, _) = with_a_running_job("").await;
    let mut strangers = Vec::new();
    for _ in 0..256 {
        strangers.push(Socket::open(&world, "graphql-transport-ws", None).await);
    }
    let open = world.metric("jobs_gateway_connections").await;
    assert!(open >= Some(256.0), "{open:?}");
    let credential = key("acme");
    let mut own = Socket::open(&world, "graphql-transport-ws", Some(&credential)).await;
    own.say(&json!({"type": "connection_init"})).await;
    assert_eq!(own.hear().await, json!({"type": "connection_ack"}));
}

#[tokio::test]
async fn a_stranger_that_does_not_say_who_it_is_keeps_no_browser_out() {
    let (world, _) = with_a_running_job("").await;
    let mut strangers = Vec::new();
    for _ in 0..256 {
        let mut stranger = TcpStream::connect(world.address).await.unwrap();
        stranger.write_all(HANDSHAKE).await.unwrap();
        // The answer is short, and comes in one piece.
        assert!(stranger.read(&mut [0; 1024]).await.unwrap() > 0);
        strangers.push(stranger);
    }
    // Whoever says who it is within a moment is one of these.
    world.pass(Duration::from_secs(1)).await;
    for _ in 0..3 {
        Socket::acknowledged(&world, "acme").await;
    }
    for stranger in &mut strangers[..3] {
        let mut close = [0; 4];
        stranger.read_exact(&mut close).await.unwrap();
        let code = u16::from_be_bytes([close[2], close[3]]);
        // On a machine that is very slow its time may be over before.
        assert!(close[0] == 0x88 && matches!(code, 1013 | 4408), "{code}");
    }
}

#[tokio::test]
async fn a_socket_tells_of_several_jobs_and_a_client_that_has_enough_hears_no_more_of_one() {
    let (world, job) = with_a_running_job("").await;
    let other = world.create("acme", "{}").await;
    world.sandbox.set_state(&other, State::Running);
    let mut socket = Socket::acknowledged(&world, "acme").await;
    socket.say(&json!({"type": "ping", "payload": {"a": 1}})).await;
    assert_eq!(socket.hear().await, json!({"type": "pong", "payload": {"a": 1}}));
    for (id, job) in [("1", &job), ("2", &other)] {
        socket.subscribe(id, FOLLOW, job).await;
        let data = json!({"data": {"jobUpdated": {"state": "RUNNING"}}});
        assert_eq!(socket.hear().await, json!({"id": id, "type": "next", "payload": data}));
    }
    socket.say(&json!({"id": "2", "type": "complete"})).await;
    for job in [&job, &other] {
        world.sandbox.set_state(job, State::Finished);
    }
    let last = passing(&world, socket.hear()).await;
    assert_eq!(
        (&last["id"], &last["payload"]["data"]["jobUpdated"]["state"]),
        (&json!("1"), &json!("FINISHED"))
    );
    assert_eq!(socket.hear().await, json!({"id": "1", "type": "complete"}));
    // Its name is free again; a job that is not there is told in an answer, and a fault of the document in an error.
    socket.subscribe("1", FOLLOW, "job-none").await;
    let missing = socket.hear().await;
    assert_eq!(missing["payload"]["errors"][0]["extensions"]["code"], "NOT_FOUND");
    assert_eq!(socket.hear().await, json!({"id": "1", "type": "complete"}));
    for (query, code) in [
        ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($id: ID!) { getJob(jobId: $id) { id } }", "BAD_USER_INPUT"),
        ("{", "GRAPHQL_PARSE_FAILED"),
    ] {
        socket.subscribe("3", query, &job).await;
        let refused = socket.hear().await;
        assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("3")), "{refused}");
        assert_eq!(refused["payload"][0]["extensions"]["code"], code, "{refused}");
    }
}

#[tokio::test]
async fn a_socket_is_closed_with_the_codes_of_the_protocol() {
    let (world, job) = with_a_running_job("").await;
    let init = json!({"type": "connection_init"});
    let subscribe =
        json!({"id": "1", "type": "subscribe", "payload": {"query": "subscription { a }"}});
    let open = async |credential: Option<&str>| {
        Socket::open(&world, "graphql-transport-ws", credential).await
    };

    assert_eq!(Socket::open(&world, "", None).await.hear().await, 4406);
    let mut early = open(None).await;
    early.say(&subscribe).await;
    assert_eq!(early.hear().await, 4401);
    let mut nobody = open(None).await;
    nobody.say(&init).await;
    assert_eq!(nobody.hear().await, 4403);
    let mut junk = open(None).await;
    junk.0.send(Message::binary(vec![0; 10])).await.unwrap();
    assert_eq!(junk.hear().await, 4400);
    let mut silent = open(None).await;
    assert_eq!(passing(&world, silent.hear()).await, 4408);

    // By a header of the handshake too.
    let mut twice = open(Some(&key("acme"))).await;
    twice.say(&init).await;
    assert_eq!(twice.hear().await, json!({"type": "connection_ack"}));
    twice.say(&init).await;
    assert_eq!(twice.hear().await, 4429);
    let mut same = Socket::acknowledged(&world, "acme").await;
    same.subscribe("1", FOLLOW, &job).await;
    assert_eq!(same.hear().await["type"], "next");
    same.subscribe("1", FOLLOW, &job).await;
    assert_eq!(same.hear().await, 4409);
    let mut junk = Socket::acknowledged(&world, "acme").await;
    junk.0.send(Message::text("{\"type\":\"next\"}")).await.unwrap();
    assert_eq!(junk.hear().await, 4400);
    // Not UTF-8; a reserved kind of frame; one without a mask.
    for frame in [&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], &[0x83, 0x80, 0, 0, 0, 0], &[0x81, 1, b'x']]
    {
        let mut junk = Socket::acknowledged(&world, "acme").await;
        junk.0.get_mut().write_all(frame).await.unwrap();
        assert_eq!(junk.hear().await, 4400, "{frame:?}");
    }
}

#[tokio::test]
async fn who_goes_while_a_subscription_is_opened_ends_its_read_and_leaves_a_record() {
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
    let policy = "operations: ['*']\ncache: { get_job: { no_cache: true } }\n";
    let world = Setup::new().config(config).tenant("acme", policy).start().await;
    let jobs = [world.create("acme", "{}").await, world.create("acme", "{}").await];
    let before = records(&world, 4).await.len();
    world.sandbox.set_latency(Duration::from_mins(1));
    for (job, leaves) in jobs.iter().zip([true, false]) {
        let mut socket = Socket::acknowledged(&world, "acme").await;
        let asked = world.sandbox.count("getJob");
        socket.subscribe("1", FOLLOW, job).await;
        let give_up = std::time::Instant::now() + Duration::from_secs(10);
        while world.sandbox.count("getJob") == asked {
            assert!(std::time::Instant::now() < give_up, "Move is not asked");
            tokio::task::yield_now().await;
        }
        if leaves {
            drop(socket);
        } else {
            socket.say(&json!({"id": "1", "type": "complete"})).await;
            // The socket is heard all the while.
            socket.say(&json!({"type": "ping"})).await;
            assert_eq!(socket.hear().await, json!({"type": "pong"}));
        }
        let count = before + if leaves { 1 } else { 2 };
        let all = records(&world, count).await;
        assert_eq!(all[count - 1]["api"]["response"]["code"], 499, "{leaves} {:#}", all[count - 1]);
    }
}

#[tokio::test]
async fn a_socket_ends_with_its_credential_and_has_as_many_streams_as_may_be() {
    let few = "operations: ['*']\nsubscriptions: { max: 5, max_per_connection: 1 }\n";
    let config = "reload: { allow_removal: 100% }\n";
    let setup = Setup::new().config(config).tenant("acme", few).tenant("globex", WAITING);
    let world = setup.start().await;
    let job = world.create("acme", "{}").await;
    world.sandbox.set_state(&job, State::Running);
    let mut socket = Socket::acknowledged(&world, "acme").await;
    socket.subscribe("1", FOLLOW, &job).await;
    assert_eq!(socket.hear().await["type"], "next");
    socket.subscribe("2", FOLLOW, &job).await;
    let refused = socket.hear().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED", "{refused}");
    world.write_policy("acme", "operations: ['*']\nauth: { api_keys: [] }\n");
    let told = tokio::time::timeout(Duration::from_secs(20), socket.hear()).await.unwrap();
    assert_eq!(told["payload"][0]["extensions"]["code"], "UNAUTHENTICATED", "{told}");
    assert_eq!(socket.hear().await, 4403);
}

#[tokio::test]
async fn a_socket_without_a_subscription_ends_with_its_credential_too() {
    let config = "reload: { allow_removal: 100% }\n";
    let setup = Setup::new().config(config).tenant("acme", WAITING).tenant("globex", WAITING);
    let world = setup.start().await;
    let mut taken_away = Socket::acknowledged(&world, "acme").await;
    world.write_policy("acme", "operations: ['*']\nauth: { api_keys: [] }\n");
    let closed = tokio::time::timeout(Duration::from_secs(20), taken_away.hear()).await;
    assert_eq!(closed.unwrap(), 4403);
    let expires = jiff::Timestamp::now() + Duration::from_secs(25);
    let hash = jobs_gateway::model::KeyHash::of(key("acme").as_bytes());
    let policy = format!(
        "auth: {{ api_keys: [{{ id: main, sha256: {hash}, expires: {expires} }}] }}\noperations: ['*']\n"
    );
    let world = Setup::new().tenant("acme", policy).start().await;
    let mut expiring = Socket::acknowledged(&world, "acme").await;
    assert_eq!(passing(&world, expiring.hear()).await, 4403);
}
