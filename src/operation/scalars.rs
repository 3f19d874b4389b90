//! The scalars that the specification does not have, as input.
//! <https://docs.aws.amazon.com/appsync/latest/devguide/scalars.html>

use apollo_compiler::ast::Value as Literal;
use serde_json::Value;
use serde_json::value::RawValue;

/// The words for an `AWSJSON` that is none.
pub const JSON_TEXT: &str = "JSON text in a string";

/// Returns true if the text is one JSON value. Nesting of any depth and repeated keys are JSON.
#[must_use]
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Checks what stands in a document for a scalar, as far as its kind tells.
///
/// # Errors
/// Says what is expected.
pub fn literal(scalar: &str, value: &Literal) -> Result<(), &'static str> {
    match (scalar, value) {
        (_, Literal::Null | Literal::Variable(_))
        | ("String" | "ID" | "AWSDateTime" | "AWSURL", Literal::String(_))
        | ("ID" | "Int" | "Float", Literal::Int(_))
        | ("Float", Literal::Float(_))
        | ("Boolean", Literal::Boolean(_)) => Ok(()),
        ("String" | "ID" | "AWSDateTime" | "AWSURL", _) => Err("a string"),
        ("Int", _) => Err("a whole number"),
        ("Float", _) => Err("a number"),
        ("Boolean", _) => Err("true or false"),
        ("AWSJSON", Literal::String(text)) if is_json(text) => Ok(()),
        ("AWSJSON", _) => Err(JSON_TEXT),
        _ => Ok(()),
    }
}

/// Checks a variable's value for a custom scalar. An object may be an `AWSJSON` here; whether its place takes
/// one, its argument decides.
///
/// # Errors
/// Says what is expected.
pub fn variable(scalar: &str, value: &Value) -> Result<(), &'static str> {
    match (scalar, value) {
        ("AWSJSON", Value::String(text)) if is_json(text) => Ok(()),
        ("AWSJSON", Value::Object(_)) | ("AWSDateTime" | "AWSURL", Value::String(_)) => Ok(()),
        ("AWSJSON", _) => Err(JSON_TEXT),
        ("AWSDateTime" | "AWSURL", _) => Err("a string"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_of_any_depth_is_json() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(is_json(&deep));
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for text in ["", "{", "{} {}", "nul", "{'a': 1}", "\u{feff}{}"] {
            assert!(!is_json(text), "{text:?}");
        }
    }
}
