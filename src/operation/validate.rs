//! Validation: GraphQL specification, section 5.
//!
//! apollo-compiler judges. Before it, names that the schema does not have are looked for here, to say what may
//! have been meant; and what it does not judge: custom scalars, and input fields that repeat.

use apollo_compiler::ast::{self, Definition, Selection, Type, Value};
use apollo_compiler::collections::HashSet;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::{DiagnosticList, Valid};
use apollo_compiler::{ExecutableDocument, Name, Node};

use super::error::{Pos, Problem};
use super::schema::Schema;
use super::{Error, conflicts, lenient, scalars, skeleton};

/// The number of faults of a document that are told.
const TOLD: usize = 10;

/// Longest message about a fault, in bytes: some repeat a value.
const LONGEST_MESSAGE: usize = 300;

/// Validates a parsed document.
pub fn validate(
    schema: &Schema,
    document: &ast::Document,
) -> Result<Valid<ExecutableDocument>, Error> {
    let mut names = Names { schema, document, problems: Vec::new() };
    names.check()?;
    if !names.problems.is_empty() {
        return Err(Error::Invalid(names.problems));
    }
    let problems = |errors: &DiagnosticList| problems(errors, document);
    let executable =
        document.to_executable(&schema.types).map_err(|invalid| problems(&invalid.errors))?;
    let loosened = lenient::with_ids(&executable);
    let judged = loosened.as_ref().unwrap_or(&executable);
    let judged = skeleton::of(judged).unwrap_or_else(|| judged.clone());
    judged.validate(&schema.types).map_err(|invalid| problems(&invalid.errors))?;
    // It differs from what was judged by plain fields, and by what is taken leniently.
    Ok(Valid::assume_valid(executable))
}

/// One error for one fault: of several about one place, the first. Fields that cannot be merged are named.
fn problems(errors: &DiagnosticList, document: &ast::Document) -> Error {
    let conflicts = conflicts::of_siblings(document);
    let mut told: Vec<Problem> = Vec::new();
    for error in errors.iter() {
        let error = error.to_json();
        let position = error.locations.first().map(|place| Pos::from(*place));
        let is_told = told.iter().any(|known| {
            known.message == error.message || (position.is_some() && known.position == position)
        });
        if !is_told && told.len() < TOLD {
            let ours = position.and_then(|position| conflicts.get(&position).cloned());
            told.push(Problem { message: shortened(ours.unwrap_or(error.message)), position });
        }
    }
    Error::Invalid(told)
}

/// A message that is not longer than it may be.
pub fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
    message
}

/// " Did you mean "x"?", if one of the names is close to what was written.
pub fn did_you_mean<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> String {
    let close = names
        .map(|name| {
            (strsim::damerau_levenshtein(&written.to_lowercase(), &name.to_lowercase()), name)
        })
        // As graphql-js: two fifths of the letters may differ.
        .filter(|(distance, _)| *distance <= written.len() * 2 / 5 + 1)
        .min_by_key(|(distance, _)| *distance);
    close.map(|(_, name)| format!(" Did you mean \"{name}\"?")).unwrap_or_default()
}

/// " Did you mean "jobId"?" for `id`: a name whose last word is what was written.
fn longer<'a>(written: &str, mut names: impl Iterator<Item = &'a str>) -> String {
    let mut letters = written.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let word: String = first.into_iter().chain(letters).collect();
    let longer = names.find(|name| name.len() > word.len() && name.ends_with(&word));
    longer.map(|name| format!(" Did you mean \"{name}\"?")).unwrap_or_default()
}

/// Looks for names that the schema does not have, and for values that its scalars do not take.
struct Names<'a> {
    schema: &'a Schema,
    document: &'a ast::Document,
    problems: Vec<Problem>,
}

impl<'a> Names<'a> {
    fn check(&mut self) -> Result<(), Error> {
        for definition in &self.document.definitions {
            match definition {
                Definition::OperationDefinition(operation) => {
                    let Some(root) = self.schema.types.root_operation(operation.operation_type)
                    else {
                        return Err(match operation.operation_type {
                            ast::OperationType::Subscription => Error::Subscription,
                            ty => {
                                let message = format!("This schema has no {}.", ty.name());
                                Error::Invalid(vec![Problem { message, position: None }])
                            }
                        });
                    };
                    for variable in &operation.variables {
                        self.variable_type(variable);
                        if let Some(default) = &variable.default_value {
                            self.value(default, &variable.ty, None);
                        }
                    }
                    self.directives(&operation.directives);
                    self.selections(root, &operation.selection_set);
                    conflicts::check(self.document, operation, |message, span| {
                        self.report(message, span);
                    });
                }
                Definition::FragmentDefinition(fragment) => {
                    let condition = &fragment.type_condition;
                    self.directives(&fragment.directives);
                    if self.type_name(condition, condition.location().or(fragment.location())) {
                        self.selections(condition, &fragment.selection_set);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn report(&mut self, message: String, span: Option<SourceSpan>) {
        if self.problems.len() < TOLD {
            let position = Pos::from_span(span, &self.document.sources);
            self.problems.push(Problem { message: shortened(message), position });
        }
    }

    fn type_name(&mut self, name: &str, span: Option<SourceSpan>) -> bool {
        let is_known = self.schema.type_(name).is_some();
        if !is_known {
            let names = self.schema.types.types.keys().map(Name::as_str);
            let hint = did_you_mean(name, names.filter(|name| !name.starts_with("__")));
            self.report(format!("Unknown type \"{name}\".{hint}"), span);
        }
        is_known
    }

    fn variable_type(&mut self, variable: &Node<ast::VariableDefinition>) {
        let name = variable.ty.inner_named_type();
        if self.type_name(name, variable.location())
            && !self.schema.type_(name).is_some_and(ExtendedType::is_input_type)
        {
            let message = format!(
                "Variable \"${}\" cannot be of \"{}\": no input type.",
                variable.name, variable.ty
            );
            self.report(message, variable.location());
        }
    }

    fn selections(&mut self, parent: &str, selections: &'a [Selection]) {
        for selection in selections {
            match selection {
                Selection::Field(field) => self.field(parent, field),
                Selection::InlineFragment(fragment) => {
                    self.directives(&fragment.directives);
                    match &fragment.type_condition {
                        None => self.selections(parent, &fragment.selection_set),
                        Some(condition) => {
                            if self.type_name(condition, fragment.location()) {
                                self.selections(condition, &fragment.selection_set);
                            }
                        }
                    }
                }
                Selection::FragmentSpread(spread) => self.directives(&spread.directives),
            }
        }
    }

    fn field(&mut self, parent: &str, field: &'a Node<ast::Field>) {
        let (schema, name) = (self.schema, field.name.as_str());
        self.directives(&field.directives);
        let Some(definition) = schema.field(parent, name) else {
            let fields = match schema.type_(parent) {
                Some(ExtendedType::Object(object)) => Some(&object.fields),
                Some(ExtendedType::Interface(interface)) => Some(&interface.fields),
                _ => None,
            };
            let names = fields.into_iter().flat_map(|fields| fields.keys().map(Name::as_str));
            let hint = did_you_mean(name, names);
            let message = format!("Cannot query field \"{name}\" on type \"{parent}\".{hint}");
            return self.report(message, field.location());
        };
        let mut seen = HashSet::default();
        for argument in &field.arguments {
            if !seen.insert(&argument.name) {
                let message =
                    format!("There can be only one argument named \"{}\".", argument.name);
                self.report(message, argument.location());
            }
            let Some(known) = definition.argument_by_name(&argument.name) else {
                let names = definition.arguments.iter().map(|argument| argument.name.as_str());
                let mut hint = did_you_mean(&argument.name, names.clone());
                if hint.is_empty() {
                    hint = longer(&argument.name, names);
                }
                let message = format!(
                    "Unknown argument \"{}\" on field \"{parent}.{name}\".{hint}",
                    argument.name
                );
                self.report(message, argument.location());
                continue;
            };
            self.value(&argument.value, &known.ty, Some((name, &argument.name)));
        }
        let is_told =
            field.arguments.iter().any(|given| definition.argument_by_name(&given.name).is_none());
        for needed in definition.arguments.iter().filter(|argument| argument.is_required()) {
            // One that is misspelt is told already.
            if !is_told && !field.arguments.iter().any(|given| given.name == needed.name) {
                let message = format!(
                    "Field \"{name}\" argument \"{}\" of type \"{}\" is required, but it was not provided.",
                    needed.name, needed.ty
                );
                self.report(message, field.location());
            }
        }
        let type_name = definition.ty.inner_named_type();
        let is_leaf = schema.type_(type_name).is_some_and(ExtendedType::is_leaf);
        match (is_leaf, field.selection_set.is_empty()) {
            (true, false) => {
                let message = format!(
                    "Field \"{name}\" must not have a selection since type \"{}\" has no subfields.",
                    definition.ty
                );
                self.report(message, field.location());
            }
            (false, true) => {
                let message = format!(
                    "Field \"{name}\" of type \"{}\" must have a selection of subfields.",
                    definition.ty
                );
                self.report(message, field.location());
            }
            (true, true) => {}
            (false, false) => self.selections(type_name, &field.selection_set),
        }
    }

    /// Looks for names that an object has twice, and in a custom scalar's value for those of the objects in it.
    fn repeated(&mut self, value: &Node<Value>) {
        match &**value {
            Value::List(items) => items.iter().for_each(|item| self.repeated(item)),
            Value::Object(fields) => {
                let mut seen = HashSet::default();
                for (name, _) in fields.iter().filter(|(name, _)| !seen.insert(name)) {
                    let message = format!("There can be only one input field named \"{name}\".");
                    self.report(message, name.location().or(value.location()));
                }
            }
            _ => {}
        }
    }

    /// Looks for directives that the schema does not have.
    fn directives(&mut self, directives: &ast::DirectiveList) {
        for directive in directives {
            if !self.schema.types.directive_definitions.contains_key(&directive.name) {
                let message = format!("Unknown directive \"@{}\".", directive.name);
                self.report(message, directive.location());
            }
        }
    }

    /// Checks a value that stands in the document. `of` is the field and argument that it is given to.
    fn value(&mut self, value: &Node<Value>, ty: &Type, of: Option<(&str, &str)>) {
        let schema = self.schema;
        if let Value::List(items) = &**value
            && ty.is_list()
        {
            return items.iter().for_each(|item| self.value(item, ty.item_type(), of));
        }
        match (schema.type_(ty.inner_named_type()), &**value) {
            (_, Value::Null) if ty.is_non_null() => {
                let place =
                    of.map_or_else(String::new, |(_, name)| format!("Argument \"{name}\": "));
                self.report(format!("{place}expected {ty}, got null"), value.location());
            }
            (Some(ExtendedType::Enum(enum_)), Value::Enum(name))
                if !enum_.values.contains_key(name) =>
            {
                let hint = did_you_mean(name, enum_.values.keys().map(Name::as_str));
                let message =
                    format!("Value \"{name}\" does not exist in \"{}\" enum.{hint}", enum_.name);
                self.report(message, value.location());
            }
            (Some(ExtendedType::Enum(enum_)), Value::String(text)) => {
                let hint = did_you_mean(text, enum_.values.keys().map(Name::as_str));
                let hint = hint.replace("Did you mean", "Did you mean the enum value");
                let message = format!(
                    "Enum \"{}\" cannot represent non-enum value: \"{text}\".{hint}",
                    enum_.name
                );
                self.report(message, value.location());
            }
            (Some(ExtendedType::InputObject(input)), Value::Object(fields)) => {
                self.repeated(value);
                for (name, value) in fields {
                    if let Some(known) = input.fields.get(name) {
                        self.value(value, &known.ty, None);
                    } else {
                        let names = input.fields.keys().map(Name::as_str);
                        let hint = did_you_mean(name, names);
                        let message = format!(
                            "Field \"{name}\" is not defined by type \"{}\".{hint}",
                            input.name
                        );
                        self.report(message, name.location().or(value.location()));
                    }
                }
            }
            (Some(ExtendedType::Scalar(scalar)), literal) => {
                self.repeated(value);
                let is_lenient = matches!(literal, Value::Object(_))
                    && of.is_some_and(|(field, argument)| lenient::takes_object(field, argument));
                if !is_lenient && let Err(expected) = scalars::literal(&scalar.name, literal) {
                    let place =
                        of.map_or_else(String::new, |(_, name)| format!("Argument \"{name}\": "));
                    let message =
                        format!("{place}expected {} ({expected}), got {literal}", scalar.name);
                    self.report(message, value.location());
                }
            }
            _ => {}
        }
    }
}
