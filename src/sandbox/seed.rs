//! What an account holds before anybody calls it: takes, with everything that can hang on them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::Account;

/// A take by one camera; the id of the first example of Move's documentation.
pub const SINGLECAM_TAKE: &str = "take-2be2463e-ffa3-419b-beb4-ea0f99c79512";

/// A take by two cameras.
pub const MULTICAM_TAKE: &str = "take-7d1f3c52-0c1b-4c0e-9a55-0d6a4c0f6f10";

/// A take whose jobs fail.
pub const FAILING_TAKE: &str = "take-0bad0bad-5f0e-4d5c-8c2a-6d1f2b7e9a40";

/// The account with this number.
pub fn account(number: usize, created: Timestamp) -> Account {
    let mut account = Account::new(json!({
        "id": format!("client-5a9d3f0e-0000-4000-8000-{number:012}"),
        "name": format!("Sandbox account {number}"),
        "created": created.to_string(),
        "metadata": r#"{"secret": "of the Move account"}"#,
        "portal": "https://app.svix.example.move.ai/login#key=of-the-move-account",
    }));
    account.add_take(take(SINGLECAM_TAKE, Some("{}"), created));
    account.add_take(multicam(created));
    account.add_take(take(FAILING_TAKE, Some("{}"), created));
    account
}

/// A take by one camera.
pub fn take(id: &str, metadata: Option<&str>, created: Timestamp) -> Value {
    let created = created.to_string();
    json!({
        "id": id,
        "name": "walk cycle",
        "created": created,
        "metadata": metadata,
        "takeType": "SINGLE_CAM",
        "additionalFiles": [{"key": "move", "format": "move", "file": file("move", &created)}],
        "sources": [source("cam01", &created)],
        "videoFile": file("mp4", &created),
        "syncMethod": null,
        "volume": null,
    })
}

fn multicam(created: Timestamp) -> Value {
    let mut take = take(MULTICAM_TAKE, Some("{}"), created);
    let created = created.to_string();
    take["takeType"] = "MULTI_CAM".into();
    take["videoFile"] = Value::Null;
    take["sources"] = json!([source("cam01", &created), source("cam02", &created)]);
    take["syncMethod"] = json!({
        "clapWindow": {"startTime": 0.5, "endTime": 2.5},
        "timecodeSync": {"useTimecode": false},
    });
    take["volume"] = json!({
        "__typename": "HumanVolume",
        "id": "volume-3a0c6f42-6d8c-4f4e-8a33-1f5f0d5c8b21",
        "name": "stage",
        "created": created,
        "metadata": "{}",
        "areaType": "NORMAL",
        "clipWindow": {"startTime": 0.0, "endTime": 10.0},
        "humanHeight": 1.75,
        "state": "FINISHED",
        "progress": {"state": "FINISHED", "percentageComplete": 100},
        "outputs": [{"key": "volume", "format": "volume", "file": file("volume", &created)}],
        "sources": [source("cam01", &created)],
    });
    take
}

fn source(label: &str, created: &str) -> Value {
    json!({
        "deviceLabel": label,
        "format": "MP4",
        "cameraSettings": {"lens": "goproHERO10-4K"},
        "file": file("mp4", created),
    })
}

fn file(r#type: &str, created: &str) -> Value {
    json!({
        "id": format!("file-{}", uuid::Uuid::new_v4()),
        "name": null,
        "type": r#type,
        "created": created,
        "metadata": "{}",
        "thumbnailUrl": null,
    })
}
