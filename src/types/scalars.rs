//! AppSync's scalars, as far as the Jobs schema uses them.
//! <https://docs.aws.amazon.com/appsync/latest/devguide/scalars.html>

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

macro_rules! text_scalar {
    ($(#[doc = $doc:literal])+ $type:ident = $name:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
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
    /// Any JSON value, written as text in a string.
    AwsJson = "AWSJSON"
);
text_scalar!(
    /// A date and time with its offset, such as `2026-02-03T04:05:06.789Z` (ISO 8601).
    AwsDateTime = "AWSDateTime"
);
text_scalar!(
    /// A URL with its scheme (RFC 1738).
    AwsUrl = "AWSURL"
);
