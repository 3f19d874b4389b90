//! Introspection: GraphQL specification, section 4. apollo-compiler answers it.

use apollo_compiler::introspection;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::response::JsonMap;

use super::error::Problem;
use super::schema::Schema;
use super::{Error, Operation};

/// The answer of introspection to one root field.
#[derive(Debug)]
pub struct Introspected {
    /// The field's key in the answer.
    pub key: String,
    /// Its value, JSON text.
    pub json: String,
}

/// Answers the `__schema` and `__type` of an operation.
///
/// # Errors
/// When the library refuses what was validated before.
pub fn introspect(schema: &Schema, operation: &Operation) -> Result<Vec<Introspected>, Error> {
    let refused = |message: String| Error::Invalid(vec![Problem { message, position: None }]);
    let (document, definition) = operation.executable()?;
    let mut variables = JsonMap::new();
    for (name, value) in &operation.variables {
        if let Ok(value) = serde_json::from_value(value.clone()) {
            variables.insert(name.as_str(), value);
        }
    }
    let variables = coerce_variable_values(&schema.types, definition, &variables)
        .map_err(|error| refused(error.message().to_string()))?;
    let implementers = &schema.implementers;
    let response = introspection::partial_execute(
        &schema.types,
        implementers,
        document,
        definition,
        &variables,
    )
    .map_err(|error| refused(error.message().to_string()))?;
    let members = response.data.into_iter().flatten();
    let members = members.map(|(key, value)| {
        let json = serde_json::to_string(&value).map_err(|error| refused(error.to_string()))?;
        Ok(Introspected { key: key.as_str().to_owned(), json })
    });
    members.collect()
}
