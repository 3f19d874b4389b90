//! Every field of every type answers something.

use std::collections::BTreeSet;

use apollo_compiler::Schema;
use apollo_compiler::schema::{ExtendedType, ObjectType};
use apollo_compiler::validation::Valid;

use super::*;

/// Everything that can be selected of a type, all the way down.
fn everything(schema: &Schema, type_name: &str) -> String {
    match &schema.types[type_name] {
        ExtendedType::Object(object) => {
            let fields = object.fields.values().map(|field| {
                let below = everything(schema, field.ty.inner_named_type());
                format!("{} {below}", field.name)
            });
            format!("{{ __typename {} }}", fields.collect::<Vec<_>>().join(" "))
        }
        ExtendedType::Union(union) => {
            let members = union.members.iter().map(|member| {
                format!("... on {} {}", member.name, everything(schema, &member.name))
            });
            format!("{{ __typename {} }}", members.collect::<Vec<_>>().join(" "))
        }
        _ => String::new(),
    }
}

/// Notes each field that has a value, as `Type.field`.
fn note(value: &Value, seen: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| note(item, seen)),
        Value::Object(fields) => {
            for (name, value) in fields {
                note(value, seen);
                if !value.is_null()
                    && let Some(kind) = fields.get("__typename").and_then(Value::as_str)
                {
                    seen.insert(format!("{kind}.{name}"));
                }
            }
        }
        _ => {}
    }
}

/// The arguments of each root field. `FILE` stands for a file that is uploaded, `JOB` for a job that is
/// finished.
const CALLS: [(&str, &str); 23] = [
    ("createFile", r#"(type: "mp4", metadata: "{}", name: "a film")"#),
    ("updateFile", r#"(id: "FILE", metadata: "[1]", name: "the film")"#),
    ("getFile", r#"(fileId: "FILE")"#),
    ("generateShareCode", r#"(fileId: "FILE")"#),
    (
        "createSingleCamTake",
        r#"(sources: [{deviceLabel: "a", fileId: "FILE", format: MP4}], metadata: "{}", name: "t")"#,
    ),
    (
        "createVolumeWithHuman",
        r#"(sources: [{deviceLabel: "a", fileId: "FILE", format: MOV, cameraSettings: {lens: "l"}}],
            humanHeight: 1.8, areaType: LARGE, clipWindow: {startTime: 0, endTime: 1})"#,
    ),
    (
        "createMultiCamTake",
        r#"(sources: [{deviceLabel: "a", fileId: "FILE", format: MP4}], volumeId: "VOLUME",
            syncMethod: {clapWindow: {startTime: 0, endTime: 1}, timecodeSync: {useTimecode: true}})"#,
    ),
    ("getTake", r#"(takeId: "TAKE")"#),
    ("listTakes", "(first: 1, sortDirection: ASC)"),
    ("updateTake", r#"(id: "TAKE", name: "renamed")"#),
    ("getVolume", r#"(id: "VOLUME")"#),
    ("listVolumes", "(first: 1)"),
    ("createJob", r#"(takeId: "TAKE")"#),
    ("createSingleCamJob", r#"(takeId: "TAKE", outputs: [MAIN_FBX])"#),
    (
        "createMultiCamJob",
        r#"(takeId: "TAKE", name: "j", metadata: "{}", rig: "r", numberOfActors: 1,
            clipWindow: {startTime: 0, endTime: 1}, options: {floorPlane: true, mocapModel: M1,
            trackBall: true, trackFingers: true, trackJerseyNumbers: false})"#,
    ),
    ("getJob", r#"(jobId: "JOB")"#),
    ("listJobs", "(first: 1)"),
    ("updateJob", r#"(id: "JOB", metadata: "{}", name: "renamed")"#),
    ("listRigs", ""),
    ("listCameraSettings", ""),
    ("client", ""),
    ("updateClient", r#"(metadata: "{\"a\": 1}")"#),
    (
        "upsertWebhookEndpoint",
        r#"(uid: "u", url: "https://app.example.test/hook", events: ["ugc.job.state.completed"],
            description: "d", metadata: "{}")"#,
    ),
];

fn root<'a>(schema: &'a Valid<Schema>, field: &str) -> (&'static str, &'a str) {
    let types = [("query", "Query"), ("mutation", "Mutation")];
    let found = types.into_iter().find_map(|(operation, root)| {
        let field = schema.get_object(root).and_then(|root| root.fields.get(field))?;
        Some((operation, field.ty.inner_named_type().as_str()))
    });
    found.unwrap_or_else(|| panic!("no field {field}"))
}

#[tokio::test(start_paused = true)]
async fn every_field_of_every_type_answers_something() {
    let text = include_str!("../../../schema/move.graphql");
    let schema = Schema::parse_and_validate(text, "move.graphql").expect("a valid schema");
    let sandbox = start(SandboxOptions { create_job: true, ..Default::default() }).await;
    let file = upload(&sandbox, b"a film").await;
    let job = create(&sandbox, json!("{}")).await;
    sandbox.set_state(&job, State::Finished);
    sandbox.add_volume("volume-other", None);

    let mut seen = BTreeSet::new();
    for (field, arguments) in CALLS {
        let (operation, kind) = root(&schema, field);
        let arguments = arguments.replace("FILE", &file).replace("JOB", &job);
        let arguments = arguments.replace("TAKE", MULTICAM_TAKE).replace("VOLUME", HUMAN_VOLUME);
        let arguments = if field == "getTake" {
            arguments.replace(MULTICAM_TAKE, SINGLECAM_TAKE)
        } else {
            arguments
        };
        let document = format!(
            "{operation} {{ __typename {field}{arguments} {} }}",
            everything(&schema, kind)
        );
        let answer = ask(&sandbox, &document, json!({})).await;
        assert!(answer.get("errors").is_none(), "{field}: {answer}");
        note(&answer["data"], &mut seen);
    }
    let objects = schema.types.iter().filter(|(name, _)| !name.starts_with("__"));
    let objects = objects.filter_map(|(_, own)| own.as_object());
    let fields = |own: &ObjectType| -> Vec<String> {
        own.fields.keys().map(|field| format!("{}.{field}", own.name)).collect()
    };
    let missing: Vec<_> = objects.flat_map(fields).filter(|own| !seen.contains(own)).collect();
    // A catalogue is told whole: it has no next page.
    assert_eq!(missing, ["CameraSettingsPage.after", "RigsPage.after"]);
}
