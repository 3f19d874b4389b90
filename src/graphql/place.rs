//! Errors of Move's as the caller sees them: at the caller's own keys, and with no more of Move's data than the
//! caller selected.

use super::answer::PlacedError;
use super::errors::{ApiError, Segment};
use super::plan::{Step, Steps, Writing};
use super::write::wrong;
use crate::jobs::{Source, present};
use crate::json::{self, Json, JsonRef, Kind};
use crate::model::Tenant;
use crate::operation::{Pos, Shape};
use crate::upstream::{FieldError, PathSegment};

/// Places errors of Move's about a root field whose value is of a type: one for every alias of the field that each
/// is about. `base` is the way to the field's value.
#[must_use]
pub fn placed(
    tenant: &Tenant,
    root: &Step,
    type_name: &str,
    base: &[Segment],
    errors: &[FieldError],
) -> Vec<PlacedError> {
    let mut all = Vec::new();
    for error in errors {
        for (below, step) in reached(root, type_name, &error.path) {
            let data = error.data.as_ref().and_then(|data| selected(tenant, step, data.root()));
            let api = ApiError::of_field(error, data.as_ref());
            let path = [base, &below].concat();
            all.push(PlacedError {
                api,
                path,
                locations: step.origin.position().into_iter().collect(),
                cursor: None,
            });
        }
    }
    all
}

/// Finds where the caller sees what Move calls `path`, and by which step it is written. A path that leads to nothing
/// the caller selected ends where the selection ends.
fn reached<'a>(
    root: &'a Step,
    type_name: &str,
    path: &[PathSegment],
) -> Vec<(Vec<Segment>, &'a Step)> {
    let mut ends = Vec::new();
    let mut going = vec![(Vec::new(), root)];
    for segment in path {
        let mut next = Vec::new();
        for (way, step) in going {
            let name = match segment {
                PathSegment::Index(index) => {
                    let mut way: Vec<Segment> = way;
                    way.push(Segment::Index(*index));
                    next.push((way, step));
                    continue;
                }
                PathSegment::Field(name) => name,
            };
            let below = of_its_type(step, type_name);
            let mut is_end = true;
            for own in below {
                let is_short = own.source == Source::PercentageComplete && name == "progress";
                if is_short || (*own.name == **name && own.source != Source::PercentageComplete) {
                    is_end = false;
                    let mut way = way.clone();
                    way.push(Segment::Key(own.key.clone()));
                    if is_short { &mut ends } else { &mut next }.push((way, own));
                }
            }
            if is_end {
                ends.push((way, step));
            }
        }
        going = next;
    }
    ends.extend(going);
    ends
}

/// The fields of an object that is of this type, if it may be of several.
fn of_its_type<'a>(step: &'a Step, type_name: &str) -> &'a [Step] {
    match step.objects() {
        [object] => &object.fields,
        objects => {
            let own = objects.iter().find(|object| *object.type_name == *type_name);
            own.map_or(&[], |object| &object.fields)
        }
    }
}

/// Picks what the caller selected of the data beside an error, in Move's names, as the tenant may see it. What does
/// not fit the schema is left out.
fn selected(tenant: &Tenant, step: &Step, data: JsonRef<'_>) -> Option<Json> {
    let mut text = String::new();
    let is_written = match data.kind() {
        Kind::Object => one(tenant, step, data, &mut text),
        _ => value(tenant, step, &step.shape, data, &mut text),
    };
    if is_written { Json::parse(&text).ok() } else { None }
}

/// Writes a value if it fits.
fn value(
    tenant: &Tenant,
    step: &Step,
    shape: &Shape,
    data: JsonRef<'_>,
    into: &mut String,
) -> bool {
    match (shape, data.kind()) {
        (_, Kind::Null) => {
            into.push_str("null");
            true
        }
        (Shape::One { .. }, _) => one(tenant, step, data, into),
        (Shape::List { item, .. }, Kind::Array) => {
            into.push('[');
            for (index, data) in data.items().enumerate() {
                if index > 0 {
                    into.push(',');
                }
                if !value(tenant, step, item, data, into) {
                    into.push_str("null");
                }
            }
            into.push(']');
            true
        }
        _ => false,
    }
}

fn one(tenant: &Tenant, step: &Step, data: JsonRef<'_>, into: &mut String) -> bool {
    match &step.below {
        Writing::Leaf(leaf) if wrong(leaf, data).is_none() => {
            into.push_str(data.raw());
            true
        }
        Writing::Leaf(_) => false,
        _ if data.kind() != Kind::Object => false,
        Writing::Object(steps) => object(tenant, steps, data, into),
        Writing::OneOf(objects) => {
            let name = data.text_of("__typename");
            let steps = objects.iter().find(|steps| name.as_deref() == Some(&*steps.type_name));
            steps.is_some_and(|steps| object(tenant, steps, data, into))
        }
    }
}

/// Writes an object, unless it is or may be another tenant's.
fn object(tenant: &Tenant, steps: &Steps, data: JsonRef<'_>, into: &mut String) -> bool {
    if steps.has_owner && present::part(tenant, data) != present::Part::Shown {
        return false;
    }
    into.push('{');
    let mut is_first = true;
    for (index, step) in steps.fields.iter().enumerate() {
        // Under its name, whatever its aliases are.
        if steps.fields.iter().take(index).any(|before| before.name == step.name) {
            continue;
        }
        let start = into.len();
        if !is_first {
            into.push(',');
        }
        into.push_str(&format!("\"{}\":", step.name));
        if member(tenant, step, &steps.type_name, data, into) {
            is_first = false;
        } else {
            into.truncate(start);
        }
    }
    into.push('}');
    true
}

fn member(
    tenant: &Tenant,
    step: &Step,
    type_name: &str,
    data: JsonRef<'_>,
    into: &mut String,
) -> bool {
    let mut text = |text: &str| into.push_str(&json::quoted(text));
    match step.source {
        Source::Typename => text(type_name),
        Source::Portal => text(tenant.client.portal.as_str()),
        Source::ClientMetadata => text(&tenant.client.metadata),
        Source::Metadata => match data.get(&step.name) {
            None => return false,
            Some(own) => match present::metadata_of(tenant, own) {
                Some(shown) => text(&shown),
                None => into.push_str("null"),
            },
        },
        Source::Member => {
            let Some(data) = data.get(&step.name) else { return false };
            return value(tenant, step, &step.shape, data, into);
        }
        Source::PercentageComplete => {
            let progress = data.get("progress").and_then(|progress| progress.get(&step.name));
            let Some(data) = progress else { return false };
            return value(tenant, step, &step.shape, data, into);
        }
    }
    true
}

/// The path of a root field.
#[must_use]
pub fn root_path(step: &Step, entity: Option<usize>) -> Vec<Segment> {
    let key = Segment::Key(step.key.clone());
    std::iter::once(key).chain(entity.map(Segment::Index)).collect()
}

/// Places an error at a root field.
#[must_use]
pub fn at_root(step: &Step, entity: Option<usize>, api: ApiError) -> PlacedError {
    let locations: Vec<Pos> = step.origin.position().into_iter().collect();
    PlacedError { api, path: root_path(step, entity), locations, cursor: None }
}
