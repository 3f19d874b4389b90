//! `schema/move.graphql`, served as it stands.
//!
//! The engine is another one than the gateway's: two engines do not share their mistakes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use apollo_compiler::diagnostic::Diagnostic;
use apollo_compiler::executable::{Operation, OperationType};
use apollo_compiler::request::RequestError;
use apollo_compiler::resolvers::Execution;
use apollo_compiler::response::{ExecutionResponse, GraphQLError, JsonMap};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::{DiagnosticData, DiagnosticList, Valid};
use apollo_compiler::{ExecutableDocument, Schema};
use serde_json::Value;

use super::answer::Problem;
use super::lock;
use super::objects::World;
use super::resolve::Root;

const SDL: &str = include_str!("../../schema/move.graphql");

/// The number of valid documents that are remembered; beyond it all are forgotten.
const MAX_DOCUMENTS: usize = 1000;

/// The schema, and the documents that were validated against it.
pub struct MoveSchema {
    schema: Valid<Schema>,
    documents: Mutex<HashMap<String, Arc<Valid<ExecutableDocument>>>>,
}

impl fmt::Debug for MoveSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MoveSchema(…)")
    }
}

impl MoveSchema {
    /// Reads the schema, with or without the older `createJob`.
    pub fn new(create_job: bool) -> Result<Self, String> {
        let mut schema = Schema::parse(SDL, "move.graphql").map_err(|e| e.errors.to_string())?;
        if !create_job
            && let Some(ExtendedType::Object(mutation)) = schema.types.get_mut("Mutation")
        {
            mutation.make_mut().fields.shift_remove("createJob");
        }
        let schema = schema.validate().map_err(|e| e.errors.to_string())?;
        Ok(Self { schema, documents: Mutex::default() })
    }

    /// Parses and validates a document.
    pub fn document(&self, text: &str) -> Result<Arc<Valid<ExecutableDocument>>, Vec<Problem>> {
        if let Some(known) = lock(&self.documents).get(text) {
            return Ok(Arc::clone(known));
        }
        let document = ExecutableDocument::parse_and_validate(&self.schema, text, "document")
            .map_err(|invalid| problems(&invalid.errors))?;
        let document = Arc::new(document);
        let mut documents = lock(&self.documents);
        if documents.len() >= MAX_DOCUMENTS {
            documents.clear();
        }
        documents.insert(text.to_owned(), Arc::clone(&document));
        Ok(document)
    }

    /// Executes an operation in the account of `world`.
    pub fn execute(
        &self,
        world: &World<'_>,
        document: &Valid<ExecutableDocument>,
        name: Option<&str>,
        variables: &Value,
    ) -> Result<ExecutionResponse, Vec<Problem>> {
        let refused = |error: RequestError| {
            let GraphQLError { message, locations, .. } = error.to_graphql_error(&document.sources);
            vec![Problem { kind: "WrongType", message, locations }]
        };
        let variables: JsonMap = match variables {
            Value::Object(variables) => variables
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.clone().into()))
                .collect(),
            _ => JsonMap::new(),
        };
        let operation = document.operations.get(name).map_err(refused)?;
        check_aws_json(document, operation, &variables)?;
        let type_name = match operation.operation_type {
            OperationType::Mutation => "Mutation",
            _ => "Query",
        };
        Execution::new(&self.schema, document)
            .operation(operation)
            .raw_variable_values(&variables)
            .enable_schema_introspection(true)
            .execute_sync(&Root { type_name, world })
            .map_err(refused)
    }
}

/// AWSJSON is a string that holds JSON text. Only root fields take it, and AppSync looks before it
/// carries anything out.
fn check_aws_json(
    document: &ExecutableDocument,
    operation: &Operation,
    variables: &JsonMap,
) -> Result<(), Vec<Problem>> {
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let of_literal = |value: &apollo_compiler::ast::Value| {
        value.is_null() || value.as_variable().is_some() || value.as_str().is_some_and(is_json)
    };
    let given = operation.variables.iter().filter(|own| own.ty.inner_named_type() == "AWSJSON");
    let bad_variable = given.filter(|own| match variables.get(own.name.as_str()) {
        Some(value) => !value.is_null() && !value.as_str().is_some_and(is_json),
        None => own.default_value.as_ref().is_some_and(|value| !of_literal(value)),
    });
    let bad_argument = operation.root_fields(document).flat_map(|field| {
        field.arguments.iter().filter(|argument| {
            let definition = field.definition.argument_by_name(&argument.name);
            definition.is_some_and(|own| own.ty.inner_named_type() == "AWSJSON")
                && !of_literal(&argument.value)
        })
    });
    let places = bad_variable
        .map(|own| (&own.name, own.location()))
        .chain(bad_argument.map(|own| (&own.name, own.location())));
    let problems: Vec<_> = places
        .map(|(name, location)| Problem {
            kind: "WrongType",
            message: format!("'{name}' is not a valid 'AWSJSON'"),
            locations: location
                .and_then(|at| at.line_column_range(&document.sources))
                .map(|range| range.start)
                .into_iter()
                .collect(),
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn problems(diagnostics: &DiagnosticList) -> Vec<Problem> {
    let problem = |diagnostic: Diagnostic<'_, DiagnosticData>| {
        let error = diagnostic.error;
        Problem {
            kind: appsyncs_name(error.unstable_error_name().unwrap_or_default()),
            message: error.to_string(),
            locations: diagnostic
                .line_column_range()
                .map(|range| range.start)
                .into_iter()
                .collect(),
        }
    };
    diagnostics.iter().map(problem).collect()
}

/// The rules of validation, as the engine below AppSync (graphql-java) calls them.
fn appsyncs_name(rule: &str) -> &'static str {
    match rule {
        "UndefinedField" => "FieldUndefined",
        "UndefinedArgument" => "UnknownArgument",
        "RequiredArgument" => "MissingFieldArgument",
        "RequiredField"
        | "UndefinedInputValue"
        | "UndefinedEnumValue"
        | "UnsupportedValueType"
        | "IntCoercionError"
        | "FloatCoercionError" => "WrongType",
        "UndefinedDefinition" => "UnknownType",
        "UndefinedDirective" => "UnknownDirective",
        "UndefinedVariable" => "UndefinedVariable",
        "UnusedVariable" => "UnusedVariable",
        "UndefinedFragment" => "UndefinedFragment",
        "UnusedFragment" => "UnusedFragment",
        "DisallowedVariableUsage" => "VariableTypeMismatch",
        "MissingSubselection" => "SubSelectionRequired",
        "SubselectionOnScalarType" | "SubselectionOnEnumType" => "SubSelectionNotAllowed",
        "InvalidFragmentSpread" => "InvalidFragmentType",
        "ConflictingFieldType" | "ConflictingFieldName" | "ConflictingFieldArgument" => {
            "FieldsConflict"
        }
        _ => "InvalidSyntax",
    }
}
