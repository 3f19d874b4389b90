//! Fields that do not exist for a tenant: neither in introspection nor in validation.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::OnceLock;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::Field;
use async_graphql::parser::types::{TypeKind, TypeSystemDefinition};
use async_graphql::registry::{MetaType, Registry};
use async_graphql::{
    ContextSelectionSet, EmptySubscription, OutputType, Positioned, SchemaBuilder, ServerResult,
    Value,
};

use super::{mutation, query, sdl};
use crate::model::FieldCoordinate;

thread_local! {
    /// What [`Hidden`] takes away while a schema is built on this thread.
    static HIDDEN: RefCell<Vec<FieldCoordinate>> = const { RefCell::new(Vec::new()) };
}

/// Takes fields out of a schema that is being built. The engine makes its registry of types from
/// Rust types alone and lets each of them register itself: this one registers by taking away.
pub fn without(
    builder: SchemaBuilder<query::Query, mutation::Mutation, EmptySubscription>,
    hidden: &[FieldCoordinate],
) -> SchemaBuilder<query::Query, mutation::Mutation, EmptySubscription> {
    HIDDEN.set(hidden.to_vec());
    let builder = builder.register_output_type::<Hidden>();
    HIDDEN.take();
    builder
}

struct Hidden;

impl OutputType for Hidden {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("Hidden")
    }

    fn create_type_info(registry: &mut Registry) -> String {
        HIDDEN.with_borrow(|hidden| {
            for FieldCoordinate { type_name, field } in hidden {
                // Through an interface it could still be asked for.
                let interfaces = registry.implements.get(type_name).cloned().unwrap_or_default();
                for interface in interfaces {
                    if let Some(MetaType::Interface { fields, .. }) =
                        registry.types.get_mut(&interface)
                    {
                        fields.shift_remove(field);
                    }
                }
                if let Some(MetaType::Object { fields, .. } | MetaType::Interface { fields, .. }) =
                    registry.types.get_mut(type_name)
                {
                    fields.shift_remove(field);
                }
            }
        });
        Self::type_name().into_owned()
    }

    /// Never asked: no field has this type.
    async fn resolve(
        &self,
        _: &ContextSelectionSet<'_>,
        _: &Positioned<Field>,
    ) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}

/// Whether the schema has such a field.
#[must_use]
pub fn has_field(coordinate: &FieldCoordinate) -> bool {
    static FIELDS: OnceLock<HashSet<FieldCoordinate>> = OnceLock::new();
    FIELDS.get_or_init(all_fields).contains(coordinate)
}

fn all_fields() -> HashSet<FieldCoordinate> {
    let mut all = HashSet::new();
    let definitions = parse_schema(sdl(false)).map(|document| document.definitions);
    for definition in definitions.unwrap_or_default() {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        let fields = match definition.node.kind {
            TypeKind::Object(object) => object.fields,
            TypeKind::Interface(interface) => interface.fields,
            _ => continue,
        };
        for field in fields {
            all.insert(FieldCoordinate {
                type_name: definition.node.name.node.to_string(),
                field: field.node.name.node.to_string(),
            });
        }
    }
    all
}
