//! AppSync's scalars, as far as the Jobs schema uses them.
//! <https://docs.aws.amazon.com/appsync/latest/devguide/scalars.html>

use std::borrow::Cow;

use async_graphql::registry::Registry;
use async_graphql::{InputType, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// JSON, carried as text and never printed anew: numbers, key order and white space stay as they
/// were written. On the wire it is a JSON string that holds that text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AwsJson(pub String);

impl AwsJson {
    /// Whether the text is one JSON value. Nesting of any depth and repeated keys are JSON.
    #[must_use]
    pub fn is_json(text: &str) -> bool {
        serde_json::from_str::<&RawValue>(text).is_ok()
    }
}

/// Any JSON value, written as text in a string.
#[Scalar(name = "AWSJSON")]
impl ScalarType for AwsJson {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if Self::is_json(&text) => Ok(Self(text)),
            Value::String(_) => Err(InputValueError::custom("the string does not hold JSON text")),
            _ => Err(InputValueError::custom("wanted JSON text in a string")),
        }
    }

    /// An object is let through here because `listJobs(after:)` takes one ([`JsonOrObject`]).
    fn is_valid(value: &Value) -> bool {
        match value {
            Value::String(text) => Self::is_json(text),
            Value::Object(_) => true,
            _ => false,
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An `AWSJSON` argument that may also come as a bare object. Move's Python client parses a cursor
/// and sends the object back, as its documentation shows; AWSJSON proper does not allow that.
#[derive(Debug, Clone)]
pub struct JsonOrObject(pub String);

impl InputType for JsonOrObject {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        <AwsJson as InputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <AwsJson as InputType>::create_type_info(registry)
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        match value {
            Some(object @ Value::Object(_)) => {
                serde_json::to_string(&object).map(Self).map_err(InputValueError::custom)
            }
            value => <AwsJson as InputType>::parse(value)
                .map(|json| Self(json.0))
                .map_err(InputValueError::propagate),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }
}

macro_rules! text_scalar {
    ($(#[doc = $doc:literal])+ $type:ident = $name:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub String);

        $(#[doc = $doc])+
        #[Scalar(name = $name)]
        impl ScalarType for $type {
            fn parse(value: Value) -> InputValueResult<Self> {
                match value {
                    Value::String(text) => Ok(Self(text)),
                    other => Err(InputValueError::expected_type(other)),
                }
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }
    };
}

text_scalar!(
    /// A date and time with its offset, such as `2026-02-03T04:05:06.789Z` (ISO 8601).
    AwsDateTime = "AWSDateTime"
);
text_scalar!(
    /// A URL with its scheme (RFC 1738).
    AwsUrl = "AWSURL"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_of_any_depth_is_json() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(AwsJson::is_json(&deep));
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for text in ["", "{", "{} {}", "nul", "{'a': 1}", "\u{feff}{}"] {
            assert!(!AwsJson::is_json(text), "{text:?}");
        }
    }
}
