//! The part of a document that a validator has to look at. Most fields of most documents are plain: without
//! arguments and directives, and all below them likewise. That they exist, and are selected as their type wants, was
//! seen before; so nothing else can be wrong with them, unless fields have to be merged (GraphQL specification,
//! section 5.3.2), which costs more than all other rules together.

use apollo_compiler::executable::{Operation, Selection, SelectionSet};
use apollo_compiler::{ExecutableDocument, Node};

/// Most fields of one object among which equal keys are looked for, each with each.
const WIDEST: usize = 64;

/// Leaves the plain fields out of a document. `None` if fields of it may have to be merged: it has fragments, or one
/// key twice.
#[must_use]
pub fn of(document: &ExecutableDocument) -> Option<ExecutableDocument> {
    let mut operations = document.operations.iter();
    // A subscription has one root field (GraphQL specification, section 5.2.4.1): none may be left out.
    let has_subscription = operations.any(|operation| operation.is_subscription());
    if has_subscription || !document.fragments.is_empty() {
        return None;
    }
    let mut skeleton = document.clone();
    let operations = &mut skeleton.operations;
    for operation in operations.anonymous.iter_mut().chain(operations.named.values_mut()) {
        let set = &operation.selection_set;
        let selections = or_first(fields_to_judge(set)?, set);
        let operation: &mut Operation = operation.make_mut();
        operation.selection_set.selections = selections;
    }
    Some(skeleton)
}

/// The fields that are not plain, without the plain ones below them.
fn fields_to_judge(set: &SelectionSet) -> Option<Vec<Selection>> {
    if set.selections.len() > WIDEST {
        return None;
    }
    let mut judged = Vec::new();
    for (index, selection) in set.selections.iter().enumerate() {
        let Selection::Field(field) = selection else { return None };
        let has_key = |other: &Selection| {
            other.as_field().is_some_and(|other| other.response_key() == field.response_key())
        };
        if set.selections[..index].iter().any(has_key) {
            return None;
        }
        let below = fields_to_judge(&field.selection_set)?;
        if below.is_empty() && field.arguments.is_empty() && field.directives.is_empty() {
            continue;
        }
        let mut field = Node::clone(field);
        if !field.selection_set.is_empty() {
            let selections = or_first(below, &field.selection_set);
            field.make_mut().selection_set.selections = selections;
        }
        judged.push(Selection::Field(field));
    }
    Some(judged)
}

/// The fields, or the first of the set: no object is without any.
fn or_first(fields: Vec<Selection>, set: &SelectionSet) -> Vec<Selection> {
    if fields.is_empty() { set.selections.first().cloned().into_iter().collect() } else { fields }
}

#[cfg(test)]
mod tests {
    use apollo_compiler::Schema;

    use super::*;

    const SDL: &str = "type Query { job(id: ID): Job } type Client { name: String }
        type Job { id: ID name: String client: Client }";

    fn parse(text: &str) -> ExecutableDocument {
        let schema = Schema::parse_and_validate(SDL, "schema").expect("a schema");
        ExecutableDocument::parse(&schema, text, "document").expect("a document")
    }

    #[test]
    fn plain_fields_are_left_out_and_no_object_is_left_empty() {
        for (text, judged) in [
            (
                "query($v: ID) { job(id: $v) { id name client { name } } }",
                "query($v: ID) { job(id: $v) { id } }",
            ),
            (
                "{ a: job { id } b: job { id x: name @skip(if: true) } }",
                "{ b: job { x: name @skip(if: true) } }",
            ),
            ("{ job { client { name } } __typename }", "{ job { client { name } } }"),
            (
                "query A { job { id } } query B { __typename }",
                "query A { job { id } } query B { __typename }",
            ),
        ] {
            let skeleton = of(&parse(text)).expect("a skeleton");
            assert_eq!(skeleton.to_string(), parse(judged).to_string(), "{text}");
        }
    }

    #[test]
    fn a_document_whose_fields_may_have_to_be_merged_has_no_skeleton() {
        for text in [
            "{ job { id id } }",
            "{ job { x: id x: name } }",
            "{ ... { job { id } } }",
            "{ ...F } fragment F on Query { job { id } }",
        ] {
            assert!(of(&parse(text)).is_none(), "{text}");
        }
    }
}
