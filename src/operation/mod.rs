//! Document in, operation out: parsed once, measured, remembered by its full text.
//!
//! The engine would expand fragments before it limits anything, so a short document could keep it
//! busy for hours. Everything is therefore measured here, before the engine sees it.

mod error;
mod measure;
mod plain;
mod tokens;
mod variables;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{
    ExecutableDocument, OperationDefinition, OperationType, Selection,
};
use async_graphql::{Positioned, Request, Value as ConstValue, Variables};
use moka::sync::Cache;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use error::Error;
pub use measure::Limits;
pub use plain::{Argument, Field, JobQuery};

use crate::model::{Kind, RootField, Trail};

/// How much memory remembered documents may take, in bytes, roughly.
const REMEMBERED: u64 = 32 * 1024 * 1024;

/// What a parsed document weighs for each byte of its text: measured with a getJob query.
const WEIGHT_PER_BYTE: usize = 16;

/// Parses documents, and remembers those that are within the limits.
#[derive(Debug, Clone)]
pub struct Documents {
    limits: Limits,
    parsed: Cache<Arc<str>, Arc<Document>>,
}

/// A document within the limits.
#[derive(Debug)]
pub struct Document {
    /// Told by it, what is known of it elsewhere is found without its text.
    pub id: DocumentId,
    text: Arc<str>,
    parsed: ExecutableDocument,
}

/// Names a parsed document in this process. No two have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DocumentId(u64);

impl DocumentId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One operation of a document with its variables: ready to be decided on and executed.
#[derive(Debug)]
pub struct Operation {
    /// Query or mutation.
    pub kind: Kind,
    /// What is asked for, in order; fields that `@skip` or `@include` leave out are not in it.
    pub roots: Vec<Root>,
    document: Arc<Document>,
    name: Option<String>,
    variables: Variables,
    /// Whether its variables fit their types whatever the schema says of the places they are used in.
    is_plain: bool,
}

/// A root field that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The key in the answer: the alias, or the field's name.
    pub response_key: String,
    /// What it asks for.
    pub asked: Asked,
}

/// What a root field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// An operation of the Jobs API.
    Operation(RootField),
    /// The schema: `__schema`, `__type`, or Federation's `_service`.
    Introspection,
    /// `__typename`, or a name that validation will refuse.
    Other,
}

impl Asked {
    fn by_name(name: &str) -> Self {
        match name {
            "__schema" | "__type" | "_service" => Self::Introspection,
            // A federated graph reads jobs by their key: to policy that is what `getJob` does.
            "_entities" => Self::Operation(RootField::GetJob),
            _ => RootField::from_name(name).map_or(Self::Other, Self::Operation),
        }
    }
}

impl Documents {
    /// Remembers documents within these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let parsed = Cache::builder()
            .max_capacity(REMEMBERED)
            .weigher(|text: &Arc<str>, _| {
                u32::try_from(text.len() * WEIGHT_PER_BYTE).unwrap_or(u32::MAX)
            })
            .build();
        Self { limits, parsed }
    }

    /// The limits it was made with.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The parsed form of a document.
    ///
    /// # Errors
    /// When it is not GraphQL or over a limit.
    pub fn parse(&self, text: &str) -> Result<Arc<Document>, Error> {
        if let Some(document) = self.parsed.get(text) {
            return Ok(document);
        }
        tokens::check(text, &self.limits)?;
        let parsed = parse_query(text)?;
        measure::check(&parsed, &self.limits)?;
        let text: Arc<str> = text.into();
        let document = Document { id: DocumentId::next(), text: Arc::clone(&text), parsed };
        let document = Arc::new(document);
        self.parsed.insert(text, Arc::clone(&document));
        Ok(document)
    }
}

impl Document {
    /// What it asks for, if that is one job and nothing else. It must be known to be valid.
    #[must_use]
    pub fn job_query(&self) -> Option<JobQuery> {
        plain::job_query(&self.parsed)
    }

    /// Picks the operation to execute and checks its variables.
    ///
    /// # Errors
    /// When no operation of that name is there, or a variable is missing.
    pub fn operation(
        self: Arc<Self>,
        name: Option<&str>,
        variables: Map<String, Value>,
    ) -> Result<Operation, Error> {
        let definition = self.pick(name)?;
        let kind = kind(definition)?;
        let variables = variables::complete(&definition.node, variables)?;
        let is_plain = variables::are_plain(&definition.node, &variables);
        let mut roots = Vec::new();
        self.collect(&definition.node.selection_set.node.items, &variables, &mut roots);
        let name = name.map(str::to_owned);
        Ok(Operation { kind, roots, name, variables, is_plain, document: self })
    }

    /// The document's only operation without its variables: good for telling what it asks for,
    /// with every field that a variable could leave out.
    ///
    /// # Errors
    /// When there are several operations, or a subscription.
    pub fn sketch(self: Arc<Self>) -> Result<Operation, Error> {
        let definition = self.pick(None)?;
        let kind = kind(definition)?;
        let mut roots = Vec::new();
        let variables = Variables::default();
        self.collect(&definition.node.selection_set.node.items, &variables, &mut roots);
        Ok(Operation { kind, roots, name: None, variables, is_plain: false, document: self })
    }

    fn pick(&self, name: Option<&str>) -> Result<&Positioned<OperationDefinition>, Error> {
        let mut operations = self.parsed.operations.iter();
        match name {
            Some(name) => operations
                .find(|(own, _)| own.is_some_and(|own| own == name))
                .map(|(_, operation)| operation)
                .ok_or_else(|| Error::UnknownOperation(name.chars().take(64).collect())),
            None => match (operations.next(), operations.next()) {
                (Some((_, operation)), None) => Ok(operation),
                _ => Err(Error::OperationNameNeeded),
            },
        }
    }

    fn collect(
        &self,
        items: &[Positioned<Selection>],
        variables: &Variables,
        roots: &mut Vec<Root>,
    ) {
        for item in items {
            if variables::is_skipped(item.node.directives(), variables) {
                continue;
            }
            match &item.node {
                Selection::Field(field) => {
                    let response_key = field.node.response_key().node.to_string();
                    let asked = Asked::by_name(&field.node.name.node);
                    let root = Root { response_key, asked };
                    if !roots.contains(&root) {
                        roots.push(root);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) =
                        self.parsed.fragments.get(&spread.node.fragment_name.node)
                    {
                        self.collect(&fragment.node.selection_set.node.items, variables, roots);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.collect(&fragment.node.selection_set.node.items, variables, roots);
                }
            }
        }
    }
}

fn kind(definition: &Positioned<OperationDefinition>) -> Result<Kind, Error> {
    match definition.node.ty {
        OperationType::Query => Ok(Kind::Query),
        OperationType::Mutation => Ok(Kind::Mutation),
        OperationType::Subscription => Err(Error::Subscription),
    }
}

impl Operation {
    /// The root fields of the Jobs API that are asked for, in order.
    pub fn root_fields(&self) -> impl Iterator<Item = (&str, RootField)> {
        self.roots.iter().filter_map(|root| match root.asked {
            Asked::Operation(field) => Some((root.response_key.as_str(), field)),
            Asked::Introspection | Asked::Other => None,
        })
    }

    /// A trail for each of them.
    #[must_use]
    pub fn trails(&self) -> Arc<[Trail]> {
        self.root_fields().map(|(response_key, field)| Trail::new(response_key, field)).collect()
    }

    /// Whether the schema is asked for.
    #[must_use]
    pub fn introspects(&self) -> bool {
        self.roots.iter().any(|root| root.asked == Asked::Introspection)
    }

    /// SHA-256 of the document, the operation's name and the variables, whatever the order in which
    /// they were given.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut variables = serde_json::to_value(&self.variables).unwrap_or_default();
        variables.sort_all_objects();
        let hash = Sha256::new()
            .chain_update(self.document.text.as_bytes())
            .chain_update([0])
            .chain_update(self.name.as_deref().unwrap_or_default())
            .chain_update([0])
            .chain_update(variables.to_string());
        hash.finalize().into()
    }

    /// Whether its document is valid if it is, and the other way about: it is the document's only
    /// operation, and each of its variables is given and fits wherever a valid document uses it.
    #[must_use]
    pub fn stands_for_document(&self) -> bool {
        self.is_plain && self.document.parsed.operations.iter().count() == 1
    }

    /// Its document.
    #[must_use]
    pub const fn document(&self) -> &Arc<Document> {
        &self.document
    }

    /// The text of an argument, if it is one.
    #[must_use]
    pub fn text<'a>(&'a self, argument: &'a Argument) -> Option<&'a str> {
        match argument {
            Argument::Literal(text) => Some(text),
            Argument::Variable(name) => match self.variables.get(name) {
                Some(ConstValue::String(text)) => Some(text),
                _ => None,
            },
        }
    }

    /// The request for the engine: already parsed, with defaults of variables filled in (which
    /// also makes `@skip(if: $withDefault)` right: the engine looks at given variables only).
    #[must_use]
    pub fn into_request(self) -> Request {
        // The engine reads the text of what is not parsed yet.
        let mut request = Request::new("").variables(self.variables);
        request.operation_name = self.name;
        request.set_parsed_query(self.document.parsed.clone());
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> Documents {
        Documents::new(Limits::default())
    }

    fn operation(text: &str, name: Option<&str>, variables: Value) -> Result<Operation, Error> {
        let Value::Object(variables) = variables else { panic!("an object") };
        documents().parse(text)?.operation(name, variables)
    }

    #[test]
    fn root_fields_are_found_through_fragments_aliases_and_directives() {
        let text = r#"query Q($yes: Boolean = true) {
            a: getJob(jobId: "1") { id }
            ...More @include(if: $yes)
            ... on Query { c: getJob(jobId: "2") @skip(if: $yes) { id } __typename }
        }
        fragment More on Query { listJobs { after } }"#;
        let operation = operation(text, None, serde_json::json!({})).expect("an operation");
        let roots: Vec<_> = operation.root_fields().collect();
        assert_eq!(roots, [("a", RootField::GetJob), ("listJobs", RootField::ListJobs)]);
        assert_eq!(operation.kind, Kind::Query);
    }

    #[test]
    fn an_operation_is_picked_by_name_and_never_guessed() {
        let two = "query A { __typename } mutation B { __typename }";
        let none = serde_json::json!({});
        assert!(matches!(operation(two, None, none.clone()), Err(Error::OperationNameNeeded)));
        assert!(matches!(operation(two, Some("C"), none.clone()), Err(Error::UnknownOperation(_))));
        let picked = operation(two, Some("B"), none.clone()).expect("B");
        assert_eq!(picked.kind, Kind::Mutation);
        assert!(operation("{ __typename }", Some("A"), none).is_err());
    }

    #[test]
    fn a_document_is_parsed_once() {
        let documents = documents();
        let first = documents.parse("{ __typename }").expect("a document");
        let second = documents.parse("{ __typename }").expect("a document");
        assert!(Arc::ptr_eq(&first, &second));
    }
}
