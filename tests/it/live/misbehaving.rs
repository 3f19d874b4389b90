//! Clients of streams that do not do their part.

use std::time::Duration;

use futures_util::StreamExt;
use jobs_gateway::sandbox::State;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use super::sockets::{FOLLOW, Socket};
use super::streams::{Follower, SSE};
use super::{WAITING, passing, with_a_running_job};
use crate::edges::head_of;
use crate::support::{Setup, World};

const STREAMS: &str = "jobs_gateway_streams ";

/// A connection with little room for what comes.
async fn narrow(world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(world.address).await.unwrap()
}

#[tokio::test]
async fn streams_that_nobody_reads_are_closed() {
    let policy = format!("{WAITING}metadata: {{ max_bytes: 250KiB }}\n");
    let world = Setup::new().tenant("acme", policy).start().await;
    let job = world.create("acme", "{}").await;
    world.sandbox.set_state(&job, State::Running);
    let many: Vec<_> = (0..20).map(|n| format!("m{n}: metadata")).collect();
    let many = many.join(" ");
    let query = format!("subscription($id: ID!) {{ jobUpdated(jobId: $id) {{ {many} }} }}");
    let body = json!({"query": query, "variables": {"id": job}}).to_string();
    let head = format!("Accept: {SSE}\r\nContent-Length: {}\r\n", body.len());
    let mut events = narrow(&world).await;
    events.write_all((head_of("acme", &head) + &body).as_bytes()).await.unwrap();
    let mut socket = Socket::acknowledged_over(narrow(&world).await, "acme").await;
    socket.subscribe("1", &query, &job).await;
    while world.metric(STREAMS).await != Some(2.0) {
        tokio::task::yield_now().await;
    }
    // More, in the end, than the system takes for a connection.
    let update =
        "mutation($id: String!, $new: AWSJSON!) { updateJob(id: $id, metadata: $new) { id } }";
    let mut told = 0;
    while world.metric(STREAMS).await != Some(0.0) {
        told += 1;
        assert!(told < 100, "they are still open");
        let new = json!({"n": told, "x": "y".repeat(100_000)}).to_string();
        world.ask("acme", update, json!({"id": job, "new": new})).await.data("/updateJob/id");
        world.pass(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_socket_whose_client_answers_no_ping_is_closed() {
    let (world, job) = with_a_running_job("").await;
    let mut socket = Socket::acknowledged(&world, "acme").await;
    socket.subscribe("1", FOLLOW, &job).await;
    assert_eq!(socket.hear().await["type"], "next");
    let mut pings = 0;
    let code = loop {
        match passing(&world, socket.0.next()).await {
            Some(Ok(Message::Text(text))) => {
                assert_eq!(text.as_str(), r#"{"type":"ping"}"#);
                pings += 1;
            }
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 1012);
    assert!((2..=3).contains(&pings), "{pings} pings");
}

#[tokio::test]
async fn frames_that_are_none_end_their_socket_and_nothing_else() {
    let (world, job) = with_a_running_job("").await;
    let mut other = Socket::acknowledged(&world, "acme").await;
    other.subscribe("1", FOLLOW, &job).await;
    assert_eq!(other.hear().await["type"], "next");
    let masked = |first: u8, bytes: &[u8]| {
        let length = 0x80 | u8::try_from(bytes.len()).unwrap();
        // Under a mask of zeros they stay what they are.
        [&[first, length, 0, 0, 0, 0], bytes].concat()
    };
    let huge = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    for junk in [
        b"\x81\x02{}".to_vec(),
        masked(0x81, b"\xff\xfe"),
        masked(0x83, b"{}"),
        masked(0xf1, b"{}"),
        masked(0x80, b"{}"),
        masked(0x89, &[b'p'; 126 - 1])[..2].to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        huge,
    ] {
        let mut socket = Socket::acknowledged(&world, "acme").await;
        socket.0.get_mut().write_all(&junk).await.unwrap();
        if junk.len() == 2 {
            // The rest never comes.
            drop(socket);
            continue;
        }
        let end = tokio::time::timeout(Duration::from_secs(20), socket.0.next()).await.unwrap();
        let is_over = matches!(end, None | Some(Err(_) | Ok(Message::Close(_))));
        assert!(is_over, "{end:?} after {junk:?}");
    }
    world.sandbox.set_state(&job, State::Finished);
    assert_eq!(passing(&world, other.hear()).await["type"], "next");
}

#[tokio::test]
async fn who_opens_streams_without_end_has_as_many_as_may_be_and_harms_nobody() {
    let many = "operations: ['*']\nsubscriptions: { max: 20 }\n";
    let world = Setup::new().tenant("acme", many).tenant("globex", WAITING).start().await;
    let (own, others) = (world.create("acme", "{}").await, world.create("globex", "{}").await);
    let mut socket = Socket::acknowledged(&world, "acme").await;
    let (mut open, mut refused) = (0, 0);
    for n in 0..100 {
        socket.subscribe(&n.to_string(), FOLLOW, &own).await;
        let answer = socket.hear().await;
        match answer["type"].as_str() {
            Some("next") => open += 1,
            Some("error") => {
                assert_eq!(answer["payload"][0]["extensions"]["code"], "RATE_LIMITED");
                refused += 1;
            }
            _ => panic!("{answer}"),
        }
    }
    assert_eq!((open, refused), (20, 80));
    let mut stream = Follower::open(&world, "globex", &others, SSE).await;
    assert_eq!(stream.state().await, "NOT_STARTED");
    assert_eq!(world.metric(STREAMS).await, Some(21.0));
    drop(socket);
    while world.metric(STREAMS).await != Some(1.0) {
        tokio::task::yield_now().await;
    }
}
