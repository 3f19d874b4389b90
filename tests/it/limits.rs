//! One tenant cannot hurt another: what is refused, and what a caller reads of it.

use std::time::Duration;

use futures_util::future::join_all;
use jobs_gateway::sandbox::{Fault, SINGLECAM_TAKE};
use serde_json::json;

use crate::support::redis::Redis;
use crate::support::{Reply, Setup, World, key, send, until_called};

async fn world_with(limits: &str, config: &str) -> World {
    let limited = format!("operations: [\"*\"]\nrate_limit: {{ {limits} }}\n");
    let free =
        "operations: [\"*\"]\nrate_limit: { queries: ~, mutations: ~, max_in_flight: 1000 }\n";
    Setup::new().tenant("acme", limited).tenant("globex", free).config(config).start().await
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

const MISSING: &str = "{ getJob(jobId: \"job-none\") { id } }";

#[tokio::test]
async fn a_used_up_rate_is_a_429_that_says_which_and_when_and_makes_no_call() {
    let world = world_with("queries: { rate: 1/s, burst: 3 }", "").await;
    for left in ["2", "1", "0"] {
        let reply = world.ask("acme", MISSING, json!({})).await;
        assert_eq!(header(&reply, "ratelimit-policy"), "\"queries\";q=3;w=3");
        let state = header(&reply, "ratelimit");
        assert!(state.starts_with(&format!("\"queries\";r={left};t=")), "{state}");
    }
    world.sandbox.clear_calls();
    let refused = world.ask("acme", MISSING, json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"));
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(header(&refused, "ratelimit"), "\"queries\";r=0;t=3");
    let message = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "The limit of queries (1 unit/s) is used up. Come back in 1 s.");
    assert!(world.sandbox.calls().is_empty());
    assert_eq!(world.ask("globex", MISSING, json!({})).await.code(), "NOT_FOUND");
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.ask("acme", MISSING, json!({})).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn a_request_is_charged_for_every_alias_and_by_each_root_fields_weight() {
    let world = world_with(
        "queries: { rate: 1/h, burst: 20 }, mutations: { rate: 1/h, burst: 25 }",
        "weights: { getJob: 2, createSingleCamJob: 11 }\n",
    )
    .await;
    let two = "{ a: getJob(jobId: \"job-a\") { id } b: getJob(jobId: \"job-b\") { id } }";
    let reply = world.ask("acme", two, json!({})).await;
    assert!(header(&reply, "ratelimit").starts_with("\"queries\";r=16;"), "{reply:?}");
    let reply = world.ask("acme", "{ listJobs { first } }", json!({})).await;
    assert!(header(&reply, "ratelimit").starts_with("\"queries\";r=11;"), "{reply:?}");
    let create =
        format!("mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\") {{ id }} }}");
    for left in ["14", "3"] {
        let reply = world.ask("acme", &create, json!({})).await;
        assert!(header(&reply, "ratelimit").starts_with(&format!("\"mutations\";r={left};")));
    }
    assert_eq!(world.ask("acme", &create, json!({})).await.status, 429);
    assert_eq!(world.sandbox.count("createSingleCamJob"), 2);
}

#[tokio::test]
async fn what_costs_more_than_one_request_may_is_refused_before_it_is_executed() {
    let world = world_with("queries: { rate: 100/s, burst: 8 }, max_cost: 20", "").await;
    let many = |n: usize| {
        let fields: Vec<_> = (0..n).map(|i| format!("f{i}: listJobs {{ first }}")).collect();
        format!("{{ {} }}", fields.join(" "))
    };
    for (query, words) in [(many(5), "one request may cost 20"), (many(2), "never more than 8")] {
        let refused = world.ask("acme", &query, json!({})).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "OPERATION_TOO_COMPLEX"));
        assert!(refused.text.contains(words), "{refused:?}");
        assert_eq!(header(&refused, "retry-after"), "", "waiting does not help");
    }
    assert_eq!(world.sandbox.count("listJobs"), 0);
}

#[tokio::test]
async fn single_operations_credentials_and_introspection_have_limits_of_their_own() {
    let hash = |name: &str| jobs_gateway::model::KeyHash::of(key(name).as_bytes());
    let policy = format!(
        "operations: [\"*\"]\nauth: {{ api_keys: [{{ id: a, sha256: {} }}, {{ id: b, sha256: {} }}] }}\n\
         rate_limit: {{ queries: {{ rate: 1/h, burst: 100 }}, operations: {{ listJobs: {{ rate: 1/h, \
         burst: 5 }} }}, per_credential: {{ queries: {{ rate: 1/h, burst: 7 }} }}, introspection: \
         {{ rate: 1/h, burst: 2 }} }}\n",
        hash("a"),
        hash("b")
    );
    let world = Setup::new().tenant("acme", policy).start().await;
    let list = "{ listJobs { first } }";
    world.ask("a", list, json!({})).await.data("/listJobs");
    let refused = world.ask("b", list, json!({})).await;
    assert!(refused.text.contains("The limit of listJobs (1 unit/h)"), "{refused:?}");
    for _ in 0..2 {
        assert_eq!(world.ask("a", MISSING, json!({})).await.code(), "NOT_FOUND");
    }
    let refused = world.ask("a", MISSING, json!({})).await;
    assert!(refused.text.contains("queries of this credential"), "{refused:?}");
    assert_eq!(world.ask("b", MISSING, json!({})).await.code(), "NOT_FOUND");
    for expected in [200, 200, 429] {
        let reply = world.ask("b", "{ __schema { queryType { name } } }", json!({})).await;
        assert_eq!(reply.status, expected, "{reply:?}");
    }
}

#[tokio::test]
async fn a_credential_that_is_refused_drains_no_limit_of_its_colleagues() {
    let hash = |name: &str| jobs_gateway::model::KeyHash::of(key(name).as_bytes());
    let policy = format!(
        "operations: [\"*\"]\nauth: {{ api_keys: [{{ id: a, sha256: {} }}, {{ id: b, sha256: {} }}] }}\n\
         rate_limit: {{ queries: ~, operations: {{ listJobs: {{ rate: 1/h, burst: 20 }} }}, \
         per_credential: {{ queries: {{ rate: 1/h, burst: 5 }} }} }}\n",
        hash("a"),
        hash("b")
    );
    let redis = Redis::start();
    for config in [String::new(), redis.config()] {
        let world = Setup::new().tenant("acme", policy.clone()).config(config).start().await;
        let list = "{ listJobs { first } }";
        world.ask("a", list, json!({})).await.data("/listJobs");
        for _ in 0..10 {
            let refused = world.ask("a", list, json!({})).await;
            assert!(refused.text.contains("queries of this credential"), "{refused:?}");
        }
        world.ask("b", list, json!({})).await.data("/listJobs");
    }
}

#[tokio::test]
async fn a_limit_that_takes_a_hundred_years_to_fill_is_a_limit_all_the_same() {
    let world = world_with("per_credential: { queries: { rate: 1/h, burst: 1000000 } }", "").await;
    assert_eq!(world.ask("acme", MISSING, json!({})).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn cached_answers_can_cost_less_and_are_still_charged() {
    let policy =
        "operations: [\"*\"]\nrate_limit: { queries: { rate: 1/h, burst: 12 } }\ncache: {}\n";
    let tenants = vec![("acme", policy.to_owned())];
    let config = "weights: { getJob: 10 }\n".to_owned();
    let world = Setup::new().tenants(tenants).config(config).start().await;
    let id = world.create("acme", "{}").await;
    let first = world.get("acme", &id, "id").await;
    assert!(header(&first, "ratelimit").starts_with("\"queries\";r=2;"), "{first:?}");
    for expected in [200, 200, 429] {
        assert_eq!(world.get("acme", &id, "id").await.status, expected);
    }
}

#[tokio::test]
async fn requests_at_once_are_bounded_for_each_tenant() {
    let world = world_with("queries: ~, max_in_flight: 3", "").await;
    world.sandbox.set_latency(Duration::from_millis(300));
    let query = |n: usize| format!("{{ getJob(jobId: \"job-{n}\") {{ id }} }}");
    let replies = join_all((0..5).map(|n| {
        let world = &world;
        async move { world.ask("acme", &query(n), json!({})).await }
    }))
    .await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert_eq!(refused.len(), 2, "{replies:?}");
    assert!(refused.iter().all(|reply| header(reply, "retry-after") == "1"));
    assert_eq!(world.ask("acme", &query(9), json!({})).await.status, 200, "they came back");
}

#[tokio::test]
async fn the_state_of_a_limit_survives_a_reload() {
    let world = world_with("queries: { rate: 1/h, burst: 2 }", "").await;
    for _ in 0..2 {
        world.ask("acme", MISSING, json!({})).await;
    }
    let policy =
        "operations: [\"*\"]\nrate_limit: { queries: { rate: 1/h, burst: 2 }, max_cost: 50 }\n";
    world.write_policy("acme", policy);
    while world.metric("jobs_gateway_policy_reloads_total").await.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.ask("acme", MISSING, json!({})).await.status, 429);
}

#[tokio::test]
async fn two_gateways_with_one_redis_admit_together_what_one_limiter_would() {
    let redis = Redis::start();
    let policy = "operations: [\"*\"]\nrate_limit: { queries: { rate: 1/h, burst: 40 }, max_in_flight: 200 }\n";
    let setup = Setup::new().tenant("acme", policy).config(redis.config());
    let (one, two) = setup.start_two().await;
    let mut admitted = 0;
    for _ in 0..30 {
        // A few at a time: a machine that is busy must not make Redis look slow.
        let replies =
            tokio::join!(one.ask("acme", MISSING, json!({})), two.ask("acme", MISSING, json!({})));
        admitted += [replies.0, replies.1].iter().filter(|reply| reply.status == 200).count();
    }
    assert_eq!(admitted, 40);
}

#[tokio::test]
async fn without_redis_each_replica_admits_its_share() {
    let mut redis = Redis::start();
    let policy = "operations: [\"*\"]\nrate_limit: { queries: { rate: 1/h, burst: 40 } }\n";
    let setup = Setup::new().tenant("acme", policy).config(redis.config());
    let (one, two) = setup.start_two().await;
    // Both are counted within a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    redis.kill();
    for world in [&one, &two] {
        let mut admitted = 0;
        for _ in 0..40 {
            admitted += usize::from(world.ask("acme", MISSING, json!({})).await.status == 200);
        }
        assert_eq!(admitted, 20);
    }
    assert_eq!(one.metric("jobs_gateway_shared_state_ok").await, Some(0.0));
}

#[tokio::test]
async fn a_noisy_tenant_that_holds_every_slot_delays_another_by_its_turn_only() {
    let world = world_with("queries: ~, max_in_flight: 1000", "upstream: { url: '${MOVE_API_URL}', api_key: '${MOVE_API_KEY}', max_in_flight: 4, max_wait: 4s }\n").await;
    world.sandbox.set_latency(Duration::from_millis(400));
    let query = |n: usize| format!("{{ getJob(jobId: \"job-{n}\") {{ id }} }}");
    let noisy = join_all((0..60).map(|n| {
        let world = &world;
        async move { world.ask("acme", &query(n), json!({})).await }
    }));
    let quiet = async {
        until_called(&world.sandbox, "getJob", 4).await;
        let began = std::time::Instant::now();
        let reply = world.ask("globex", &query(1_000), json!({})).await;
        (reply, began.elapsed())
    };
    let (noisy, (quiet, took)) = tokio::join!(noisy, quiet);
    assert_eq!(quiet.code(), "NOT_FOUND");
    // A slot becomes free within 0.4 s, and its own call takes 0.4 s; sixty calls of the other one
    // take six seconds.
    assert!(took < Duration::from_secs(2), "{took:?}");
    let overloaded: Vec<_> = noisy.iter().filter(|reply| reply.code() == "OVERLOADED").collect();
    assert!(!overloaded.is_empty(), "the wait is bounded");
    assert!(
        overloaded.iter().all(|reply| reply.status == 503 && header(reply, "retry-after") == "1")
    );
}

#[tokio::test]
async fn refusals_are_cheap_and_never_reach_move() {
    let world = world_with("queries: { rate: 1/h, burst: 1 }", "").await;
    world.sandbox.fail_always(None, Some(Fault::html(500)));
    world.ask("acme", MISSING, json!({})).await;
    world.sandbox.clear_calls();
    let body = json!({"query": MISSING}).to_string();
    for _ in 0..200 {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("content-type", "application/json").body(body.clone());
        assert_eq!(send(request).await.status, 429);
    }
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_those_at_work_and_health_is_told() {
    let server = "server: { listen: 127.0.0.1:0, max_connections: 20 }\n";
    let world = world_with("queries: ~", server).await;
    world.sandbox.set_latency(Duration::from_secs(2));
    let query = |n: usize| format!("{{ getJob(jobId: \"job-{n}\") {{ id }} }}");
    let at_work = join_all((0..20).map(|n| {
        let world = &world;
        async move { world.ask("globex", &query(n), json!({})).await }
    }));
    tokio::pin!(at_work);
    while world.sandbox.count("getJob") < 20 {
        tokio::select! {
            replies = &mut at_work => panic!("too early: {replies:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    let waiting = world.ask("globex", MISSING, json!({}));
    tokio::pin!(waiting);
    tokio::select! {
        reply = &mut waiting => panic!("there was no place for it: {reply:?}"),
        replies = &mut at_work => panic!("too early: {replies:?}"),
        () = tokio::time::sleep(Duration::from_millis(200)) => {}
    }
    let health = send(world.http.get(format!("http://{}/readyz", world.admin))).await;
    assert_eq!(health.status, 200);
    assert_eq!(world.metric("jobs_gateway_connections").await, Some(20.0));
    at_work.await;
    assert_eq!(waiting.await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused_before_anything_is_done_for_them() {
    let server = "server: { listen: 127.0.0.1:0, max_requests: 2 }\n";
    let world = world_with("queries: ~", server).await;
    world.sandbox.set_latency(Duration::from_millis(300));
    let query = |n: usize| format!("{{ getJob(jobId: \"job-{n}\") {{ id }} }}");
    let replies = join_all((0..4).map(|n| {
        let world = &world;
        async move { world.ask("globex", &query(n), json!({})).await }
    }))
    .await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert_eq!(refused.len(), 2, "{replies:?}");
    for reply in refused {
        assert_eq!((reply.code().as_str(), header(reply, "retry-after")), ("OVERLOADED", "1"));
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let world = world_with("queries: ~", "").await;
    let ask = |size: usize| {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        request.header("x-filler", "x".repeat(size)).body("{}").send()
    };
    assert_eq!(ask(1_000).await.unwrap().status().as_u16(), 415);
    assert_eq!(ask(40_000).await.unwrap().status().as_u16(), 431);
}

#[tokio::test]
async fn who_has_used_up_a_limit_cannot_send_what_always_costs_too_much_for_ever() {
    let world = world_with("max_cost: 4, queries: { rate: 1/h, burst: 2 }", "").await;
    let costly = "{ listJobs { after } }";
    for (status, left) in [(400, 1), (400, 0), (429, 0), (429, 0)] {
        let reply = world.ask("acme", costly, json!({})).await;
        assert_eq!(reply.status, status);
        let says = header(&reply, "ratelimit");
        assert!(says.starts_with(&format!("\"queries\";r={left};")), "{reply:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_it_says_costs_a_unit_like_a_document_that_is_refused() {
    let world = world_with("queries: { rate: 1/h, burst: 2 }", "").await;
    for status in [400, 400, 429, 429] {
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("content-type", "application/json");
        let reply = send(request.header("content-encoding", "gzip").body("plain")).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(header(&reply, "ratelimit").starts_with("\"queries\";r="), "{reply:?}");
    }
}

#[tokio::test]
async fn a_conflict_of_keys_says_what_is_left_too() {
    let world = world_with("mutations: { rate: 1/h, burst: 30 }", "").await;
    let mut last = None;
    for name in ["one", "another"] {
        let query = format!(
            "mutation {{ createSingleCamJob(takeId: \"{SINGLECAM_TAKE}\", name: \"{name}\") {{ id }} }}"
        );
        let request = world.http.post(world.url()).header("authorization", key("acme"));
        let request = request.header("idempotency-key", "k").json(&json!({"query": query}));
        last = Some(send(request).await);
    }
    let conflict = last.unwrap();
    assert_eq!(conflict.status, 422);
    assert!(header(&conflict, "ratelimit").starts_with("\"mutations\";r=10;"), "{conflict:?}");
}
