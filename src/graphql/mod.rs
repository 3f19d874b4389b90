//! The schema and its resolvers: from a validated operation to calls of `jobs`, and from their
//! answers and errors to GraphQL's.

mod answer;
mod engine;
mod errors;
mod hiding;
mod mutation;
mod plan;
mod project;
mod query;
mod selection;

use std::collections::HashMap;

use async_graphql::{EmptySubscription, SDLExportOptions, Schema, SchemaBuilder};

use engine::Engine;

pub use answer::Answer;
pub use errors::ApiError;
pub use hiding::has_field;

use crate::jobs::Jobs;
use crate::model::{FieldCoordinate, RequestContext, Tenant};
use crate::operation::Operation;
use crate::types::{ClientOwner, Identifier, InternalFileSchema, Page, Timestamped};

type Builder = SchemaBuilder<query::Query, mutation::Mutation, EmptySubscription>;

/// The schema as each tenant may see it, with everything its resolvers need: one for all tenants
/// that hide nothing, and one for each set of hidden fields.
pub struct Gateways {
    whole: Engine,
    hiding: HashMap<Vec<FieldCoordinate>, Engine>,
}

impl std::fmt::Debug for Gateways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateways").field("hiding", &self.hiding.keys()).finish_non_exhaustive()
    }
}

impl Gateways {
    /// Builds the schemas that these tenants need over the jobs they serve.
    pub fn new<'a>(jobs: &Jobs, tenants: impl Iterator<Item = &'a Tenant>) -> Self {
        let whole = Engine::new(jobs, builder);
        let mut hiding = HashMap::new();
        for tenant in tenants.filter(|tenant| !tenant.hidden_fields.is_empty()) {
            hiding.entry(tenant.hidden_fields.clone()).or_insert_with(|| {
                Engine::new(jobs, || hiding::without(builder(), &tenant.hidden_fields))
            });
        }
        Self { whole, hiding }
    }

    /// Validates and executes an operation.
    pub async fn execute(&self, request: RequestContext, operation: Operation) -> Answer {
        let engine = match request.caller.tenant.hidden_fields.as_slice() {
            [] => &self.whole,
            hidden => match self.hiding.get(hidden) {
                Some(engine) => engine,
                // One is built for every tenant. Whatever happened, nothing is shown.
                None => return Answer::refusal([ApiError::internal()]),
            },
        };
        engine.execute(request, operation).await
    }
}

/// The schema in the schema definition language, as `jobs-gateway schema` prints it; with
/// `federation` as a subgraph of Apollo Federation 2.
#[must_use]
pub fn sdl(federation: bool) -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_enum_items()
        .prefer_single_line_descriptions();
    let options = if federation { options.federation() } else { options };
    builder().finish().sdl_with_options(options)
}

fn builder() -> Builder {
    Schema::build(query::Query, mutation::Mutation, EmptySubscription)
        .register_output_type::<Identifier>()
        .register_output_type::<Timestamped>()
        .register_output_type::<InternalFileSchema>()
        .register_output_type::<ClientOwner>()
        .register_output_type::<Page>()
        // Depth, breadth and directives are limited in `operation`, before the engine starts; its
        // own limits would count introspection.
        .limit_recursive_depth(128)
}
