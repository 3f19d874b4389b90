//! Faults of a mutation's arguments by themselves: told before anything is sent, each with its argument's name.

use serde_json::Value;

use super::Error;
use crate::model::{Caller, EntityId, EntityKind};
use crate::upstream::Creation;

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
    Ok(ids)
}

/// Reads an id.
///
/// # Errors
/// [`Error::Argument`] for a text that is no id of this kind.
pub fn id(argument: &'static str, kind: EntityKind, text: &str) -> Result<EntityId, Error> {
    EntityId::parse(kind, text).map_err(|problem| Error::argument(argument, problem.to_string()))
}

/// Checks the times of a creation.
///
/// # Errors
/// [`Error::Argument`] for a part of a video that begins before it, or ends before it begins.
pub fn check(creation: &Creation) -> Result<(), Error> {
    window("clipWindow", creation.arguments.get("clipWindow"))
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
