#![no_main]
//! Any text is refused as a cursor without a panic, and any position opens where it was sealed.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| jobs_gateway::jobs::fuzz::cursor(text));
