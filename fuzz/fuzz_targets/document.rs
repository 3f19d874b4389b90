#![no_main]
//! Any document is measured, parsed, validated and merged, or refused, without a panic and in bounded time.

use std::sync::{Arc, LazyLock};

use jobs_gateway::graphql::schema_without;
use jobs_gateway::operation::{Documents, Limits, Schema};
use libfuzzer_sys::fuzz_target;

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| schema_without(&[]).expect("a schema"));

fuzz_target!(|text: &str| {
    if let Ok(document) = Documents::new(Limits::default()).parse(&SCHEMA, text) {
        let _ = document.operation(None, serde_json::Map::new());
    }
});
