//! The seed of an account, before anybody calls it: takes, with everything that can hang on them.

use jiff::Timestamp;
use serde_json::json;

use super::State;
use super::store::Account;
use super::store::file::{Content, File};
use super::store::take::{Source, Take, TakeKind};
use super::store::volume::Volume;

/// A take by one camera; the id of the first example of Move's documentation.
pub const SINGLECAM_TAKE: &str = "take-2be2463e-ffa3-419b-beb4-ea0f99c79512";

/// A take by two cameras.
pub const MULTICAM_TAKE: &str = "take-7d1f3c52-0c1b-4c0e-9a55-0d6a4c0f6f10";

/// A take whose jobs fail.
pub const FAILING_TAKE: &str = "take-0bad0bad-5f0e-4d5c-8c2a-6d1f2b7e9a40";

/// The calibrated volume of the take by two cameras.
pub const HUMAN_VOLUME: &str = "volume-3a0c6f42-6d8c-4f4e-8a33-1f5f0d5c8b21";

/// The account with this number.
pub fn account(number: usize, created: Timestamp) -> Account {
    let mut account = Account::new(json!({
        "id": format!("client-5a9d3f0e-0000-4000-8000-{number:012}"),
        "name": format!("Sandbox account {number}"),
        "created": created.to_string(),
        "metadata": r#"{"secret": "of the Move account"}"#,
        "portal": "https://app.svix.example.move.ai/login#key=of-the-move-account",
    }));
    add_take(&mut account, SINGLECAM_TAKE, Some("{}"), created);
    add_volume(&mut account, HUMAN_VOLUME, Some("{}"), created);
    add_multicam(&mut account, created);
    add_take(&mut account, FAILING_TAKE, Some("{}"), created);
    account
}

/// Adds a file whose bytes are there.
pub fn add_file(account: &mut Account, id: Option<&str>, kind: &str, created: Timestamp) -> String {
    let file = File::new(kind, created);
    let id = id.map_or(file.id.clone(), str::to_owned);
    let (content, metadata) = (Content::Seeded, Some("{}".to_owned()));
    account.files.insert(File { id: id.clone(), metadata, content, ..file });
    id
}

/// Adds a take by one camera, with its files.
pub fn add_take(account: &mut Account, id: &str, metadata: Option<&str>, created: Timestamp) {
    let additional = add_file(account, None, "move", created);
    let take = Take {
        id: id.to_owned(),
        name: Some("walk cycle".to_owned()),
        metadata: metadata.map(str::to_owned),
        sources: vec![source(account, "cam01", created)],
        video_file: Some(add_file(account, None, "mp4", created)),
        additional_files: vec![("move".to_owned(), additional)],
        ..Take::new(created)
    };
    account.takes.insert(take);
}

/// Adds a volume that is calibrated, with its files.
pub fn add_volume(account: &mut Account, id: &str, metadata: Option<&str>, created: Timestamp) {
    let volume = Volume {
        id: id.to_owned(),
        name: Some("stage".to_owned()),
        metadata: metadata.map(str::to_owned),
        clip_window: json!({"startTime": 0.0, "endTime": 10.0}),
        sources: vec![source(account, "cam01", created), source(account, "cam02", created)],
        pinned: Some(State::Finished),
        ..Volume::new(created)
    };
    account.add_volume(volume);
}

fn add_multicam(account: &mut Account, created: Timestamp) {
    let additional = add_file(account, None, "move", created);
    let take = Take {
        id: MULTICAM_TAKE.to_owned(),
        name: Some("walk cycle".to_owned()),
        metadata: Some("{}".to_owned()),
        kind: TakeKind::MultiCam,
        sources: vec![source(account, "cam01", created), source(account, "cam02", created)],
        sync_method: json!({
            "clapWindow": {"startTime": 0.5, "endTime": 2.5},
            "timecodeSync": {"useTimecode": false},
        }),
        volume: Some(HUMAN_VOLUME.to_owned()),
        additional_files: vec![("move".to_owned(), additional)],
        ..Take::new(created)
    };
    account.takes.insert(take);
}

fn source(account: &mut Account, label: &str, created: Timestamp) -> Source {
    Source {
        device_label: label.to_owned(),
        format: "MP4".to_owned(),
        lens: Some("goproHERO10-4K".to_owned()),
        file: add_file(account, None, "mp4", created),
    }
}
