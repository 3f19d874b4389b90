//! graphql-js as the judge of documents and answers.

mod random;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::execute::Answering;
use super::plan::{Plan, RootPlan};
use super::roots::{Failed, Outcome, Resolved};
use super::schemas::schema_without;
use crate::jobs::fixture::{Held, Place, tenant};
use crate::jobs::{self, Owned, Page};
use crate::json::{Json, JsonRef};
use crate::model::{
    Account, AccountId, Activity, EntityKind, FieldCoordinate, Group, RequestId, RootField, Tenant,
};
use crate::operation::{Documents, Limits, Operation, Schema, Unit, sdl_without};
use crate::types::sdl;
use crate::upstream::{Entity, FieldError, PathSegment};
use random::{Dice, Random};

/// A document to be judged.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    schema: usize,
    query: String,
    operation_name: Option<String>,
    variables: Map<String, Value>,
}

/// The verdict on one.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Verdict {
    /// Why it was not executed.
    refused: Option<String>,
    /// Its data, to the letter.
    data: Option<String>,
    /// The paths of its errors.
    paths: Vec<String>,
}

/// Fields that the tenants of the second schema do not see.
fn hidden() -> Vec<FieldCoordinate> {
    let hidden = [("Job", "client"), ("Take", "name"), ("HumanVolume", "state"), ("Rig", "name")];
    let coordinate = |(type_name, field): (&str, &str)| FieldCoordinate {
        type_name: type_name.into(),
        field: field.into(),
    };
    hidden.map(coordinate).into()
}

/// A tenant in a Move account of its own: what Move sends it sees as it is.
fn alone() -> Tenant {
    let mut acme = tenant("acme");
    let id = AccountId::Tenant(acme.id.clone());
    acme.account = Arc::new(Account { id, ..Account::clone(&acme.account) });
    acme
}

struct Ours {
    documents: Documents,
    schemas: [Arc<Schema>; 2],
    tenant: Tenant,
    entities: Vec<(Arc<Owned>, Option<FieldError>)>,
    code: Entity,
}

impl Ours {
    fn new(entities: &[Value]) -> Self {
        let most = 1_000_000;
        let limits = Limits {
            depth: most,
            aliases: most,
            root_fields: most,
            tokens: most,
            directives: most,
            representations: most,
        };
        let tenant = alone();
        let own = |entity: &Value| {
            let kind = entity["__typename"].as_str().and_then(EntityKind::from_type_name)?;
            let failing = entity["_failing"].as_str().map(|field| FieldError {
                message: "failing".to_owned(),
                error_type: None,
                error_info: None,
                data: None,
                path: vec![PathSegment::Field(field.into())],
                has_path: true,
            });
            let entity = Entity::parse(&entity.to_string()).expect("an object");
            let owned = Owned::verify(&tenant, kind, Held::ByNobody, entity, &[], Place::Root);
            Some((Arc::new(owned.expect("the tenant's")), failing))
        };
        let code = entities.iter().find(|entity| entity["__typename"] == "ShareCode");
        let code = code.and_then(|code| Entity::parse(&code.to_string())).expect("a code");
        let entities = entities.iter().filter_map(own).collect();
        let schemas = [schema_without(&[]), schema_without(&hidden())];
        let schemas = schemas.map(|schema| schema.expect("a schema"));
        Self { documents: Documents::new(limits), schemas, tenant, entities, code }
    }

    fn judge(&self, case: &Case) -> Verdict {
        let operation =
            self.documents.parse(&self.schemas[case.schema], &case.query).and_then(|document| {
                document.operation(case.operation_name.as_deref(), case.variables.clone())
            });
        let operation = match operation {
            Ok(operation) => operation,
            Err(error) => {
                return Verdict { refused: Some(error.to_string()), ..Verdict::default() };
            }
        };
        let plan = Plan::for_form(&operation.form);
        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        for unit in &operation.units {
            let is_over = outcomes.last().is_some_and(|last| !matches!(last, Some(Ok(_))));
            let is_done = operation.kind == crate::model::Kind::Query || !is_over;
            outcomes.push(is_done.then(|| self.outcome(&operation, &plan.roots[unit.root], unit)));
        }
        let answering = Answering {
            plan: &plan,
            operation: &operation,
            service: "null",
            introspected: Vec::new(),
            outcomes,
        };
        let body = answering.write(RequestId::new(), &self.tenant, &[]).body;
        let body = Json::parse(str::from_utf8(&body).expect("UTF-8")).expect("JSON");
        let raw = |value: Option<JsonRef<'_>>| value.map(|value| value.raw().to_owned());
        let errors = body.root().get("errors").into_iter().flat_map(JsonRef::items);
        let paths = errors.filter_map(|error| raw(error.get("path"))).collect();
        Verdict { refused: None, data: raw(body.root().get("data")), paths }
    }

    fn outcome(&self, operation: &Operation, plan: &RootPlan, unit: &Unit) -> Outcome {
        let &Unit { root, entity, field, .. } = unit;
        let arguments = operation.arguments(root).expect("arguments");
        let kind = field.entity();
        let mut own = self.entities.iter().filter(|(entity, _)| entity.kind() == kind);
        let first =
            || (Resolved::Entity(Arc::clone(&own.clone().next().expect("one").0)), Vec::new());
        let missing = || Failed::from(jobs::Error::NotFound(kind.name()));
        let id = match (entity, field.activity()) {
            (Some(place), _) => {
                let one = operation.representations(root)[place].clone();
                let is_named = one["__typename"] == kind.type_name();
                if is_named { one["id"].clone() } else { Value::Null }
            }
            (None, _) if field.group() == Group::Webhooks || field == RootField::UpdateClient => {
                return Err(missing());
            }
            (None, Activity::Other) => {
                return Ok((Resolved::Plain(self.code.clone()), Vec::new()));
            }
            (None, Activity::Read) => match kind.id_argument() {
                Some(argument) => arguments[argument].clone(),
                None => {
                    return Ok(first());
                }
            },
            (None, Activity::Update) => arguments["id"].clone(),
            (None, Activity::List) => {
                let items: Vec<_> = own.map(|(entity, _)| Owned::clone(entity)).collect();
                let first = i32::try_from(items.len()).expect("few");
                return Ok((
                    Resolved::Page(Page { after: None, first, items, total: None }),
                    Vec::new(),
                ));
            }
            (None, Activity::Create) => {
                return Ok(first());
            }
        };
        let is_it = |entity: &Owned| entity.json().text_of("id").as_deref() == id.as_str();
        let (entity, failing) = own.find(|(entity, _)| is_it(entity)).ok_or_else(missing)?;
        // Move fails at nothing that it was not asked for.
        let is_asked = |error: &&FieldError| match error.path.as_slice() {
            [PathSegment::Field(name)] => asks(plan, kind, name),
            _ => false,
        };
        let errors = failing.iter().filter(is_asked).cloned().collect();
        Ok((Resolved::Entity(Arc::clone(entity)), errors))
    }
}

/// Returns true if this field is asked for of entities of a kind.
fn asks(plan: &RootPlan, kind: EntityKind, field: &str) -> bool {
    let own = plan.step.objects().iter().filter(|steps| *steps.type_name == *kind.type_name());
    own.flat_map(|steps| &steps.fields).any(|step| *step.name == *field)
}

/// The folder of graphql-js, if `scripts/test` installed it.
fn npm() -> Option<PathBuf> {
    let npm = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/npm");
    if npm.join("node_modules/graphql").exists() {
        return Some(npm);
    }
    assert!(std::env::var_os("CI").is_none(), "graphql-js is missing: run scripts/test");
    eprintln!("skipped: graphql-js is missing, scripts/test installs it");
    None
}

fn theirs(npm: &PathBuf, entities: &[Value], cases: &[Case]) -> Vec<Verdict> {
    let schemas = [sdl(false), sdl_without(&sdl(false), &hidden()).expect("a schema")];
    let portal = alone().client.portal.to_string();
    let input = json!({"schemas": schemas, "portal": portal, "entities": entities, "cases": cases});
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), input.to_string()).expect("written");
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/judge.mjs");
    std::fs::copy(script, npm.join("judge.mjs")).expect("copied");
    let output = Command::new("node")
        .current_dir(npm)
        .arg("judge.mjs")
        .arg(file.path())
        .output()
        .expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("verdicts")
}

/// Compares so many documents of each seed; gives how many were executed and how many refused.
fn compare(seed: u64, count: usize) -> Option<(usize, usize)> {
    let npm = npm()?;
    let mut random = Random::new(&sdl(false), seed);
    let mut entities = Vec::new();
    for type_name in ["Job", "Take", "File", "HumanVolume"] {
        entities.extend((0..4).map(|n| random.entity(type_name, &format!("job-{n}"))));
    }
    for type_name in ["Client", "RigsPage", "CameraSettingsPage", "ShareCode"] {
        entities.push(random.entity(type_name, "one"));
    }
    let ours = Ours::new(&entities);
    let mut cases = Vec::new();
    let mut dice = Dice(seed);
    for _ in 0..count {
        let (query, operation_name, variables) = random.request();
        let schema = usize::from(dice.roll(4) == 0);
        cases.push(Case { schema, query, operation_name, variables });
    }
    let (mut executed, mut refused, mut differ) = (0, 0, Vec::new());
    for (case, theirs) in cases.iter().zip(theirs(&npm, &entities, &cases)) {
        let ours = ours.judge(case);
        let is_same = match (&ours.refused, &theirs.refused) {
            (Some(_), Some(_)) => true,
            // Of reads beside one that makes all of the answer null, graphql-js tells nothing.
            (None, None) => {
                let is_part = theirs.paths.iter().all(|path| ours.paths.contains(path));
                let is_all = ours.paths.len() == theirs.paths.len();
                ours.data == theirs.data
                    && is_part
                    && (is_all || theirs.data.as_deref() == Some("null"))
            }
            _ => false,
        };
        if !is_same {
            let variables = Value::Object(case.variables.clone());
            differ.push(format!(
                "schema {} {:?} {variables}\n{}\nours   {ours:?}\ntheirs {theirs:?}\n",
                case.schema, case.operation_name, case.query
            ));
        } else if ours.refused.is_some() {
            refused += 1;
        } else {
            executed += 1;
        }
    }
    let shown: Vec<_> = differ.iter().take(12).cloned().collect();
    assert!(
        differ.is_empty(),
        "seed {seed}: {} of {count} differ\n{}",
        differ.len(),
        shown.join("\n")
    );
    Some((executed, refused))
}

#[test]
fn documents_get_the_verdict_and_the_answer_of_graphql_js() {
    let Some((executed, refused)) = compare(1, 2_000) else { return };
    // It is about something.
    assert!(executed > 400 && refused > 400, "{executed} executed, {refused} refused");
}

/// For those who change validation or the writer: see CONTRIBUTING.md.
#[test]
#[ignore = "takes some minutes"]
fn twenty_thousand_documents_get_the_verdict_and_the_answer_of_graphql_js() {
    let halves = [(2..7), (7..12)];
    std::thread::scope(|scope| {
        for seeds in halves {
            scope.spawn(|| {
                for seed in seeds {
                    compare(seed, 2_000);
                }
            });
        }
    });
}
