//! The documents that are sent to Move. `schema/move.graphql` states everything they may name.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::{EntityId, EntityKind, Kind, RootField, Selection};
use crate::types::SortDirection;

/// One root field of Move's, its arguments and what is wanted of the answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// The root field.
    pub field: &'static str,
    /// Query or mutation: a mutation is never sent twice.
    pub kind: Kind,
    /// The document: one operation with one root field.
    pub document: Arc<str>,
    /// The values of its variables.
    pub variables: Map<String, Value>,
}

/// A creation: a root field's arguments, as the schema has them.
#[derive(Debug, Clone)]
pub struct Creation {
    /// The mutation.
    pub field: RootField,
    /// Its arguments but the metadata, validated.
    pub arguments: Map<String, Value>,
    /// JSON text; already enveloped when it gets here.
    pub metadata: Option<String>,
}

/// The types of the arguments of creations: a name has the same type in all of them.
const CREATION_ARGUMENTS: [(&str, &str); 13] = [
    ("takeId", "String!"),
    ("type", "String!"),
    ("sources", "[SourceInput!]"),
    ("syncMethod", "SyncMethodInput"),
    ("volumeId", "String!"),
    ("humanHeight", "Float!"),
    ("areaType", "AreaType!"),
    ("name", "String"),
    ("clipWindow", "ClipWindowInput"),
    ("options", "OptionsInput"),
    ("outputs", "[OutputType]"),
    ("numberOfActors", "Int"),
    ("rig", "String"),
];

/// The arguments of a listing.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    /// The number of jobs a page may hold.
    pub first: i32,
    /// The cursor of the page before, as Move gave it.
    pub after: Option<&'a str>,
    /// The order.
    pub sort_direction: Option<SortDirection>,
    /// Only jobs of this take.
    pub take: Option<&'a EntityId>,
}

/// The document that asks for one entity: the same for every one of its kind of which the same is wanted.
#[derive(Debug, Clone)]
pub struct EntityDocument(Arc<str>);

impl EntityDocument {
    /// Writes it.
    #[must_use]
    pub fn new(kind: EntityKind, selection: &Selection) -> Self {
        let arguments = match kind.id_argument() {
            // Any id: the document holds none.
            Some(argument) => Arguments::default().add(argument, "ID!", ""),
            None => Arguments::default(),
        };
        Self(arguments.query(kind.getter(), of_kind(kind, selection)).document)
    }
}

impl Call {
    /// Asks for one entity by a document of its kind.
    #[must_use]
    pub fn get(id: &EntityId, document: &EntityDocument) -> Self {
        let kind = id.kind();
        let variable = |argument: &str| (argument.to_owned(), id.as_str().into());
        let variables = kind.id_argument().map(variable).into_iter().collect();
        let document = Arc::clone(&document.0);
        Self { field: kind.getter(), kind: Kind::Query, document, variables }
    }

    /// Asks for several entities in one document, something of each: each stands under its alias of
    /// [`Batch`](super::Batch). It goes by the name of the first one's root field.
    #[must_use]
    pub fn batch(asked: &[(&EntityId, &Selection)]) -> Self {
        let (mut declared, mut fields, mut variables) = (Vec::new(), Vec::new(), Map::new());
        for (index, (id, wanted)) in asked.iter().enumerate() {
            let (alias, kind) = (super::Batch::alias(index), id.kind());
            let (getter, wanted) = (kind.getter(), of_kind(kind, wanted));
            let Some(argument) = kind.id_argument() else {
                fields.push(format!("{alias}: {getter}{wanted}"));
                continue;
            };
            declared.push(format!("${alias}: ID!"));
            fields.push(format!("{alias}: {getter}({argument}: ${alias}){wanted}"));
            variables.insert(alias, id.as_str().into());
        }
        let declared = match declared.as_slice() {
            [] => String::new(),
            declared => format!("({})", declared.join(", ")),
        };
        let document = format!("query batch{declared} {{ {} }}", fields.join(" "));
        let field = asked.first().map_or("batch", |(id, _)| id.kind().getter());
        Self { field, kind: Kind::Query, document: document.into(), variables }
    }

    /// Asks for one page by a query that lists entities of a kind.
    #[must_use]
    pub fn list(lister: &'static str, listing: &Listing<'_>, selection: impl Display) -> Self {
        Arguments::default()
            .add("first", "Int", listing.first)
            .maybe("after", "AWSJSON", listing.after)
            .maybe("sortDirection", "SortDirection", listing.sort_direction)
            .maybe("takeId", "String", listing.take.map(EntityId::as_str))
            .query(lister, selection)
    }

    /// Creates something by one of the mutations. What is null goes as if it were not given.
    #[must_use]
    pub fn create(creation: &Creation, selection: impl Display) -> Self {
        let metadata = creation.metadata.as_deref();
        let mut arguments = Arguments::default().maybe("metadata", "AWSJSON", metadata);
        for (name, r#type) in CREATION_ARGUMENTS {
            let given = creation.arguments.get(name).map(without_nulls);
            arguments = arguments.maybe(name, r#type, given.filter(|given| !given.is_null()));
        }
        arguments.call(creation.field, selection)
    }

    /// Changes an entity's name or metadata; what is `None` stays as it is.
    #[must_use]
    pub fn update(
        field: RootField,
        id: &EntityId,
        metadata: Option<&str>,
        name: Option<&str>,
        selection: impl Display,
    ) -> Self {
        Arguments::default()
            .add("id", "String!", id.as_str())
            .maybe("metadata", "AWSJSON", metadata)
            .maybe("name", "String", name)
            .call(field, selection)
    }

    /// Asks whose the account is.
    #[must_use]
    pub fn client_id() -> Self {
        let wanted = Selection::of_leaves(["id"]);
        Arguments::default().query(EntityKind::Client.getter(), wanted)
    }

    /// Makes a link to a file.
    #[must_use]
    pub fn share(file: &EntityId, selection: impl Display) -> Self {
        Arguments::default()
            .add("fileId", "String!", file.as_str())
            .call(RootField::GenerateShareCode, selection)
    }

    /// Makes an endpoint that Move sends events to; one that has the name changes but for its secret.
    #[must_use]
    pub fn register_webhook(uid: &str, url: &str, events: &[&str], secret: &str) -> Self {
        Arguments::default()
            .add("uid", "String!", uid)
            .add("url", "String!", url)
            .add("events", "[String!]", events)
            .add("description", "String", "The Jobs Gateway.")
            .add("secret", "String", secret)
            .call(RootField::UpsertWebhookEndpoint, Selection::of_leaves(["uid", "url", "secret"]))
    }

    /// Asks which mutations Move has, those included that it would rather not be asked for.
    #[must_use]
    pub fn mutation_names() -> Self {
        Self {
            field: "__type",
            kind: Kind::Query,
            document: r#"query mutations { __type(name: "Mutation")
                { fields(includeDeprecated: true) { name } } }"#
                .into(),
            variables: Map::new(),
        }
    }
}

/// Variables as they are gathered: each is declared, passed on and given a value.
#[derive(Default)]
struct Arguments {
    declared: String,
    passed: String,
    values: Map<String, Value>,
}

impl Arguments {
    #[expect(
        clippy::expect_used,
        reason = "texts, numbers, enums and flat structs are always JSON"
    )]
    fn add(mut self, name: &str, r#type: &str, value: impl Serialize) -> Self {
        let separator = if self.declared.is_empty() { "" } else { ", " };
        self.declared.push_str(&format!("{separator}${name}: {type}"));
        self.passed.push_str(&format!("{separator}{name}: ${name}"));
        self.values.insert(name.into(), serde_json::to_value(value).expect("it is JSON"));
        self
    }

    fn maybe(self, name: &str, r#type: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.add(name, r#type, value),
            None => self,
        }
    }

    fn call(self, field: RootField, selection: impl Display) -> Call {
        self.build(field.kind(), field.name(), selection)
    }

    fn query(self, field: &'static str, selection: impl Display) -> Call {
        self.build(Kind::Query, field, selection)
    }

    fn build(self, kind: Kind, field: &'static str, selection: impl Display) -> Call {
        let keyword = match kind {
            Kind::Query | Kind::Subscription => "query",
            Kind::Mutation => "mutation",
        };
        let Self { declared, passed, values } = self;
        let document = if declared.is_empty() {
            format!("{keyword} {field} {{ {field}{selection} }}")
        } else {
            format!("{keyword} {field}({declared}) {{ {field}({passed}){selection} }}")
        };
        let document = document.into();
        Call { field, kind, document, variables: values }
    }
}

/// Gives what is wanted of an entity as its queries take it: of a member of a union, under its name.
#[must_use]
pub fn of_kind(kind: EntityKind, selection: &Selection) -> Cow<'_, Selection> {
    if !kind.is_in_union() {
        return Cow::Borrowed(selection);
    }
    let mut of_union = Selection::of_leaves(["__typename"]);
    of_union.field(&format!("... on {}", kind.type_name())).merge(selection);
    Cow::Owned(of_union)
}

/// A value without the members that are null, at any depth.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_declares_only_the_variables_it_gives() {
        let job = EntityId::job("job-1").expect("an id");
        let call =
            Call::update(RootField::UpdateJob, &job, None, Some("n"), Selection::of_leaves(["id"]));
        assert_eq!(
            &*call.document,
            "mutation updateJob($id: String!, $name: String) \
             { updateJob(id: $id, name: $name) {id} }"
        );
        assert_eq!(Value::Object(call.variables), serde_json::json!({"id": "job-1", "name": "n"}));
    }
}
