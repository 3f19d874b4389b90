//! The schema and its resolvers: from a validated operation to calls of `jobs`, and from their
//! answers and errors to GraphQL's.

mod answer;
mod errors;
mod mutation;
mod query;
mod selection;

use async_graphql::{EmptySubscription, SDLExportOptions, Schema};

pub use answer::Answer;
pub use errors::ApiError;

use crate::jobs::Jobs;
use crate::model::Caller;
use crate::operation::Operation;
use crate::types::{ClientOwner, Identifier, InternalFileSchema, Page, Timestamped};

/// The gateway's schema with everything its resolvers need.
#[derive(Clone)]
pub struct Gateway(Schema<query::Query, mutation::Mutation, EmptySubscription>);

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway(…)")
    }
}

impl Gateway {
    /// Builds the schema over the jobs it serves.
    #[must_use]
    pub fn new(jobs: Jobs) -> Self {
        Self(builder().data(jobs).finish())
    }

    /// Validates and executes an operation for its caller.
    pub async fn execute(&self, caller: Caller, operation: Operation) -> Answer {
        let request = operation.into_request().data(caller);
        Answer::of(self.0.execute(request).await)
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

fn builder() -> async_graphql::SchemaBuilder<query::Query, mutation::Mutation, EmptySubscription> {
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
