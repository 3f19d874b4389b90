//! A listing is charged by the calls to Move that it made.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jobs_gateway::sandbox::Fault;
use serde_json::json;

use crate::index::{INDEXED, fill, until_indexed};
use crate::support::redis::Redis;
use crate::support::{ALL, Reply, Setup, World, audit, until_called};

const CONFIG: &str =
    "index: { enabled: false }\naudit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";

const LIST: &str = "{ listJobs(first: 50) { items { id } } }";

fn setup() -> Setup {
    let policy =
        format!("{ALL}cache: {{}}\nrate_limit: {{ queries: {{ rate: 1/h, burst: 1000 }} }}\n");
    Setup::new().tenant("acme", policy.clone()).tenant("globex", policy)
}

/// It costs a unit.
const UNIT: &str = "{ getJob(jobId: \"job-1\") { id } }";

/// The units of `queries` that are left.
fn left(reply: &Reply) -> u32 {
    let says = reply.headers["ratelimit"].to_str().unwrap();
    let units = says.strip_prefix("\"queries\";r=").unwrap().split(';').next().unwrap();
    units.parse().unwrap()
}

async fn list(world: &World) -> u32 {
    left(&world.ask("acme", LIST, json!({})).await)
}

/// Lists until a listing costs one unit, and gives the units that are left. It has to come within the two seconds for
/// which pages are kept.
async fn until_cheap(world: &World, mut before: u32) -> u32 {
    for _ in 0..8 {
        let left = list(world).await;
        if left + 1 == before {
            return left;
        }
        before = left;
    }
    panic!("none is cheap: {before} units are left");
}

#[tokio::test]
async fn a_listing_that_is_sifted_pays_for_its_calls_and_one_that_makes_none_is_cheap() {
    let world = setup().config(CONFIG).start().await;
    fill(&world.sandbox);
    // 1,003 jobs with the seed's: ten or eleven pages.
    let calls = |world: &World| u32::try_from(world.sandbox.count("listJobs")).unwrap();
    let first = list(&world).await;
    assert_eq!(first, 1000 - 5 * calls(&world).div_ceil(5));
    assert!(calls(&world) >= 10);
    // Another tenant's goes through the same pages, if it comes within the two seconds for which they are kept.
    let mut costs = Vec::new();
    while costs.len() < 8 && !costs.contains(&1) {
        list(&world).await;
        let before = left(&world.ask("globex", UNIT, json!({})).await);
        let after = left(&world.ask("globex", LIST, json!({})).await);
        costs.push(before - after);
    }
    assert!(costs.contains(&1), "none is cheap: {costs:?}");
    let records = audit::records(&world, 2).await;
    let costs: Vec<_> = records.iter().map(|record| record["unmapped"]["cost"].clone()).collect();
    assert!(costs.contains(&json!(1000 - first)), "{costs:?}");
}

#[tokio::test]
async fn a_listing_by_the_index_costs_five_units_at_most_and_one_where_all_is_at_hand() {
    let policy =
        format!("{ALL}cache: {{}}\nrate_limit: {{ queries: {{ rate: 1/h, burst: 10000 }} }}\n");
    let setup = Setup::new().tenant("acme", policy).tenant("globex", ALL);
    let world = setup.config(INDEXED).start().await;
    fill(&world.sandbox);
    until_indexed(&world, "acme").await;
    world.pass(Duration::from_secs(3)).await;
    let before = list(&world).await;
    let left = until_cheap(&world, before).await;
    world.pass(Duration::from_secs(3)).await;
    assert_eq!(list(&world).await, left - 5, "the newest page and one document");
}

#[tokio::test]
async fn a_listing_whose_caller_went_away_is_charged_for_what_it_did() {
    let world = setup().config(CONFIG).start().await;
    fill(&world.sandbox);
    world.sandbox.set_latency(Duration::from_millis(100));
    let asked = async {
        let calls_beyond = async |count| {
            until_called(&world.sandbox, "listJobs", count + 1).await;
        };
        calls_beyond(5).await;
        // The next one has no answer, so that there is something to break off.
        world.sandbox.fail_always(Some("listJobs"), Some(Fault::Stall));
        calls_beyond(world.sandbox.count("listJobs")).await;
    };
    tokio::select! {
        reply = world.ask("acme", LIST, json!({})) => panic!("it was answered: {reply:?}"),
        () = asked => {}
    }
    let records = audit::records(&world, 1).await;
    assert_eq!(
        (&records[0]["unmapped"]["cost"], &records[0]["api"]["response"]["code"]),
        (&json!(10), &json!(499)),
        "{records:?}"
    );
    assert_eq!(left(&world.ask("acme", UNIT, json!({})).await), 1000 - 10 - 1);
}

#[tokio::test]
async fn replicas_that_share_their_limits_settle_there_too() {
    let redis = Redis::start();
    let config = format!("{}index: {{ enabled: false }}\n", redis.config());
    let (one, two) = setup().config(config).start_two().await;
    for world in [&one, &two] {
        while world.metric("jobs_gateway_shared_state_ok").await != Some(1.0) {
            tokio::task::yield_now().await;
        }
    }
    fill(&one.sandbox);
    // Where Redis does not answer in time, a replica goes on alone: both have to have been heard by it.
    let mut seen = Vec::new();
    let is_settled = |calls: usize, [before, listed, after]: [u32; 3]| {
        let cost = 5 * u32::try_from(calls).unwrap_or(u32::MAX).div_ceil(5);
        before.checked_sub(listed) == Some(cost) && listed.checked_sub(after) == Some(1)
    };
    while !seen.last().is_some_and(|(calls, levels)| is_settled(*calls, *levels)) {
        assert!(seen.len() < 30, "{seen:?}");
        let before = left(&two.ask("acme", UNIT, json!({})).await);
        one.sandbox.clear_calls();
        let listed = list(&one).await;
        let calls = one.sandbox.count("listJobs");
        let after = left(&two.ask("acme", UNIT, json!({})).await);
        seen.push((calls, [before, listed, after]));
    }
}

/// The last lines of `explain` about a listing.
fn explain(folder: &Path, tenant: &str) -> String {
    std::fs::write(folder.join("q.graphql"), LIST).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_jobs-gateway"))
        .current_dir(folder)
        .args(["explain", "--config", "gateway.yaml", "--tenant", tenant, "--query", "q.graphql"])
        .envs([("MOVE_API_KEY", "a"), ("OTHER_MOVE_API_KEY", "b")])
        .env("MOVE_API_URL", "http://127.0.0.1:9/graphql")
        .env("CURSOR_KEY", "07".repeat(32))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told.rsplit("q.graphql").next().unwrap().to_owned()
}

#[tokio::test]
async fn explain_says_how_a_listing_would_be_answered_and_what_it_costs() {
    let apart = format!("{ALL}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n");
    let setup = Setup::new().config(INDEXED).two_accounts();
    let world =
        setup.tenant("acme", ALL).tenant("globex", ALL).tenant("initech", apart).start().await;
    fill(&world.sandbox);
    let told = explain(world.folder(), "initech");
    assert!(told.contains("costs 5\n") && told.contains("has no index"), "{told}");
    let told = explain(world.folder(), "acme");
    assert!(told.contains("costs 1 without a call to Move, else 5 for each five begun"), "{told}");
    assert!(told.contains("until the index is complete: it has not begun"), "{told}");
    until_indexed(&world, "acme").await;
    let told = explain(world.folder(), "acme");
    assert!(told.contains("if it is complete: a gateway has it open"), "{told}");
    let jobs = world.sandbox.job_count();
    let folder = world.stop().await;
    // The last that was written to it may be under way still.
    let give_up = Instant::now() + Duration::from_secs(20);
    let mut told = explain(folder.path(), "acme");
    while told.contains("a gateway has it open") && Instant::now() < give_up {
        told = explain(folder.path(), "acme");
    }
    assert!(told.contains(&format!("which is complete: {jobs} jobs, the newest of 20")), "{told}");
}
