//! Move's answers: AppSync's JSON in, typed values and errors out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Error;

/// What Move said to one call: a value, errors, or a value with errors of some of its fields.
#[derive(Debug)]
pub struct Reply<T> {
    /// The root field's value.
    pub value: Option<T>,
    /// Errors, in Move's order.
    pub errors: Vec<FieldError>,
    /// How long the answer was, in bytes.
    pub size: usize,
    /// Move's id of the call, if it gave one.
    pub request_id: Option<Box<str>>,
}

/// One error of an AppSync answer.
#[derive(Debug, Clone)]
pub struct FieldError {
    /// For people.
    pub message: String,
    /// What clients match on, such as `MoveNotFoundError`.
    pub error_type: Option<String>,
    /// More for clients, such as `suggestions`; kept to the letter.
    pub error_info: Option<Box<RawValue>>,
    /// What AppSync puts beside the error; kept to the letter.
    pub data: Option<Box<RawValue>>,
    /// Where it happened, below the root field.
    pub path: Vec<PathSegment>,
}

impl FieldError {
    /// Whether the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.error_type.as_deref() == Some("MoveNotFoundError")
    }
}

/// A step of an error's path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PathSegment {
    /// A list's item.
    Index(usize),
    /// A field.
    Field(String),
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    errors: Option<Vec<WireError>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireError {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    error_info: Option<Box<RawValue>>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    path: Option<Vec<PathSegment>>,
}

impl From<WireError> for FieldError {
    fn from(error: WireError) -> Self {
        Self {
            message: error.message.unwrap_or_else(|| "Move gave no message.".to_owned()),
            error_type: error.error_type,
            error_info: error.error_info,
            data: error.data,
            path: error.path.unwrap_or_default().into_iter().skip(1).collect(),
        }
    }
}

/// Reads an answer to a call of the root field `field`.
///
/// # Errors
/// [`Error::NotAnAnswer`] where the bytes are not a GraphQL answer of the wanted shape.
pub fn read<T: DeserializeOwned>(field: &str, body: &[u8]) -> Result<Reply<T>, Error> {
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|_| Error::NotAnAnswer("not a GraphQL answer"))?;
    let errors: Vec<FieldError> =
        answer.errors.unwrap_or_default().into_iter().map(FieldError::from).collect();
    let value = match answer.data {
        None => None,
        Some(data) => serde_json::from_str::<Option<BTreeMap<String, Option<T>>>>(data.get())
            .map_err(|_| Error::NotAnAnswer("of another shape than was asked for"))?
            .and_then(|mut data| data.remove(field).flatten()),
    };
    if value.is_none() && errors.is_empty() {
        return Err(Error::NotAnAnswer("without data and without errors"));
    }
    Ok(Reply { value, errors, size: body.len(), request_id: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Job;

    #[test]
    fn a_missing_job_is_an_error_and_no_value_in_both_of_moves_forms() {
        for data in [r#"{"getJob":null}"#, "null"] {
            let body = format!(
                r#"{{"data":{data},"errors":[{{"path":["getJob"],"data":null,
                "errorType":"MoveNotFoundError","errorInfo":null,
                "locations":[{{"line":2,"column":3,"sourceName":null}}],"message":"gone"}}]}}"#
            );
            let reply = read::<Job>("getJob", body.as_bytes()).expect("an answer");
            assert!(reply.value.is_none());
            assert!(reply.errors[0].is_not_found());
            assert!(reply.errors[0].path.is_empty());
        }
    }

    #[test]
    fn partial_data_keeps_its_errors_and_their_paths_below_the_root_field() {
        let body = br#"{"data":{"getJob":{"id":"job-1"}},"errors":[{"message":"m",
            "path":["getJob","outputs",0,"file"],"errorInfo":{"n":1.50}}]}"#;
        let reply = read::<Job>("getJob", body).expect("an answer");
        assert!(reply.value.is_some());
        let error = &reply.errors[0];
        assert_eq!(error.path[1], PathSegment::Index(0));
        assert_eq!(error.error_info.as_ref().map(|info| info.get()), Some(r#"{"n":1.50}"#));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for body in ["", "<html>", "[]", "{}", r#"{"data":{"getJob":7}}"#, r#"{"data":null}"#] {
            assert!(read::<Job>("getJob", body.as_bytes()).is_err(), "{body}");
        }
    }
}
