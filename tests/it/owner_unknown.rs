//! Jobs whose owner Move does not tell: nobody guesses.

use jobs_gateway::sandbox::{Fault, Job, Sandbox, SandboxOptions, State};
use serde_json::{Value, json};

use crate::support::{Reply, Setup, World};

/// The way in which a job's metadata is spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoiled {
    /// It is left out.
    Omitted,
    /// It is null, with an error at it.
    Null,
    /// It is null, with an error at the job.
    NullBelowAnError,
    /// It ends early.
    Cut,
    /// It is no JSON.
    Garbled,
    /// It is encoded twice.
    Twice,
    /// It is no text.
    Object,
    /// Its record is of a version that is not known.
    OtherVersion,
    /// It has two records.
    TwoRecords,
}

impl Spoiled {
    pub const ALL: [Self; 9] = [
        Self::Omitted,
        Self::Null,
        Self::NullBelowAnError,
        Self::Cut,
        Self::Garbled,
        Self::Twice,
        Self::Object,
        Self::OtherVersion,
        Self::TwoRecords,
    ];

    /// Spoils a job in an answer; gives the error that stands beside it.
    fn spoil(self, job: &mut Value, mut path: Vec<Value>) -> Option<Value> {
        let text = job["metadata"].as_str().unwrap_or("{}").to_owned();
        let other = match self {
            Self::Omitted => {
                job.as_object_mut().unwrap().remove("metadata");
                return None;
            }
            Self::Null | Self::NullBelowAnError => {
                job["metadata"] = Value::Null;
                if self == Self::Null {
                    path.push(json!("metadata"));
                }
                let error = json!({"path": path, "message": "no metadata", "errorType": "Odd",
                    "data": job, "errorInfo": {"job": job}});
                return Some(error);
            }
            Self::Cut => json!(&text[..text.len() - 1]),
            Self::Garbled => json!(format!("<{text}")),
            Self::Twice => json!(json!(text).to_string()),
            Self::Object => serde_json::from_str(&text).unwrap(),
            Self::OtherVersion => {
                json!(format!(r#"{{"seen":{text},"_gateway":{{"v":2,"owner":"acme"}}}}"#))
            }
            Self::TwoRecords => {
                let record = r#""_gateway":{"v":1,"owner":"acme","by":"k"}"#;
                json!(format!(r#"{{"seen":{text},{record},{record}}}"#))
            }
        };
        job["metadata"] = other;
        None
    }

    /// Spoils the jobs of an answer: of a page, those whose index is a multiple of `every`.
    pub fn fault(self, every: usize) -> Fault {
        Fault::edit(move |answer| {
            let mut errors = answer["errors"].as_array().cloned().unwrap_or_default();
            for field in ["getJob", "updateJob", "listJobs"] {
                let Some(value) = answer["data"].get_mut(field) else { continue };
                if let Some(Value::Array(items)) = value.get_mut("items") {
                    for (index, item) in items.iter_mut().enumerate().step_by(every) {
                        let path = vec![json!(field), json!("items"), json!(index)];
                        errors.extend(self.spoil(item, path));
                    }
                } else if value.is_object() {
                    errors.extend(self.spoil(value, vec![json!(field)]));
                }
            }
            if !errors.is_empty() {
                answer["errors"] = json!(errors);
            }
        })
    }
}

const ALL: &str = "operations: [\"*\"]\n";
const READS: &str = "operations: [\"*\"]\nmetadata: { unclaimed_jobs: read }\n";
const CACHED: &str = "operations: [\"*\"]\ncache: {}\n";
const LIST: &str = "{ listJobs { after items { id name outputs { file { presignedUrl } } } } }";
const RENAME: &str =
    "mutation($id: String!) { updateJob(id: $id, name: \"new\", metadata: \"{}\") { id } }";

async fn world(tenants: &[(&'static str, &str)], sandbox: SandboxOptions) -> World {
    let tenants = tenants.iter().map(|(name, policy)| (*name, (*policy).to_owned()));
    Setup::new().sandbox(sandbox).tenants(tenants).start().await
}

/// Adds a job of a tenant with a marker in it that nobody else may read.
fn add(sandbox: &Sandbox, owner: Option<&str>) -> String {
    let metadata = match owner {
        Some(owner) => {
            format!(r#"{{"{owner}":"MARK","_gateway":{{"v":1,"owner":"{owner}","by":"k"}}}}"#)
        }
        None => r#"{"made":"MARK"}"#.to_owned(),
    };
    let name = Some("MARK".to_owned());
    let job = Job { metadata: Some(metadata), name, ..Job::new(sandbox.now()) };
    let id = job.id.clone();
    sandbox.add_job(job);
    sandbox.set_state(&id, State::Finished);
    id
}

fn shows_nothing(reply: &Reply) {
    let all = format!("{reply:?}");
    for secret in ["MARK", "Signature", "_gateway", "no metadata"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn a_job_whose_metadata_cannot_be_read_is_an_error_to_everybody_and_stays_as_it_is() {
    let keys = vec!["sandbox-move-key".to_owned(), "other-move-key".to_owned()];
    let own = format!("{ALL}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n");
    let sandbox = SandboxOptions { api_keys: keys, ..SandboxOptions::default() };
    let tenants = [("acme", READS), ("globex", CACHED), ("initech", own.as_str())];
    let world = world(&tenants, sandbox).await;
    let alone = world.sandbox.account("other-move-key").unwrap();
    for spoiled in Spoiled::ALL {
        for (tenant, id, code) in [
            ("acme", add(&world.sandbox, Some("globex")), "NOT_FOUND"),
            ("acme", add(&world.sandbox, None), ""),
            ("globex", add(&world.sandbox, Some("globex")), ""),
            ("globex", add(&world.sandbox, None), "NOT_FOUND"),
            ("initech", add(&alone, Some("initech")), ""),
            ("initech", add(&alone, None), ""),
        ] {
            let before = world.sandbox.job(&id).unwrap();
            world.sandbox.fail_always(Some("getJob"), Some(spoiled.fault(1)));
            for _ in 0..2 {
                let selection = "id name metadata outputs { file { presignedUrl } }";
                let reply = world.get(tenant, &id, selection).await;
                assert_eq!(reply.code(), "UPSTREAM_ERROR", "{spoiled:?} {tenant}: {reply:?}");
                shows_nothing(&reply);
                let reply = world.ask(tenant, RENAME, json!({"id": id})).await;
                assert_eq!(reply.code(), "UPSTREAM_ERROR", "{spoiled:?} {tenant}: {reply:?}");
                shows_nothing(&reply);
            }
            world.sandbox.fail_always(Some("getJob"), None);
            let after = world.sandbox.job(&id).unwrap();
            assert_eq!((after.name, after.metadata), (before.name, before.metadata));
            // Nothing of it is remembered.
            assert_eq!(world.get(tenant, &id, "id").await.code(), code, "{spoiled:?} {tenant}");
        }
    }
    assert_eq!(world.sandbox.count("updateJob"), 0);
}

#[tokio::test]
async fn the_owner_reads_its_job_again_as_soon_as_move_is_well() {
    let world = world(&[("acme", CACHED)], SandboxOptions::default()).await;
    let id = add(&world.sandbox, Some("acme"));
    for spoiled in Spoiled::ALL {
        world.sandbox.fail_next(Some("getJob"), spoiled.fault(1));
        let selection = format!("name {}", if spoiled == Spoiled::Null { "id" } else { "state" });
        world.pass(std::time::Duration::from_hours(1)).await;
        let reply = world.get("acme", &id, &selection).await;
        assert_eq!(reply.code(), "UPSTREAM_ERROR", "{spoiled:?}: {reply:?}");
        assert_eq!(world.get("acme", &id, &selection).await.data("/getJob/name"), "MARK");
    }
}

#[tokio::test]
async fn in_a_listing_a_job_of_unknown_owner_is_left_out_and_ends_nothing() {
    let keys = vec!["sandbox-move-key".to_owned(), "other-move-key".to_owned()];
    let own = format!("{ALL}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n");
    let sandbox = SandboxOptions { api_keys: keys, ..SandboxOptions::default() };
    let tenants = [("acme", ALL), ("globex", READS), ("initech", own.as_str())];
    let world = world(&tenants, sandbox).await;
    let alone = world.sandbox.account("other-move-key").unwrap();
    // Newest first: the even ones are spoiled.
    let mut mine: Vec<_> = (0..4).map(|_| add(&world.sandbox, Some("acme"))).collect();
    let mut alone: Vec<_> = (0..4).map(|_| add(&alone, None)).collect();
    mine.reverse();
    alone.reverse();
    for spoiled in Spoiled::ALL {
        world.sandbox.fail_always(Some("listJobs"), Some(spoiled.fault(2)));
        for (tenant, expected) in [("acme", &mine), ("initech", &alone)] {
            let reply = world.ask(tenant, LIST, json!({})).await;
            let items = reply.data("/listJobs/items");
            let ids: Vec<_> = items.as_array().unwrap().iter().map(|item| &item["id"]).collect();
            assert_eq!(ids, [&expected[1], &expected[3]], "{spoiled:?} {tenant}");
            assert!(!reply.text.contains("no metadata"), "{reply:?}");
        }
        shows_nothing(&world.ask("globex", LIST, json!({})).await);
    }
    let told = world.metric("jobs_gateway_unknown_owners_total{operation=\"listJobs\"").await;
    assert!(told.is_some_and(|count| count >= 1.0), "{told:?}");
}

#[tokio::test]
async fn a_write_whose_answer_does_not_tell_the_owner_is_of_unknown_outcome() {
    let world = world(&[("acme", ALL)], SandboxOptions::default()).await;
    let id = add(&world.sandbox, Some("acme"));
    for spoiled in Spoiled::ALL {
        world.sandbox.fail_next(Some("updateJob"), spoiled.fault(1));
        let reply = world.ask("acme", RENAME, json!({"id": id})).await;
        assert_eq!(reply.code(), "OUTCOME_UNKNOWN", "{spoiled:?}: {reply:?}");
        let stored = world.sandbox.job(&id).unwrap().metadata.unwrap();
        assert_eq!(stored, r#"{"acme":{},"_gateway":{"v":1,"owner":"acme","by":"k"}}"#);
    }
}

#[tokio::test]
async fn a_listing_without_a_page_tells_nothing_of_the_jobs_on_it() {
    let keys = vec!["sandbox-move-key".to_owned(), "other-move-key".to_owned()];
    let own = format!("{ALL}upstream: {{ api_key: '${{OTHER_MOVE_API_KEY}}' }}\n");
    let sandbox = SandboxOptions { api_keys: keys, ..SandboxOptions::default() };
    let world = world(&[("acme", ALL), ("initech", own.as_str())], sandbox).await;
    let foreign = add(&world.sandbox, Some("globex"));
    let secret = json!({"id": foreign, "name": "MARK"});
    let error = |path: Value, message: &str| {
        json!({"path": path, "message": message, "errorType": "Odd", "data": secret,
            "errorInfo": {"suggestions": [secret]}})
    };
    let of_item = error(json!(["listJobs", "items", 0, "id"]), "MARK");
    let of_page = error(json!(["listJobs"]), "The page cannot be told.");
    for tenant in ["acme", "initech"] {
        for data in [json!(null), json!({"listJobs": null})] {
            for (errors, told) in [
                (json!([of_item]), "Move gave no usable answer"),
                (json!([of_item, of_page]), "The page cannot be told."),
            ] {
                let body = json!({"data": data, "errors": errors}).to_string();
                world.sandbox.fail_next(Some("listJobs"), Fault::json(200, body));
                let reply = world.ask(tenant, LIST, json!({})).await;
                assert_eq!(reply.code(), "UPSTREAM_ERROR");
                assert!(reply.text.contains(told) && !reply.text.contains(&foreign), "{reply:?}");
                shows_nothing(&reply);
            }
        }
        // A page whose cursor is lost is no last page.
        let lost = error(json!(["listJobs", "after"]), "No cursor.");
        let body = json!({"data": {"listJobs": {"items": [], "after": null}}, "errors": [lost]});
        world.sandbox.fail_next(Some("listJobs"), Fault::json(200, body.to_string()));
        let reply = world.ask(tenant, LIST, json!({})).await;
        assert_eq!(reply.code(), "UPSTREAM_ERROR", "{reply:?}");
        shows_nothing(&reply);
    }
}

#[tokio::test]
async fn a_complaint_about_a_job_is_its_owners_alone_and_reads_as_not_found_to_others() {
    let sandbox = SandboxOptions { failed_as_error: true, ..SandboxOptions::default() };
    let one = world(&[("acme", CACHED), ("globex", CACHED)], sandbox).await;
    let id = one.create("globex", "{}").await;
    let other = one.create("globex", "{}").await;
    one.sandbox.set_state(&id, State::Failed);
    let complaint = Fault::GraphqlError { error_type: "MoveJobError", message: "it limps" };
    let missing = one.get("acme", "job-43171933-7526-41a9-a1e2-d6ef328e2cbe", "id").await;
    let comparable = |reply: Reply| format!("{:?}", reply.comparable());
    let missing = comparable(missing);
    let foreign = one.get("acme", &id, "id").await;
    assert_eq!(comparable(foreign), missing, "as an error with data");
    for _ in 0..2 {
        one.sandbox.fail_next(Some("getJob"), complaint.clone());
    }
    let foreign = one.get("acme", &other, "id").await;
    assert_eq!(comparable(foreign), missing, "as an error without data");

    // The owner reads it, also where it was never seen before and the error lies below the job.
    let error = one.get("globex", &id, "id").await.json()["errors"][0].clone();
    assert_eq!(error["errorType"], "MoveJobFailedError");
    one.sandbox.set_state(&id, State::Running);
    let two = Setup::new().tenant("acme", ALL).tenant("globex", ALL);
    let two = two.over(one.sandbox.clone()).await;
    let bubbled = Fault::edit(|answer| {
        *answer = json!({"data": {"getJob": null}, "errors": [
            {"path": ["getJob", "client"], "message": "it limps", "errorType": "Odd"}]});
    });
    for (tenant, code, told) in [("acme", "NOT_FOUND", false), ("globex", "UPSTREAM_ERROR", true)] {
        two.sandbox.fail_next(Some("getJob"), bubbled.clone());
        let reply = two.get(tenant, &id, "id client { id }").await;
        assert_eq!((reply.code().as_str(), reply.text.contains("limps")), (code, told));
    }
}

#[tokio::test]
async fn while_move_complains_about_everything_no_job_is_said_to_be_missing() {
    let world = world(&[("acme", CACHED)], SandboxOptions::default()).await;
    let id = add(&world.sandbox, Some("acme"));
    let ill = Fault::GraphqlError { error_type: "InternalFailure", message: "not now" };
    world.sandbox.fail_always(Some("getJob"), Some(ill));
    assert_eq!(world.get("acme", &id, "id").await.code(), "UPSTREAM_ERROR");
    world.sandbox.clear_faults();
    world.get("acme", &id, "id").await.data("/getJob/id");
}

#[tokio::test]
async fn having_read_a_job_of_nobody_proves_nothing_once_policy_hides_it() {
    let sandbox = SandboxOptions { failed_as_error: true, ..SandboxOptions::default() };
    let world = world(&[("acme", READS)], sandbox).await;
    let id = add(&world.sandbox, None);
    let (hidden, mine) = (id.as_str(), world.create("acme", "{}").await);
    world.get("acme", hidden, "id").await.data("/getJob/id");
    world.write_policy("acme", ALL);
    while world.get("acme", hidden, "id").await.code() != "NOT_FOUND" {
        tokio::task::yield_now().await;
    }
    for id in [hidden, &mine] {
        world.sandbox.set_state(id, State::Failed);
    }
    let reply = world.get("acme", hidden, "id").await;
    assert_eq!(reply.code(), "NOT_FOUND");
    assert!(!reply.text.contains("Film"), "{reply:?}");
    // What is the tenant's own stays so.
    let error = world.get("acme", &mine, "id").await.json()["errors"][0].clone();
    assert_eq!(error["errorType"], "MoveJobFailedError");
}

#[tokio::test]
async fn a_complaint_about_a_named_id_reads_as_a_missing_one_and_an_outage_as_an_outage() {
    let policy = "operations: [\"*\", sharing]\ntakes: { unclaimed: hide }\n";
    let world = Setup::new().tenant("acme", policy).start().await;
    let globexs = r#"{"_gateway":{"v":1,"owner":"globex"}}"#;
    world.sandbox.add_take("take-foreign", Some(globexs));
    world.sandbox.add_file("file-foreign", Some(globexs));
    let complaint = Fault::edit(|answer| {
        let error = json!({"path": ["e0"], "message": "it limps", "errorType": "Odd"});
        *answer = json!({"data": null, "errors": [error]});
    });
    let comparable = |reply: Reply| format!("{:?}", reply.comparable());
    for (kind, getter, query) in [
        ("take", "getTake", "mutation($id: String!) { createSingleCamJob(takeId: $id) { id } }"),
        ("take", "getTake", "query($id: String) { listJobs(takeId: $id) { items { id } } }"),
        ("file", "getFile", "mutation($id: String!) { generateShareCode(fileId: $id) { code } }"),
    ] {
        let ask = async |name: &str, complaints: usize| {
            for _ in 0..complaints {
                world.sandbox.fail_next(Some(getter), complaint.clone());
            }
            world.sandbox.clear_calls();
            world.ask("acme", query, json!({"id": format!("{kind}-{name}")})).await
        };
        let missing = comparable(ask("missing", 0).await);
        for (complaints, calls) in [(0, 1), (1, 2), (2, 3)] {
            assert_eq!(comparable(ask("foreign", complaints).await), missing, "{query}");
            assert_eq!(world.sandbox.calls().len(), calls, "{query}");
        }
        // Move complains of what nothing has too.
        assert_eq!(ask("foreign", 3).await.code(), "UPSTREAM_ERROR", "{query}");
    }
    // One's own is used where the second answer says whose it is.
    world.sandbox.add_take("take-own", Some(r#"{"_gateway":{"v":1,"owner":"acme"}}"#));
    world.sandbox.fail_next(Some("getTake"), complaint);
    let query = "mutation { createSingleCamJob(takeId: \"take-own\") { id } }";
    world.ask("acme", query, json!({})).await.data("/createSingleCamJob/id");
}
