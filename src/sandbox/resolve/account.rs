//! The account as a whole: its client, its webhooks, and the catalogue.

use apollo_compiler::resolvers::ResolvedValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::super::objects::{EndpointObject, Items, PageObject, Resolved, World};
use super::arguments::Arguments;
use super::invalid;

/// Rigs that motion can be retargeted to.
const RIGS: [&str; 2] = ["move_mo", "biped"];

/// Lenses whose distortion is known.
const LENSES: [&str; 6] = [
    "goproHERO10-4K",
    "goprohero10-2-7k",
    "blackmagic-ea-4k-24mm",
    "sony-synced-fhd",
    "panasonic-lumix-dc-bgh1-4k-12mm",
    "optitrackprimecolor12mm-fhd",
];

/// Answers `listRigs`.
pub fn rigs<'a>(world: &'a World<'a>) -> ResolvedValue<'a> {
    let rigs = RIGS.iter().map(|name| json!({"name": name})).collect();
    whole_list(world, RIGS.len(), Items::Rigs(rigs))
}

/// Answers `listCameraSettings`.
pub fn camera_settings<'a>(world: &'a World<'a>) -> ResolvedValue<'a> {
    let lenses = LENSES.iter().map(|lens| json!({"lens": lens})).collect();
    whole_list(world, LENSES.len(), Items::CameraSettings(lenses))
}

fn whole_list<'a>(world: &'a World<'a>, count: usize, items: Items) -> ResolvedValue<'a> {
    let first = i64::try_from(count).unwrap_or(i64::MAX);
    ResolvedValue::object(PageObject { world, first, after: None, items })
}

/// Answers `updateClient`.
pub fn update_client<'a>(world: &'a World<'a>, metadata: &str) -> ResolvedValue<'a> {
    world.account.borrow_mut().client["metadata"] = metadata.into();
    world.client()
}

/// Answers `upsertWebhookEndpoint`: makes an endpoint, or changes what is given of one. Its secret is told once, when it is made, and
/// cannot be changed.
pub fn upsert_endpoint<'a>(world: &'a World<'a>, arguments: Arguments<'_>) -> Resolved<'a> {
    let (uid, url) = (arguments.text("uid"), arguments.text("url"));
    if uid.is_empty() {
        return Err(invalid("uid must not be empty"));
    }
    if !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        return Err(invalid("url must be one of HTTP"));
    }
    let mut account = world.account.borrow_mut();
    let known = account.endpoints.get(uid);
    let mut endpoint = known.cloned().unwrap_or_else(
        || json!({"uid": uid, "description": "", "events": [], "metadata": "{}", "secret": null}),
    );
    endpoint["url"] = url.into();
    for name in ["description", "events", "metadata"] {
        let value = arguments.plain(name);
        if !value.is_null() {
            endpoint[name] = value;
        }
    }
    let is_new = known.is_none();
    account.endpoints.insert(uid.to_owned(), endpoint.clone());
    if is_new {
        let secret = arguments.name("secret").unwrap_or_else(new_secret);
        endpoint["secret"] = secret.clone().into();
        account.endpoint_secrets.insert(uid.to_owned(), secret);
    }
    Ok(ResolvedValue::object(EndpointObject { world, endpoint }))
}

/// A secret in the form of Svix, who delivers Move's webhooks.
fn new_secret() -> String {
    let secret = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    format!("whsec_{}", STANDARD.encode(secret))
}
