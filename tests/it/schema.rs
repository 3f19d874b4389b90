//! The gateway's schema beside Move's, judged by another implementation (apollo-compiler).

use apollo_compiler::schema::{ExtendedType, FieldDefinition};
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use jobs_gateway::sandbox::{MULTICAM_TAKE, SINGLECAM_TAKE, SandboxOptions, State};
use serde_json::json;

use crate::support::{Setup, World};

fn schema(path: &str) -> Valid<Schema> {
    let text = std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    Schema::parse_and_validate(text, path).unwrap_or_else(|invalid| panic!("{}", invalid.errors))
}

/// A field's arguments, type and deprecation, without descriptions.
fn shape(field: &FieldDefinition) -> String {
    let mut arguments: Vec<_> = field
        .arguments
        .iter()
        .map(|argument| format!("{}: {}", argument.name, argument.ty))
        .collect();
    arguments.sort();
    let deprecated = field
        .directives
        .get("deprecated")
        .map(std::string::ToString::to_string)
        .unwrap_or_default();
    format!("{}({}): {} {deprecated}", field.name, arguments.join(", "), field.ty)
}

/// Every fact of a schema that clients can see, one a line.
fn facts(schema: &Schema) -> Vec<String> {
    let mut facts = Vec::new();
    for (name, definition) in schema.types.iter().filter(|(name, _)| !name.starts_with("__")) {
        let mut add = |fact: String| facts.push(format!("{name} {fact}"));
        match definition {
            ExtendedType::Scalar(_) => add("scalar".to_owned()),
            ExtendedType::Object(object) => {
                object.fields.values().for_each(|field| add(shape(field)));
                object
                    .implements_interfaces
                    .iter()
                    .for_each(|i| add(format!("implements {i}", i = i.name)));
            }
            ExtendedType::Interface(interface) => {
                interface.fields.values().for_each(|field| add(shape(field)));
            }
            ExtendedType::Union(union) => {
                union.members.iter().for_each(|member| add(format!("= {}", member.name)));
            }
            ExtendedType::Enum(values) => {
                values.values.keys().for_each(|value| add(value.to_string()));
            }
            ExtendedType::InputObject(input) => {
                input
                    .fields
                    .values()
                    .for_each(|field| add(format!("{}: {}", field.name, field.ty)));
            }
        }
    }
    facts.sort();
    facts
}

#[test]
fn the_gateways_schema_is_moves_but_for_what_is_stated() {
    let (gateway, upstream) =
        (facts(&schema("schema/gateway.graphql")), facts(&schema("schema/move.graphql")));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|fact| !those.contains(fact)).cloned().collect()
    };
    // Move's documentation has `percentageComplete`, its schema does not; filters and the count are the gateway's own; the
    // rest is Federation's.
    let list_jobs = "Query listJobs(after: AWSJSON, filter: JobFilter, first: Int, \
                     sortDirection: SortDirection, takeId: String): JobsPage ";
    assert_eq!(
        only(&gateway, &upstream),
        [
            "Job percentageComplete(): Int ",
            "JobEvent cursor(): String! ",
            "JobEvent job(): Job! ",
            "JobFilter createdAfter: AWSDateTime",
            "JobFilter createdBefore: AWSDateTime",
            "JobFilter metadata: JobMetadataFilter",
            "JobFilter namePrefix: String",
            "JobFilter state: [String!]",
            "JobMetadataFilter equals: AWSJSON!",
            "JobMetadataFilter key: String!",
            "JobsPage totalCount(): Int ",
            "Query _entities(representations: [_Any!]!): [_Entity]! ",
            "Query _service(): _Service! ",
            list_jobs,
            "Subscription jobUpdated(jobId: ID!): Job! ",
            "Subscription jobsUpdated(after: String, takeId: String): JobEvent! ",
            "_Any scalar",
            "_Entity = File",
            "_Entity = HumanVolume",
            "_Entity = Job",
            "_Entity = Take",
            "_Service sdl(): String ",
        ]
    );
    // A type that tenants see is Move's whole; what they do not see are root fields, with what only these
    // lead to.
    let types = schema("schema/gateway.graphql").types.clone();
    let mut roots = Vec::new();
    for fact in only(&upstream, &gateway) {
        match fact.split_once(' ') {
            Some(("Query" | "Mutation", field)) => {
                roots.push(field.split('(').next().unwrap_or_default().to_owned());
            }
            Some((name, _)) => assert!(!types.contains_key(name), "{fact}"),
            None => panic!("{fact}"),
        }
    }
    assert_eq!(roots, ["listJobs"], "it has one argument more");
    assert!(upstream.contains(&list_jobs.replace("filter: JobFilter, ", "")));
}

/// Everything that can be selected of a type, all the way down.
fn everything(schema: &Schema, type_name: &str) -> String {
    let fields = match &schema.types[type_name] {
        ExtendedType::Object(object) => &object.fields,
        ExtendedType::Union(union) => {
            let members = union.members.iter().map(|member| {
                format!("... on {} {}", member.name, everything(schema, &member.name))
            });
            return format!("{{ __typename {} }}", members.collect::<Vec<_>>().join(" "));
        }
        _ => return String::new(),
    };
    let fields = fields
        .values()
        .map(|field| format!("{} {}", field.name, everything(schema, field.ty.inner_named_type())));
    format!("{{ __typename {} }}", fields.collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn the_gateway_asks_for_nothing_that_is_not_in_move_graphql() {
    let (gateway, upstream) = (schema("schema/gateway.graphql"), schema("schema/move.graphql"));
    let sandbox = SandboxOptions { create_job: true, ..SandboxOptions::default() };
    let policy = "operations: [\"*\"]\ntakes: { owned: true }\n".to_owned();
    let tenants = vec![("acme", policy)];
    let config = "limits: { depth: 30, tokens: 5000 }\n".to_owned();
    let world = Setup::new().sandbox(sandbox).tenants(tenants).config(config).start().await;
    let owned = r#"{"_gateway":{"v":1,"owner":"acme"}}"#;
    world.sandbox.add_take("take-of-acme", Some(owned));

    let job = everything(&gateway, "Job");
    // It is counted by the index alone.
    let page = everything(&gateway, "JobsPage").replace("totalCount ", "");
    let arguments = "metadata: \"{}\", name: \"n\", clipWindow: {startTime: 0, endTime: 1},
        options: {floorPlane: true, mocapModel: S2, trackBall: true, trackFingers: true,
                  trackJerseyNumbers: false}, outputs: [MAIN_FBX]";
    let take = "takeId: \"take-of-acme\"";
    for document in [
        format!("mutation {{ f: createJob({take}, metadata: \"{{}}\") {job} }}"),
        format!("mutation {{ f: createSingleCamJob({take}, {arguments}) {job} }}"),
        format!(
            "mutation {{ f: createMultiCamJob({take}, {arguments}, numberOfActors: 2, rig: \"r\") {job} }}"
        ),
        format!("{{ f: listJobs(first: 5, sortDirection: ASC, {take}) {page} }}"),
    ] {
        let reply = world.ask("acme", &document, json!({})).await;
        assert!(!reply.json()["data"]["f"].is_null(), "{reply:?}");
    }
    let id = world.ask("acme", "{ listJobs { items { id } } }", json!({})).await;
    let id = id.data("/listJobs/items/0/id");
    for document in [
        format!("query($id: ID!) {{ f: getJob(jobId: $id) {job} }}"),
        format!(
            "mutation($id: String!) {{ f: updateJob(id: $id, name: \"n\", metadata: \"[]\") {job} }}"
        ),
    ] {
        let reply = world.ask("acme", &document, json!({"id": id})).await;
        assert!(!reply.json()["data"]["f"].is_null(), "{reply:?}");
    }

    let calls = world.sandbox.calls();
    let mut asked: Vec<_> = calls.iter().map(|call| call.field.as_str()).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(
        asked,
        [
            "createJob",
            "createMultiCamJob",
            "createSingleCamJob",
            "getJob",
            "getTake",
            "listJobs",
            "updateJob"
        ]
    );
    for call in calls {
        let valid = ExecutableDocument::parse_and_validate(&upstream, &call.query, "call.graphql");
        assert!(valid.is_ok(), "{}: {}", call.query, valid.unwrap_err().errors);
    }
}

/// Move's page on the Jobs API prints these; ids are the sandbox's, and its note `// (1)` is left
/// out, which is no GraphQL.
const PAGE: [&str; 4] = [
    r#"mutation CreateJob { job: createJob(takeId: "TAKE") {
        id metadata state created client { id } take { id }
        outputs { key file { id presignedUrl } } } }"#,
    r#"mutation CreateJob { job: createJob(takeId: "TAKE", metadata: "{\"key\": \"value\"}") {
        id metadata } }"#,
    r#"query retrieveJob { job: getJob(jobId: "JOB") {
        id metadata state created client { id } take { id }
        outputs { key file { id presignedUrl } } } }"#,
    r"query ListJob { listJobs { after first items { inputs { options {
        floorPlane mocapModel trackBall trackFingers trackJerseyNumbers } } id } } }",
];

#[tokio::test]
async fn every_operation_of_moves_documentation_page_works() {
    let world = World::start().await;
    let id = world.create("acme", "{}").await;
    world.sandbox.set_state(&id, State::Finished);
    for document in PAGE {
        let document = document.replace("TAKE", SINGLECAM_TAKE).replace("JOB", &id);
        let reply = world.ask("acme", &document, json!({})).await;
        assert!(reply.data("").is_object(), "{document}");
    }
    let created = world.ask("acme", &PAGE[1].replace("TAKE", MULTICAM_TAKE), json!({})).await;
    assert_eq!(created.data("/job/metadata"), r#"{"key": "value"}"#);
    let job = world.ask("acme", &PAGE[2].replace("JOB", &id), json!({})).await.data("/job");
    let url = job["outputs"][0]["file"]["presignedUrl"].as_str().unwrap();
    assert!(url.contains("X-Amz-Expires="), "{url}");
}

#[tokio::test]
async fn a_swift_clients_document_works_with_its_alias_and_variables() {
    let world = World::start().await;
    let document = "mutation CreateSingleCamJob($takeId: String!, $metadata: AWSJSON!) {
        job: createSingleCamJob(takeId: $takeId, metadata: $metadata) { __typename id state } }";
    let variables = json!({"takeId": SINGLECAM_TAKE, "metadata": "{}"});
    let body =
        json!({"operationName": "CreateSingleCamJob", "query": document, "variables": variables});
    let job = world.post("acme", &body).await.data("/job");
    assert_eq!((&job["__typename"], &job["state"]), (&json!("Job"), &json!("NOT_STARTED")));
}
