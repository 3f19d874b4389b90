//! A schema as one tenant may see it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use apollo_compiler::ast::{self, Definition};
use apollo_compiler::collections::HashMap;
use apollo_compiler::schema::{ExtendedType, FieldDefinition, Implementers};
use apollo_compiler::validation::Valid;
use apollo_compiler::{Name, Node};

use crate::model::FieldCoordinate;

/// A valid schema.
pub struct Schema {
    /// Process-unique. Caches use it in their keys.
    pub id: SchemaId,
    pub(super) types: Valid<apollo_compiler::Schema>,
    pub(super) implementers: HashMap<Name, Implementers>,
}

/// Names a schema in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchemaId(u64);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Schema {
    /// Reads a schema definition and takes the hidden fields out of it: neither validation nor introspection
    /// knows them.
    ///
    /// # Errors
    /// Says why what is left is no valid schema.
    pub fn new(sdl: &str, hidden: &[FieldCoordinate]) -> Result<Self, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let document = without(sdl, hidden)?;
        let types = document.to_schema_validate().map_err(|invalid| first(&invalid.errors))?;
        let implementers = types.implementers_map();
        let id = SchemaId(NEXT.fetch_add(1, Ordering::Relaxed));
        Ok(Self { id, types, implementers })
    }

    /// Returns true if an object or interface type has such a field.
    #[must_use]
    pub fn has_field(&self, coordinate: &FieldCoordinate) -> bool {
        let FieldCoordinate { type_name, field } = coordinate;
        let fields = match self.types.types.get(type_name.as_str()) {
            Some(ExtendedType::Object(object)) => &object.fields,
            Some(ExtendedType::Interface(interface)) => &interface.fields,
            _ => return false,
        };
        fields.contains_key(field.as_str())
    }

    /// The definition of a field, those of introspection included.
    pub(super) fn field(&self, type_name: &str, field: &str) -> Option<&Node<FieldDefinition>> {
        self.types.type_field(type_name, field).ok().map(|field| &field.node)
    }

    pub(super) fn type_(&self, name: &str) -> Option<&ExtendedType> {
        self.types.types.get(name)
    }

    /// The object types that a composite type may turn out to be.
    pub(super) fn possible_types(&self, name: &str) -> Vec<Name> {
        match self.type_(name) {
            Some(ExtendedType::Object(object)) => vec![object.name.clone()],
            Some(ExtendedType::Union(union)) => {
                union.members.iter().map(|member| member.name.clone()).collect()
            }
            _ => self.implementers.get(name).map_or_else(Vec::new, |implementers| {
                implementers.objects.iter().cloned().collect()
            }),
        }
    }

    /// Returns true if a fragment on `condition` applies to objects of the type.
    pub(super) fn applies(&self, condition: &str, object: &str) -> bool {
        condition == object || self.types.is_subtype(condition, object)
    }
}

/// A schema definition without the hidden fields, printed.
///
/// # Errors
/// Says why nothing would be left of it.
pub fn sdl_without(sdl: &str, hidden: &[FieldCoordinate]) -> Result<String, String> {
    Ok(without(sdl, hidden)?.serialize().indent_prefix("\t").to_string())
}

fn first(errors: &apollo_compiler::validation::DiagnosticList) -> String {
    errors.iter().next().map_or_else(String::new, |error| error.error.to_string())
}

/// Takes fields out, and then whatever is left empty by it, until all of it is a schema again.
fn without(sdl: &str, hidden: &[FieldCoordinate]) -> Result<ast::Document, String> {
    let mut document =
        ast::Document::parse(sdl, "schema.graphql").map_err(|invalid| first(&invalid.errors))?;
    if hidden.is_empty() {
        return Ok(document);
    }
    take_fields(&mut document, hidden);
    loop {
        let gone = empty_types(&document);
        if let Some(root) = gone.iter().find(|name| matches!(name.as_str(), "Query")) {
            return Err(format!("nothing is left of {root}"));
        }
        if gone.is_empty() {
            return Ok(document);
        }
        take_types(&mut document, &gone);
    }
}

fn take_fields(document: &mut ast::Document, hidden: &[FieldCoordinate]) {
    let mut hidden: Vec<(String, &str)> =
        hidden.iter().map(|at| (at.type_name.clone(), at.field.as_str())).collect();
    // Through an interface a field could still be asked for.
    for definition in &document.definitions {
        if let Definition::ObjectTypeDefinition(object) = definition {
            let own: Vec<&str> = hidden
                .iter()
                .filter(|(type_name, _)| object.name == type_name.as_str())
                .map(|(_, field)| *field)
                .collect();
            for interface in &object.implements_interfaces {
                hidden.extend(own.iter().map(|field| (interface.to_string(), *field)));
            }
        }
    }
    let is_hidden = |type_name: &Name, field: &str| {
        hidden.iter().any(|(name, own)| type_name == name.as_str() && *own == field)
    };
    for definition in &mut document.definitions {
        match definition {
            Definition::ObjectTypeDefinition(object) => {
                let name = object.name.clone();
                object.make_mut().fields.retain(|field| !is_hidden(&name, &field.name));
            }
            Definition::InterfaceTypeDefinition(interface) => {
                let name = interface.name.clone();
                interface.make_mut().fields.retain(|field| !is_hidden(&name, &field.name));
            }
            Definition::InputObjectTypeDefinition(input) => {
                let name = input.name.clone();
                input.make_mut().fields.retain(|field| !is_hidden(&name, &field.name));
            }
            _ => {}
        }
    }
}

/// Types without a field or member: no schema may have one (GraphQL specification, section 3.6).
fn empty_types(document: &ast::Document) -> Vec<Name> {
    let empty = document.definitions.iter().filter_map(|definition| match definition {
        Definition::ObjectTypeDefinition(object) => {
            object.fields.is_empty().then_some(&object.name)
        }
        Definition::InterfaceTypeDefinition(interface) => {
            interface.fields.is_empty().then_some(&interface.name)
        }
        Definition::UnionTypeDefinition(union) => union.members.is_empty().then_some(&union.name),
        Definition::InputObjectTypeDefinition(input) => {
            input.fields.is_empty().then_some(&input.name)
        }
        _ => None,
    });
    empty.cloned().collect()
}

/// Takes types out, and all that names them.
fn take_types(document: &mut ast::Document, gone: &[Name]) {
    document.definitions.retain(|definition| {
        definition.name().is_none_or(|name| !gone.contains(name))
            || matches!(definition, Definition::DirectiveDefinition(_))
    });
    for definition in &mut document.definitions {
        match definition {
            Definition::ObjectTypeDefinition(object) => {
                let object = object.make_mut();
                object.implements_interfaces.retain(|interface| !gone.contains(interface));
                object.fields.retain(|field| !gone.contains(field.ty.inner_named_type()));
                for field in &mut object.fields {
                    let is_gone = |ty: &ast::Type| gone.contains(ty.inner_named_type());
                    if field.arguments.iter().any(|own| is_gone(&own.ty)) {
                        field.make_mut().arguments.retain(|own| !is_gone(&own.ty));
                    }
                }
            }
            Definition::InputObjectTypeDefinition(input) => {
                let input = input.make_mut();
                input.fields.retain(|field| !gone.contains(field.ty.inner_named_type()));
            }
            Definition::InterfaceTypeDefinition(interface) => {
                let interface = interface.make_mut();
                interface.implements_interfaces.retain(|interface| !gone.contains(interface));
                interface.fields.retain(|field| !gone.contains(field.ty.inner_named_type()));
            }
            Definition::UnionTypeDefinition(union) => {
                union.make_mut().members.retain(|member| !gone.contains(member));
            }
            Definition::SchemaDefinition(schema) => {
                schema.make_mut().root_operations.retain(|root| !gone.contains(&root.1));
            }
            _ => {}
        }
    }
}
