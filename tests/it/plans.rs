//! Documents that come again are answered by the plan that was made for them: nobody can tell.

use serde_json::{Value, json};

use crate::support::{Setup, World};

/// Returns what a document is answered when it comes for the first, second and third time. The variable that is
/// not in use keeps whole answers from being found.
async fn thrice(world: &World, tenant: &str, document: &str, id: &str) -> [Value; 3] {
    let mut answers = Vec::new();
    for time in 0..3 {
        let variables = json!({"id": id, "time": time});
        answers.push(world.ask(tenant, document, variables).await.comparable().json());
    }
    answers.try_into().unwrap()
}

#[tokio::test]
async fn a_document_that_comes_again_is_answered_as_before() {
    let world = World::start().await;
    let id = world.create("acme", r#"{"shot":1.50}"#).await;
    for document in [
        "query($id: ID!) { getJob(jobId: $id) { id state metadata } }",
        "query($id: ID!) { job: getJob(jobId: $id) { __typename n: id take { __typename id } } }",
        "query($id: ID!) { getJob(jobId: $id) { ...J } } fragment J on Job { id client { ...C } } \
         fragment C on Client { id portal metadata }",
        "query Q($id: ID!) { getJob(jobId: $id) { id ... on Identifier { same: id } progress { state } \
         percentageComplete outputs { key file { presignedUrl } } } }",
        "query($id: ID!) { getJob(jobId: $id) { take { volume { ... on HumanVolume { id } } } } }",
    ] {
        let [first, second, third] = thrice(&world, "acme", document, &id).await;
        assert!(first["data"].is_object(), "{document}: {first}");
        assert_eq!(first, second, "{document}");
        assert_eq!(second, third, "{document}");
    }
    let metadata = "query($id: ID!) { getJob(jobId: $id) { metadata } }";
    let [_, again, _] = thrice(&world, "acme", metadata, &id).await;
    assert_eq!(again["data"]["getJob"]["metadata"], r#"{"shot":1.50}"#);
}

#[tokio::test]
async fn what_is_wrong_is_said_as_before() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let document = "query($id: ID!) { job: getJob(jobId: $id) { id } }";
    thrice(&world, "acme", document, &id).await;
    // Foreign, missing, and no id at all: a document that was never seen says the same.
    for (tenant, id) in [("globex", &*id), ("acme", "job-none"), ("acme", "no id!")] {
        let unseen = format!("{document} # of {tenant} for {id}");
        let [known, ..] = thrice(&world, tenant, document, id).await;
        let [new, ..] = thrice(&world, tenant, &unseen, id).await;
        assert!(known["errors"][0]["extensions"]["code"].is_string(), "{known}");
        assert_eq!(known["errors"][0]["path"], json!(["job"]), "{known}");
        assert_eq!(known, new);
    }
    // A variable of another kind is still refused before anything is asked for.
    let before = world.sandbox.count("getJob");
    let wrong = world.ask("acme", document, json!({"id": ["job-1"]})).await;
    assert_eq!(wrong.json()["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    assert_eq!(world.sandbox.count("getJob"), before);
}

#[tokio::test]
async fn a_plan_asks_move_once_also_where_there_is_an_error_to_tell() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    let document = "query($id: ID!) { getJob(jobId: $id) { id } }";
    thrice(&world, "acme", document, &id).await;
    let before = world.sandbox.count("getJob");
    let missing = world.ask("acme", document, json!({"id": "job-missing-1"})).await;
    assert_eq!(missing.json()["errors"][0]["extensions"]["code"], "NOT_FOUND");
    assert_eq!(world.sandbox.count("getJob"), before + 1);
}

#[tokio::test]
async fn a_hidden_field_stays_hidden_from_those_who_ask_what_others_may() {
    let hiding = "operations: [\"*\"]\nhidden_fields: [Job.name, Job.client]\n".to_owned();
    let world =
        Setup::new().tenant("acme", "operations: [\"*\"]\n").tenant("globex", hiding).start().await;
    let id = world.create("acme", "{}").await;
    let document = "query($id: ID!) { getJob(jobId: $id) { id name } }";
    thrice(&world, "acme", document, &id).await;
    let own = world.create("globex", "{}").await;
    for document in [
        document,
        // By way of an interface that the field belongs to.
        "query($id: ID!) { getJob(jobId: $id) { ... on ClientOwner { client { id } } } }",
    ] {
        for refused in thrice(&world, "globex", document, &own).await {
            assert_eq!(refused["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
            assert_eq!(refused.get("data"), None);
        }
    }
    // What is valid by way of another type, or under another's key, shows nothing of the job.
    for document in [
        "query($id: ID!) { getJob(jobId: $id) { ... on Identifier { ... on Take { name client { id } } } } }",
        "query($id: ID!) { getJob(jobId: $id) { x: take { id } ... on Job { x: take { name } } } }",
    ] {
        let answers = thrice(&world, "globex", document, &own).await;
        assert_eq!(answers[0], answers[1], "{document}");
        let job = &answers[1]["data"]["getJob"];
        assert!(job.get("name").is_none() && job.get("client").is_none(), "{job}");
    }
}
