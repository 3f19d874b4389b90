//! Values that callers give: variables (GraphQL specification, section 6.1.2) and arguments (6.4.1), as JSON.

use apollo_compiler::ast::{Type, Value as Literal, VariableDefinition};
use apollo_compiler::parser::SourceMap;
use apollo_compiler::schema::{ExtendedType, FieldDefinition};
use apollo_compiler::{Name, Node};
use serde_json::{Map, Value};

use super::error::{ArgumentError, Pos};
use super::form::Given;
use super::schema::Schema;
use super::validate::{did_you_mean, shortened};
use super::{Error, lenient, scalars};

/// The values of an operation's variables: those given, fitted to their types, and defaults. What is given and
/// not declared is passed over.
pub fn variables(
    schema: &Schema,
    declared: &[Node<VariableDefinition>],
    sources: &SourceMap,
    mut given: Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    let mut values = Map::new();
    for definition in declared {
        let name = definition.name.as_str();
        let position = || Pos::from_span(definition.location(), sources);
        let missing = || Error::VariableMissing {
            name: name.to_owned(),
            ty: definition.ty.to_string(),
            position: position(),
        };
        match (given.remove(name), &definition.default_value) {
            (Some(Value::Null), _) | (None, None) if definition.ty.is_non_null() => {
                return Err(missing());
            }
            (Some(value), _) => {
                let value =
                    fit(schema, &definition.ty, value).map_err(|misfit| Error::Variable {
                        place: format!("{name}{}", misfit.place),
                        problem: shortened(misfit.problem),
                        position: position(),
                    })?;
                values.insert(name.to_owned(), value);
            }
            (None, Some(default)) => {
                if let Some(value) = of_literal(schema, &definition.ty, default, &Map::new()) {
                    values.insert(name.to_owned(), value);
                }
            }
            (None, None) => {}
        }
    }
    Ok(values)
}

/// A value that does not fit its type.
struct Misfit {
    /// The way to it, such as `.clipWindow.endTime` or `[1]`.
    place: String,
    problem: String,
}

impl Misfit {
    fn below(self, step: &str) -> Self {
        Self { place: format!("{step}{}", self.place), ..self }
    }
}

/// Fits a variable's value to its type.
fn fit(schema: &Schema, ty: &Type, value: Value) -> Result<Value, Misfit> {
    let misfit = |expected: &str, value: &Value| Misfit {
        place: String::new(),
        problem: format!("expected {expected}, got {value}"),
    };
    let name = match ty {
        _ if value.is_null() && ty.is_non_null() => return Err(misfit(&ty.to_string(), &value)),
        _ if value.is_null() => return Ok(value),
        Type::List(item) | Type::NonNullList(item) => {
            // One value is a list of one (section 3.11).
            let Value::Array(items) = value else {
                return Ok(vec![fit(schema, item, value)?].into());
            };
            let items = items.into_iter().enumerate().map(|(i, value)| {
                fit(schema, item, value).map_err(|misfit| misfit.below(&format!("[{i}]")))
            });
            return items.collect::<Result<Vec<_>, _>>().map(Value::Array);
        }
        Type::Named(name) | Type::NonNullNamed(name) => name,
    };
    match schema.type_(name) {
        Some(ExtendedType::Enum(enum_)) => match &value {
            Value::String(text) if enum_.values.contains_key(text.as_str()) => Ok(value),
            other => {
                let names = || enum_.values.keys().map(Name::as_str);
                let hint = other.as_str().map(|text| did_you_mean(text, names()));
                let mut problem = misfit(&format!("one of {name}'s values"), other);
                problem.problem.push('.');
                problem.problem.push_str(&hint.unwrap_or_default());
                Err(problem)
            }
        },
        Some(ExtendedType::InputObject(input)) => {
            let Value::Object(mut members) = value else {
                return Err(misfit(&format!("an object of type {name}"), &value));
            };
            if let Some(unknown) =
                members.keys().find(|key| !input.fields.contains_key(key.as_str()))
            {
                let names = input.fields.keys().map(Name::as_str);
                let hint = did_you_mean(unknown, names);
                let problem = format!("field \"{unknown}\" is not defined by type {name}.{hint}");
                return Err(Misfit { place: String::new(), problem });
            }
            let mut fitted = Map::new();
            for (field, definition) in &input.fields {
                let step = || format!(".{field}");
                let value = match (members.remove(field.as_str()), &definition.default_value) {
                    (Some(value), _) => fit(schema, &definition.ty, value)
                        .map_err(|misfit| misfit.below(&step()))?,
                    (None, Some(default)) => {
                        of_literal(schema, &definition.ty, default, &Map::new()).unwrap_or_default()
                    }
                    (None, None) if definition.ty.is_non_null() => {
                        let problem = format!("a value of type {} is needed", definition.ty);
                        return Err(Misfit { place: step(), problem });
                    }
                    (None, None) => continue,
                };
                fitted.insert(field.to_string(), value);
            }
            Ok(fitted.into())
        }
        _ => scalar(name, value),
    }
}

fn scalar(name: &str, value: Value) -> Result<Value, Misfit> {
    let misfit = |expected: &str, value: &Value| {
        let problem = format!("expected {name} ({expected}), got {value}");
        Err(Misfit { place: String::new(), problem })
    };
    match (name, &value) {
        ("Int", Value::Number(number)) => match whole(number) {
            Some(whole) => Ok(whole.into()),
            None => misfit("a whole number of 32 bits", &value),
        },
        ("Int", _) => misfit("a whole number of 32 bits", &value),
        ("Float", Value::Number(_))
        | ("Boolean", Value::Bool(_))
        | ("String" | "ID", Value::String(_)) => Ok(value),
        ("Float", _) => misfit("a number", &value),
        ("Boolean", _) => misfit("true or false", &value),
        ("ID", Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Ok(number.to_string().into())
        }
        ("String" | "ID", _) => misfit("a string", &value),
        _ => match scalars::variable(name, &value) {
            Ok(()) => Ok(value),
            Err(expected) => misfit(expected, &value),
        },
    }
}

/// A number as an `Int`; `1.0` is the whole number 1 (section 3.5.1).
fn whole(number: &serde_json::Number) -> Option<i32> {
    if let Some(whole) = number.as_i64() {
        return i32::try_from(whole).ok();
    }
    let float = number.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "checked beside")]
    let whole = float as i32;
    #[expect(clippy::float_cmp, reason = "they are the same whole number or not")]
    (f64::from(whole) == float).then_some(whole)
}

/// The arguments of a field, with their defaults.
///
/// # Errors
/// When a variable's value cannot stand where it is used.
pub fn arguments(
    schema: &Schema,
    field: &FieldDefinition,
    given: &[Given],
    variables: &Map<String, Value>,
) -> Result<Map<String, Value>, ArgumentError> {
    let mut values = Map::new();
    for definition in &field.arguments {
        let name = definition.name.as_str();
        let given = given.iter().find(|given| given.name == definition.name);
        let value = given
            .and_then(|given| of_literal(schema, &definition.ty, &given.value, variables))
            .or_else(|| {
                let default = definition.default_value.as_ref()?;
                of_literal(schema, &definition.ty, default, variables)
            });
        let refuse = |problem| ArgumentError { name: name.to_owned(), problem };
        match value {
            None | Some(Value::Null) if definition.ty.is_non_null() => {
                return Err(refuse("a value is needed"));
            }
            None => {}
            Some(value @ Value::Object(_)) if definition.ty.inner_named_type() == "AWSJSON" => {
                if !lenient::takes_object(&field.name, name) {
                    return Err(refuse(scalars::JSON_TEXT));
                }
                values.insert(name.to_owned(), value.to_string().into());
            }
            Some(value) => {
                values.insert(name.to_owned(), value);
            }
        }
    }
    Ok(values)
}

/// A value that stands in a valid document; `None` for a variable without a value.
fn of_literal(
    schema: &Schema,
    ty: &Type,
    literal: &Node<Literal>,
    variables: &Map<String, Value>,
) -> Option<Value> {
    if let Literal::Variable(name) = &**literal {
        return variables.get(name.as_str()).cloned();
    }
    if let (Type::List(item) | Type::NonNullList(item), false) = (ty, literal.is_null()) {
        let one = std::slice::from_ref(literal);
        let items = literal.as_list().unwrap_or(one).iter();
        let item = |literal| of_literal(schema, item, literal, variables).unwrap_or_default();
        return Some(items.map(item).collect());
    }
    Some(match &**literal {
        Literal::Null | Literal::Variable(_) => Value::Null,
        Literal::Enum(name) => name.as_str().into(),
        Literal::String(text) => text.as_str().into(),
        Literal::Boolean(value) => (*value).into(),
        Literal::Int(number) if ty.inner_named_type() == "ID" => number.as_str().into(),
        Literal::Int(number) => match number.as_str().parse::<i64>() {
            Ok(whole) => whole.into(),
            Err(_) => number.as_str().parse::<f64>().ok().into(),
        },
        Literal::Float(number) => number.as_str().parse::<f64>().ok().into(),
        Literal::List(items) => {
            let item = |item| of_literal(schema, ty, item, variables).unwrap_or_default();
            items.iter().map(item).collect()
        }
        Literal::Object(members) => {
            if let Some(ExtendedType::InputObject(input)) = schema.type_(ty.inner_named_type()) {
                let mut object = Map::new();
                for (name, definition) in &input.fields {
                    let given = members.iter().find(|(own, _)| own == name).map(|(_, value)| value);
                    let value = given
                        .and_then(|value| of_literal(schema, &definition.ty, value, variables))
                        .or_else(|| {
                            let default = definition.default_value.as_ref()?;
                            of_literal(schema, &definition.ty, default, variables)
                        });
                    if let Some(value) = value {
                        object.insert(name.to_string(), value);
                    }
                }
                object.into()
            } else {
                let member = |(name, value): &(Name, Node<Literal>)| {
                    let value = of_literal(schema, ty, value, variables).unwrap_or_default();
                    (name.to_string(), value)
                };
                members.iter().map(member).collect::<Map<_, _>>().into()
            }
        }
    })
}
