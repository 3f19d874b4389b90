//! Answers in the shape of AppSync, which is not that of the GraphQL specification: `errorType` and
//! `errorInfo` stand at the top of an error.

use apollo_compiler::parser::LineColumn;
use apollo_compiler::response::ExecutionResponse;
use serde_json::{Value, json};

/// A reason to refuse a request before anything of it is carried out.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Which rule it breaks, as AppSync names it.
    pub kind: &'static str,
    /// For people.
    pub message: String,
    /// The places in the document.
    pub locations: Vec<LineColumn>,
}

/// The body for a key that no account has.
#[must_use]
pub fn unauthorized() -> Value {
    json!({"errors": [{
        "errorType": "UnauthorizedException",
        "message": "You are not authorized to make this call.",
    }]})
}

/// The body for what is no GraphQL request at all. (AppSync's own words and status, 400, stand in
/// issue 81 of the repository graphql/graphql-over-http.)
#[must_use]
pub fn malformed(message: &str) -> Value {
    json!({"errors": [{"errorType": "MalformedHttpRequestException", "message": message}]})
}

/// The body for a document, or for variables, that the schema refuses; AppSync's status is 200.
#[must_use]
pub fn invalid(problems: &[Problem]) -> Value {
    let errors = problems.iter().map(|Problem { kind, message, locations }| {
        json!({
            "path": null,
            "locations": places(locations),
            "errorType": "ValidationError",
            "errorInfo": null,
            "data": null,
            "message": format!("Validation error of type {kind}: {message}"),
        })
    });
    json!({"data": null, "errors": errors.collect::<Vec<_>>()})
}

/// The body for a root field that failed for no reason of its own.
#[must_use]
pub fn failed(key: &str, error_type: &str, message: &str) -> Value {
    json!({"data": null, "errors": [{
        "path": [key],
        "data": null,
        "errorType": error_type,
        "errorInfo": null,
        "locations": [],
        "message": message,
    }]})
}

/// The body for what was carried out. Resolvers put AppSync's members of an error into its message,
/// as JSON: a message is all that the engine carries.
#[must_use]
pub fn executed(response: &ExecutionResponse) -> Value {
    let mut answer = json!({"data": response.data});
    if response.errors.is_empty() {
        return answer;
    }
    let errors = response.errors.iter().map(|error| {
        let text = error.message.trim_start_matches("resolver error: ");
        let mut shaped = match serde_json::from_str(text) {
            Ok(Value::Object(members)) => Value::Object(members),
            _ => json!({"errorType": null, "errorInfo": null, "message": error.message}),
        };
        shaped["path"] = json!(error.path);
        shaped["locations"] = places(&error.locations);
        shaped
    });
    answer["errors"] = errors.collect();
    answer
}

fn places(locations: &[LineColumn]) -> Value {
    let place = |at: &LineColumn| json!({"line": at.line, "column": at.column, "sourceName": null});
    locations.iter().map(place).collect()
}
