#![no_main]
//! Any document is measured and parsed, or refused, without a panic and in bounded time.

use jobs_gateway::operation::{Documents, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(document) = Documents::new(Limits::default()).parse(text) {
        let _ = document.operation(None, serde_json::Map::new());
    }
});
