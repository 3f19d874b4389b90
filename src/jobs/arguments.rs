//! Faults of a mutation's arguments by themselves: told before anything is sent, each with its argument's name.

use serde_json::Value;

use super::Error;
use crate::model::{Caller, EntityId, EntityKind, RootField};
use crate::upstream::Creation;

/// The most sources that are taken: with a volume they are as many as are checked in one call.
const MAX_SOURCES: usize = 24;

/// Everything that a creation's arguments name, each id of the right kind.
///
/// # Errors
/// [`Error::Argument`] for a text that is no such id.
pub fn named(creation: &Creation) -> Result<Vec<EntityId>, Error> {
    let text = |name: &str| creation.arguments.get(name).and_then(Value::as_str);
    let mut ids = Vec::new();
    if let Some(take) = text("takeId") {
        ids.push(id("takeId", EntityKind::Take, take)?);
    }
    for source in sources(creation) {
        let file = source.get("fileId").and_then(Value::as_str).unwrap_or_default();
        ids.push(id("sources", EntityKind::File, file)?);
    }
    if let Some(volume) = text("volumeId") {
        ids.push(id("volumeId", EntityKind::Volume, volume)?);
    }
    Ok(ids)
}

/// Reads an id.
///
/// # Errors
/// [`Error::Argument`] for a text that is no id of this kind.
pub fn id(argument: &'static str, kind: EntityKind, text: &str) -> Result<EntityId, Error> {
    EntityId::parse(kind, text).map_err(|problem| Error::argument(argument, problem.to_string()))
}

fn sources(creation: &Creation) -> &[Value] {
    let sources = creation.arguments.get("sources").and_then(Value::as_array);
    sources.map_or(&[], Vec::as_slice)
}

/// Checks the sources, times and measures of a creation.
///
/// # Errors
/// [`Error::Argument`] for no sources or too many of them, a part of a video that begins before it or ends
/// before it begins, and a person without height.
pub fn check(creation: &Creation) -> Result<(), Error> {
    if matches!(
        creation.field,
        RootField::CreateSingleCamTake
            | RootField::CreateMultiCamTake
            | RootField::CreateVolumeWithHuman
    ) {
        match sources(creation).len() {
            0 => return Err(Error::argument("sources", "names no source")),
            count if count > MAX_SOURCES => {
                let problem = format!("{count} sources; at most {MAX_SOURCES} are taken");
                return Err(Error::argument("sources", problem));
            }
            _ => {}
        }
    }
    window("clipWindow", creation.arguments.get("clipWindow"))?;
    let sync_method = creation.arguments.get("syncMethod");
    window("syncMethod", sync_method.and_then(|method| method.get("clapWindow")))?;
    let height = creation.arguments.get("humanHeight").and_then(Value::as_f64);
    if height.is_some_and(|height| height <= 0.0) {
        return Err(Error::argument("humanHeight", "is not more than 0"));
    }
    Ok(())
}

fn window(argument: &'static str, window: Option<&Value>) -> Result<(), Error> {
    let Some(window) = window.filter(|window| !window.is_null()) else { return Ok(()) };
    let second = |name: &str| window.get(name).and_then(Value::as_f64).unwrap_or_default();
    let (start, end) = (second("startTime"), second("endTime"));
    if start < 0.0 {
        return Err(Error::argument(argument, "startTime is negative"));
    }
    if end <= start {
        return Err(Error::argument(argument, "endTime is not after startTime"));
    }
    Ok(())
}

/// Checks a metadata's length: at most what the tenant's policy says, in bytes of JSON text.
///
/// # Errors
/// [`Error::Argument`] for a longer one.
pub fn metadata(caller: &Caller, text: Option<&str>) -> Result<(), Error> {
    let (max, got) = (caller.tenant.metadata.max_bytes, text.map_or(0, str::len));
    if got > max {
        let problem = format!("{got} bytes of JSON; at most {max} are taken");
        return Err(Error::argument("metadata", problem));
    }
    Ok(())
}
