//! The documents that the gateway takes beyond the specification, because Move's own clients send them. There is no
//! other place, except that variables which no operation declares are passed over, as most servers do.

use apollo_compiler::ast::Type;
use apollo_compiler::collections::HashSet;
use apollo_compiler::executable::{Operation, Selection, SelectionSet, Value};
use apollo_compiler::{ExecutableDocument, Name, name};

/// The `after` of listings takes an object where `AWSJSON` wants JSON text in a string: Move's Python client parses a
/// cursor and sends the object back, as its documentation shows.
#[must_use]
pub fn takes_object(field: &str, argument: &str) -> bool {
    argument == "after" && matches!(field, "listJobs" | "listTakes" | "listVolumes")
}

/// A variable declared `String` is taken where an `ID` is wanted: Move's clients declare job ids so. Gives the
/// document with such variables declared `ID`; `None` if it has none.
#[must_use]
pub fn with_ids(document: &ExecutableDocument) -> Option<ExecutableDocument> {
    let mut changed = None;
    for operation in document.operations.iter() {
        let strings = operation.variables.iter().filter(|variable| {
            variable.ty.inner_named_type() == "String" && !variable.ty.is_list()
        });
        let strings: Vec<Name> = strings.map(|variable| variable.name.clone()).collect();
        if strings.is_empty() {
            continue;
        }
        let mut uses = Uses { document, ids: HashSet::default(), others: HashSet::default() };
        uses.walk(&operation.selection_set, &mut HashSet::default());
        let is_id = |name: &Name| uses.ids.contains(name) && !uses.others.contains(name);
        let ids: Vec<Name> = strings.into_iter().filter(is_id).collect();
        if !ids.is_empty() {
            let changed = changed.get_or_insert_with(|| document.clone());
            declare_ids(changed, operation.name.as_ref(), &ids);
        }
    }
    changed
}

fn declare_ids(document: &mut ExecutableDocument, operation: Option<&Name>, ids: &[Name]) {
    let operation = match operation {
        Some(name) => document.operations.named.get_mut(name),
        None => document.operations.anonymous.as_mut(),
    };
    let Some(operation) = operation else { return };
    let operation: &mut Operation = operation.make_mut();
    for variable in &mut operation.variables {
        if ids.contains(&variable.name) {
            let ty = match &*variable.ty {
                Type::NonNullNamed(_) => Type::NonNullNamed(name!("ID")),
                _ => Type::Named(name!("ID")),
            };
            let ty = variable.ty.same_location(ty);
            variable.make_mut().ty = ty;
        }
    }
}

/// The variables that are arguments, by what is wanted there.
struct Uses<'a> {
    document: &'a ExecutableDocument,
    ids: HashSet<Name>,
    others: HashSet<Name>,
}

impl<'a> Uses<'a> {
    fn walk(&mut self, set: &'a SelectionSet, seen: &mut HashSet<&'a Name>) {
        for selection in &set.selections {
            match selection {
                Selection::Field(field) => {
                    for argument in &field.arguments {
                        let Value::Variable(variable) = &*argument.value else { continue };
                        let wanted = field.definition.argument_by_name(&argument.name);
                        match wanted.map(|wanted| wanted.ty.inner_named_type().as_str()) {
                            Some("ID") => self.ids.insert(variable.clone()),
                            _ => self.others.insert(variable.clone()),
                        };
                    }
                    self.walk(&field.selection_set, seen);
                }
                Selection::InlineFragment(fragment) => self.walk(&fragment.selection_set, seen),
                Selection::FragmentSpread(spread) => {
                    if seen.insert(&spread.fragment_name)
                        && let Some(fragment) = self.document.fragments.get(&spread.fragment_name)
                    {
                        self.walk(&fragment.selection_set, seen);
                    }
                }
            }
        }
    }
}
