//! Execution: whatever the engine can do, and the common case without it.

use std::pin::Pin;
use std::sync::Arc;

use async_graphql::{EmptySubscription, Schema, ValidationMode};
use moka::sync::Cache;

use super::plan::{Fetched, Plan, Planned};
use super::{Answer, Builder, mutation, query};
use crate::jobs::Jobs;
use crate::model::RequestContext;
use crate::operation::{DocumentId, Operation};

type Executable = Schema<query::Query, mutation::Mutation, EmptySubscription>;

/// How much memory a schema's valid documents and their plans may take, in bytes, roughly.
const REMEMBERED: u64 = 16 * 1024 * 1024;

/// What remembering a document takes besides its plan.
const OVERHEAD: usize = 200;

/// A schema with its resolvers. Validation costs as much as execution and comes to the same each time,
/// so it is done once for a document.
pub struct Engine {
    jobs: Jobs,
    /// For documents that were not seen before.
    validating: Executable,
    /// For those that were found valid.
    trusting: Executable,
    /// The documents that were found valid in this schema, and the plans of those that have one.
    valid: Cache<DocumentId, Option<Arc<Plan>>>,
}

impl Engine {
    /// Builds a schema over jobs.
    pub fn new(jobs: &Jobs, builder: impl Fn() -> Builder) -> Self {
        let build = |mode| builder().validation_mode(mode).data(jobs.clone()).finish();
        Self {
            jobs: jobs.clone(),
            validating: build(ValidationMode::Strict),
            trusting: build(ValidationMode::Fast),
            valid: Cache::builder()
                .max_capacity(REMEMBERED)
                .weigher(|_, plan: &Option<Arc<Plan>>| {
                    let weight = OVERHEAD + plan.as_ref().map_or(0, |plan| plan.weight());
                    u32::try_from(weight).unwrap_or(u32::MAX)
                })
                .build(),
        }
    }

    /// Validates and executes an operation.
    pub async fn execute(&self, request: RequestContext, operation: Operation) -> Answer {
        // What its variables decide has to be validated each time.
        if !operation.stands_for_document() {
            return run(&self.validating, request, operation, None).await;
        }
        let known = self.valid.get(&operation.document().id);
        match known {
            Some(Some(plan)) => match plan.execute(&self.jobs, &request, &operation).await {
                Planned::Done(answer) => answer,
                Planned::NeedsEngine(fetched) => {
                    run(&self.trusting, request, operation, Some(fetched)).await
                }
            },
            Some(None) => run(&self.trusting, request, operation, None).await,
            None => {
                let document = Arc::clone(operation.document());
                let answer = run(&self.validating, request, operation, None).await;
                // What is not valid is not executed.
                if answer.has_data {
                    self.valid.insert(document.id, Plan::of(&document).map(Arc::new));
                }
                answer
            }
        }
    }
}

/// Lets the engine do it. On the heap, as its futures are large and most requests have a plan.
fn run<'a>(
    schema: &'a Executable,
    request: RequestContext,
    operation: Operation,
    fetched: Option<Fetched>,
) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
    Box::pin(async move {
        let trails = Arc::clone(&request.trails);
        let mut asked = operation.into_request().data(request);
        if let Some(fetched) = fetched {
            asked = asked.data(fetched);
        }
        Answer::of(schema.execute(asked).await, &trails)
    })
}
