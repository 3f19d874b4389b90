#![no_main]
//! Any stored text is read without a panic, and any value wrapped comes back to the letter.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| jobs_gateway::jobs::fuzz::envelope(text));
