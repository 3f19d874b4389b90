//! What the pinned GraphQL engine does, where its versions differ: the rows of ARCHITECTURE.md.

use std::time::Duration;

use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema, Variables};
use serde_json::json;

struct Query;

#[Object]
impl Query {
    async fn slow(&self) -> i32 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        1
    }

    async fn quick(&self) -> i32 {
        2
    }

    #[expect(clippy::unused_async, reason = "a resolver")]
    async fn plain_error(&self) -> async_graphql::Result<Option<i32>> {
        Err("failed".into())
    }

    async fn nullable_error(&self) -> Option<async_graphql::Result<i32>> {
        Some(Err("failed".into()))
    }
}

async fn execute(request: impl Into<Request>) -> serde_json::Value {
    let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
    let response = schema.execute(request).await;
    serde_json::from_str(&serde_json::to_string(&response.data).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn root_fields_answer_in_the_querys_order_and_run_side_by_side() {
    let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
    let began = tokio::time::Instant::now();
    let response = schema.execute("{ slow other: slow quick }").await;
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(response.data.to_string(), "{slow: 1, other: 1, quick: 2}");
}

#[tokio::test]
async fn only_an_optional_result_keeps_the_siblings_of_a_nullable_field_that_fails() {
    assert_eq!(execute("{ plainError quick }").await, json!(null));
    assert_eq!(
        execute("{ nullableError quick }").await,
        json!({"nullableError": null, "quick": 2})
    );
}

#[tokio::test]
async fn a_default_of_a_variable_reaches_skip_only_if_it_is_filled_in_before() {
    let text = "query ($s: Boolean = true) { quick @skip(if: $s) __typename }";
    assert_eq!(execute(text).await, json!({"quick": 2, "__typename": "Query"}));
    let given = Variables::from_json(json!({"s": true}));
    assert_eq!(execute(Request::new(text).variables(given)).await, json!({"__typename": "Query"}));
}
