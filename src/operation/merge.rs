//! Brings an operation of a valid document into its normal form: CollectFields and MergeSelectionSets of the
//! GraphQL specification, sections 6.3.2 and 6.4.3. Its size was measured before.

use apollo_compiler::collections::{HashSet, IndexMap};
use apollo_compiler::executable::{
    DirectiveList, ExecutableDocument, Field as Selected, Operation, OperationType, Selection,
    SelectionSet, Value,
};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{Name, Node, name};

use super::form::{Below, Field, Form, Given, Leaf, Object, Root, RootKind, Shape};
use super::schema::Schema;
use crate::model::{Kind, RootField, Subscription};

/// The value of a variable that decides of `@skip` and `@include`; `None` leaves nothing out.
pub type Condition<'a> = &'a dyn Fn(&Name) -> Option<bool>;

/// The fields of one object, by their keys.
type Collected<'a> = IndexMap<&'a Name, Vec<&'a Node<Selected>>>;

/// The form of an operation; `condition` has the values of the variables that decide what is left out.
pub fn form(
    schema: &Schema,
    document: &ExecutableDocument,
    operation: &Operation,
    condition: Condition<'_>,
) -> Form {
    let merging = Merging { schema, document, condition };
    let kind = match operation.operation_type {
        OperationType::Mutation => Kind::Mutation,
        OperationType::Query => Kind::Query,
        OperationType::Subscription => Kind::Subscription,
    };
    let root_type = operation.object_type();
    let collected = merging.collect(root_type, [&operation.selection_set]);
    let roots = collected.iter().filter_map(|(key, fields)| merging.root(root_type, key, fields));
    Form::new(kind, roots.collect(), document.sources.clone())
}

struct Merging<'a> {
    schema: &'a Schema,
    document: &'a ExecutableDocument,
    condition: Condition<'a>,
}

impl<'a> Merging<'a> {
    fn root(&self, root_type: &str, key: &Name, fields: &[&'a Node<Selected>]) -> Option<Root> {
        let first = *fields.first()?;
        let asked = match first.name.as_str() {
            "__typename" => RootKind::Typename,
            "__schema" | "__type" => RootKind::Introspection,
            "_service" => RootKind::Service,
            "_entities" => RootKind::Entities,
            name => match Subscription::from_name(name) {
                Some(followed) => RootKind::Subscription(followed),
                None => RootKind::Operation(RootField::from_name(name)?),
            },
        };
        let mut field = self.field(root_type, key, fields)?;
        if asked == RootKind::Introspection {
            field.below = Below::Library;
        }
        let arguments = first
            .arguments
            .iter()
            .map(|argument| Given { name: argument.name.clone(), value: argument.value.clone() });
        let definition = first.definition.clone();
        Some(Root { asked, field, arguments: arguments.collect(), definition })
    }

    /// One field out of all that are selected under its key.
    fn field(&self, parent: &str, key: &Name, fields: &[&'a Node<Selected>]) -> Option<Field> {
        let first = *fields.first()?;
        // Of the object's own type: an interface may promise less.
        let definition = self.schema.field(parent, &first.name)?;
        let named = definition.ty.inner_named_type();
        let below = match self.schema.type_(named)? {
            ExtendedType::Scalar(scalar) => Below::Leaf(match scalar.name.as_str() {
                "Int" => Leaf::Int,
                "Float" => Leaf::Float,
                "Boolean" => Leaf::Boolean,
                "AWSDateTime" => Leaf::DateTime,
                _ => Leaf::Text,
            }),
            ExtendedType::Enum(values) => {
                Below::Leaf(Leaf::Enum(values.values.keys().cloned().collect()))
            }
            // Introspection's types refer to each other.
            ExtendedType::Object(object) if object.name.starts_with("__") => Below::Library,
            ExtendedType::Object(object) => Below::Object(self.object(&object.name, fields)),
            _ => {
                let possible = self.schema.possible_types(named);
                Below::OneOf(possible.iter().map(|name| self.object(name, fields)).collect())
            }
        };
        let shape = Shape::from_type(&definition.ty);
        Some(Field::new(key.clone(), first.name.clone(), shape, below, first.location()))
    }

    fn object(&self, type_name: &Name, fields: &[&'a Node<Selected>]) -> Object {
        let collected = self.collect(type_name, fields.iter().map(|field| &field.selection_set));
        let fields =
            collected.iter().filter_map(|(key, fields)| self.field(type_name, key, fields));
        Object { type_name: type_name.clone(), fields: fields.collect() }
    }

    fn collect(
        &self,
        type_name: &str,
        sets: impl IntoIterator<Item = &'a SelectionSet>,
    ) -> Collected<'a> {
        let (mut into, mut seen) = (Collected::default(), HashSet::default());
        for set in sets {
            into.reserve(set.selections.len());
            self.collect_from(type_name, set, &mut seen, &mut into);
        }
        into
    }

    fn collect_from(
        &self,
        type_name: &str,
        set: &'a SelectionSet,
        seen: &mut HashSet<&'a Name>,
        into: &mut Collected<'a>,
    ) {
        for selection in &set.selections {
            if self.is_left_out(selection.directives()) {
                continue;
            }
            match selection {
                Selection::Field(field) => {
                    into.entry(field.response_key()).or_default().push(field);
                }
                Selection::FragmentSpread(spread) => {
                    if seen.insert(&spread.fragment_name)
                        && let Some(fragment) = self.document.fragments.get(&spread.fragment_name)
                        && self.schema.applies(fragment.type_condition(), type_name)
                    {
                        self.collect_from(type_name, &fragment.selection_set, seen, into);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.type_condition.as_ref();
                    if condition.is_none_or(|on| self.schema.applies(on, type_name)) {
                        self.collect_from(type_name, &fragment.selection_set, seen, into);
                    }
                }
            }
        }
    }

    fn is_left_out(&self, directives: &DirectiveList) -> bool {
        let decides = |directive: &Name, leaves_out: bool| {
            directives.get(directive).is_some_and(|directive| {
                match directive.specified_argument_by_name("if").map(|value| &**value) {
                    Some(Value::Boolean(value)) => *value == leaves_out,
                    Some(Value::Variable(name)) => (self.condition)(name) == Some(leaves_out),
                    _ => false,
                }
            })
        };
        decides(&name!("skip"), true) || decides(&name!("include"), false)
    }
}

/// The variables that decide of `@skip` and `@include` anywhere in the document, each once.
pub fn conditions(document: &ExecutableDocument) -> Vec<Name> {
    let mut names = Vec::new();
    let sets = document.operations.iter().map(|operation| &operation.selection_set);
    let sets = sets.chain(document.fragments.values().map(|fragment| &fragment.selection_set));
    sets.for_each(|set| collect_conditions(set, &mut names));
    names
}

fn collect_conditions(set: &SelectionSet, names: &mut Vec<Name>) {
    for selection in &set.selections {
        for directive in selection.directives() {
            let condition = directive.specified_argument_by_name("if");
            if matches!(directive.name.as_str(), "skip" | "include")
                && let Some(name) = condition.and_then(|value| value.as_variable())
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        match selection {
            Selection::Field(field) => collect_conditions(&field.selection_set, names),
            Selection::InlineFragment(fragment) => {
                collect_conditions(&fragment.selection_set, names);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}
