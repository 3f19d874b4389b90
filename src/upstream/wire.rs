//! Move's answers: AppSync's JSON in, typed values and errors out.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
};
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

/// An answer whose one root field is read.
struct Answer<T> {
    value: Option<T>,
    errors: Vec<WireError>,
}

/// Reads an answer in one go; the seed is the root field's name.
struct AnswerOf<'a, T>(&'a str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for AnswerOf<'_, T> {
    type Value = Answer<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Answer<T>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnswerOf<'_, T> {
    type Value = Answer<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a GraphQL answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer<T>, A::Error> {
        let (mut data, mut errors) = (None, None);
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "data" if data.is_some() => return Err(A::Error::duplicate_field("data")),
                "data" => data = Some(map.next_value_seed(DataOf(self.0, PhantomData))?),
                "errors" if errors.is_some() => return Err(A::Error::duplicate_field("errors")),
                "errors" => errors = Some(map.next_value::<Option<_>>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Answer { value: data.flatten(), errors: errors.flatten().unwrap_or_default() })
    }
}

/// Reads the root field out of `data`, which may be null.
struct DataOf<'a, T>(&'a str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for DataOf<'_, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for DataOf<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data or null")
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<T>, A::Error> {
        let mut value = None;
        while let Some(Name(name)) = map.next_key()? {
            if *name == *self.0 {
                value = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

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
    let not_one = |error| Error::unreadable(&error);
    let mut json = serde_json::Deserializer::from_slice(body);
    let answer = AnswerOf(field, PhantomData).deserialize(&mut json).map_err(not_one)?;
    json.end().map_err(not_one)?;
    let Answer { value, errors } = answer;
    let errors: Vec<FieldError> = errors.into_iter().map(FieldError::from).collect();
    if value.is_none() && errors.is_empty() {
        return Err(Error::not_an_answer("without data and without errors"));
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
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"data":{"getJob":7}}"#,
            r#"{"data":null}"#,
            r#"{"data":{"getJob":{}},"data":null}"#,
        ] {
            assert!(read::<Job>("getJob", body.as_bytes()).is_err(), "{body}");
        }
    }
}
