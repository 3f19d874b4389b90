//! Move's answers: AppSync's JSON in, a value and errors out. Size, depth and the length of paths are bounded
//! before anything walks them.

use super::Error;
use super::field_error::{FieldError, PathSegment};
use super::objects::Object;
use crate::json::{Json, JsonRef, Kind, Member};

/// The number of steps an error's path may have: far more than any answer is deep.
const LONGEST_PATH: usize = 64;

/// Move's reply to one call: a value, errors, or a value with errors of some of its fields.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// The root field's value.
    pub value: Option<T>,
    /// Errors, in Move's order.
    pub errors: Vec<FieldError>,
    /// Move's id of the call, if it gave one.
    pub request_id: Option<Box<str>>,
}

/// Reads an answer to a call of the root field `field`.
///
/// # Errors
/// An error of kind `NotAnAnswer` where the bytes are not a GraphQL answer of the wanted shape.
pub fn read<T: Object>(field: &str, body: &[u8]) -> Result<Reply<T>, Error> {
    let text = str::from_utf8(body).map_err(|_| Error::not_an_answer("not UTF-8"))?;
    let json = Json::parse(text).map_err(Error::unreadable)?;
    let field = (!T::IS_WHOLE).then_some(field);
    let value = value(&json, field)?.map(T::of);
    let errors = errors(&json, field)?;
    if value.is_none() && errors.is_empty() {
        return Err(Error::not_an_answer("without data and without errors"));
    }
    Ok(Reply { value, errors, request_id: None })
}

fn other_shape() -> Error {
    Error::not_an_answer("no GraphQL answer of the shape that was asked for")
}

/// A member that is there once and not null.
fn member<'a>(object: JsonRef<'a>, name: &str) -> Result<Option<JsonRef<'a>>, Error> {
    match object.member(name) {
        Member::Absent => Ok(None),
        Member::One(value) => Ok(Some(value).filter(|value| !value.is_null())),
        Member::Repeated => Err(other_shape()),
    }
}

fn value(json: &Json, field: Option<&str>) -> Result<Option<Json>, Error> {
    let root = json.root();
    if root.kind() != Kind::Object {
        return Err(other_shape());
    }
    let Some(data) = member(root, "data")? else { return Ok(None) };
    if data.kind() != Kind::Object {
        return Err(other_shape());
    }
    let Some(field) = field else { return Ok(Some(json.part(data))) };
    match member(data, field)? {
        Some(value) if value.kind() != Kind::Object => Err(other_shape()),
        value => Ok(value.map(|value| json.part(value))),
    }
}

fn errors(json: &Json, field: Option<&str>) -> Result<Vec<FieldError>, Error> {
    let Some(errors) = member(json.root(), "errors")? else { return Ok(Vec::new()) };
    if errors.kind() != Kind::Array {
        return Err(other_shape());
    }
    errors.items().map(|error| read_error(json, error, field)).collect()
}

fn read_error(json: &Json, error: JsonRef<'_>, field: Option<&str>) -> Result<FieldError, Error> {
    if error.kind() != Kind::Object {
        return Err(other_shape());
    }
    let part = |name| member(error, name).map(|value| value.map(|value| json.part(value)));
    let text = |name| error.text_of(name).map(std::borrow::Cow::into_owned);
    let path = match member(error, "path")? {
        Some(path) if path.kind() != Kind::Array => return Err(other_shape()),
        path => path.filter(|path| path.items().next().is_some()),
    };
    let steps = path.map(read_path).transpose()?;
    // A place in another root field, of which there is none, is no place.
    let steps = steps.filter(|steps| match (field, steps.first()) {
        (Some(field), Some(PathSegment::Field(first))) => first == field,
        (Some(_), _) => false,
        (None, _) => true,
    });
    let skip = usize::from(field.is_some());
    Ok(FieldError {
        message: text("message").unwrap_or_else(|| "Move gave no message.".to_owned()),
        error_type: text("errorType"),
        error_info: part("errorInfo")?,
        data: part("data")?,
        has_path: steps.is_some(),
        path: steps.into_iter().flatten().skip(skip).collect(),
    })
}

fn read_path(path: JsonRef<'_>) -> Result<Vec<PathSegment>, Error> {
    let mut steps = Vec::new();
    for (depth, step) in path.items().enumerate() {
        if depth >= LONGEST_PATH {
            return Err(Error::not_an_answer("an error with a path that is too long"));
        }
        steps.push(match step.kind() {
            Kind::Integer => {
                let index = step.raw().parse().map_err(|_| other_shape())?;
                PathSegment::Index(index)
            }
            _ => PathSegment::Field(step.text().ok_or_else(other_shape)?.into_owned()),
        });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Entity;

    #[test]
    fn a_missing_job_is_an_error_and_no_value_in_both_of_moves_forms() {
        for data in [r#"{"getJob":null}"#, "null"] {
            let body = format!(
                r#"{{"data":{data},"errors":[{{"path":["getJob"],"data":null,
                "errorType":"MoveNotFoundError","errorInfo":null,
                "locations":[{{"line":2,"column":3,"sourceName":null}}],"message":"gone"}}]}}"#
            );
            let reply = read::<Entity>("getJob", body.as_ref()).expect("an answer");
            assert!(reply.value.is_none());
            assert!(reply.errors[0].is_not_found());
            assert!(reply.errors[0].path.is_empty());
        }
    }

    #[test]
    fn partial_data_keeps_its_errors_and_their_paths_below_the_root_field() {
        let body = br#"{"data":{"getJob":{"id":"job-1"}},"errors":[{"message":"m",
            "path":["getJob","outputs",0,"file"],"errorInfo":{"n":1.50}}]}"#;
        let reply = read::<Entity>("getJob", body).expect("an answer");
        assert!(reply.value.is_some());
        let error = &reply.errors[0];
        assert_eq!(error.path[1], PathSegment::Index(0));
        assert_eq!(error.error_info.as_ref().map(|info| info.root().raw()), Some(r#"{"n":1.50}"#));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for body in [
            "",
            "\u{0}",
            "<html>",
            "[]",
            "{}",
            r#"{"data":{"getJob":7}}"#,
            r#"{"data":null}"#,
            r#"{"data":{"getJob":{}},"data":null}"#,
        ] {
            assert!(read::<Entity>("getJob", body.as_ref()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_path_of_20_000_steps_and_lists_in_lists_are_refused_and_not_followed() {
        let path = format!("[\"getJob\"{}]", ",0".repeat(20_000));
        let body = format!(r#"{{"data":null,"errors":[{{"message":"m","path":{path}}}]}}"#);
        assert!(read::<Entity>("getJob", body.as_ref()).is_err());
        let deep = format!(r#"{{"data":{{"getJob":{}}}}}"#, "[".repeat(1_000_000));
        assert!(read::<Entity>("getJob", deep.as_ref()).is_err());
    }

    #[test]
    fn what_is_odd_in_one_value_does_not_spoil_the_others() {
        let body = r#"{"data":{"getJob":{"id":"job-1","name":"\ud83d","state":7,"x":1,"x":2}}}"#;
        let job = read::<Entity>("getJob", body.as_ref()).expect("an answer").value.expect("a job");
        assert_eq!(job.id().as_deref(), Some("job-1"));
        assert!(job.state().is_none());
        assert_eq!(job.metadata().as_deref(), Some(""), "missing, not null");
    }
}
