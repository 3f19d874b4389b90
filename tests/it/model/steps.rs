//! Each operation, done to the gateway and to the model.

use jobs_gateway::sandbox::{Job, State};
use serde_json::{Value, json};

use super::known::{Aim, Kind, Known, Model, NOBODY, of};
use super::{METADATA, Operation, TENANTS};
use crate::support::{Reply, World};

pub async fn take(world: &World, model: &mut Model, operation: Operation) {
    match operation {
        Operation::Create { tenant, kind, metadata, files, of } => {
            create(world, model, tenant, kind, METADATA[metadata], &files, of.as_ref()).await;
        }
        Operation::Get { tenant, kind, aim } => {
            let id = model.aim(tenant, kind, &aim);
            let reply = get(world, tenant, kind, &id, kind.selection()).await;
            check(model, tenant, &reply, &[(kind, &id)], |known| model.shown(known));
        }
        Operation::Update { tenant, kind, aim, metadata, renames } => {
            let metadata = metadata.map(|at| METADATA[at]);
            update(world, model, tenant, kind, &aim, metadata, renames).await;
        }
        Operation::List { tenant, kind, first, ascending } => {
            list(world, model, tenant, kind, first, ascending).await;
        }
        Operation::Share { tenant, aim } => {
            let id = model.aim(tenant, Kind::File, &aim);
            let query = "mutation($id: String!) { answer: generateShareCode(fileId: $id) {
                code file { id name metadata } } }";
            let reply = world.ask(TENANTS[tenant], query, json!({"id": id})).await;
            let codes = refused(model, tenant, &reply, &[(Kind::File, &id)]);
            if let (true, Some(known)) = (codes.is_empty(), model.find(&id)) {
                assert_eq!(reply.data("/answer/file"), model.shown(known));
            }
        }
        Operation::Output { tenant, kind, aim } => output(world, model, tenant, kind, &aim).await,
        Operation::Outside { kind, metadata } => outside(world, model, kind, METADATA[metadata]),
    }
}

/// Checks that nothing foreign is told, and that who may not do it is refused. Gives the codes that
/// refuse it; none if it is to be done.
fn refused(
    model: &Model,
    tenant: usize,
    reply: &Reply,
    named: &[(Kind, &str)],
) -> Vec<&'static str> {
    let ids: Vec<&str> = named.iter().map(|(_, id)| *id).collect();
    model.check_for_foreign(tenant, &reply.text, &ids);
    let codes = model.refusals(tenant, named);
    let code = reply.code();
    assert!(codes.is_empty() || codes.contains(&code.as_str()), "{codes:?}: {named:?} {reply:?}");
    codes
}

/// The same, and that the first of `named` is answered as it is to be shown.
fn check(
    model: &Model,
    tenant: usize,
    reply: &Reply,
    named: &[(Kind, &str)],
    shown: impl Fn(&Known) -> Value,
) {
    let codes = refused(model, tenant, reply, named);
    if let (true, Some(known)) = (codes.is_empty(), model.find(named[0].1)) {
        assert_eq!(reply.data("/answer"), shown(known));
    }
}

async fn get(world: &World, tenant: usize, kind: Kind, id: &str, selection: &str) -> Reply {
    let (field, argument) = kind.get();
    let query = format!("query($id: ID!) {{ answer: {field}({argument}: $id) {selection} }}");
    world.ask(TENANTS[tenant], &query, json!({"id": id})).await
}

async fn create(
    world: &World,
    model: &mut Model,
    tenant: usize,
    kind: Kind,
    metadata: &'static str,
    files: &[Aim],
    other: Option<&Aim>,
) {
    let mut files: Vec<_> = files.iter().map(|aim| model.aim(tenant, Kind::File, aim)).collect();
    let (arguments, of_kind) = match (kind, other) {
        (Kind::File, _) => ("createFile(type: \"mp4\",", None),
        (Kind::Take, None) => ("createSingleCamTake(sources: $sources,", None),
        (Kind::Take, Some(_)) => {
            ("createMultiCamTake(sources: $sources, volumeId: $of,", Some(Kind::Volume))
        }
        (Kind::Volume, _) => {
            ("createVolumeWithHuman(sources: $sources, humanHeight: 1.8, areaType: LARGE,", None)
        }
        (Kind::Job, _) => ("createSingleCamJob(takeId: $of,", Some(Kind::Take)),
    };
    let own = Aim::own(model.count());
    let of_id = of_kind.map(|kind| model.aim(tenant, kind, other.unwrap_or(&own)));
    let declared = match kind {
        Kind::File => "",
        Kind::Take if of_id.is_some() => "$sources: [SourceInput!], $of: String!,",
        Kind::Take | Kind::Volume => "$sources: [SourceInput!],",
        Kind::Job => "$of: String!,",
    };
    if matches!(kind, Kind::File | Kind::Job) {
        files.clear();
    }
    let query = format!(
        "mutation({declared} $m: AWSJSON, $n: String) {{
            answer: {arguments} metadata: $m, name: $n) {} }}",
        kind.selection()
    );
    let name = format!("{}{}", model.count(), of(TENANTS[tenant]));
    let source = |id: &String| json!({"deviceLabel": "cam", "fileId": id, "format": "MP4"});
    let sources: Vec<_> = files.iter().map(source).collect();
    let variables = json!({"sources": sources, "of": of_id, "m": metadata, "n": name});
    let reply = world.ask(TENANTS[tenant], &query, variables).await;
    let named = files.iter().map(|id| (Kind::File, id.as_str()));
    let named: Vec<_> = named.chain(of_kind.zip(of_id.as_deref())).collect();
    if refused(model, tenant, &reply, &named).is_empty() {
        let id = reply.data("/answer/id").as_str().unwrap().to_owned();
        let owner = Some(tenant);
        let known = Known { id: id.clone(), kind, owner, metadata, name, files, of: of_id };
        assert_eq!(reply.data("/answer"), model.shown(&known));
        model.add(known);
        world.sandbox.set_state(&id, State::Finished);
        if kind == Kind::File {
            world.sandbox.upload(&id, "a film");
        }
    }
}

async fn update(
    world: &World,
    model: &mut Model,
    tenant: usize,
    kind: Kind,
    aim: &Aim,
    metadata: Option<&'static str>,
    renames: bool,
) {
    let Some(field) = kind.update() else { return };
    let id = model.aim(tenant, kind, aim);
    let name = renames.then(|| format!("new {}{}", model.count(), of(TENANTS[tenant])));
    let query = format!(
        "mutation($id: String!, $m: AWSJSON, $n: String) {{
            answer: {field}(id: $id, metadata: $m, name: $n) {} }}",
        kind.selection()
    );
    let variables = json!({"id": id, "m": metadata, "n": name});
    let reply = world.ask(TENANTS[tenant], &query, variables).await;
    if refused(model, tenant, &reply, &[(kind, &id)]).is_empty() {
        let known = model.find_mut(&id).unwrap();
        known.metadata = metadata.unwrap_or(known.metadata);
        known.name = name.unwrap_or(known.name.clone());
        let known = known.clone();
        assert_eq!(reply.data("/answer"), model.shown(&known));
    }
}

async fn list(
    world: &World,
    model: &Model,
    tenant: usize,
    kind: Kind,
    first: usize,
    ascending: bool,
) {
    let Some(field) = kind.list() else { return };
    let query = format!(
        "query($first: Int, $order: SortDirection) {{
            page: {field}(first: $first, sortDirection: $order) {{ after items {} }} }}",
        kind.plain()
    );
    let order = if ascending { "ASC" } else { "DESC" };
    let variables = json!({"first": first, "order": order});
    let reply = world.ask(TENANTS[tenant], &query, variables).await;
    model.check_for_foreign(tenant, &reply.text, &[]);
    let page = reply.data("/page");
    let mut own: Vec<_> = model.own(tenant, kind).map(Known::plain).collect();
    if !ascending {
        own.reverse();
    }
    let has_more = own.len() > first;
    own.truncate(first);
    let items = page["items"].as_array().unwrap();
    // Behind many foreign ones a page may be cut short; what it holds is right all the same.
    if page["after"].is_null() {
        assert!(!has_more);
        assert_eq!(items, &own);
    } else {
        assert!(own.starts_with(items), "{items:?} {own:?}");
    }
}

async fn output(world: &World, model: &Model, tenant: usize, kind: Kind, aim: &Aim) {
    let id = model.aim(tenant, kind, aim);
    if !model.refusals(tenant, &[(kind, &id)]).is_empty() {
        return;
    }
    let selection = "{ ... on TYPE { outputs { file { id name metadata } } } }";
    let type_name = if kind == Kind::Job { "Job" } else { "HumanVolume" };
    let reply = get(world, tenant, kind, &id, &selection.replace("TYPE", type_name)).await;
    let file = reply.data("/answer/outputs/0/file");
    assert_eq!(file["metadata"], "{}");
    let id = file["id"].as_str().unwrap();
    for reader in 0..TENANTS.len() {
        let reply = get(world, reader, Kind::File, id, Kind::File.selection()).await;
        if reader == tenant {
            assert_eq!(reply.data("/answer"), file);
        } else {
            assert_eq!(reply.code(), "NOT_FOUND", "{reply:?}");
        }
    }
}

fn outside(world: &World, model: &mut Model, kind: Kind, metadata: &'static str) {
    // Whoever can write in the Move account itself can write a record there.
    if metadata.starts_with(r#"{"_gateway":{"v":1,"owner":"globex""#) {
        return;
    }
    let (id, name) = add(world, kind, (metadata != "null").then_some(metadata));
    let owner = None;
    model.add(Known { id, kind, owner, metadata, name, files: Vec::new(), of: None });
}

/// Adds something in Move and gives its id and name.
fn add(world: &World, kind: Kind, metadata: Option<&str>) -> (String, String) {
    let id = format!("{}{}", kind.prefix(), uuid::Uuid::new_v4());
    let sandbox = &world.sandbox;
    let name = match kind {
        Kind::File => {
            sandbox.add_file(&id, metadata);
            None
        }
        Kind::Take => {
            sandbox.add_take(&id, metadata);
            sandbox.take(&id).unwrap().name
        }
        Kind::Volume => {
            sandbox.add_volume(&id, metadata);
            sandbox.volume(&id).unwrap().name
        }
        Kind::Job => {
            let name = Some(format!("a job{}", of(NOBODY)));
            let job = Job { id: id.clone(), name: name.clone(), ..Job::new(sandbox.now()) };
            sandbox.add_job(Job { metadata: metadata.map(str::to_owned), ..job });
            name
        }
    };
    (id, name.unwrap_or_default())
}
