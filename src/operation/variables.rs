//! Variables: GraphQL specification, October 2021, section 6.1.2.

use async_graphql::parser::types::{BaseType, Directive, OperationDefinition};
use async_graphql::{Name, Positioned, Value as ConstValue, Variables};
use serde_json::{Map, Value};

use super::Error;

/// Fills in defaults and refuses an operation whose required variables are missing. Whether a value
/// fits its type is the engine's to check, against the schema, before it executes anything.
pub fn complete(
    operation: &OperationDefinition,
    given: Map<String, Value>,
) -> Result<Variables, Error> {
    let mut variables = Variables::from_json(Value::Object(given));
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        let name = &definition.name.node;
        if !variables.contains_key(name)
            && let Some(default) = &definition.default_value
        {
            variables.insert(name.clone(), default.node.clone());
        }
        let is_missing = matches!(variables.get(name), None | Some(ConstValue::Null));
        if is_missing && !definition.var_type.node.nullable {
            return Err(Error::VariableMissing {
                name: name.to_string(),
                ty: definition.var_type.node.to_string(),
                position: definition.name.pos,
            });
        }
    }
    Ok(variables)
}

/// Whether every declared variable has a value that fits its type by the words of the specification
/// alone (sections 3.5.1 to 3.5.5): of a built-in scalar, no list, not null. Such values fit wherever a
/// valid document uses them.
pub fn are_plain(operation: &OperationDefinition, variables: &Variables) -> bool {
    operation.variable_definitions.iter().all(|definition| {
        let BaseType::Named(name) = &definition.node.var_type.node.base else { return false };
        match (name.as_str(), variables.get(&definition.node.name.node)) {
            ("ID" | "String", Some(ConstValue::String(_)))
            | ("Boolean", Some(ConstValue::Boolean(_))) => true,
            ("Int", Some(ConstValue::Number(number))) => {
                number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
            }
            _ => false,
        }
    })
}

/// Whether `@skip` or `@include` leaves a selection out.
pub fn is_skipped(directives: &[Positioned<Directive>], variables: &Variables) -> bool {
    directives.iter().any(|directive| match directive.node.name.node.as_str() {
        "skip" => condition(&directive.node, variables) == Some(true),
        "include" => condition(&directive.node, variables) == Some(false),
        _ => false,
    })
}

fn condition(directive: &Directive, variables: &Variables) -> Option<bool> {
    let value = directive.get_argument("if")?.node.clone();
    let resolve = |name: Name| variables.get(&name).cloned().ok_or(());
    match value.into_const_with(resolve) {
        Ok(ConstValue::Boolean(condition)) => Some(condition),
        _ => None,
    }
}
