//! Takes and volumes have indexes of their own, which answer their listings as that of jobs does.

use std::time::{Duration, Instant};

use jobs_gateway::sandbox::Sandbox;
use serde_json::{Value, json};

use super::{INDEXED, by_index, ids};
use crate::support::{Setup, World, send};

/// A kind: the field that lists it, and the one that reads one.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    list: &'static str,
    get: &'static str,
    items: &'static str,
    add: fn(&Sandbox, &str, Option<&str>),
}

const TAKES: Kind = Kind {
    name: "take",
    list: "listTakes",
    get: "getTake",
    items: "id name",
    add: Sandbox::add_take,
};

const VOLUMES: Kind = Kind {
    name: "volume",
    list: "listVolumes",
    get: "getVolume",
    items: "... on HumanVolume { id name }",
    add: Sandbox::add_volume,
};

impl Kind {
    async fn page(self, world: &World, variables: &Value) -> Value {
        let query = format!(
            "query($first: Int, $after: AWSJSON, $order: SortDirection) {{
                {}(first: $first, after: $after, sortDirection: $order) {{ after items {{ {} }} }} }}",
            self.list, self.items
        );
        let answer = world.ask("acme", &query, variables.clone()).await;
        answer.data(&format!("/{}", self.list))
    }

    /// Pages through a whole listing.
    async fn walk(self, world: &World, first: usize, order: &str) -> Vec<Value> {
        let mut variables = json!({"first": first, "order": order});
        let mut items = Vec::new();
        loop {
            let page = self.page(world, &variables).await;
            items.extend(page["items"].as_array().unwrap().clone());
            if page["after"].is_null() {
                return items;
            }
            variables["after"] = page["after"].clone();
        }
    }

    /// Adds one of a tenant's.
    async fn add(self, world: &World, number: usize, owner: &str) {
        let metadata =
            format!(r#"{{"{owner}":{{}},"_gateway":{{"v":1,"owner":"{owner}","by":"k"}}}}"#);
        (self.add)(&world.sandbox, &format!("{}-{number:04}", self.name), Some(&metadata));
        // Not all at once: of hundreds within a minute nobody knows if the newest pages show all.
        world.pass(Duration::from_secs(2)).await;
    }
}

/// Returns the values of a metric for this kind.
async fn values(world: &World, metric: &str, kind: &str) -> Vec<String> {
    let text = send(world.http.get(format!("http://{}/metrics", world.admin))).await.text;
    let kind = format!("kind=\"{kind}\"");
    let lines = text.lines().filter(|line| line.starts_with(metric) && line.contains(&kind));
    lines.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

async fn answers_their_listings(kind: Kind) {
    let world = Setup::new().config(INDEXED).start().await;
    let sifting = Setup::new().config("index: { enabled: false }\ncursor_key: '${CURSOR_KEY}'\n");
    let sifting = sifting.over(world.sandbox.clone()).await;
    for number in 0..300 {
        kind.add(&world, number, if number % 25 == 3 { "acme" } else { "globex" }).await;
    }
    let give_up = Instant::now() + Duration::from_mins(1);
    while by_index(&world).await < 1.0 {
        assert!(Instant::now() < give_up, "the index is not filled");
        kind.page(&world, &json!({"first": 50})).await;
        world.pass(Duration::from_secs(2)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let walked = values(&world, "jobs_gateway_index_calls_total", "job").await;
    assert_eq!(walked, <[String; 0]>::default(), "nobody wanted an index of jobs");

    // Those that the account began with are of one moment, in which Move's order is its own.
    let is_placed = |item: &Value| item["id"].as_str().unwrap().len() == kind.name.len() + 5;
    let mut own = 0;
    for order in ["ASC", "DESC"] {
        let mut expected = kind.walk(&sifting, 100, order).await;
        assert!(expected.len() >= 12, "those that nobody made belong to all");
        own = expected.len();
        expected.retain(is_placed);
        for first in [3, 5, 100] {
            let mut walked = kind.walk(&world, first, order).await;
            assert_eq!(walked.len(), own, "{first} {order}");
            walked.retain(is_placed);
            assert_eq!(walked, expected, "{first} {order}");
        }
    }
    // What is fresh in no cache costs a call for 25.
    world.pass(Duration::from_secs(3)).await;
    world.sandbox.clear_calls();
    let before = by_index(&world).await;
    let page = kind.page(&world, &json!({"first": 10})).await;
    assert_eq!(ids(&page).len(), 10);
    assert!(by_index(&world).await > before);
    let calls: Vec<_> = world.sandbox.calls().into_iter().map(|call| call.field).collect();
    assert!(calls.iter().filter(|field| *field == kind.list).count() <= 1, "{calls:?}");
    assert!(calls.iter().filter(|field| *field == kind.get).count() <= 1, "{calls:?}");

    // A later page goes on behind its place, whatever is made meanwhile, and what is made is in the next listing.
    kind.add(&world, 900, "acme").await;
    world.pass(Duration::from_secs(2)).await;
    let after = json!({"first": 10, "after": page["after"]});
    assert_eq!(ids(&kind.page(&world, &after).await).len(), own - 10);
    let newest = kind.page(&world, &json!({"first": 1})).await;
    assert_eq!(ids(&newest), [format!("{}-0900", kind.name)]);
    // The cursor is good without an index, too.
    assert_eq!(ids(&kind.page(&sifting, &after).await).len(), own - 10);
}

#[tokio::test]
async fn takes_are_listed_by_an_index_of_their_own() {
    answers_their_listings(TAKES).await;
}

#[tokio::test]
async fn volumes_are_listed_by_an_index_of_their_own() {
    answers_their_listings(VOLUMES).await;
}

#[tokio::test]
async fn a_take_that_a_tenant_made_or_renamed_is_so_in_its_next_listing() {
    let world = Setup::new().config(INDEXED).start().await;
    for number in 0..300 {
        TAKES.add(&world, number, if number % 25 == 3 { "acme" } else { "globex" }).await;
    }
    let give_up = Instant::now() + Duration::from_mins(1);
    while by_index(&world).await < 1.0 {
        assert!(Instant::now() < give_up, "the index is not filled");
        TAKES.page(&world, &json!({"first": 50})).await;
        world.pass(Duration::from_secs(2)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rename = "mutation { updateTake(id: \"take-0003\", name: \"walk\") { id } }";
    world.ask("acme", rename, json!({})).await.data("/updateTake/id");
    let create = "mutation($file: String!) { createSingleCamTake(name: \"new\", sources: [
        {deviceLabel: \"phone\", fileId: $file, format: MP4}]) { id } }";
    let file = "mutation { createFile(type: \"mp4\") { id } }";
    let file = world.ask("acme", file, json!({})).await.data("/createFile/id");
    world.sandbox.upload(file.as_str().unwrap(), "film");
    let made =
        world.ask("acme", create, json!({"file": file})).await.data("/createSingleCamTake/id");
    let items = TAKES.walk(&world, 5, "DESC").await;
    assert_eq!(items.first().unwrap(), &json!({"id": made, "name": "new"}));
    assert!(items.contains(&json!({"id": "take-0003", "name": "walk"})), "{items:?}");
}
