//! Document in, operation out: parsed and validated once, measured, remembered by its full text; and brought
//! into its normal form ([`Form`]), which is all that the rest of the gateway reads of it.
//!
//! Everything is measured before anything expands fragments: a short document could keep a validator busy for
//! hours.

mod conflicts;
mod error;
mod form;
mod introspect;
mod lenient;
mod measure;
mod merge;
mod scalars;
mod schema;
mod skeleton;
mod tokens;
mod validate;
mod values;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use apollo_compiler::executable::{ExecutableDocument, Operation as Definition};
use apollo_compiler::validation::Valid;
use apollo_compiler::{Name, ast};
use equivalent::Equivalent;
use moka::sync::Cache;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use error::{ArgumentError, Error, Pos, Problem};
pub use form::{Below, Field, Form, FormId, Leaf, Object, Origin, Root, RootKind, Shape};
pub use introspect::{Introspected, introspect};
pub use measure::Limits;
pub use schema::{Schema, SchemaId, sdl_without};

use crate::model::{EntityId, EntityKind, Kind, RootField, Subscription, Trail};

/// The approximate memory that remembered documents may take, in bytes.
const REMEMBERED: u64 = 32 * 1024 * 1024;

/// The weight of a validated document and its forms for each byte of its text. Measured: with its plan, which has
/// a weight of its own, a getJob query of 211 bytes takes 19.6 KB.
const WEIGHT_PER_BYTE: usize = 64;

/// The number of forms of one document that are remembered: each outcome of its `@skip` and `@include` is one.
const FORMS: usize = 16;

/// Parses and validates documents, and remembers those that are valid and within the limits.
#[derive(Debug, Clone)]
pub struct Documents {
    limits: Limits,
    valid: Cache<Known, Arc<Document>, RandomState>,
}

/// A document's text, and the schema it is valid in.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    schema: SchemaId,
    text: Arc<str>,
}

/// The same, borrowed.
#[derive(Hash)]
struct Wanted<'a> {
    schema: SchemaId,
    text: &'a str,
}

impl std::hash::Hash for Known {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Wanted { schema: self.schema, text: &self.text }.hash(state);
    }
}

impl Equivalent<Known> for Wanted<'_> {
    fn equivalent(&self, known: &Known) -> bool {
        self.schema == known.schema && *self.text == *known.text
    }
}

/// A valid document within the limits.
pub struct Document {
    schema: Arc<Schema>,
    text: Arc<str>,
    executable: Valid<ExecutableDocument>,
    /// The variables that decide what is left out.
    conditions: Vec<Name>,
    representations: u64,
    forms: Mutex<Vec<(FormKey, Arc<Form>)>>,
}

/// Which operation, and the values of [`Document::conditions`].
type FormKey = (Option<Box<str>>, Box<[bool]>);

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document").field(&self.text).finish()
    }
}

/// One operation of a document with its variables: ready to be decided on and executed.
#[derive(Debug)]
pub struct Operation {
    /// Query, mutation or subscription.
    pub kind: Kind,
    /// Its normal form.
    pub form: Arc<Form>,
    /// The units to execute, in order: permitted, charged and recorded one by one.
    pub units: Vec<Unit>,
    document: Arc<Document>,
    name: Option<String>,
    variables: Map<String, Value>,
}

/// One thing to do: a root field of the Move API, or one of the entities that `_entities` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its root field in [`Form::roots`].
    pub root: usize,
    /// Its place in `_entities`.
    pub entity: Option<usize>,
    /// The root field.
    pub field: RootField,
    /// The subscription, if it is one.
    pub followed: Option<Subscription>,
    /// Its key in the answer; in `_entities` with its place, as in `_entities.2`.
    pub response_key: Arc<str>,
}

impl Documents {
    /// Remembers documents within these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let valid = Cache::builder()
            .max_capacity(REMEMBERED)
            .weigher(|known: &Known, _| {
                u32::try_from(known.text.len() * WEIGHT_PER_BYTE).unwrap_or(u32::MAX)
            })
            .build_with_hasher(RandomState::new());
        Self { limits, valid }
    }

    /// The limits it was made with.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A document that was valid in a schema before, if it is remembered.
    #[must_use]
    pub fn remembered(&self, schema: &Schema, text: &str) -> Option<Arc<Document>> {
        self.valid.get(&Wanted { schema: schema.id, text })
    }

    /// A document as it is valid in a schema.
    ///
    /// # Errors
    /// When it is not GraphQL, over a limit, or does not fit the schema.
    pub fn parse(&self, schema: &Arc<Schema>, text: &str) -> Result<Arc<Document>, Error> {
        if let Some(document) = self.remembered(schema, text) {
            return Ok(document);
        }
        tokens::check(text, &self.limits)?;
        let parsed = parse(text)?;
        measure::check(&parsed, &self.limits)?;
        let executable = validate::validate(schema, &parsed)?;
        let text: Arc<str> = text.into();
        let document = Arc::new(Document {
            schema: Arc::clone(schema),
            text: Arc::clone(&text),
            conditions: merge::conditions(&executable),
            executable,
            representations: self.limits.representations,
            forms: Mutex::default(),
        });
        self.valid.insert(Known { schema: schema.id, text }, Arc::clone(&document));
        Ok(document)
    }
}

/// Parses a text; of several faults the first is told.
fn parse(text: &str) -> Result<ast::Document, Error> {
    ast::Document::parse(text, "document").map_err(|invalid| {
        let first = invalid.errors.iter().next().map(|error| error.to_json());
        let message = first.as_ref().map_or_else(String::new, |error| error.message.clone());
        let message = message.strip_prefix("syntax error: ").map(str::to_owned).unwrap_or(message);
        let position = first.and_then(|error| error.locations.first().map(|at| Pos::from(*at)));
        Error::Syntax { message: validate::shortened(message), position }
    })
}

impl Document {
    /// Returns true if its operation takes no more work than fitting the variables: it has one form, which is made.
    #[must_use]
    pub fn is_worked_out(&self) -> bool {
        let forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        self.conditions.is_empty() && self.executable.operations.len() == forms.len()
    }

    /// Picks the operation to execute and fits its variables to their types.
    ///
    /// # Errors
    /// When no operation of that name is there, a variable is missing or does not fit, or `_entities` asks for
    /// too many.
    pub fn operation(
        self: Arc<Self>,
        name: Option<&str>,
        given: Map<String, Value>,
    ) -> Result<Operation, Error> {
        let definition = self.pick(name)?;
        let declared = &definition.variables;
        let variables = values::variables(&self.schema, declared, &self.executable.sources, given)?;
        for condition in self.conditions.iter().map(Name::as_str) {
            // Declared with a default, a variable that decides may be nullable.
            if variables.get(condition) == Some(&Value::Null) {
                return Err(Error::Variable {
                    place: condition.to_owned(),
                    problem: "expected true or false, got null".to_owned(),
                    position: None,
                });
            }
        }
        let form = self.form(name, definition, |condition| {
            variables.get(condition.as_str()).and_then(Value::as_bool)
        });
        let name = name.map(str::to_owned);
        let mut operation =
            Operation { kind: form.kind, form, units: Vec::new(), name, variables, document: self };
        operation.units = operation.count_units()?;
        Ok(operation)
    }

    /// The document's only operation without its variables: good for telling what it asks for,
    /// with every field that a variable could leave out.
    ///
    /// # Errors
    /// When there are several operations.
    pub fn sketch(self: Arc<Self>) -> Result<Operation, Error> {
        let definition = self.pick(None)?;
        let form = Arc::new(merge::form(&self.schema, &self.executable, definition, &|_| None));
        let units =
            form.roots.iter().enumerate().filter_map(|(root, Root { asked, field, .. })| {
                let (operation, followed) = match asked {
                    RootKind::Operation(field) => (*field, None),
                    RootKind::Subscription(followed) => (followed.read(), Some(*followed)),
                    RootKind::Entities => (RootField::GetJob, None),
                    RootKind::Introspection | RootKind::Service | RootKind::Typename => {
                        return None;
                    }
                };
                let response_key = field.key.as_str().into();
                Some(Unit { root, entity: None, field: operation, followed, response_key })
            });
        let units = units.collect();
        let (name, variables) = (None, Map::new());
        Ok(Operation { kind: form.kind, form, units, name, variables, document: self })
    }

    fn pick(&self, name: Option<&str>) -> Result<&Definition, Error> {
        let operations = &self.executable.operations;
        let mut all = operations.iter();
        let picked = match name {
            Some(name) => operations
                .named
                .get(name)
                .ok_or_else(|| Error::UnknownOperation(name.chars().take(64).collect()))?,
            None => match (all.next(), all.next()) {
                (Some(operation), None) => operation,
                _ => return Err(Error::OperationNameNeeded),
            },
        };
        Ok(picked)
    }

    /// The form of an operation, made once for each outcome of its conditions.
    fn form(
        &self,
        name: Option<&str>,
        definition: &Definition,
        value: impl Fn(&Name) -> Option<bool>,
    ) -> Arc<Form> {
        let outcome: Box<[bool]> =
            self.conditions.iter().map(|name| value(name).unwrap_or_default()).collect();
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let known = forms
            .iter()
            .find(|((own, conditions), _)| own.as_deref() == name && *conditions == outcome);
        if let Some((_, form)) = known {
            return Arc::clone(form);
        }
        // A variable here is a `Boolean!`: it has a value.
        let form = merge::form(&self.schema, &self.executable, definition, &value);
        let form = Arc::new(form);
        if forms.len() < FORMS {
            forms.push(((name.map(Into::into), outcome), Arc::clone(&form)));
        }
        form
    }
}

impl Operation {
    /// The units of its root fields, those of `_entities` one by one.
    fn count_units(&self) -> Result<Vec<Unit>, Error> {
        let mut units = Vec::with_capacity(self.form.roots.len());
        let mut entities = 0;
        for (root, Root { asked, field, .. }) in self.form.roots.iter().enumerate() {
            match asked {
                RootKind::Operation(operation) => units.push(Unit {
                    root,
                    entity: None,
                    field: *operation,
                    followed: None,
                    response_key: field.key.as_str().into(),
                }),
                RootKind::Subscription(followed) => units.push(Unit {
                    root,
                    entity: None,
                    field: followed.read(),
                    followed: Some(*followed),
                    response_key: field.key.as_str().into(),
                }),
                RootKind::Entities => {
                    let representations = self.representations(root);
                    entities += representations.len() as u64;
                    if entities > self.document.representations {
                        return Err(Error::TooComplex {
                            what: "representations",
                            got: entities,
                            max: self.document.representations,
                            set_by: Some("limits.representations"),
                        });
                    }
                    let unit = |(entity, one): (usize, &Value)| Unit {
                        root,
                        entity: Some(entity),
                        field: getter_of(one),
                        followed: None,
                        response_key: format!("{}.{entity}", field.key).into(),
                    };
                    units.extend(representations.iter().enumerate().map(unit));
                }
                RootKind::Introspection | RootKind::Service | RootKind::Typename => {}
            }
        }
        Ok(units)
    }

    /// The representations that `_entities` is given.
    #[must_use]
    pub fn representations(&self, root: usize) -> Vec<Value> {
        match self.arguments(root).ok().and_then(|mut given| given.remove("representations")) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        }
    }

    /// The arguments of a root field, with their defaults.
    ///
    /// # Errors
    /// When a variable's value cannot stand where it is used.
    pub fn arguments(&self, root: usize) -> Result<Map<String, Value>, ArgumentError> {
        let Some(root) = self.form.roots.get(root) else { return Ok(Map::new()) };
        values::arguments(&self.document.schema, &root.definition, &root.arguments, &self.variables)
    }

    /// Returns the root fields of the Jobs API, in order.
    pub fn root_fields(&self) -> impl Iterator<Item = (&str, RootField)> {
        self.units.iter().map(|unit| (&*unit.response_key, unit.field))
    }

    /// Returns the job that it reads, if it reads one job and nothing else.
    #[must_use]
    pub fn single_job(&self) -> Option<EntityId> {
        let ([unit], [_]) = (&*self.units, &*self.form.roots) else { return None };
        let is_job = unit.field == RootField::GetJob && unit.entity.is_none();
        let argument = EntityKind::Job.id_argument().filter(|_| is_job)?;
        match self.arguments(unit.root).ok()?.get(argument)? {
            Value::String(id) => EntityId::job(id).ok(),
            _ => None,
        }
    }

    /// Returns the subscription that it is.
    #[must_use]
    pub fn followed(&self) -> Option<Subscription> {
        self.units.first()?.followed
    }

    /// Returns true if it reads how far a job has come, and not its state alone.
    #[must_use]
    pub fn reads_progress(&self) -> bool {
        fn is_in(field: &Field) -> bool {
            let below = field.objects().iter().flat_map(|object| &object.fields);
            below.into_iter().any(|field| match field.name.as_str() {
                "progress" | "percentageComplete" => true,
                "job" => is_in(field),
                _ => false,
            })
        }
        self.form.roots.iter().any(|root| is_in(&root.field))
    }

    /// A trail for each of its units, in their order.
    #[must_use]
    pub fn trails(&self) -> Arc<[Trail]> {
        let trail = |unit: &Unit| match unit.followed {
            Some(followed) => Trail::following(Arc::clone(&unit.response_key), followed),
            None => Trail::new(Arc::clone(&unit.response_key), unit.field),
        };
        self.units.iter().map(trail).collect()
    }

    /// Returns true if the schema is asked for.
    #[must_use]
    pub fn introspects(&self) -> bool {
        let is_schema =
            |root: &Root| matches!(root.asked, RootKind::Introspection | RootKind::Service);
        self.form.roots.iter().any(is_schema)
    }

    /// The schema it is valid in.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.document.schema
    }

    /// SHA-256 of the document, the operation's name and the variables, whatever the order in which
    /// they were given.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a map of JSON values is always JSON")]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut variables = Value::Object(self.variables.clone());
        variables.sort_all_objects();
        let variables = serde_json::to_string(&variables).expect("JSON");
        let hash = Sha256::new()
            .chain_update(self.document.text.as_bytes())
            .chain_update([0])
            .chain_update(self.name.as_deref().unwrap_or_default())
            .chain_update([0])
            .chain_update(variables);
        hash.finalize().into()
    }

    /// The document and the operation in it, for the library.
    fn executable(&self) -> Result<(&Valid<ExecutableDocument>, &Definition), Error> {
        Ok((&self.document.executable, self.document.pick(self.name.as_deref())?))
    }
}

/// Gives what reads the entity that a representation names; one of no type with a key is read as a job, and refused
/// there.
fn getter_of(representation: &Value) -> RootField {
    let type_name = representation.get("__typename").and_then(Value::as_str);
    let kind = type_name.and_then(EntityKind::from_type_name).filter(|kind| kind.has_owner());
    kind.and_then(RootField::getter).unwrap_or(RootField::GetJob)
}

#[cfg(test)]
mod tests;
