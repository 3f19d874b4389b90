//! Root fields of one key must have the same arguments (GraphQL specification, section 5.3.2). apollo-compiler takes
//! two lists for the same if one begins with the other, and only root fields have lists as arguments.

use apollo_compiler::ast::{
    Argument, Definition, Document, Field, OperationDefinition, Selection, Value,
};
use apollo_compiler::collections::{HashMap, HashSet};
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::{Name, Node};

use super::error::Pos;

/// Reports root fields of an operation that share a key and differ in their arguments.
pub fn check(
    document: &Document,
    operation: &OperationDefinition,
    mut report: impl FnMut(String, Option<SourceSpan>),
) {
    let mut roots = Roots { document, by_key: HashMap::default(), seen: HashSet::default() };
    roots.collect(&operation.selection_set, &mut report);
}

struct Roots<'a> {
    document: &'a Document,
    /// The first field of each key.
    by_key: HashMap<&'a Name, &'a Node<Field>>,
    /// The fragments that were followed.
    seen: HashSet<&'a Name>,
}

impl<'a> Roots<'a> {
    fn collect(
        &mut self,
        selections: &'a [Selection],
        report: &mut impl FnMut(String, Option<SourceSpan>),
    ) {
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    let key = field.response_name();
                    let first = *self.by_key.entry(key).or_insert(field);
                    // One that has an argument twice differs from itself: that is told already.
                    let is_itself = std::ptr::eq(first, field);
                    if !is_itself
                        && first.name == field.name
                        && !are_same(&first.arguments, &field.arguments)
                    {
                        let message = format!(
                            "Fields \"{key}\" conflict because they have differing arguments. Give one \
                             of them an alias."
                        );
                        report(message, field.location());
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.collect(&fragment.selection_set, report);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.fragment_name;
                    let fragment =
                        self.document.definitions.iter().find_map(|definition| match definition {
                            Definition::FragmentDefinition(own) if own.name == *name => Some(own),
                            _ => None,
                        });
                    if self.seen.insert(name)
                        && let Some(fragment) = fragment
                    {
                        self.collect(&fragment.selection_set, report);
                    }
                }
            }
        }
    }
}

/// Returns what to say of each field that stands beside another of its key, but of another name.
pub fn of_siblings(document: &Document) -> HashMap<Pos, String> {
    let mut conflicts = HashMap::default();
    let mut open: Vec<&[Selection]> = Vec::new();
    for definition in &document.definitions {
        match definition {
            Definition::OperationDefinition(operation) => open.push(&operation.selection_set),
            Definition::FragmentDefinition(fragment) => open.push(&fragment.selection_set),
            _ => {}
        }
    }
    while let Some(selections) = open.pop() {
        let mut by_key: HashMap<&Name, &Name> = HashMap::default();
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    let (key, name) = (field.response_name(), &field.name);
                    let first = *by_key.entry(key).or_insert(name);
                    if first != name
                        && let Some(position) = Pos::from_span(field.location(), &document.sources)
                    {
                        let message = format!(
                            "Fields \"{key}\" conflict because \"{first}\" and \"{name}\" are different \
                             fields. Give one of them an alias."
                        );
                        conflicts.insert(position, message);
                    }
                    open.push(&field.selection_set);
                }
                Selection::InlineFragment(fragment) => open.push(&fragment.selection_set),
                Selection::FragmentSpread(_) => {}
            }
        }
    }
    conflicts
}

fn are_same(one: &[Node<Argument>], other: &[Node<Argument>]) -> bool {
    one.len() == other.len()
        && one.iter().all(|argument| {
            let same = other.iter().find(|same| same.name == argument.name);
            same.is_some_and(|same| is_same(&argument.value, &same.value))
        })
}

/// Compares values; the order of an object's fields does not matter.
fn is_same(one: &Value, other: &Value) -> bool {
    if one == other {
        return true;
    }
    match (one, other) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    let same = other.iter().find(|(own, _)| own == name);
                    same.is_some_and(|(_, same)| is_same(value, same))
                })
        }
        _ => false,
    }
}
