//! Documents that ask for one job and nothing else, as nearly all do: what they ask for, with their
//! fragments written out.

use std::collections::HashMap;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, FragmentDefinition, OperationType, Selection,
};
use async_graphql::{Name, Positioned, Value as ConstValue};

/// One `getJob`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobQuery {
    /// Which job.
    pub id: Argument,
    /// The root field and what is selected of the job.
    pub root: Field,
}

/// Where an argument's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// It stands in the document.
    Literal(Box<str>),
    /// A variable has it.
    Variable(Name),
}

/// A field of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its key in the answer: the alias, or the name.
    pub key: Box<str>,
    /// Its name in the schema.
    pub name: Box<str>,
    /// What is selected of it, in the answer's order; nothing of a leaf.
    pub below: Vec<Field>,
}

impl Field {
    /// How many fields it is, with those below it.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.below.iter().map(Self::count).sum::<usize>()
    }
}

/// What a document asks for, if it is one `getJob` without directives. It must be known to be valid.
#[must_use]
pub fn job_query(document: &ExecutableDocument) -> Option<JobQuery> {
    let operation = match &document.operations {
        DocumentOperations::Single(operation) => &operation.node,
        DocumentOperations::Multiple(operations) if operations.len() == 1 => {
            &operations.values().next()?.node
        }
        DocumentOperations::Multiple(_) => return None,
    };
    let [root] = operation.selection_set.node.items.as_slice() else { return None };
    let Selection::Field(root) = &root.node else { return None };
    let root = &root.node;
    let [(argument, id)] = root.arguments.as_slice() else { return None };
    let is_job_query = operation.ty == OperationType::Query
        && operation.directives.is_empty()
        && root.directives.is_empty()
        && root.name.node == "getJob"
        && argument.node == "jobId";
    if !is_job_query {
        return None;
    }
    // The parser's own type of values cannot be named; this takes one apart.
    let mut variable = None;
    let literal = id.node.clone().into_const_with(|name| {
        variable = Some(name);
        Ok::<_, ()>(ConstValue::Null)
    });
    let id = match (variable, literal) {
        (Some(name), Ok(ConstValue::Null)) => Argument::Variable(name),
        (None, Ok(ConstValue::String(text))) => Argument::Literal(text.into()),
        _ => return None,
    };
    let mut below = Vec::new();
    write_out(&root.selection_set.node.items, &document.fragments, None, &mut below)?;
    let key = root.response_key().node.as_str().into();
    Some(JobQuery { id, root: Field { key, name: "getJob".into(), below } })
}

/// Adds what is selected, fragments written out and equal fields merged (GraphQL specification, sections
/// 6.3.2 and 6.4.3). `within` is the type condition that the selection stands under, if any.
///
/// A fragment right in a field's selection applies: in a valid document its type can be the field's, which
/// below a job is always one object type. One of another type within a fragment may not: `... on Take` can
/// stand in `... on Identifier`, and in no job applies.
fn write_out(
    items: &[Positioned<Selection>],
    fragments: &HashMap<Name, Positioned<FragmentDefinition>>,
    within: Option<&Name>,
    into: &mut Vec<Field>,
) -> Option<()> {
    let fits = |condition: &Name| within.is_none_or(|outer| outer == condition);
    for item in items {
        if !item.node.directives().is_empty() {
            return None;
        }
        match &item.node {
            Selection::Field(field) => {
                let field = &field.node;
                let key = field.response_key().node.as_str();
                if !field.arguments.is_empty() {
                    return None;
                }
                let at = into.iter().position(|known| *known.key == *key).unwrap_or_else(|| {
                    let name = field.name.node.as_str().into();
                    into.push(Field { key: key.into(), name, below: Vec::new() });
                    into.len() - 1
                });
                let known = into.get_mut(at)?;
                // The engine merges the values of different fields under one key.
                if *known.name != *field.name.node {
                    return None;
                }
                write_out(&field.selection_set.node.items, fragments, None, &mut known.below)?;
            }
            Selection::FragmentSpread(spread) => {
                let fragment = &fragments.get(&spread.node.fragment_name.node)?.node;
                let condition = &fragment.type_condition.node.on.node;
                if !fragment.directives.is_empty() || !fits(condition) {
                    return None;
                }
                write_out(&fragment.selection_set.node.items, fragments, Some(condition), into)?;
            }
            Selection::InlineFragment(fragment) => {
                let fragment = &fragment.node;
                let condition = fragment.type_condition.as_ref().map(|type_| &type_.node.on.node);
                if condition.is_some_and(|condition| !fits(condition)) {
                    return None;
                }
                let within = condition.or(within);
                write_out(&fragment.selection_set.node.items, fragments, within, into)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn query(text: &str) -> Option<JobQuery> {
        job_query(&parse_query(text).expect("a document"))
    }

    #[test]
    fn fragments_are_written_out_and_fields_of_one_key_merged() {
        let one = query(
            "query Q($id: ID!) { job: getJob(jobId: $id) { __typename ...J take { id } ... on Job { n: name } } }
            fragment J on Job { __typename id take { name id } }",
        );
        let other = query(
            "query($id: ID!) { job: getJob(jobId: $id) { __typename id take { name id } n: name } }",
        );
        assert!(one.is_some());
        assert_eq!(one, other);
    }

    #[test]
    fn what_is_more_than_one_job_or_depends_on_a_directive_is_left_to_the_engine() {
        for text in [
            r#"{ getJob(jobId: "1") { id } __typename }"#,
            r#"{ getJob(jobId: "1") { id @skip(if: false) } }"#,
            r#"query @a { getJob(jobId: "1") { id } }"#,
            r#"{ getJob(jobId: "1") { ...F } } fragment F on Job @a { id }"#,
            r#"{ ... on Query { getJob(jobId: "1") { id } } }"#,
            r#"mutation { getJob(jobId: "1") { id } }"#,
            "{ getJob(jobId: 1) { id } }",
            "{ listJobs { after } }",
            r#"{ getJob(jobId: "1") { ... on Identifier { ... on Take { metadata } } } }"#,
            r#"{ getJob(jobId: "1") { x: client { id } ... on Job { x: take { name } } } }"#,
            r#"{ getJob(jobId: "1") { take { x: client { id } } take { x: videoFile { name } } } }"#,
            "query A { a } query B { b }",
        ] {
            assert_eq!(query(text), None, "{text}");
        }
    }
}
