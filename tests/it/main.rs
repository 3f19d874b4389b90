//! The gateway as its users meet it: a file a capability.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]
#![allow(missing_docs, reason = "test modules explain themselves by their tests' names")]

mod documents;
mod jobs;
mod support;
mod engine;
mod layers;
