//! The stages, each alone.

use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use jobs_gateway::audit::{Event, Head, Link, write_line};
use jobs_gateway::auth::{Issuers, authenticate};
use jobs_gateway::cache::{
    CachedResponse, EntityCache, Entry, Key, Lifetime, ResponseCache, ResponseKey, State, Versions,
};
use jobs_gateway::graphql::schema_without;
use jobs_gateway::jobs::envelope;
use jobs_gateway::limit::{self, Charge, Limiter};
use jobs_gateway::model::{
    CallRecord, CredentialId, EntityId, EntityKind, Kind, MediaType, RequestId, RequestMethod,
    RootField, RootFields, Selection, Tenant, Trail, Weights,
};
use jobs_gateway::operation::{Documents, Limits};
use jobs_gateway::reload::Loaded;
use jobs_gateway::telemetry;
use jobs_gateway::upstream::Entity;
use jobs_gateway::upstream::{self, Call, EntityDocument};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tracing::Dispatch;
use tracing::dispatcher::with_default;
use tracing_subscriber::layer::SubscriberExt;

use super::support::{self, Signer, folder, load};

type Run = Box<dyn FnMut()>;

pub const QUERY: &str = "query($id: ID!) { getJob(jobId: $id) { id state name created metadata \
    client { id name } take { id } progress { percentageComplete } \
    outputs { key file { type presignedUrl } } } }";

pub const METADATA: &str =
    r#"{"tenant-0":{"shot":12},"_gateway":{"v":1,"owner":"tenant-0","by":"key-0"}}"#;

/// Move's answer to a `getJob`.
pub fn answer(id: &str) -> String {
    format!(r#"{{"data":{{"getJob":{}}}}}"#, job(id, METADATA))
}

/// A job as Move sends it, about a kilobyte.
pub fn job(id: &str, metadata: &str) -> Value {
    let url = "https://files.example.test/outputs/job-1/1.fbx?X-Amz-Algorithm=AWS4-HMAC-SHA256&\
        X-Amz-Date=20990101T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&\
        X-Amz-Signature=0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";
    let output = json!({"key": "output-1", "file": {"type": "fbx", "presignedUrl": url}});
    json!({
        "id": id, "name": "scene 12", "state": "FINISHED",
        "created": "2026-01-01T00:00:00.000Z", "metadata": metadata,
        "progress": {"state": "FINISHED", "percentageComplete": 100},
        "client": {"id": "client-1", "name": "studio"}, "take": {"id": "take-1"},
        "outputs": [output, output],
    })
}

pub fn variables(id: &str, extra: Option<u64>) -> Map<String, Value> {
    let mut variables = Map::new();
    variables.insert("id".into(), id.into());
    if let Some(extra) = extra {
        variables.insert("n".into(), extra.into());
    }
    variables
}

/// Loads ten tenants.
fn loaded(more: &str) -> Loaded {
    load(folder(10, None, more).path())
}

fn tenant() -> Arc<Tenant> {
    let loaded = loaded("");
    let mut tenants = loaded.policies.tenants();
    Arc::clone(tenants.find(|tenant| tenant.id.as_str() == "tenant-0").unwrap())
}

pub fn key(_: &Arc<Runtime>) -> Run {
    let (loaded, issuers, key) = (loaded(""), Issuers::none(), support::key(0, 0));
    let now = Timestamp::now();
    Box::new(move || {
        authenticate(&key, &loaded.policies, &issuers, now).now_or_never().unwrap().unwrap();
    })
}

/// A token of an hour, looked at so much later.
fn token(runtime: &Arc<Runtime>, after: Duration) -> Run {
    let _entered = runtime.enter();
    let signer = Signer::new();
    // Its keys are in a file.
    let folder = folder(10, Some(&signer), "");
    let loaded = load(folder.path());
    let (issuers, token) = (support::issuers(&loaded), signer.token(0, 0));
    let (now, runtime) = (Timestamp::now() + after, Arc::clone(runtime));
    Box::new(move || {
        runtime.block_on(authenticate(&token, &loaded.policies, &issuers, now)).unwrap();
    })
}

pub fn token_remembered(runtime: &Arc<Runtime>) -> Run {
    token(runtime, Duration::ZERO)
}

/// In the seconds after its end, which are let pass because clocks differ, a token is verified each time.
pub fn token_first(runtime: &Arc<Runtime>) -> Run {
    token(runtime, Duration::from_secs(3_610))
}

pub fn operation_first(_: &Arc<Runtime>) -> Run {
    let (documents, mut number) = (Documents::new(Limits::default()), 0);
    let schema = schema_without(&[]).unwrap();
    Box::new(move || {
        number += 1;
        let document = documents.parse(&schema, &format!("{QUERY} # {number}")).unwrap();
        document.operation(None, variables("job-1", None)).unwrap();
    })
}

pub fn operation_remembered(_: &Arc<Runtime>) -> Run {
    let documents = Documents::new(Limits::default());
    let schema = schema_without(&[]).unwrap();
    Box::new(move || {
        documents.parse(&schema, QUERY).unwrap().operation(None, variables("job-1", None)).unwrap();
    })
}

pub fn limit(runtime: &Arc<Runtime>) -> Run {
    let _entered = runtime.enter();
    let rate = "rate_limit: { queries: { rate: 1000000/s, burst: 1000000 } }\n";
    let loaded = loaded(rate);
    let tenants = loaded.policies.tenants().map(|tenant| &**tenant);
    let limits = limit::Limits::new(tenants, Weights::default(), None);
    let (tenant, credential) = (tenant(), CredentialId::parse("key-0").unwrap());
    let runtime = Arc::clone(runtime);
    Box::new(move || {
        let _entered = runtime.enter();
        let weights = &limits.weights;
        let charge = Charge::for_units([RootField::GetJob].into_iter(), |f| weights.of(f), false);
        let own = limits.get(&tenant.id).unwrap();
        let admitted =
            Limiter::Local.admit(&tenant.id, own, &credential, &charge, own.enter().unwrap());
        admitted.now_or_never().unwrap().unwrap();
    })
}

pub fn answer_hit(_: &Arc<Runtime>) -> Run {
    let (versions, now) = (Arc::new(Versions::default()), Timestamp::now());
    let answers = ResponseCache::new(1 << 20, versions);
    let text = json!({"query": QUERY, "variables": variables("job-1", None)}).to_string();
    let (method, media_type) = (RequestMethod::Post, MediaType::Json);
    let question =
        ResponseKey { tenant: tenant().id.clone(), method, media_type, text: text.into() };
    let stored = CachedResponse {
        body: Bytes::from(answer("job-1")),
        etag: OnceLock::new(),
        fetched: now,
        fresh_until: now + Duration::from_hours(1),
        versions: [].into(),
        roots: [].into(),
        needs: RootFields::ALL,
        introspects: false,
    };
    answers.put(question.clone(), Arc::new(stored));
    Box::new(move || {
        black_box(answers.get(&question, now).unwrap());
    })
}

pub fn job_hit(_: &Arc<Runtime>) -> Run {
    let (versions, now) = (Arc::new(Versions::default()), Timestamp::now());
    let (cache, tenant) = (EntityCache::new(1 << 20, Arc::clone(&versions)), tenant());
    let key = Key::new(tenant.id.clone(), EntityId::job("job-1").unwrap());
    let lifetime = Lifetime::of(&tenant.cache, State::Finished, std::iter::empty(), now);
    let (selection, version) = (Arc::new(Selection::of_leaves(["id"])), versions.of(&key));
    let entry =
        Entry { value: (), selection, tenant: Arc::clone(&tenant), lifetime, version, weight: 1 };
    cache.put(key.clone(), Arc::new(entry), now);
    Box::new(move || {
        black_box(cache.get(&key, &tenant).unwrap());
    })
}

pub fn envelope_in(_: &Arc<Runtime>) -> Run {
    let tenant = tenant();
    Box::new(move || match envelope::read(Some(METADATA)) {
        envelope::Metadata::Envelope(envelope) => {
            black_box(envelope.value(&tenant));
        }
        other => panic!("{other:?}"),
    })
}

pub fn envelope_out(_: &Arc<Runtime>) -> Run {
    let (tenant, by) = (tenant(), CredentialId::parse("key-0").unwrap());
    Box::new(move || {
        black_box(envelope::wrap(&tenant, &by, None, "{\"shot\":12}"));
    })
}

pub fn selection_to_document(_: &Arc<Runtime>) -> Run {
    let mut selection = Selection::of_leaves(["id", "state", "name", "created", "metadata"]);
    selection.field("client").merge(&Selection::of_leaves(["id", "name"]));
    selection.field("outputs").merge(&Selection::of_leaves(["key"]));
    let id = EntityId::job("job-1").unwrap();
    Box::new(move || {
        black_box(Call::get(&id, &EntityDocument::new(EntityKind::Job, &selection)));
    })
}

pub fn upstream_answer_in(_: &Arc<Runtime>) -> Run {
    let bytes = answer("job-1");
    Box::new(move || {
        upstream::read::<Entity>("getJob", bytes.as_bytes()).unwrap();
    })
}

/// A call's record as a line of JSON.
pub fn audit_record(_: &Arc<Runtime>) -> Run {
    let (record, mut line) = (record(), Vec::new());
    let place = Head::default().next();
    Box::new(move || {
        line.clear();
        for event in Event::of_call(&record) {
            write_line(&event, place, &mut line);
        }
        black_box(&line);
    })
}

/// The log's line of a call, and the call's metrics.
pub fn log_line(_: &Arc<Runtime>) -> Run {
    let record = record();
    let lines = telemetry::lines(telemetry::Format::Json, false, std::io::sink, None);
    let subscriber = tracing_subscriber::registry().with(lines);
    let dispatch = Dispatch::new(subscriber);
    Box::new(move || with_default(&dispatch, || telemetry::emit(black_box(&record))))
}

/// The hash that binds the next line to this one.
pub fn chain(_: &Arc<Runtime>) -> Run {
    let (record, mut line, mut head) = (record(), Vec::new(), Head::default());
    let place: Link = head.next();
    write_line(&Event::of_call(&record)[0], place, &mut line);
    Box::new(move || head = black_box(head.after(&line)))
}

fn record() -> CallRecord {
    let mut record = CallRecord::begin(RequestId::new(), Timestamp::now());
    record.arrived(RequestMethod::Post, Some([127, 0, 0, 1].into()), None);
    let (loaded, issuers, key) = (loaded(""), Issuers::none(), support::key(0, 0));
    let caller = authenticate(&key, &loaded.policies, &issuers, Timestamp::now()).now_or_never();
    record.authenticated(&caller.unwrap().unwrap());
    record.parsed(Kind::Query, [Trail::new("getJob", RootField::GetJob)].into());
    record
}
