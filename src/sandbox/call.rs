//! The record of the calls received, for tests that assert what was sent upstream.

use apollo_compiler::ast::{Definition, Document, Selection};

/// The depth of fragments to which a root field is looked for. Documents are read before they are
/// validated, so a fragment may spread itself.
const MAX_DEPTH: usize = 8;

/// A call that the sandbox received.
#[derive(Debug, Clone)]
pub struct Call {
    /// The first root field of its operation, also of one that the schema refuses; empty if it was
    /// no GraphQL.
    pub field: String,
    /// The document.
    pub query: String,
    /// The variables.
    pub variables: serde_json::Value,
    /// The HTTP headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The key it came with.
    pub api_key: String,
}

impl Call {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// A field at the root of an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootField {
    /// Its name in the schema.
    pub name: String,
    /// Its name in the answer: its alias, if it has one.
    pub key: String,
}

/// The first root field of the operation that `operation` names, or of the first one.
#[must_use]
pub fn root_field(document: &str, operation: Option<&str>) -> Option<RootField> {
    let document = Document::parse(document, "document").unwrap_or_else(|invalid| invalid.partial);
    let selections = document.definitions.iter().find_map(|definition| match definition {
        Definition::OperationDefinition(own)
            if operation.is_none() || operation == own.name.as_deref() =>
        {
            Some(&own.selection_set)
        }
        _ => None,
    })?;
    first_field(&document, selections, MAX_DEPTH)
}

fn first_field(document: &Document, selections: &[Selection], depth: usize) -> Option<RootField> {
    let depth = depth.checked_sub(1)?;
    match selections.first()? {
        Selection::Field(field) => Some(RootField {
            name: field.name.to_string(),
            key: field.alias.as_ref().unwrap_or(&field.name).to_string(),
        }),
        Selection::InlineFragment(fragment) => {
            first_field(document, &fragment.selection_set, depth)
        }
        Selection::FragmentSpread(spread) => {
            let fragment = document.definitions.iter().find_map(|definition| match definition {
                Definition::FragmentDefinition(own) if own.name == spread.fragment_name => {
                    Some(own)
                }
                _ => None,
            })?;
            first_field(document, &fragment.selection_set, depth)
        }
    }
}
